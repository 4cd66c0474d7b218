"""A whole answer as the response object: its events are played to the renderer, and the bytes thrown away.

So what does not stream cannot differ from what does.
"""

from collections.abc import Iterator
from typing import assert_never

import msgspec

from kiro.conversation.collect import Answer, Block, BrokenCall
from kiro.conversation.events import (
    Event,
    RedactedThinkingBlock,
    SearchCall,
    SearchResult,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from kiro.conversation.messages import RedactedThinking, Text, Thinking, ToolCall
from kiro.errors import RequestRefused
from kiro.protocols.base import Ask
from kiro.protocols.openai_responses.response import of_responses, renderer
from kiro.protocols.openai_responses.shapes import Outcome
from kiro.protocols.openai_responses.summary import CompactionStream

_encode = msgspec.json.Encoder().encode


def finished(ask: Ask, answer: Answer, answer_id: str, *, created_s: int | None = None) -> Outcome:
    """The response of a whole answer, and what a store keeps of it. Raises KiroError when a summary was wanted and is none."""
    stream = renderer(ask, answer_id, created_s=created_s)
    stream.feed((answer.start,))
    for block in answer.blocks:
        stream.feed(tuple(_played(block)))
    stream.feed((answer.finish,))
    if isinstance(stream, CompactionStream) and stream.error is not None:
        raise stream.error
    if stream.outcome is None:
        raise RequestRefused("The model declined to answer.", hint=answer.finish.refusal)
    return stream.outcome


def answer(ask: Ask, answer: Answer, answer_id: str, *, created_s: int | None = None) -> bytes:
    """The whole response, for clients that do not stream."""
    return body_of(ask, finished(ask, answer, answer_id, created_s=created_s))


def body_of(ask: Ask, outcome: Outcome) -> bytes:
    """The response's JSON; a compaction asked for by its own route has a shape of its own."""
    response = outcome.response
    if of_responses(ask).bare:
        members = ("id", "created_at", "model", "output", "usage")
        return _encode({"object": "response.compaction", **{name: response[name] for name in members}})
    return _encode(response)


def _played(block: Block) -> Iterator[Event]:
    """The events of a block that is whole."""
    match block:
        case Text(text=text):
            yield TextDelta(text)
        case Thinking(text=text, signature=signature):
            if text:
                yield ThinkingDelta(text)
            yield ThinkingEnd(signature)
        case RedactedThinking(data=data):
            yield RedactedThinkingBlock(data)
        case ToolCall(id=call_id, name=name, input=raw):
            yield from _played_call(ToolCallStart(call_id, name), bytes(raw).decode(), complete=True)
        case BrokenCall(id=call_id, name=name, text=text):
            yield from _played_call(ToolCallStart(call_id, name), text, complete=False)
        case SearchCall() | SearchResult():
            yield block
        case _:
            assert_never(block)


def _played_call(start: ToolCallStart, arguments: str, *, complete: bool) -> Iterator[Event]:
    yield start
    if arguments:
        yield ToolCallDelta(arguments)
    yield ToolCallEnd(complete)
