"""One decision as the events Kiro sends: id frame, reasoning, text or tool calls, and the tail with the numbers.

Text is cut at code points, so grapheme clusters may be split; a tool's input is cut anywhere, also
inside an escape. Where the cuts fall depends on the text alone: the same request gives the same
events.
"""

import json
import random
import zlib
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import UNSET

from kiro.emulator import signatures
from kiro.emulator.models import Model
from kiro.emulator.script import CallTools, Decision, Say, asks_by_tags
from kiro.emulator.validation import BYTES_PER_TOKEN, input_tokens
from kiro.emulator.wire import Request
from kiro.upstream.eventstream import encode_frame

_PIECES: Final = 300
"""A long text comes in about this many deltas; a short one in pieces of 1 to 14 characters."""
_CREDITS_PER_TOKEN: Final = 2e-6


class RawEvent(msgspec.Struct, frozen=True, omit_defaults=True):
    """One frame to send: an event, an exception (`exception_type`), or an error (`error_code`)."""

    event_type: str | None = None
    payload: dict[str, Any] | None = None
    exception_type: str | None = None
    error_code: str | None = None
    error_message: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """The events of one answer and the credits it costs."""

    events: tuple[RawEvent, ...]
    credits: float


def frame_bytes(event: RawEvent) -> bytes:
    """The event as a frame of the wire."""
    payload = b"" if event.payload is None else msgspec.json.encode(event.payload)
    if event.error_code is not None:
        headers = {":message-type": "error", ":error-code": event.error_code}
        return encode_frame(headers | {":error-message": event.error_message or ""}, payload)
    if event.exception_type is not None:
        name, kind = {":exception-type": event.exception_type}, "exception"
    else:
        name, kind = {":event-type": event.event_type or ""}, "event"
    return encode_frame({**name, ":content-type": "application/json", ":message-type": kind}, payload)


def answer(request: Request, body_bytes: int, model: Model, decision: Decision, *, runtime: bool) -> Answer:
    """The whole answer of `model` (the one that really answers). `runtime`: begin as the Kiro runtime service does."""
    thinking = _thinking(request, model, decision)
    text, finished = _limited(decision.text, request) if isinstance(decision, Say) else ("", True)
    if thinking is not None and model.thinking == "none":
        text = f"<thinking>{thinking}</thinking>\n\n{text}"
    body = [_event("assistantResponseEvent", content=piece, modelId=model.id) for piece in text_pieces(text)]
    if isinstance(decision, CallTools):
        for number, (name, value) in enumerate(decision.calls):
            body.extend(_tool_call(_tool_use_id(request, body_bytes, number), name, value))
    reasoning = [] if thinking is None else list(_reasoning(request, model, thinking))
    events = [*body, *reasoning] if model.thinking == "gpt" else [*reasoning, *body]
    output = _tokens(text) + _tokens(thinking or "")
    if isinstance(decision, CallTools):
        output += sum(_tokens(json.dumps(value)) + 10 for _, value in decision.calls)
    stop = "TOOL_USE" if isinstance(decision, CallTools) else "END_TURN" if finished else "MAX_TOKENS"
    tail, cost = _tail(request, input_tokens(request, body_bytes), max(1, output), model, stop)
    return Answer((_first(request, runtime), *events, *tail), cost)


def _event(event_type: str, **payload: Any) -> RawEvent:
    return RawEvent(event_type=event_type, payload=payload)


def _first(request: Request, runtime: bool) -> RawEvent:
    conversation_id = request.conversation_state.conversation_id
    shown = "5f3a1a54-52b5-4f4e-9d6e-5a0f4a9f7c11" if conversation_id is UNSET else conversation_id
    if runtime:
        return _event("initial-response", conversationId=shown)
    return _event("messageMetadataEvent", conversationId=shown, utteranceId="utt-emulator")


def _fields(request: Request) -> dict[str, Any]:
    raw = request.additional_model_request_fields
    return {} if raw is UNSET else {name: msgspec.json.decode(value) for name, value in raw.items()}


def _thinking(request: Request, model: Model, decision: Decision) -> str | None:
    """The reasoning to show, if this model shows any and was not told to keep it off."""
    fields = _fields(request)
    by_tags = asks_by_tags(request)
    wanted = decision.thinking
    switch = (fields.get("thinking", {}).get("type"), fields.get("reasoning", {}).get("effort"))
    switched_off = "disabled" in switch or "none" in switch
    asked = by_tags if model.thinking == "none" else bool(fields.keys() & {"thinking", "output_config", "reasoning"})
    if wanted is None and asked and isinstance(decision, Say):
        wanted = decision.if_asked
    match model.thinking:
        case "none":
            return wanted if by_tags else None
        case "silent":
            return None
        case "claude" | "gpt":
            return None if switched_off else wanted


def _reasoning(request: Request, model: Model, thinking: str) -> Iterator[RawEvent]:
    match model.thinking:
        case "claude":
            hidden = _fields(request).get("thinking", {}).get("display") == "omitted"
            shown = "" if hidden else thinking
            for piece in text_pieces(shown):
                yield _event("reasoningContentEvent", text=piece)
            yield _event("reasoningContentEvent", signature=signatures.sign(model.family, shown))
        case "gpt":
            yield _event("reasoningContentEvent", text="...", signature=signatures.sign(model.family, ""))
        case "none" | "silent":
            return


def _limited(text: str, request: Request) -> tuple[str, bool]:
    """The text as far as `max_tokens` of the extra fields lets it come, and whether that is all of it."""
    limit = _fields(request).get("max_tokens")
    if limit is None or _tokens(text) <= limit:
        return text, True
    return text.encode()[: limit * BYTES_PER_TOKEN].decode(errors="ignore"), False


def text_pieces(text: str) -> list[str]:
    """The text in pieces cut between code points; no piece is empty."""
    draw = random.Random(zlib.crc32(text.encode()))  # noqa: S311 - reproducible cuts, nothing secret
    longest = max(14, 2 * len(text) // _PIECES)
    pieces, at = [], 0
    while at < len(text):
        size = draw.randint(1, longest)
        pieces.append(text[at : at + size])
        at += size
    return pieces


def _tool_use_id(request: Request, body_bytes: int, number: int) -> str:
    """22 url-safe characters that depend on the turn, so that ids are unique in one conversation."""
    seed = f"{request.conversation_state.conversation_id}{len(request.history)}{body_bytes}{number}"
    draw = random.Random(seed)  # noqa: S311 - reproducible ids, nothing secret
    return "tooluse_" + "".join(draw.choices("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", k=22))


def _tool_call(call_id: str, name: str, value: dict[str, Any]) -> Iterator[RawEvent]:
    """Start frame, slices of the input's JSON text, stop frame. Every other call escapes what is not ASCII."""
    draw = random.Random(call_id)  # noqa: S311 - reproducible cuts, nothing secret
    text = json.dumps(value, ensure_ascii=draw.random() < 0.5) if value else ""
    yield _event("toolUseEvent", toolUseId=call_id, name=name)
    longest = max(14, 2 * len(text) // _PIECES)
    at = 0
    while at < len(text):
        size = draw.randint(1, longest)
        yield _event("toolUseEvent", toolUseId=call_id, name=name, input=text[at : at + size])
        at += size
    yield _event("toolUseEvent", toolUseId=call_id, name=name, stop=True)


def _tail(request: Request, prompt: int, output: int, model: Model, stop: str) -> tuple[tuple[RawEvent, ...], float]:
    """The closing events and the price. With a history most of the prompt is taken as read from the cache."""
    read = prompt * 3 // 4 if request.history and prompt >= 1024 else 0
    written = (prompt - read) // 2 if prompt >= 1024 else 0
    usage = {
        "uncachedInputTokens": prompt - read - written,
        "outputTokens": output,
        "totalTokens": prompt + output,
        "cacheReadInputTokens": read,
        "cacheWriteInputTokens": written,
    }
    percentage = round(100 * (prompt + output) / model.window, 4)
    cost = round(model.multiplier * _CREDITS_PER_TOKEN * (prompt - 0.9 * read + 5 * output) + 0.001, 6)
    return (
        _event("metadataEvent", stopReason=stop, tokenUsage=usage),
        _event("contextUsageEvent", contextUsagePercentage=percentage),
        _event("meteringEvent", unit="credit", unitPlural="credits", usage=cost),
    ), cost


def _tokens(text: str) -> int:
    return -(-len(text.encode()) // BYTES_PER_TOKEN)
