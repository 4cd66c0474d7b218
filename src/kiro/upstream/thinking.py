"""How thinking is asked for, and how it travels through clients and back.

Three ways to ask, by what the model's own schema of extra fields lists:

* fields (`thinking.type`, `output_config.effort`, `reasoning.effort`) for models that have them;
* tags in front of the system text for the older models, which then print `<thinking>…</thinking>`;
* nothing, for a model nobody knows about: both of the others are refused by the wrong model
  (fields with a 400, tags by newer ones as an attempt to extract their reasoning).

What comes back is signed by Kiro. Signatures are worth something only to the model family that made
them, so they leave here in an envelope that names the family, and whatever arrives without it is
somebody else's and is never sent upstream.
"""

import re
from functools import lru_cache
from typing import Any, Final

import msgspec

from kiro.conversation.messages import (
    Conversation,
    Message,
    RedactedThinking,
    Thinking,
    ThinkingWish,
    ToolResult,
)
from kiro.upstream.catalogue import Model

_ENVELOPE: Final = "kp1."
_ORDER: Final = ("low", "medium", "high", "xhigh", "max")
_BY_BUDGET: Final = ((4_000, "low"), (12_000, "medium"), (24_000, "high"))
_ABOVE: Final = "xhigh"
_TAG_BUDGET: Final = 20_000
_MOST_TAG_BUDGET: Final = 24_576
_VERSION: Final = re.compile(r"-v?\d.*$")


class Fields(msgspec.Struct, frozen=True):
    """The `additionalModelRequestFields` to send."""

    value: dict[str, Any]


class Tags(msgspec.Struct, frozen=True):
    """Text to put in front of the system text."""

    text: str


def ask(conversation: Conversation, model: Model) -> Fields | Tags | None:
    """How this model is asked for the thinking (and the effort) the client wishes."""
    wish = conversation.thinking
    if model.efforts or model.thinking_types:
        fields = _fields(wish, model)
        limit = conversation.max_tokens
        if limit is not None and model.native_max_tokens and (model.max_output is None or limit < model.max_output):
            fields["max_tokens"] = limit
        return Fields(fields) if fields else None
    if model.takes_fields is False and wish.mode in ("on", "adaptive"):
        budget = min(wish.budget or _TAG_BUDGET, _MOST_TAG_BUDGET)
        mode, length = "<thinking_mode>enabled</thinking_mode>", f"<max_thinking_length>{budget}</max_thinking_length>"
        return Tags(mode + length)
    return None


def _fields(wish: ThinkingWish, model: Model) -> dict[str, Any]:
    fields: dict[str, Any] = {}
    kind = {"on": "adaptive", "adaptive": "adaptive", "off": "disabled", None: None}[wish.mode]
    if kind in model.thinking_types:
        thinking = fields["thinking"] = {"type": kind}
        display = "summarized" if wish.show else "omitted"
        if kind == "adaptive" and display in model.displays:
            thinking["display"] = display
    effort = _effort(wish, model)
    if effort is not None:
        fields[model.effort_field] = {"effort": effort}
    return fields


def _effort(wish: ThinkingWish, model: Model) -> str | None:
    if wish.mode == "off":
        if "none" in model.efforts:
            return "none"
        # Much effort without thinking is refused by some models; Kiro's own IDE lowers it the same way.
        lowered = "high" if wish.effort in ("xhigh", "max") else wish.effort
        return _permitted(lowered, model.efforts, upwards=False) if lowered else None
    if wish.effort is not None:
        return _permitted(wish.effort, model.efforts, upwards=True)
    if wish.mode == "on" and wish.budget is not None:
        by_budget = next((effort for most, effort in _BY_BUDGET if wish.budget <= most), _ABOVE)
        return _permitted(by_budget, model.efforts, upwards=False)
    return None


def _permitted(effort: str, permitted: tuple[str, ...], *, upwards: bool) -> str | None:
    """The nearest permitted effort: the next one up where the client named it, the next one down where we derived it."""
    if effort in permitted:
        return effort
    at = _ORDER.index(effort)
    above = [level for level in _ORDER[at:] if level in permitted]
    below = [level for level in reversed(_ORDER[:at]) if level in permitted]
    first, second = (above, below) if upwards else (below, above)
    return next(iter([*first, *second]), None)


@lru_cache(64)
def family(model_id: str) -> str:
    """The id without its version: `claude-opus-4.8` and `claude-opus-5` are one family."""
    return _VERSION.sub("", model_id)


def wrap(model_family: str, signature: str) -> str:
    """A signature of Kiro's (or redacted thinking) as clients get it."""
    return f"{_ENVELOPE}{model_family.replace('.', '_')}.{signature}"


def unwrap(text: str | None, model_family: str) -> str | None:
    """What Kiro sent, if this is our envelope and the family is the same; None otherwise."""
    if text is None or not text.startswith(_ENVELOPE):
        return None
    made_by, _, signature = text.removeprefix(_ENVELOPE).partition(".")
    return signature if made_by == model_family.replace(".", "_") and signature else None


def without_thinking(conversation: Conversation) -> Conversation:
    """The same conversation with no thinking in its history, for when Kiro refuses a signature."""
    messages = tuple(
        Message(
            message.role, tuple(part for part in message.parts if not isinstance(part, Thinking | RedactedThinking))
        )
        for message in conversation.messages
    )
    return msgspec.structs.replace(conversation, messages=messages)


def loop_start(messages: tuple[Message, ...]) -> int:
    """Where the current tool loop begins: the place of the last user turn that answers no tool call.

    Only thinking after it goes back upstream. That is what the model needs to go on with its plan,
    and what Kiro's own IDE sends; older thinking is refused when any block before it is missing, and
    costs tokens for turns that are finished.
    """
    for position in range(len(messages) - 1, -1, -1):
        message = messages[position]
        if message.role == "user" and not any(type(part) is ToolResult for part in message.parts):
            return position
    return 0


def replayable(message: Message, model_family: str, *, open_round: bool) -> Thinking | RedactedThinking | None:
    """The one thinking block of an assistant turn that goes back, with Kiro's own signature, or None.

    Only one fits a turn: the last signed one. Redacted thinking belongs to the round that is still
    open and to no other.
    """
    for part in reversed(message.parts):
        if type(part) is Thinking:
            signature = unwrap(part.signature, model_family)
            if signature is not None:
                return Thinking(part.text, signature)
        elif type(part) is RedactedThinking and open_round:
            data = unwrap(part.data, model_family)
            if data is not None:
                return RedactedThinking(data)
    return None
