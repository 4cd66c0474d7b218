"""OpenAI's Responses JSON → Conversation.

`parse` sees one request and nothing else. What lies in a store (the response it continues, items it
refers to) is named by `history.needed` and joined by `history.with_history`. Tolerant of unknown items
and tools; firm where being tolerant would answer something else than was asked: background runs,
prompt templates, conversations kept at OpenAI.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from kiro.conversation.messages import (
    Conversation,
    Effort,
    Message,
    NoTools,
    OutputFormat,
    Text,
    ThinkingWish,
)
from kiro.errors import InvalidRequest
from kiro.protocols.base import Ask
from kiro.protocols.openai import session_of
from kiro.protocols.openai_responses import body as wire
from kiro.protocols.openai_responses.compaction import INSTRUCTION
from kiro.protocols.openai_responses.items import ItemReader
from kiro.protocols.openai_responses.tools import Declared, Toolbox

_EFFORTS: Final[dict[str, Effort]] = {
    "minimal": "low",
    "low": "low",
    "medium": "medium",
    "high": "high",
    "xhigh": "xhigh",
    "max": "max",
}
_SUMMARIES: Final = ("auto", "concise", "detailed")
_NOT_HERE: Final = {
    "background": "answers are not made in the background here.",
    "conversation": "conversations kept at OpenAI cannot be reached from here.",
    "prompt": "prompt templates kept at OpenAI cannot be reached from here.",
}


class ResponsesAsk(Ask, frozen=True):
    """What the answer's shape depends on beside the conversation, and what a store has to know.

    `declared` maps tool names to what the client declared. `compact` asks wait for a summary; with
    `bare` it is answered as a compaction of its own, not as a response. `echo` is the request's own
    JSON of what the response repeats; `body` and `session` are kept to build the conversation anew
    when history is joined. `earlier` is that history, `resolved` the items that references stand for.
    """

    body: wire.Body = wire.Body("")
    echo: wire.Echo = wire.Echo()
    declared: dict[str, Declared] = msgspec.field(default_factory=dict)
    previous_response_id: str | None = None
    references: tuple[str, ...] = ()
    earlier: tuple[msgspec.Raw, ...] = ()
    resolved: dict[str, msgspec.Raw] = msgspec.field(default_factory=dict)
    session: str | None = None
    codex: bool = False
    compact: bool = False
    bare: bool = False

    @property
    def store(self) -> bool:
        """Whether the client lets the response be kept; OpenAI's default is yes."""
        return self.body.store is not False

    @property
    def may_trim(self) -> bool:
        """Whether the client allows old turns to be left out of a prompt that is too long."""
        return self.body.truncation == "auto"

    @property
    def sealed(self) -> bool:
        """Whether the client wants reasoning in a form it can send back."""
        return "reasoning.encrypted_content" in (self.body.include or ())


def parse(body: bytes, headers: Mapping[str, str], path: Mapping[str, str] | None = None) -> ResponsesAsk:
    """The request as a conversation. `headers` are looked up in lower case. Raises InvalidRequest.

    `path` is what the route matched: `verb` is `compact` for `/responses/compact`.
    """
    return _parse(body, headers, path, counting=False)


def parse_count(body: bytes, headers: Mapping[str, str], path: Mapping[str, str] | None = None) -> ResponsesAsk:
    """The same for counting tokens, where the input may be missing."""
    return _parse(body, headers, path, counting=True)


def _parse(body: bytes, headers: Mapping[str, str], path: Mapping[str, str] | None, *, counting: bool) -> ResponsesAsk:
    asked = wire.read_body(body)
    bare = path is not None and path.get("verb") == "compact"
    _refuse_impossible(asked, counting=counting)
    session = session_of(headers, asked.prompt_cache_key)
    items = items_of(asked)
    compact = bare or (bool(items) and items[-1].type == "compaction_trigger")
    conversation, declared, notes = build(asked, items, session, compact=compact)
    return ResponsesAsk(
        conversation,
        bool(asked.stream) and not bare,
        notes,
        body=asked,
        echo=wire.read_echo(body),
        declared=declared,
        previous_response_id=asked.previous_response_id,
        references=tuple(item.id for item in items if item.type == "item_reference" and item.id),
        session=session,
        codex=_is_codex(headers),
        compact=compact,
        bare=bare,
    )


def build(
    asked: wire.Body, items: list[wire.Item], session: str | None, *, compact: bool
) -> tuple[Conversation, dict[str, Declared], tuple[str, ...]]:
    """The conversation of these items, what its tools were declared as, and the notes. Raises InvalidRequest."""
    notes: list[str] = []
    toolbox = Toolbox(notes)
    toolbox.add(asked.tools)
    system, turns = ItemReader(toolbox, notes).read(items)
    conversation = Conversation(
        model=asked.model,
        messages=turns,
        system=_instructions(asked.instructions) + system,
        tools=tuple(toolbox.tools),
        tool_choice=toolbox.choice(asked.tool_choice),
        parallel_calls=asked.parallel_tool_calls is not False,
        thinking=_thinking(asked.reasoning),
        max_tokens=None if asked.max_output_tokens is None else int(asked.max_output_tokens),
        output_format=_output_format(asked.text),
        web_search=toolbox.search,
        session=session,
    )
    if compact:
        conversation = _compacting(conversation)
    return conversation, toolbox.declared, tuple(dict.fromkeys(notes))


def _compacting(conversation: Conversation) -> Conversation:
    """The same history, with a request for its summary as the last turn, and no tools."""
    return msgspec.structs.replace(
        conversation,
        messages=(*conversation.messages, Message("user", (Text(INSTRUCTION),))),
        tools=(),
        tool_choice=NoTools(),
        max_tokens=None,
        output_format=None,
        web_search=None,
    )


def _refuse_impossible(asked: wire.Body, *, counting: bool) -> None:
    if not asked.model.strip():
        raise InvalidRequest("model: must not be empty", param="model")
    for name, why in _NOT_HERE.items():
        if getattr(asked, name):
            raise InvalidRequest(f"{name}: {why}", param=name, code="unsupported_parameter")
    if not counting and not asked.input and asked.previous_response_id is None:
        raise InvalidRequest("input: at least one item is required", param="input", code="missing_required_parameter")
    if asked.max_output_tokens is not None and asked.max_output_tokens < 1:
        raise InvalidRequest(
            "max_output_tokens: must be greater than or equal to 1", param="max_output_tokens", code="invalid_value"
        )


def items_of(asked: wire.Body) -> list[wire.Item]:
    """The input items; a string is one message of the user."""
    if isinstance(asked.input, str):
        return [wire.Item(type="message", role="user", content=asked.input)] if asked.input else []
    return asked.input or []


def _instructions(given: str | list[wire.Item] | None) -> tuple[str, ...]:
    if isinstance(given, str):
        return (given,) if given else ()
    texts = (
        item.content if isinstance(item.content, str) else "\n".join(part.text or "" for part in item.content or ())
        for item in given or ()
    )
    return tuple(text for text in texts if text)


def _thinking(asked: wire.Reasoning | None) -> ThinkingWish:
    """An effort is a wish for thinking; a summary alone leaves it to the model. Without a summary nothing is shown."""
    if asked is None:
        return ThinkingWish()
    show = (asked.summary or asked.generate_summary) in _SUMMARIES
    if asked.effort == "none":
        return ThinkingWish("off", show=show)
    effort = _EFFORTS.get(asked.effort or "")
    if effort is not None:
        return ThinkingWish("on", None, effort, show)
    return ThinkingWish("adaptive") if show else ThinkingWish()


def _output_format(asked: wire.TextWish | None) -> OutputFormat | None:
    wanted = asked.format if asked is not None else None
    match wanted:
        case wire.Format(type="json_object"):
            return OutputFormat(None)
        case wire.Format(type="json_schema", schema=schema):
            return OutputFormat(wire.given(schema))
        case _:
            return None


def _is_codex(headers: Mapping[str, str]) -> bool:
    said = (headers.get("originator") or "", headers.get("user-agent") or "")
    return any("codex" in text.lower() for text in said)
