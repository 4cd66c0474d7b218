"""The events of one answer, and the order in which they may come.

    Start  ( TextDelta+
           | ThinkingDelta* ThinkingEnd
           | RedactedThinkingBlock
           | ToolCallStart ToolCallDelta* ToolCallEnd
           | SearchCall SearchResult )*  Finish

At most one thinking block or tool call is open at a time; a text block ends when something else
begins. A stream that breaks raises instead of sending `Finish`. Deltas are never empty.

These are made once per Kiro event, so they are `msgspec.Struct`s without garbage-collector
tracking: a `TextDelta` costs 0.15 µs.
"""

from typing import Literal, TypeAlias

import msgspec

StopReason = Literal[
    "end_turn", "tool_use", "max_tokens", "stop_sequence", "refusal", "pause_turn", "model_context_window_exceeded"
]
UsageSource = Literal["exact", "estimate", "context_percentage"]


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Tokens of one answer. `input` is what was neither read from nor written to a cache.

    `context_percentage` is Kiro's own figure of the window used, output included; `credits` its bill.
    """

    input: int = 0
    output: int = 0
    cache_read: int = 0
    cache_write: int = 0
    thinking: int = 0
    credits: float | None = None
    context_percentage: float | None = None
    searches: int = 0
    source: UsageSource = "estimate"

    @property
    def prompt(self) -> int:
        """All tokens of the prompt, cached or not."""
        return self.input + self.cache_read + self.cache_write


class Start(msgspec.Struct, frozen=True, gc=False):
    """The answer begins. `model` is the one Kiro names (it tells what `auto` became), if it does."""

    model: str | None = None
    input_tokens: int = 0
    """An estimate; the exact number comes with Finish."""


class TextDelta(msgspec.Struct, frozen=True, gc=False):
    text: str


class ThinkingDelta(msgspec.Struct, frozen=True, gc=False):
    text: str


class ThinkingEnd(msgspec.Struct, frozen=True, gc=False):
    """Closes the thinking block. `signature` is in our envelope, or `None` when there is none."""

    signature: str | None = None


class RedactedThinkingBlock(msgspec.Struct, frozen=True, gc=False):
    data: str


class ToolCallStart(msgspec.Struct, frozen=True, gc=False):
    id: str
    name: str


class ToolCallDelta(msgspec.Struct, frozen=True, gc=False):
    """The next slice of the arguments' JSON text."""

    fragment: str


class ToolCallEnd(msgspec.Struct, frozen=True, gc=False):
    """Closes the call. `complete` is False when the arguments are not a JSON object (cut off or broken)."""

    complete: bool = True


class SearchHit(msgspec.Struct, frozen=True, gc=False):
    title: str
    url: str
    snippet: str = ""
    published_ms: int | None = None


class SearchCall(msgspec.Struct, frozen=True, gc=False):
    """A web search made here, on the client's behalf."""

    id: str
    query: str


class SearchResult(msgspec.Struct, frozen=True):
    """What the search found; `error` is a word of the dialects (`unavailable`, `max_uses_exceeded`) if it failed."""

    id: str
    hits: tuple[SearchHit, ...] = ()
    error: str | None = None


class Finish(msgspec.Struct, frozen=True, gc=False):
    """The answer is whole. `stop_sequence` is the one that matched, for `stop_sequence`."""

    reason: StopReason
    usage: Usage
    stop_sequence: str | None = None
    refusal: str | None = None
    """Why the model declined, in Kiro's words, for `refusal`."""


Event: TypeAlias = (
    Start
    | TextDelta
    | ThinkingDelta
    | ThinkingEnd
    | RedactedThinkingBlock
    | ToolCallStart
    | ToolCallDelta
    | ToolCallEnd
    | SearchCall
    | SearchResult
    | Finish
)

_BLOCK_START = (TextDelta, ThinkingDelta, ThinkingEnd, RedactedThinkingBlock, ToolCallStart, SearchCall, Finish)
_LEGAL_AFTER: dict[type[object] | None, tuple[type[object], ...]] = {
    None: (Start,),
    Start: _BLOCK_START,
    TextDelta: _BLOCK_START,
    ThinkingDelta: (ThinkingDelta, ThinkingEnd),
    ThinkingEnd: _BLOCK_START,
    RedactedThinkingBlock: _BLOCK_START,
    ToolCallStart: (ToolCallDelta, ToolCallEnd),
    ToolCallDelta: (ToolCallDelta, ToolCallEnd),
    ToolCallEnd: _BLOCK_START,
    SearchCall: (SearchResult,),
    SearchResult: _BLOCK_START,
    Finish: (),
}


def illegal_step(events: list[Event]) -> str | None:
    """The first step that breaks the grammar, in words; `None` when the whole list is a legal beginning."""
    before: type[object] | None = None
    for position, event in enumerate(events):
        if type(event) not in _LEGAL_AFTER[before]:
            name = before.__name__ if before else "the beginning"
            return f"event {position}: {type(event).__name__} after {name}"
        before = type(event)
    return None
