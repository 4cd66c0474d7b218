"""Kiro's answer: bytes in, events out.

`ResponseReader.feed` takes chunks as the network cuts them and returns the events they complete;
`close` is told that the body ended. Neither raises for what Kiro does: a failure is left in
`failure`, behind the events that came before it, so that no text is lost to an exception.

What makes this more than a table of frame types:

* Kiro may interleave two tool calls, dialects may not. The first open call streams on; whatever
  belongs after it waits until it closes.
* A call without arguments may never get its stop frame, so a call closes at its stop, or when text
  or the end of the body comes and its arguments are whole.
* There is no end marker. A body without any tail frame was cut: `tail_seen` tells.

The text of a text event is the hot path: one dictionary lookup, one typed decode, one event.
"""

import json
from collections.abc import Callable
from typing import Any, Final, Literal

import msgspec

from kiro.conversation.events import (
    Event,
    Finish,
    RedactedThinkingBlock,
    Start,
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
from kiro.upstream.calls import Call
from kiro.upstream.eventstream import Decoder, Frame, FrameError
from kiro.upstream.payloads import ToolPayload, decode_ids, decode_state, decode_text, decode_thinking, decode_tool
from kiro.upstream.tags import Piece, TagParser
from kiro.upstream.tail import Tail
from kiro.upstream.thinking import wrap

_Kind = Literal["text", "thinking", "signature", "redacted"]


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
        self.empty = True
        """Nothing a client could show has come."""
        self.side_events: list[tuple[str, bytes]] = []
        """Events that dialects have no place for (references, links, citations, unknown types), for the log."""

        self._tail = Tail()
        self._started = False
        self._finished = False
        self._thinking_open = False
        self._held_surrogate = ""
        self._open: Call | None = None
        self._calls: dict[str, Call] = {}
        self._later: list[Call | tuple[_Kind, str]] = []
        self._call_done = False
        self._call_cut = False

        self._limit_reached = False
        self._plain_chars = 0
        self._wide_chars = 0
        self._thinking_chars = 0

    @property
    def tail_seen(self) -> bool:
        """Kiro told something about the answer's end; without it the body was cut."""
        return self._tail.seen

    @property
    def called(self) -> bool:
        """A tool call has begun: what follows cannot be continued by another answer, or it might be made twice."""
        return bool(self._calls)

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
        said = decode_text(payload)
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
        thought = decode_thinking(payload)
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
        self._take_tool(decode_tool(payload), events)

    def _take_tool(self, said: ToolPayload, events: list[Event]) -> None:
        call = self._calls.get(said.toolUseId)
        if call is None:
            name = self._rename(said.name)
            call = self._calls[said.toolUseId] = Call(said.toolUseId, name, unwrap=name in self._unwrap)
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

    def _start_call(self, call: Call, events: list[Event]) -> None:
        self._end_thinking(events)
        if self._tags is not None:
            self._give_tagged(self._tags.close(), events)
        self._end_thinking(events)
        self._open = call
        self.empty = False
        events.append(ToolCallStart(call.id, call.name))
        if not call.unwrap:
            events.extend(ToolCallDelta(fragment) for fragment in call.fragments)

    def _add_input(self, call: Call, piece: str, events: list[Event]) -> None:
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
            events.append(ToolCallDelta(call.unwrapped()))
        elif not cut and (call.snapshot is not None or not call.fragments):
            events.append(ToolCallDelta(call.text()))
        events.append(ToolCallEnd(whole))
        call.stopped = True
        self._call_done = self._call_done or not cut
        self._call_cut = self._call_cut or cut
        waiting, self._later = self._later, []
        while waiting and self._open is None:
            item = waiting.pop(0)
            if isinstance(item, Call):
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
        self._tail.take_metadata(payload)

    def _on_context(self, payload: bytes, events: list[Event]) -> None:
        self._tail.take_context(payload)

    def _on_metering(self, payload: bytes, events: list[Event]) -> None:
        self._tail.take_metering(payload)

    def _on_ids(self, payload: bytes, events: list[Event]) -> None:
        if payload:
            decode_ids(payload)

    def _on_nothing(self, payload: bytes, events: list[Event]) -> None:
        pass

    # -- failures and oddities

    def _on_invalid_state(self, payload: bytes, events: list[Event]) -> None:
        said = decode_state(payload)
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
        self._take_tool(ToolPayload(call_id, name, whole, bool(document.get("stop"))), events)
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
        reason = self._tail.stop_reason(cut_off=self._limit_reached or self._call_cut, called=self._call_done)
        events.append(Finish(reason, self.usage(), refusal=self._tail.refusal))

    def _is_good_without_stop(self, call: Call) -> bool:
        """The body ended inside a call. Whole arguments make it good, none at all only before a proper tail."""
        if call.stopped:
            return True
        none = not call.fragments and call.snapshot is None
        return call.is_object() and (self._tail.seen or not none)

    def usage(self) -> Usage:
        """What the answer has cost so far."""
        return self._tail.usage(
            prompt=self._prompt_tokens,
            window=self._window,
            plain_chars=self._plain_chars,
            wide_chars=self._wide_chars,
            thinking_chars=self._thinking_chars,
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


def _whole_characters(text: str) -> tuple[str, str]:
    """Splits half a surrogate pair off the end; other lone halves become U+FFFD."""
    half = ""
    if text and "\ud800" <= text[-1] <= "\udbff":
        text, half = text[:-1], text[-1]
    return well_formed_text(text), half
