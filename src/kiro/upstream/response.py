"""Kiro's answer: bytes in, events out.

`ResponseReader.feed` takes chunks as the network cuts them and returns the events they complete;
`close` is told that the body ended. Neither raises for what Kiro does: a failure is left in
`failure`, behind the events that came before it, so that no text is lost to an exception.

What makes this more than a table of frame types:

* Kiro may interleave two tool calls, dialects may not. The first open call streams on; whatever
  belongs after it waits until it closes.
* A call without arguments may never get its stop frame, so a call closes at its stop, or when text
  or the end of the body comes and its arguments are whole.
* Kiro's stop reason is unreliable for tools (END_TURN after a third of all tool turns) and reliable
  for refusals and limits; `_stop_reason` is the order of trust.
* There is no end marker. A body without any tail frame was cut: `tail_seen` tells.

The text of a text event is the hot path: one dictionary lookup, one typed decode, one event.
"""

import json
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from kiro.conversation.counting import tokens_of
from kiro.conversation.events import (
    Event,
    Finish,
    RedactedThinkingBlock,
    Start,
    StopReason,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
    Usage,
)
from kiro.errors import EmptyAnswer, KiroError, StreamCut, UpstreamBroken
from kiro.reading import well_formed, well_formed_text
from kiro.upstream import refusals
from kiro.upstream.eventstream import Decoder, Frame, FrameError
from kiro.upstream.tags import Piece, TagParser
from kiro.upstream.thinking import wrap

_STOP_REASONS: Final[dict[str, StopReason]] = {
    "END_TURN": "end_turn",
    "TOOL_USE": "tool_use",
    "MAX_TOKENS": "max_tokens",
    "LENGTH": "max_tokens",
    "STOP_SEQUENCE": "stop_sequence",
    "CONTENT_FILTERED": "refusal",
    "GUARDRAIL": "refusal",
    "PAUSE_TURN": "pause_turn",
    "MODEL_CONTEXT_WINDOW_EXCEEDED": "model_context_window_exceeded",
}
_FULL_PERCENTAGE: Final = 80.0
"""From here on Kiro's percentage is a floor for our estimate; below, its rounding is worse than our error."""


class _TextPayload(msgspec.Struct, gc=False):
    content: str = ""
    modelId: str | None = None
    modelTag: str | None = None


class _ThinkingPayload(msgspec.Struct, gc=False):
    text: str = ""
    signature: str = ""
    redactedContent: str = ""


class _ToolPayload(msgspec.Struct, gc=False):
    toolUseId: str = ""
    name: str = ""
    input: str | dict[str, Any] | None = None
    stop: bool = False


class _TokenUsage(msgspec.Struct):
    uncachedInputTokens: int | None = None
    cacheReadInputTokens: int | None = None
    cacheWriteInputTokens: int | None = None
    outputTokens: int | None = None
    contextUsagePercentage: float | None = None


class _Refusal(msgspec.Struct):
    category: str | None = None
    explanation: str | None = None


class _StopDetails(msgspec.Struct):
    refusal: _Refusal | None = None


class _MetadataPayload(msgspec.Struct):
    tokenUsage: _TokenUsage | None = None
    stopReason: str | None = None
    stopDetails: _StopDetails | None = None


class _ContextPayload(msgspec.Struct):
    contextUsagePercentage: float | None = None


class _MeteringPayload(msgspec.Struct):
    usage: float | None = None


class _IdsPayload(msgspec.Struct):
    conversationId: str | None = None


class _StatePayload(msgspec.Struct):
    reason: str | None = None
    message: str | None = None


_decode_text = msgspec.json.Decoder(_TextPayload).decode
_decode_thinking = msgspec.json.Decoder(_ThinkingPayload).decode
_decode_tool = msgspec.json.Decoder(_ToolPayload).decode
_decode_metadata = msgspec.json.Decoder(_MetadataPayload).decode
_decode_context = msgspec.json.Decoder(_ContextPayload).decode
_decode_metering = msgspec.json.Decoder(_MeteringPayload).decode
_decode_ids = msgspec.json.Decoder(_IdsPayload).decode
_decode_state = msgspec.json.Decoder(_StatePayload).decode
_decode_any = msgspec.json.decode


_Kind = Literal["text", "thinking", "signature", "redacted"]


class _Call:
    """A tool call being received.

    `held` is a lone `{}` that more input may still make void, `half` the first half of a character.
    """

    __slots__ = ("fragments", "half", "held", "id", "name", "snapshot", "stopped", "unwrap")

    def __init__(self, call_id: str, name: str, *, unwrap: bool) -> None:
        self.id = call_id
        self.name = name
        self.unwrap = unwrap
        self.fragments: list[str] = []
        self.held = ""
        self.half = ""
        self.snapshot: str | None = None
        self.stopped = False

    def text(self) -> str:
        """The arguments' JSON text so far; `{}` when Kiro sent none."""
        joined = "".join(self.fragments) + self.held if self.snapshot is None else self.snapshot
        return joined if joined.strip() else "{}"

    def is_object(self) -> bool:
        try:
            return isinstance(_decode_any(self.text()), dict)
        except (msgspec.DecodeError, UnicodeEncodeError):
            return _is_object_with_surrogates(self.text())


def _is_object_with_surrogates(text: str) -> bool:
    """msgspec refuses lone surrogate escapes, which are legal JSON text; the standard library does not."""
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


class ResponseReader:
    """Reads one answer.

    `rename` turns Kiro's spelling of a tool name into the client's; `unwrap` holds the (client's)
    names of tools whose input was wrapped as `{"input": …}`. `family` marks signatures. `tags` says
    that thinking was asked for by tags. `prompt_tokens` and `window` estimate usage when Kiro gives
    none.
    """

    def __init__(
        self,
        *,
        rename: Callable[[str], str] = str,
        unwrap: frozenset[str] = frozenset(),
        family: str = "",
        tags: bool = False,
        prompt_tokens: int = 0,
        window: int = 200_000,
    ) -> None:
        self._decoder = Decoder()
        self._rename = rename
        self._unwrap = unwrap
        self._family = family
        self._tags = TagParser() if tags else None
        self._prompt_tokens = prompt_tokens
        self._window = window

        self.failure: KiroError | None = None
        self.model: str | None = None
        self.model_tag: str | None = None
        self.tail_seen = False
        self.empty = True
        """Nothing a client could show has come."""
        self.side_events: list[tuple[str, bytes]] = []
        """Events that dialects have no place for (references, links, citations, unknown types), for the log."""

        self._started = False
        self._finished = False
        self._thinking_open = False
        self._held_surrogate = ""
        self._open: _Call | None = None
        self._calls: dict[str, _Call] = {}
        self._later: list[_Call | tuple[_Kind, str]] = []
        self._call_done = False
        self._call_cut = False

        self._tokens: _TokenUsage | None = None
        self._credits: float | None = None
        self._percentage: float | None = None
        self._reported: str | None = None
        self._refusal: str | None = None
        self._limit_reached = False
        self._plain_chars = 0
        self._wide_chars = 0
        self._thinking_chars = 0

    @property
    def call_open(self) -> bool:
        """A tool call has begun and not ended: what follows cannot be continued by another answer."""
        return self._open is not None

    @property
    def finished(self) -> bool:
        return self._finished

    def feed(self, chunk: bytes) -> list[Event]:
        """Events completed by this chunk. Check `failure` afterwards."""
        events: list[Event] = []
        if self.failure is not None or self._finished:
            return events
        try:
            frames = self._decoder.feed(chunk)
        except FrameError as error:
            self._read(error.before, events)
            self._fail(UpstreamBroken(f"Kiro's stream is damaged ({error})."))
            return events
        self._read(frames, events)
        return events

    def close(self) -> list[Event]:
        """The body ended. Closes what is open and gives `Finish`, or leaves `failure`."""
        events: list[Event] = []
        if self.failure is not None or self._finished:
            return events
        try:
            self._decoder.close()
        except FrameError as error:
            self._fail(StreamCut(f"Kiro's answer was cut off ({error})."))
            return events
        if not self._started:
            self._fail(EmptyAnswer("Kiro sent an empty answer."))
            return events
        self._end(events)
        return events

    def _read(self, frames: list[Frame], events: list[Event]) -> None:
        for frame in frames:
            handler = _HANDLERS.get(frame.event)
            if not frame.event:
                self._on_other_message(frame.headers, frame.payload, events)
                if self.failure is not None or self._finished:
                    return
                continue
            if not self._started:
                self._started = True
                events.append(Start(None, self._prompt_tokens))
            if handler is None:
                self.side_events.append((frame.event, frame.payload))
                continue
            try:
                handler(self, frame.payload, events)
            except (msgspec.DecodeError, UnicodeDecodeError):
                self._on_odd_payload(frame.event, handler, frame.payload, events)
            if self.failure is not None:
                return

    # -- text

    def _on_text(self, payload: bytes, events: list[Event]) -> None:
        said = _decode_text(payload)
        content = said.content
        if self.model is None and said.modelId is not None:
            self.model = said.modelId
        if said.modelTag is not None:
            self.model_tag = said.modelTag
        if self._held_surrogate or self._tags is not None or self._open is not None or self._thinking_open:
            self._on_text_slowly(content, events)
        elif content:
            if content.isascii():
                self._plain_chars += len(content)
            else:
                self._wide_chars += len(content)
            self.empty = False
            events.append(TextDelta(content))

    def _on_text_slowly(self, content: str, events: list[Event]) -> None:
        """The same with something in the way: half a character, tags, an open call or thinking block."""
        content, self._held_surrogate = _whole_characters(self._held_surrogate + content)
        if content:
            self._give_or_wait("text", content, events)

    def _give_or_wait(self, kind: _Kind, text: str, events: list[Event]) -> None:
        """Gives a piece of another block, unless a call is open whose arguments are not whole yet."""
        if self._open is not None and self._open.is_object():
            self._close_call(events)
        if self._open is not None:
            self._later.append((kind, text))
        else:
            self._give(kind, text, events)

    def _give(self, kind: _Kind, text: str, events: list[Event]) -> None:
        if kind == "text":
            if self._tags is None:
                self._give_text(text, events)
            else:
                self._give_tagged(self._tags.feed(text), events)
        elif kind == "thinking":
            self._give_thinking(text, events)
        elif kind == "signature":
            self._thinking_open = True  # a block without a word still is one
            self._end_thinking(events, wrap(self._family, text))
        else:
            self._end_thinking(events)
            events.append(RedactedThinkingBlock(wrap(self._family, text)))

    def _give_tagged(self, pieces: list[Piece], events: list[Event]) -> None:
        for kind, piece in pieces:
            if kind == "text":
                self._give_text(piece, events)
            elif kind == "thinking":
                self._give_thinking(piece, events)
            else:
                self._thinking_open = True
                self._end_thinking(events)

    def _give_text(self, text: str, events: list[Event]) -> None:
        self._end_thinking(events)
        if text.isascii():
            self._plain_chars += len(text)
        else:
            self._wide_chars += len(text)
        self.empty = False
        events.append(TextDelta(text))

    # -- thinking

    def _on_thinking(self, payload: bytes, events: list[Event]) -> None:
        thought = _decode_thinking(payload)
        if thought.text:
            self._give_or_wait("thinking", thought.text, events)
        if thought.signature:
            self._give_or_wait("signature", thought.signature, events)
        if thought.redactedContent:
            self._give_or_wait("redacted", thought.redactedContent, events)

    def _give_thinking(self, text: str, events: list[Event]) -> None:
        self._thinking_open = True
        self._thinking_chars += len(text)
        events.append(ThinkingDelta(text))

    def _end_thinking(self, events: list[Event], signature: str | None = None) -> None:
        if self._thinking_open:
            self._thinking_open = False
            events.append(ThinkingEnd(signature))

    # -- tool calls

    def _on_tool(self, payload: bytes, events: list[Event]) -> None:
        self._take_tool(_decode_tool(payload), events)

    def _take_tool(self, said: _ToolPayload, events: list[Event]) -> None:
        call = self._calls.get(said.toolUseId)
        if call is None:
            name = self._rename(said.name)
            call = self._calls[said.toolUseId] = _Call(said.toolUseId, name, unwrap=name in self._unwrap)
            if self._open is None:
                self._start_call(call, events)
            else:
                self._later.append(call)
        elif call.stopped:
            self.side_events.append(("toolUseEvent after stop", b""))
            return
        if isinstance(said.input, dict):
            call.snapshot = msgspec.json.encode(said.input).decode()
        elif said.input:
            self._add_input(call, said.input, events)
        if said.stop:
            call.stopped = True
            if call is self._open:
                self._close_call(events)

    def _start_call(self, call: _Call, events: list[Event]) -> None:
        self._end_thinking(events)
        if self._tags is not None:
            self._give_tagged(self._tags.close(), events)
        self._end_thinking(events)
        self._open = call
        self.empty = False
        events.append(ToolCallStart(call.id, call.name))
        if not call.unwrap:
            events.extend(ToolCallDelta(fragment) for fragment in call.fragments)

    def _add_input(self, call: _Call, piece: str, events: list[Event]) -> None:
        self._plain_chars += len(piece)
        if piece == "{}" and not call.fragments:
            call.held = piece
            return
        call.held = ""
        if call.half:
            piece, call.half = _whole_characters(call.half + piece)
        call.fragments.append(piece)
        if call is self._open and not call.unwrap:
            events.append(ToolCallDelta(piece))

    def _close_call(self, events: list[Event], *, cut: bool = False) -> None:
        """Ends the open call; then gives what waited for it, up to the next call that is not finished."""
        call, self._open = self._open, None
        assert call is not None  # noqa: S101  callers test it; this is for the type checker
        whole = not cut and call.is_object()
        if call.unwrap and whole:
            events.append(ToolCallDelta(_unwrapped(call.text())))
        elif not cut and (call.snapshot is not None or not call.fragments):
            events.append(ToolCallDelta(call.text()))
        events.append(ToolCallEnd(whole))
        call.stopped = True
        self._call_done = self._call_done or not cut
        self._call_cut = self._call_cut or cut
        waiting, self._later = self._later, []
        while waiting and self._open is None:
            item = waiting.pop(0)
            if isinstance(item, _Call):
                self._start_call(item, events)
                if item.stopped:
                    self._later = waiting
                    self._close_call(events)
                    return
            else:
                self._give(*item, events)
        self._later = waiting

    # -- the tail

    def _on_metadata(self, payload: bytes, events: list[Event]) -> None:
        said = _decode_metadata(payload)
        self.tail_seen = True
        if said.tokenUsage is not None:
            self._tokens = said.tokenUsage
            if said.tokenUsage.contextUsagePercentage is not None:
                self._percentage = said.tokenUsage.contextUsagePercentage
        if said.stopReason:
            self._reported = said.stopReason.upper()
        if said.stopDetails is not None and said.stopDetails.refusal is not None:
            refusal = said.stopDetails.refusal
            self._refusal = refusal.explanation or refusal.category or "No reason given."

    def _on_context(self, payload: bytes, events: list[Event]) -> None:
        self.tail_seen = True
        said = _decode_context(payload)
        if said.contextUsagePercentage is not None:
            self._percentage = said.contextUsagePercentage

    def _on_metering(self, payload: bytes, events: list[Event]) -> None:
        self.tail_seen = True
        said = _decode_metering(payload)
        if said.usage is not None:
            self._credits = (self._credits or 0.0) + said.usage

    def _on_ids(self, payload: bytes, events: list[Event]) -> None:
        if payload:
            _decode_ids(payload)

    def _on_nothing(self, payload: bytes, events: list[Event]) -> None:
        pass

    # -- failures and oddities

    def _on_invalid_state(self, payload: bytes, events: list[Event]) -> None:
        said = _decode_state(payload)
        self._fail_with(refusals.Signal(None, "invalidstate", said.reason, said.message or ""))

    def _on_other_message(self, headers: dict[str, Any], payload: bytes, events: list[Event]) -> None:
        kind = headers.get(":message-type")
        if kind == "exception":
            signal = refusals.from_exception(str(headers.get(":exception-type", "")), payload)
        elif kind == "error":
            code, text = str(headers.get(":error-code", "")), str(headers.get(":error-message", ""))
            signal = refusals.from_exception(code, payload, message=text)
        else:
            self.side_events.append((f"message type {kind}", payload))
            return
        if signal.shape == "contentlengthexceeded" and not self.empty:
            self._limit_reached = True
            self._end(events)
            return
        self._fail_with(signal)

    def _on_odd_payload(self, kind: str, handler: "_Handler", payload: bytes, events: list[Event]) -> None:
        """A payload the typed decoder refuses: lone surrogates, nulls and wrong types are read leniently."""
        if not payload.strip():
            return
        try:
            document = json.loads(payload.decode("utf-8", "replace"), strict=False)
        except ValueError:
            self._fail(UpstreamBroken(f"Kiro sent a {kind} that is not JSON."))
            return
        if not isinstance(document, dict):
            self.side_events.append((kind, payload))
            return
        if handler is ResponseReader._on_text and isinstance(document.get("content"), str):
            self._on_text_slowly(document["content"], events)
            return
        if handler is ResponseReader._on_tool and isinstance(document.get("input"), str):
            self._on_halved_input(document, events)
            return
        kept = {key: well_formed(value) for key, value in document.items() if value is not None}
        try:
            handler(self, msgspec.json.encode(kept), events)
        except msgspec.DecodeError:
            self.side_events.append((kind, payload))

    def _on_halved_input(self, document: dict[str, Any], events: list[Event]) -> None:
        """A slice of arguments that ends or begins inside a character."""
        call_id, name = str(document.get("toolUseId", "")), str(document.get("name", ""))
        known = self._calls.get(call_id)
        whole, half = _whole_characters((known.half if known is not None else "") + document["input"])
        if known is not None:
            known.half = ""
        self._take_tool(_ToolPayload(call_id, name, whole, bool(document.get("stop"))), events)
        call = self._calls[call_id]
        if not call.stopped:
            call.half = half

    def _fail_with(self, signal: refusals.Signal) -> None:
        self._fail(refusals.as_error(signal, tokens=self._prompt_tokens, window=self._window))

    def _fail(self, error: KiroError) -> None:
        self.failure = error

    # -- the end

    def _end(self, events: list[Event]) -> None:
        if self._held_surrogate:
            self._held_surrogate = ""
            self._on_text_slowly("\N{REPLACEMENT CHARACTER}", events)
        while self._open is not None:
            self._close_call(events, cut=not self._is_good_without_stop(self._open))
        if self._tags is not None:
            self._give_tagged(self._tags.close(), events)
        self._end_thinking(events)
        self._finished = True
        events.append(Finish(self._stop_reason(), self.usage(), refusal=self._refusal))

    def _is_good_without_stop(self, call: _Call) -> bool:
        """The body ended inside a call. Whole arguments make it good, none at all only before a proper tail."""
        if call.stopped:
            return True
        none = not call.fragments and call.snapshot is None
        return call.is_object() and (self.tail_seen or not none)

    def _stop_reason(self) -> StopReason:
        reported = _STOP_REASONS.get(self._reported or "")
        if reported == "refusal" or self._refusal is not None:
            return "refusal"
        if self._limit_reached or self._call_cut or reported == "max_tokens":
            return "max_tokens"
        if reported == "model_context_window_exceeded":
            return reported
        if self._call_done:
            return "tool_use"
        if reported in ("pause_turn", "stop_sequence"):
            return reported
        if reported is None and (self._percentage or 0) >= 100:
            return "model_context_window_exceeded"
        return "end_turn" if self.tail_seen else "max_tokens"

    def usage(self) -> Usage:
        """Kiro's exact numbers; else our estimate, with its percentage of the window as a floor."""
        thinking = tokens_of(self._thinking_chars, 0)
        output = tokens_of(self._plain_chars, self._wide_chars) + thinking
        exact = self._tokens
        if exact is not None and exact.uncachedInputTokens is not None and exact.outputTokens is not None:
            return Usage(
                input=exact.uncachedInputTokens,
                output=exact.outputTokens,
                cache_read=exact.cacheReadInputTokens or 0,
                cache_write=exact.cacheWriteInputTokens or 0,
                thinking=min(thinking, exact.outputTokens),
                credits=self._credits,
                context_percentage=self._percentage,
                source="exact",
            )
        prompt = self._prompt_tokens
        if self._percentage is not None and self._percentage >= _FULL_PERCENTAGE:
            prompt = max(prompt, round(self._percentage * self._window / 100) - output)
        return Usage(
            input=prompt,
            output=max(output, 0 if self.empty else 1),
            thinking=thinking,
            credits=self._credits,
            context_percentage=self._percentage,
        )


_Handler = Callable[[ResponseReader, bytes, list[Event]], None]
_HANDLERS: Final[dict[str, _Handler]] = {
    "assistantResponseEvent": ResponseReader._on_text,
    "codeEvent": ResponseReader._on_text,
    "reasoningContentEvent": ResponseReader._on_thinking,
    "toolUseEvent": ResponseReader._on_tool,
    "metadataEvent": ResponseReader._on_metadata,
    "contextUsageEvent": ResponseReader._on_context,
    "meteringEvent": ResponseReader._on_metering,
    "messageMetadataEvent": ResponseReader._on_ids,
    "initial-response": ResponseReader._on_ids,
    "invalidStateEvent": ResponseReader._on_invalid_state,
    "dryRunSucceedEvent": ResponseReader._on_nothing,
}
"""What each event of Kiro's means. An event that is not here is kept for the log and changes nothing."""


def _unwrapped(text: str) -> str:
    """`{"input": x}` → the JSON of x, for tools whose schema is not an object."""
    document = json.loads(text)
    inner = document.get("input", document) if isinstance(document, dict) else document
    return json.dumps(inner, ensure_ascii=False)


def _whole_characters(text: str) -> tuple[str, str]:
    """Splits half a surrogate pair off the end; other lone halves become U+FFFD."""
    half = ""
    if text and "\ud800" <= text[-1] <= "\udbff":
        text, half = text[:-1], text[-1]
    return well_formed_text(text), half
