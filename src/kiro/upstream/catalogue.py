"""Model ids, what each model can do, and which model a client means.

Kiro's own list (ListAvailableModels) is the authority: windows, pictures, and the JSON Schema of the
extra fields a model takes, from which the thinking controls are read. `KNOWN_MODELS` serves until
Kiro has been asked. Clients spell ids in a dozen ways (vendor prefixes, dates, `-thinking`, `[1m]`,
dashes for dots, `claude-4.5-opus-high`); `normalise` peels one decoration after the other, by the
tables below, until an id is left that exists.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

import msgspec

from kiro.conversation.messages import Effort
from kiro.errors import UpstreamBroken

_K: Final = 1000


class Model(msgspec.Struct, frozen=True):
    """A model Kiro offers. `window` and `max_output` in tokens, `multiplier` in credits relative to `auto`.

    `efforts`, `thinking_types` and `displays` are the values its schema of extra fields permits;
    `effort_field` is where an effort goes (`output_config` or `reasoning`). `native_max_tokens`: the
    schema lists `max_tokens`. `takes_fields` is None when nobody knows: then nothing is asked of the
    model, neither by fields (refused by models without a schema) nor by tags (refused by newer ones).
    """

    id: str
    window: int = 200 * _K
    max_output: int | None = None
    images: bool = True
    efforts: tuple[str, ...] = ()
    thinking_types: tuple[str, ...] = ()
    displays: tuple[str, ...] = ()
    effort_field: str = "output_config"
    native_max_tokens: bool = False
    multiplier: float = 1.0
    takes_fields: bool | None = None
    name: str | None = None


_FOUR: Final = ("low", "medium", "high", "max")
_FIVE: Final = ("low", "medium", "high", "xhigh", "max")
_SHOW: Final = ("summarized", "omitted")


def _plain(model_id: str, window: int, multiplier: float, *, images: bool = True) -> Model:
    return Model(model_id, window, 64 * _K, images, multiplier=multiplier, takes_fields=False)


def _claude(model_id: str, multiplier: float, efforts: tuple[str, ...] = _FIVE, max_output: int = 64 * _K) -> Model:
    """`disabled` is left out on purpose: some of them cannot be told so, and only a live schema says which."""
    return Model(
        model_id, 1000 * _K, max_output, True, efforts, ("adaptive",), _SHOW, multiplier=multiplier, takes_fields=True
    )


def _gpt(model_id: str, multiplier: float) -> Model:
    efforts = ("none", *_FIVE)
    return Model(
        model_id, 272 * _K, 128 * _K, True, efforts, effort_field="reasoning", multiplier=multiplier, takes_fields=True
    )


KNOWN_MODELS: Final[tuple[Model, ...]] = (
    Model("auto"),
    _plain("claude-sonnet-4", 200 * _K, 1.3),
    _plain("claude-sonnet-4.5", 200 * _K, 1.3),
    _plain("claude-haiku-4.5", 200 * _K, 0.4),
    _plain("claude-opus-4.5", 200 * _K, 2.2),
    _claude("claude-sonnet-4.6", 1.3, _FOUR),
    _claude("claude-opus-4.6", 2.2, _FOUR),
    _claude("claude-opus-4.7", 2.2),
    _claude("claude-opus-4.8", 2.2, max_output=128 * _K),
    _claude("claude-sonnet-5", 1.3),
    _claude("claude-sonnet-5.5", 1.3),
    _claude("claude-opus-5", 2.2, max_output=128 * _K),
    _claude("claude-opus-5.5", 2.0, max_output=128 * _K),
    _claude("claude-fable-5", 2.2, max_output=128 * _K),
    _gpt("gpt-5.6-sol", 4.4),
    _gpt("gpt-5.6-terra", 2.2),
    _gpt("gpt-5.6-luna", 1.1),
    _plain("deepseek-3.2", 128 * _K, 0.25, images=False),
    _plain("glm-5", 200 * _K, 0.5, images=False),
    _plain("minimax-m2.1", 200 * _K, 0.15, images=False),
    _plain("minimax-m2.5", 200 * _K, 0.25, images=False),
    _plain("qwen3-coder-next", 256 * _K, 0.05, images=False),
)
"""A snapshot merged from clients current in autumn 2026; windows and prices differ by plan and region."""


class _Limits(msgspec.Struct, rename="camel"):
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None


class _Listed(msgspec.Struct, rename="camel"):
    model_id: str
    model_name: str | None = None
    rate_multiplier: float | None = None
    token_limits: _Limits | None = None
    supported_input_types: list[str] | None = None
    additional_model_request_fields_schema: Any = None


class _Listing(msgspec.Struct):
    models: list[_Listed]


_decode_listing = msgspec.json.Decoder(_Listing).decode


def parse_models(body: bytes) -> tuple[Model, ...]:
    """The models of a ListAvailableModels answer. Raises UpstreamBroken when it is something else."""
    try:
        listing = _decode_listing(body)
    except msgspec.DecodeError as error:
        raise UpstreamBroken(f"Kiro's model list is not understood: {error}.") from error
    return tuple(_listed(model) for model in listing.models if model.model_id)


def _listed(model: _Listed) -> Model:
    limits = model.token_limits or _Limits()
    schema = model.additional_model_request_fields_schema
    known = next((known for known in KNOWN_MODELS if known.id == model.model_id), Model(model.model_id))
    by_output = _choices(schema, "output_config", "effort")
    by_reasoning = _choices(schema, "reasoning", "effort")
    return Model(
        id=model.model_id,
        window=limits.max_input_tokens or known.window,
        max_output=limits.max_output_tokens or known.max_output,
        images=known.images if model.supported_input_types is None else "IMAGE" in model.supported_input_types,
        efforts=by_output or by_reasoning,
        thinking_types=_choices(schema, "thinking", "type"),
        displays=_choices(schema, "thinking", "display"),
        effort_field="reasoning" if by_reasoning and not by_output else "output_config",
        native_max_tokens=_leaf(schema, "max_tokens") is not None,
        multiplier=known.multiplier if model.rate_multiplier is None else model.rate_multiplier,
        # `auto` becomes any model, so that a missing schema says nothing about the one that answers.
        takes_fields=None if model.model_id == "auto" and schema is None else isinstance(schema, dict),
        name=model.model_name,
    )


def _leaf(schema: Any, *path: str) -> Any:
    for name in path:
        properties = schema.get("properties") if isinstance(schema, dict) else None
        schema = properties.get(name) if isinstance(properties, dict) else None
    return schema


def _choices(schema: Any, *path: str) -> tuple[str, ...]:
    leaf = _leaf(schema, *path)
    values = leaf.get("enum") if isinstance(leaf, dict) else None
    return tuple(value for value in values if isinstance(value, str)) if isinstance(values, list) else ()


class Resolved(msgspec.Struct, frozen=True):
    """The model a client means, and what its spelling asked for besides."""

    id: str
    thinking: bool = False
    agentic: bool = False
    effort: Effort | None = None
    long_context: bool = False


_EFFORTS: Final[dict[str, Effort]] = {
    "-low": "low",
    "-medium": "medium",
    "-high": "high",
    "-xhigh": "xhigh",
    "-max": "max",
}
_PREFIX: Final = re.compile(r"^(?:(?:anthropic|kiro|kr|openai|models|us|eu|apac|global)[/.]|.*/)(?=.)")
_DECORATIONS: Final[tuple[tuple[re.Pattern[str], dict[str, bool]], ...]] = (
    (re.compile(r"\[1m\]$|-1m$"), {"long_context": True}),
    (re.compile(r"\[\d+[km]\]$"), {}),
    (re.compile(r"(?:-thinking|-think|:thinking)$"), {"thinking": True}),
    (re.compile(r"-agentic$"), {"agentic": True}),
    (re.compile(r"[-@](?:19|20)\d{6}$"), {}),
    (re.compile(r"[-:]latest$"), {}),
    (re.compile(r"-v\d+(?::\d+)?$|:\d+$"), {}),
)
"""What may hang at the end of an id, in any order, and what each one asks for."""

_FAMILY: Final = r"(?:opus|sonnet|haiku|fable|mythos)"
_RESPELLINGS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(rf"^claude-([4-9])[-.](\d)-({_FAMILY})$"), r"claude-\3-\1.\2"),
    (re.compile(rf"^claude-([4-9])-({_FAMILY})$"), r"claude-\2-\1"),
    (re.compile(rf"^claude-({_FAMILY})[.]?(\d.*)$"), r"claude-\1-\2"),
    (re.compile(rf"^claude-({_FAMILY})-(\d{{1,2}})-(\d{{1,2}})$"), r"claude-\1-\2.\3"),
    (re.compile(rf"^claude-({_FAMILY})-(\d{{1,2}})\.0$"), r"claude-\1-\2"),
    (re.compile(r"^kiro-o-(.+)$"), r"claude-opus-\1"),
    (re.compile(r"^kiro-s-(.+)$"), r"claude-sonnet-\1"),
    (re.compile(r"^kiro-h-(.+)$"), r"claude-haiku-\1"),
    (re.compile(r"^(?:auto-kiro|kiro-auto)$"), "auto"),
    (re.compile(r"^claude-(\d)-(\d)-(.+)$"), r"claude-\1.\2-\3"),
)
"""Tried in order on what is left. The neutral `kiro-…` names are for Cursor, which keeps tools from models
whose names hold claude, opus or sonnet, and reserves `auto`."""

_NEWEST: Final = {name: name for name in ("opus", "sonnet", "haiku", "fable")} | {"opusplan": "opus"}


def normalise(
    asked: str, live: Collection[str], aliases: Mapping[str, str] | None = None, thinking_suffix: str = "-thinking"
) -> Resolved | None:
    """The model meant by a client's spelling, or None when there is no such model.

    `live` are the ids Kiro offers now; empty means that nobody has asked yet: then the built-in table
    is consulted, and an unknown `claude-…` or `gpt-…` passes through for Kiro to judge. `aliases` are
    the user's own, from a spelling (of any case) to a spelling.
    """
    if asked in live and not aliases:
        return Resolved(asked)
    ids = {model_id.lower(): model_id for model_id in (live or [model.id for model in KNOWN_MODELS])}
    name = asked.strip().lower()
    chosen = {alias.lower(): target for alias, target in (aliases or {}).items()}
    if name not in chosen:
        as_it_is = ids.get(name) or _respelled(name, ids)
        if as_it_is is not None:
            return Resolved(as_it_is)
    flags: dict[str, Any] = {}
    name = _peel(name, ids, chosen, thinking_suffix.lower(), flags)
    if name in chosen:
        name = _peel(chosen[name].strip().lower(), ids, {}, thinking_suffix.lower(), flags)
    found = ids.get(name) or _respelled(name, ids) or _newest(name, ids)
    if found is None and not live and name.startswith(("claude-", "gpt-")):
        found = _respell(name)
    return Resolved(found, **flags) if found is not None else None


_STAND_INS: Final[tuple[tuple[re.Pattern[str], str], ...]] = (
    (re.compile(r"^claude-3.*haiku|-(?:mini|nano|lite)\b|^gpt-3\.5|^gemini-.*flash"), "haiku"),
    (re.compile(r"^claude-3.*opus|^o\d\b|^gemini-.*ultra"), "opus"),
    (re.compile(r"^claude-[23]|^gpt-4|^gemini-"), "sonnet"),
    (re.compile(r"^(?:gpt|chatgpt|codex)-"), "gpt"),
)
"""Names that clients have built in, and the kind of model of Kiro's that comes nearest."""


def stand_in(asked: str, ids: Collection[str]) -> str | None:
    """Kiro's model for a name of somebody else's (`gpt-4o`, `gemini-3.8-flash`); None for other names."""
    name = _PREFIX.sub("", asked.strip().lower())
    kind = next((kind for pattern, kind in _STAND_INS if pattern.search(name)), None)
    if kind is None:
        return None
    by_name = {model_id.lower(): model_id for model_id in ids}
    if kind == "gpt":
        ours = sorted(model_id for model_id in ids if model_id.startswith("gpt-"))
        strongest = next((model_id for model_id in ours if model_id.endswith("-sol")), None)
        return strongest or next(iter(ours), _newest("sonnet", by_name))
    return _newest(kind, by_name)


def _peel(name: str, ids: Mapping[str, str], aliases: Mapping[str, str], suffix: str, flags: dict[str, Any]) -> str:
    """`name` without prefixes and decorations, stopping at the first spelling that exists."""
    while name not in ids and name not in aliases:
        shorter = _PREFIX.sub("", name)
        if shorter == name and suffix and name.endswith(suffix) and name != suffix:
            shorter = name[: -len(suffix)]
            flags["thinking"] = True
        for pattern, asks_for in _DECORATIONS:
            if shorter != name:
                break
            shorter = pattern.sub("", name)
            if shorter != name:
                flags.update(asks_for)
        if shorter == name and _respelled(name, ids) is None:
            for ending, effort in _EFFORTS.items():
                if name.endswith(ending):
                    shorter = name.removesuffix(ending)
                    flags.setdefault("effort", effort)
        if shorter == name or not shorter:
            break
        name = shorter
    return name


def _respell(name: str) -> str:
    for pattern, spelling in _RESPELLINGS:
        name = pattern.sub(spelling, name)
    return name


def _respelled(name: str, ids: Mapping[str, str]) -> str | None:
    """The id that exists under some respelling of the name."""
    for pattern, spelling in _RESPELLINGS:
        name = pattern.sub(spelling, name)
        if name in ids:
            return ids[name]
    return None


def _newest(name: str, ids: Mapping[str, str]) -> str | None:
    """`sonnet`, `claude-opus` and the like: the one with the highest version."""
    family = _NEWEST.get(name.removeprefix("claude-"))
    if family is None:
        return None
    versions = [
        (tuple(int(part) for part in found.group(1).split(".")), ids[found.group(0)])
        for found in (re.fullmatch(rf"claude-{family}-(\d+(?:\.\d+)?)", model_id) for model_id in ids)
        if found
    ]
    return max(versions)[1] if versions else None
