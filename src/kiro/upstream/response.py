"""Kiro's answer: bytes in, events out.

`ResponseReader.feed` takes chunks as the network cuts them and returns the events they complete;
`close` is told that the body ended. Neither raises for what Kiro does: a failure is left in
`failure`, behind the events that came before it, so that no text is lost to an exception.

Frames become payloads here, and payloads go to whom they concern: text, thinking and tool calls to
`blocks`, which keeps them in order, the closing numbers to `tail`. There is no end marker; a body without any
tail frame was cut: `tail_seen` tells.

The text of a text event is the hot path: one dictionary lookup, one typed decode, one event.
"""

import json
from collections.abc import Callable
from typing import Any, Final

import msgspec

from kiro.conversation.events import Event, Finish, Start, TextDelta, Usage
from kiro.errors import EmptyAnswer, KiroError, StreamCut, UpstreamBroken
from kiro.reading import well_formed
from kiro.upstream import refusals
from kiro.upstream.blocks import Blocks
from kiro.upstream.eventstream import Decoder, FrameError
from kiro.upstream.payloads import decode_ids, decode_state, decode_text, decode_thinking, decode_tool
from kiro.upstream.tail import Tail


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
        self._blocks = Blocks(rename, unwrap, family, tags=tags)
        self._tail = Tail()
        self._prompt_tokens = prompt_tokens
        self._window = window
        self._started = False
        self._finished = False
        self._limit_reached = False

        self.failure: KiroError | None = None
        self.model: str | None = None
        self.model_tag: str | None = None
        self.side_events: list[tuple[str, bytes]] = []
        """Events that dialects have no place for (references, links, citations, unknown types), for the log."""

    @property
    def tail_seen(self) -> bool:
        """Kiro told something about the answer's end; without it the body was cut."""
        return self._tail.seen

    @property
    def empty(self) -> bool:
        """Nothing a client could show has come."""
        return self._blocks.empty

    @property
    def called(self) -> bool:
        """A tool call has begun: what follows cannot be continued by another answer, or it might be made twice."""
        return self._blocks.called

    @property
    def finished(self) -> bool:
        return self._finished

    def feed(self, chunk: bytes) -> list[Event]:
        """Events completed by this chunk. Check `failure` afterwards."""
        events: list[Event] = []
        if self.failure is not None or self._finished:
            return events
        damage: FrameError | None = None
        try:
            frames = self._decoder.feed(chunk)
        except FrameError as error:
            frames, damage = error.before, error
        for frame in frames:
            kind = frame.event
            if not kind:
                self._on_other_message(frame.headers, frame.payload, events)
                if self.failure is not None or self._finished:
                    return events
                continue
            if not self._started:
                self._started = True
                events.append(Start(None, self._prompt_tokens))
            handler = _HANDLERS.get(kind)
            if handler is None:
                self.side_events.append((kind, frame.payload))
                continue
            try:
                handler(self, frame.payload, events)
            except (msgspec.DecodeError, UnicodeDecodeError):
                self._on_odd_payload(kind, handler, frame.payload, events)
            if self.failure is not None:
                return events
        if damage is not None:
            self._fail(UpstreamBroken(f"Kiro's stream is damaged ({damage})."))
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

    def usage(self) -> Usage:
        """What the answer has cost so far."""
        blocks = self._blocks
        return self._tail.usage(
            prompt=self._prompt_tokens,
            window=self._window,
            plain_chars=blocks.plain_chars,
            wide_chars=blocks.wide_chars,
            thinking_chars=blocks.thinking_chars,
        )

    def _end(self, events: list[Event]) -> None:
        blocks = self._blocks
        blocks.close(events, tail_seen=self._tail.seen)
        self._finished = True
        reason = self._tail.stop_reason(cut_off=self._limit_reached or blocks.call_cut, called=blocks.call_done)
        events.append(Finish(reason, self.usage(), refusal=self._tail.refusal))

    # -- what the events say

    def _on_text(self, payload: bytes, events: list[Event]) -> None:
        said = decode_text(payload)
        content, blocks = said.content, self._blocks
        if self.model is None and said.modelId is not None:
            self.model = said.modelId
        if said.modelTag is not None:
            self.model_tag = said.modelTag
        if not blocks.plain:
            blocks.text(content, events)
        elif content:
            if content.isascii():  # as Blocks does; a call to it would cost 2 % of an event
                blocks.plain_chars += len(content)
            else:
                blocks.wide_chars += len(content)
            blocks.empty = False
            events.append(TextDelta(content))

    def _on_thinking(self, payload: bytes, events: list[Event]) -> None:
        thought = decode_thinking(payload)
        if thought.text:
            self._blocks.thinking("thinking", thought.text, events)
        if thought.signature:
            self._blocks.thinking("signature", thought.signature, events)
        if thought.redactedContent:
            self._blocks.thinking("redacted", thought.redactedContent, events)

    def _on_tool(self, payload: bytes, events: list[Event]) -> None:
        if not self._blocks.tool(decode_tool(payload), events):
            self._note_late_piece()

    def _note_late_piece(self) -> None:
        self.side_events.append(("toolUseEvent after stop", b""))

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
            self._blocks.text(document["content"], events)
            return
        if handler is ResponseReader._on_tool and isinstance(document.get("input"), str):
            if not self._blocks.halved_input(document, events):
                self._note_late_piece()
            return
        kept = {key: well_formed(value) for key, value in document.items() if value is not None}
        try:
            handler(self, msgspec.json.encode(kept), events)
        except msgspec.DecodeError:
            self.side_events.append((kind, payload))

    def _fail_with(self, signal: refusals.Signal) -> None:
        self._fail(refusals.as_error(signal, tokens=self._prompt_tokens, window=self._window))

    def _fail(self, error: KiroError) -> None:
        self.failure = error


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
