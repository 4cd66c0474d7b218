"""Events → Anthropic's stream; Answer → Anthropic's message; errors in Anthropic's words.

Rules real clients enforce: every record has its `event:` line; blocks are numbered from 0 without
gaps, one open at a time, and start empty (Claude Code blanks what a start block holds); the
signature is the last delta of a thinking block; a message has at least one block, a stop reason and
all usage numbers at the end. Thinking is shown only to clients that asked for it.
"""

from collections.abc import Sequence
from typing import Any, Final, assert_never

import msgspec

from kiro import errors
from kiro.conversation.collect import Answer, Block, BrokenCall
from kiro.conversation.events import (
    Event,
    Finish,
    RedactedThinkingBlock,
    SearchCall,
    SearchHit,
    SearchResult,
    Start,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
    Usage,
)
from kiro.conversation.messages import RedactedThinking, Text, Thinking, ThinkingWish, ToolCall
from kiro.errors import KiroError
from kiro.protocols.anthropic.pieces import citations, search_result, stop, usage_document
from kiro.protocols.base import Ask, ErrorReply, ModelCard, retry_headers
from kiro.protocols.sse import record

NO_SIGNATURE: Final = "unsigned"
"""Stands where Kiro gave no signature: clients insist on one. It is never sent to Kiro."""

ERROR_TYPES: Final[dict[type[KiroError], tuple[int, str]]] = {
    errors.KiroError: (500, "api_error"),
    errors.RequestError: (400, "invalid_request_error"),
    errors.UnknownRoute: (404, "not_found_error"),
    errors.WrongMethod: (405, "invalid_request_error"),
    errors.UnknownModel: (404, "not_found_error"),
    errors.BadClientKey: (401, "authentication_error"),
    errors.ForbiddenOrigin: (403, "permission_error"),
    errors.AccountForbidden: (403, "permission_error"),
    errors.BodyTooLarge: (413, "request_too_large"),
    errors.ContextOverflow: (400, "invalid_request_error"),
    errors.SignInNeeded: (401, "authentication_error"),
    errors.NoAccountReady: (529, "overloaded_error"),
    errors.UpstreamError: (502, "api_error"),
    errors.TokenRejected: (401, "authentication_error"),
    errors.AccountSuspended: (403, "permission_error"),
    errors.ApplicationRefused: (403, "permission_error"),
    errors.ProfileRefused: (403, "permission_error"),
    errors.ProfileMissing: (500, "api_error"),
    errors.EncryptionRefused: (500, "api_error"),
    errors.AccessRefused: (403, "permission_error"),
    errors.QuotaExhausted: (429, "rate_limit_error"),
    errors.RateLimited: (429, "rate_limit_error"),
    errors.ModelOverloaded: (529, "overloaded_error"),
    errors.ModelUnavailable: (404, "not_found_error"),
    errors.ConversationTooLong: (400, "invalid_request_error"),
    errors.SignatureRefused: (400, "invalid_request_error"),
    errors.FieldsRefused: (400, "invalid_request_error"),
    errors.RequestRefused: (400, "invalid_request_error"),
    errors.UpstreamTimeout: (504, "timeout_error"),
}

_encode = msgspec.json.Encoder().encode
_PING: Final = record("ping", {"type": "ping"})
_TEXT_START: Final = {"type": "text", "text": ""}
_DELTA_END: Final = b"}}\n\n"
_MESSAGE_STOP: Final = record("message_stop", {"type": "message_stop"})
_BLOCK_STOP: Final = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":%d}\n\n'
_BLOCK_START: Final = (
    b'event: content_block_start\ndata: {"type":"content_block_start","index":%d,"content_block":%b}\n\n'
)


def _delta_prefix(index: int, kind: str, member: str) -> bytes:
    """Everything of a delta record up to the JSON string it carries."""
    head = f'{{"type":"content_block_delta","index":{index},"delta":{{"type":"{kind}","{member}":'
    return b"event: content_block_delta\ndata: " + head.encode()


class AnthropicStream:
    """Renderer of one message. Text deltas cost one prefix, one JSON string and one suffix."""

    content_type = "text/event-stream; charset=utf-8"

    def __init__(self, model: str, message_id: str, thinking: ThinkingWish) -> None:
        self._model = model
        self._id = message_id
        self._show = thinking.mode in ("on", "adaptive")
        self._signatures_only = not thinking.show
        self._next = 0
        self._open: type[Event] | None = None
        self._prefix = b""
        self._call_has_input = False
        self._hits: list[SearchHit] = []
        self._said: list[str] = []

    def feed(self, events: Sequence[Event]) -> bytes:
        out: list[bytes] = []
        for event in events:
            if type(event) is TextDelta:
                if self._open is not TextDelta:
                    self._begin(TextDelta, _TEXT_START, "text_delta", "text", out)
                out += (self._prefix, _encode(event.text), _DELTA_END)
                if self._hits:
                    self._said.append(event.text)
            else:
                self._render(event, out)
        return b"".join(out)

    def keepalive(self) -> bytes:
        return _PING

    def failure(self, error: KiroError) -> bytes:
        return record("error", _error_document(error, None))

    def _render(self, event: Event, out: list[bytes]) -> None:
        match event:
            case ThinkingDelta(text=text):
                self._think(text, out)
            case ThinkingEnd(signature=signature):
                self._end_thinking(signature, out)
            case ToolCallDelta(fragment=fragment):
                self._call_has_input = True
                out += (self._prefix, _encode(fragment), _DELTA_END)
            case ToolCallStart(id=call_id, name=name):
                block = {"type": "tool_use", "id": call_id, "name": name, "input": {}}
                self._begin(ToolCallStart, block, "input_json_delta", "partial_json", out)
                self._call_has_input = False
            case ToolCallEnd():
                if not self._call_has_input:
                    out += (self._prefix, b'"{}"', _DELTA_END)
                self._end_block(out)
            case RedactedThinkingBlock(data=data):
                if self._show:
                    self._whole_block({"type": "redacted_thinking", "data": data}, out)
            case Start():
                self._start(event, out)
            case SearchCall(id=call_id, query=query):
                block = {"type": "server_tool_use", "id": call_id, "name": "web_search", "input": {}}
                self._begin(SearchCall, block, "input_json_delta", "partial_json", out)
                out += (self._prefix, _encode(_encode({"query": query}).decode()), _DELTA_END)
                self._end_block(out)
            case SearchResult(hits=hits):
                self._whole_block(search_result(event), out)
                self._hits += hits
            case Finish():
                self._finish(event, out)
            case TextDelta():
                out.append(self.feed((event,)))
            case _:
                assert_never(event)

    def _start(self, start: Start, out: list[bytes]) -> None:
        message: dict[str, Any] = {
            "id": self._id,
            "type": "message",
            "role": "assistant",
            "model": self._model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "usage": usage_document(Usage(input=start.input_tokens, output=1)),
        }
        out += (record("message_start", {"type": "message_start", "message": message}), _PING)

    def _think(self, text: str, out: list[bytes]) -> None:
        if not self._show:
            return
        if self._open is not ThinkingDelta:
            self._begin_thinking(out)
        if not self._signatures_only:
            out += (self._prefix, _encode(text), _DELTA_END)

    def _begin_thinking(self, out: list[bytes]) -> None:
        block = {"type": "thinking", "thinking": "", "signature": ""}
        self._begin(ThinkingDelta, block, "thinking_delta", "thinking", out)

    def _end_thinking(self, signature: str | None, out: list[bytes]) -> None:
        if not self._show:
            return
        if self._open is not ThinkingDelta:
            self._begin_thinking(out)
        prefix = _delta_prefix(self._next, "signature_delta", "signature")
        out += (prefix, _encode(signature or NO_SIGNATURE), _DELTA_END)
        self._end_block(out)

    def _begin(self, kind: type[Event], block: dict[str, Any], delta: str, member: str, out: list[bytes]) -> None:
        self._end_block(out)
        out.append(_BLOCK_START % (self._next, _encode(block)))
        self._open = kind
        self._prefix = _delta_prefix(self._next, delta, member)

    def _end_block(self, out: list[bytes]) -> None:
        if self._open is not None:
            if self._said:
                self._cite(out)
            out.append(_BLOCK_STOP % self._next)
            self._open = None
            self._next += 1

    def _cite(self, out: list[bytes]) -> None:
        """What the text that ends here was written with."""
        text = "".join(self._said)
        prefix = _delta_prefix(self._next, "citations_delta", "citation")
        for citation in citations(text, self._hits):
            out += (prefix, _encode(citation), _DELTA_END)
        self._said.clear()
        self._hits.clear()

    def _whole_block(self, block: dict[str, Any], out: list[bytes]) -> None:
        self._begin(RedactedThinkingBlock, block, "", "", out)
        self._end_block(out)

    def _finish(self, finish: Finish, out: list[bytes]) -> None:
        if self._next == 0 and self._open is None:
            self._begin(TextDelta, _TEXT_START, "text_delta", "text", out)
        self._end_block(out)
        delta = {"type": "message_delta", "delta": stop(finish), "usage": usage_document(finish.usage)}
        out += (record("message_delta", delta), _MESSAGE_STOP)


def renderer(ask: Ask, answer_id: str) -> AnthropicStream:
    return AnthropicStream(ask.conversation.model, f"msg_{answer_id}", ask.conversation.thinking)


def answer(ask: Ask, answer: Answer, answer_id: str) -> bytes:
    """The whole message, for clients that do not stream."""
    wish = ask.conversation.thinking
    blocks: list[dict[str, Any]] = []
    hits: list[SearchHit] = []
    for part in answer.blocks:
        blocks += _block(part, wish)
        if isinstance(part, SearchResult):
            hits += part.hits
        elif isinstance(part, Text) and hits:
            blocks[-1]["citations"] = citations(part.text, hits)
            hits.clear()
    return _encode(
        {
            "id": f"msg_{answer_id}",
            "type": "message",
            "role": "assistant",
            "model": ask.conversation.model,
            "content": blocks or [_TEXT_START],
            **stop(answer.finish),
            "usage": usage_document(answer.finish.usage),
        }
    )


def _block(part: Block, wish: ThinkingWish) -> list[dict[str, Any]]:
    show = wish.mode in ("on", "adaptive")
    match part:
        case Text(text=text):
            return [{"type": "text", "text": text}]
        case ToolCall(id=call_id, name=name, input=raw):
            return [{"type": "tool_use", "id": call_id, "name": name, "input": raw}]
        case BrokenCall():
            return _broken_call(part)
        case Thinking(text=text, signature=signature):
            shown = text if wish.show else ""
            block = {"type": "thinking", "thinking": shown, "signature": signature or NO_SIGNATURE}
            return [block] if show else []
        case RedactedThinking(data=data):
            return [{"type": "redacted_thinking", "data": data}] if show else []
        case SearchCall(id=call_id, query=query):
            return [{"type": "server_tool_use", "id": call_id, "name": "web_search", "input": {"query": query}}]
        case SearchResult():
            return [search_result(part)]
        case _:
            assert_never(part)


def _broken_call(call: BrokenCall) -> list[dict[str, Any]]:
    """A call that must not run: said in words, because a message has no place for half a call."""
    text = f"[The call of {call.name} was not complete and was not made. Its input so far: {call.text}]"
    return [{"type": "text", "text": text}]


def error(error: KiroError, request_id: str) -> ErrorReply:
    status, _ = _status_and_type(error)
    return ErrorReply(status, _encode(_error_document(error, request_id)), retry_headers(error, status))


def _status_and_type(error: KiroError) -> tuple[int, str]:
    return next(ERROR_TYPES[kind] for kind in type(error).__mro__ if kind in ERROR_TYPES)


def _error_document(error: KiroError, request_id: str | None) -> dict[str, Any]:
    detail: dict[str, Any] = {"type": _status_and_type(error)[1], "message": error.full_text()}
    if isinstance(error, errors.InvalidRequest) and error.code is not None:
        detail["details"] = {"error_code": error.code}
    document: dict[str, Any] = {"type": "error", "error": detail}
    if request_id is not None:
        document["request_id"] = request_id
    return document


def models(cards: Sequence[ModelCard]) -> bytes:
    return _encode(
        {
            "data": [_model(card) for card in cards],
            "has_more": False,
            "first_id": cards[0].id if cards else None,
            "last_id": cards[-1].id if cards else None,
        }
    )


def model(card: ModelCard) -> bytes:
    return _encode(_model(card))


def _model(card: ModelCard) -> dict[str, Any]:
    return {
        "type": "model",
        "id": card.id,
        "display_name": card.name,
        "created_at": f"{card.created}T00:00:00Z",
        "max_input_tokens": card.window,
        "max_tokens": card.max_output,
    }


def count(tokens: int) -> bytes:
    return _encode({"input_tokens": tokens})
