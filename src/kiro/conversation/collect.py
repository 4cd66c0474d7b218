"""Folds the events of one answer into the whole answer, for clients that do not stream."""

from collections.abc import Iterable
from typing import TypeAlias, assert_never

import msgspec

from kiro.conversation.events import (
    Event,
    Finish,
    RedactedThinkingBlock,
    SearchCall,
    SearchResult,
    Start,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from kiro.conversation.messages import RedactedThinking, Text, Thinking, ToolCall


class BrokenCall(msgspec.Struct, frozen=True):
    """A tool call whose arguments are not a JSON object: `text` is what came of them."""

    id: str
    name: str
    text: str


Block: TypeAlias = Text | Thinking | RedactedThinking | ToolCall | BrokenCall | SearchCall | SearchResult


class Answer(msgspec.Struct, frozen=True):
    """A finished answer; `blocks` in the order in which they began."""

    start: Start
    blocks: tuple[Block, ...]
    finish: Finish

    def text(self) -> str:
        return "".join(block.text for block in self.blocks if isinstance(block, Text))


class Collector:
    """Takes events as they come; `answer` once Finish has come."""

    def __init__(self) -> None:
        self._start = Start()
        self._blocks: list[Block] = []
        self._pieces: list[str] = []
        self._thinking = False
        self._call: ToolCallStart | None = None
        self._finish: Finish | None = None

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            match event:
                case TextDelta(text=text) | ToolCallDelta(fragment=text):
                    self._pieces.append(text)
                case ThinkingDelta(text=text):
                    if not self._thinking:
                        self._end_text()
                        self._thinking = True
                    self._pieces.append(text)
                case Start():
                    self._start = event
                case ThinkingEnd(signature=signature):
                    if not self._thinking:
                        self._end_text()
                    self._thinking = False
                    self._blocks.append(Thinking(self._take(), signature))
                case ToolCallStart():
                    self._end_text()
                    self._call = event
                case ToolCallEnd(complete=complete):
                    self._end_call(complete=complete)
                case RedactedThinkingBlock(data=data):
                    self._end_text()
                    self._blocks.append(RedactedThinking(data))
                case SearchCall() | SearchResult():
                    self._end_text()
                    self._blocks.append(event)
                case Finish():
                    self._end_text()
                    self._finish = event
                case _:
                    assert_never(event)

    @property
    def finished(self) -> bool:
        return self._finish is not None

    def answer(self) -> Answer:
        if self._finish is None:
            raise ValueError("the answer is not finished")
        return Answer(self._start, tuple(self._blocks), self._finish)

    def text_so_far(self) -> str:
        """Visible text, also of an answer that will never be finished."""
        done = "".join(block.text for block in self._blocks if isinstance(block, Text))
        return done if self._thinking or self._call else done + "".join(self._pieces)

    def _take(self) -> str:
        text = "".join(self._pieces)
        self._pieces.clear()
        return text

    def _end_text(self) -> None:
        if self._pieces:
            self._blocks.append(Text(self._take()))

    def _end_call(self, *, complete: bool) -> None:
        call, text, self._call = self._call, self._take(), None
        if call is None:
            raise ValueError("a tool call ended that never began")
        if complete:
            self._blocks.append(ToolCall(call.id, call.name, msgspec.Raw(text.encode("utf-8", "replace"))))
        else:
            self._blocks.append(BrokenCall(call.id, call.name, text))


def collect(events: Iterable[Event]) -> Answer:
    """The whole answer. Raises ValueError when Finish is missing."""
    collector = Collector()
    collector.add(events)
    return collector.answer()
