"""One block at a time, whatever Kiro interleaves: text, thinking and tool calls in, events in legal order out.

Kiro may begin a second tool call before the first has ended, or send text in between; dialects can show
neither. The first open call streams on; whatever belongs after it waits until it closes. A call without
arguments may never get its stop frame, so a call closes at its stop, or when text or thinking comes and its
arguments are whole, or at the end of the body.

Half a character may come at the end of a text (a lone surrogate); it waits for its other half. Thinking that
was asked for by tags is lifted out of the text here.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from kiro.conversation.events import (
    Event,
    RedactedThinkingBlock,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from kiro.reading import well_formed_text
from kiro.upstream.calls import Call
from kiro.upstream.payloads import ToolPayload
from kiro.upstream.tags import Piece, TagParser
from kiro.upstream.thinking import wrap

Kind = Literal["text", "thinking", "signature", "redacted"]


class Blocks:
    """The blocks of one answer. `rename`, `unwrap`, `family` and `tags` as for `ResponseReader`.

    `plain` is True while nothing stands in the way of a text: then whoever has one may count it and make its event
    without coming here, which is what almost every event of an answer comes to.
    """

    __slots__ = (
        "_calls",
        "_family",
        "_half",
        "_later",
        "_open",
        "_rename",
        "_tags",
        "_thinking_open",
        "_unwrap",
        "call_cut",
        "call_done",
        "empty",
        "plain",
        "plain_chars",
        "thinking_chars",
        "wide_chars",
    )

    def __init__(self, rename: Callable[[str], str], unwrap: frozenset[str], family: str, *, tags: bool) -> None:
        self._rename = rename
        self._unwrap = unwrap
        self._family = family
        self._tags = TagParser() if tags else None
        self._half = ""
        self._thinking_open = False
        self._open: Call | None = None
        self._calls: dict[str, Call] = {}
        self._later: list[Call | tuple[Kind, str]] = []
        self.plain = not tags
        self.empty = True
        """Nothing a client could show has come."""
        self.call_done = False
        """At least one call is whole."""
        self.call_cut = False
        """A call ended before its arguments did."""
        self.plain_chars = 0
        self.wide_chars = 0
        self.thinking_chars = 0

    @property
    def called(self) -> bool:
        """A tool call has begun."""
        return bool(self._calls)

    def text(self, text: str, events: list[Event]) -> None:
        text, self._half = whole_characters(self._half + text)
        if text:
            self._give_or_wait("text", text, events)
        self._look()

    def thinking(self, kind: Kind, text: str, events: list[Event]) -> None:
        """`thinking`, its `signature`, or a whole `redacted` block."""
        self._give_or_wait(kind, text, events)
        self._look()

    def tool(self, said: ToolPayload, events: list[Event]) -> bool:
        """A piece of a call. False when the call has ended already, so that the piece belongs nowhere."""
        call = self._calls.get(said.toolUseId)
        if call is None:
            name = self._rename(said.name)
            call = self._calls[said.toolUseId] = Call(said.toolUseId, name, unwrap=name in self._unwrap)
            if self._open is None:
                self._start_call(call, events)
            else:
                self._later.append(call)
        elif call.stopped:
            return False
        if isinstance(said.input, dict):
            call.snapshot = msgspec.json.encode(said.input).decode()
        elif said.input:
            self._add_input(call, said.input, events)
        if said.stop:
            call.stopped = True
            if call is self._open:
                self._close_call(events)
        self._look()
        return True

    def halved_input(self, document: dict[str, Any], events: list[Event]) -> bool:
        """A piece of arguments that ends or begins inside a character; as `tool`."""
        call_id, name = str(document.get("toolUseId", "")), str(document.get("name", ""))
        known = self._calls.get(call_id)
        whole, half = whole_characters((known.half if known is not None else "") + document["input"])
        if known is not None:
            known.half = ""
        taken = self.tool(ToolPayload(call_id, name, whole, bool(document.get("stop"))), events)
        call = self._calls[call_id]
        if not call.stopped:
            call.half = half
        return taken

    def close(self, events: list[Event], *, tail_seen: bool) -> None:
        """The body has ended: closes what is open. Without a tail, a call without any arguments was cut."""
        if self._half:
            self._half = ""
            self.text("\N{REPLACEMENT CHARACTER}", events)
        while self._open is not None:
            self._close_call(events, cut=not _is_good_without_stop(self._open, tail_seen=tail_seen))
        if self._tags is not None:
            self._give_tagged(self._tags.close(), events)
        self._end_thinking(events)

    # -- one block after the other

    def _look(self) -> None:
        self.plain = self._open is None and not self._thinking_open and not self._half and self._tags is None

    def _give_or_wait(self, kind: Kind, text: str, events: list[Event]) -> None:
        """Gives a piece of another block, unless a call is open whose arguments are not whole yet."""
        if self._open is not None and self._open.is_object():
            self._close_call(events)
        if self._open is not None:
            self._later.append((kind, text))
        else:
            self._give(kind, text, events)

    def _give(self, kind: Kind, text: str, events: list[Event]) -> None:
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
            self.plain_chars += len(text)
        else:
            self.wide_chars += len(text)
        self.empty = False
        events.append(TextDelta(text))

    def _give_thinking(self, text: str, events: list[Event]) -> None:
        self._thinking_open = True
        self.thinking_chars += len(text)
        events.append(ThinkingDelta(text))

    def _end_thinking(self, events: list[Event], signature: str | None = None) -> None:
        if self._thinking_open:
            self._thinking_open = False
            events.append(ThinkingEnd(signature))

    # -- calls

    def _start_call(self, call: Call, events: list[Event]) -> None:
        if self._tags is not None:
            self._give_tagged(self._tags.close(), events)
        self._end_thinking(events)
        self._open = call
        self.empty = False
        events.append(ToolCallStart(call.id, call.name))
        if not call.unwrap:
            events.extend(ToolCallDelta(fragment) for fragment in call.fragments)

    def _add_input(self, call: Call, piece: str, events: list[Event]) -> None:
        self.plain_chars += len(piece)
        if piece == "{}" and not call.fragments:
            call.held = piece
            return
        call.held = ""
        if call.half:
            piece, call.half = whole_characters(call.half + piece)
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
        self.call_done = self.call_done or not cut
        self.call_cut = self.call_cut or cut
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


def _is_good_without_stop(call: Call, *, tail_seen: bool) -> bool:
    """The body ended inside a call. Whole arguments make it good, none at all only before a proper tail."""
    if call.stopped:
        return True
    none = not call.fragments and call.snapshot is None
    return call.is_object() and (tail_seen or not none)


def whole_characters(text: str) -> tuple[str, str]:
    """Splits half a surrogate pair off the end; other lone halves become U+FFFD."""
    half = ""
    if text and "\ud800" <= text[-1] <= "\udbff":
        text, half = text[:-1], text[-1]
    return well_formed_text(text), half
