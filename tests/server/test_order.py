"""Streaming is true: whatever Kiro sends is with the client before Kiro sends the next, in every dialect.

Tested by order, not by time: Kiro waits with each event until the client has the one before.
"""

import asyncio

import pytest

from kiro.emulator.answers import RawEvent
from kiro.emulator.faults import Replay, Stepwise
from support.asked import FUNCTION, SCHEMA
from support.proxy import running_proxy

MODEL = "claude-opus-5"
WORDS = ["alpha", "bravo", "tango", "zulu"]
REQUESTS = {
    "anthropic": (
        "/v1/messages",
        {
            "model": MODEL,
            "max_tokens": 9000,
            "stream": True,
            "messages": [{"role": "user", "content": "hi"}],
            "thinking": {"type": "adaptive"},
            "tools": [{"name": "get_weather", "input_schema": SCHEMA}],
        },
    ),
    "openai_chat": (
        "/v1/chat/completions",
        {
            "model": MODEL,
            "stream": True,
            "messages": [{"role": "user", "content": "hi"}],
            "tools": [{"type": "function", "function": FUNCTION}],
        },
    ),
    "openai_responses": (
        "/v1/responses",
        {
            "model": MODEL,
            "stream": True,
            "input": "hi",
            "reasoning": {"effort": "high", "summary": "auto"},
            "tools": [{"type": "function", **FUNCTION}],
        },
    ),
    "openai_responses with a search": (
        "/v1/responses",
        {
            "model": MODEL,
            "stream": True,
            "input": "hi",
            "reasoning": {"effort": "high", "summary": "auto"},
            "tools": [{"type": "function", **FUNCTION}, {"type": "web_search"}],
        },
    ),
    "gemini": (
        f"/v1beta/models/{MODEL}:streamGenerateContent?alt=sse",
        {
            "contents": [{"parts": [{"text": "hi"}]}],
            "generationConfig": {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 2000}},
            "tools": [{"functionDeclarations": [FUNCTION]}],
        },
    ),
    "gemini as an array": (
        f"/v1beta/models/{MODEL}:streamGenerateContent",
        {
            "contents": [{"parts": [{"text": "hi"}]}],
            "generationConfig": {"thinkingConfig": {"includeThoughts": True, "thinkingBudget": 2000}},
        },
    ),
}


def event(kind, **payload):
    return RawEvent(event_type=kind, payload=payload)


def called(**payload):
    return event("toolUseEvent", toolUseId="tooluse_1", name="get_weather", **payload)


ANSWERS = {
    "text": [event("assistantResponseEvent", content=word) for word in WORDS],
    "thinking": [event("reasoningContentEvent", text=word) for word in WORDS],
    "arguments": [
        called(input='{"city": "alpha'),
        *[called(input=word) for word in WORDS[1:-1]],
        called(input=WORDS[-1] + '"}', stop=True),
    ],
}
ENDS = {
    "text": [],
    "thinking": [event("reasoningContentEvent", signature="c2ln"), event("assistantResponseEvent", content="So.")],
    "arguments": [],
}
WHOLE_CALLS_ONLY = {("gemini", "arguments"), ("gemini as an array", "arguments")}
"""That dialect has no pieces of arguments."""
STREAMS = [(dialect, kind) for dialect in REQUESTS for kind in ANSWERS if (dialect, kind) not in WHOLE_CALLS_ONLY]


@pytest.mark.parametrize(("dialect", "kind"), STREAMS, ids=[" ".join(one) for one in STREAMS])
@pytest.mark.parametrize("direct", [True, False], ids=["pushed", "read"])
async def test_each_event_is_with_the_client_before_kiro_sends_the_next(tmp_path, kiro, dialect, kind, direct):
    path, document = REQUESTS[dialect]
    stop = "TOOL_USE" if kind == "arguments" else "END_TURN"
    events = [*ANSWERS[kind], *ENDS[kind], event("metadataEvent", stopReason=stop)]
    kiro.faults.add(Replay(events=tuple(events)), Stepwise())
    kiro.let_out()
    async with (
        asyncio.timeout(10),
        running_proxy(tmp_path, kiro, direct=direct) as proxy,
        proxy.post(path, document) as response,
    ):
        assert response.status == 200
        data = b""
        for word in WORDS:
            # The last letter may wait for what follows: a signature has to stand on the last piece of a text.
            while word[:-1].encode() not in data:
                data += await response.content.readany()
            assert kiro.streaming == 1
            kiro.let_out()
        kiro.let_out(len(events))
        data += await response.content.read()
    at = [data.index(word[:-1].encode()) for word in WORDS]
    assert at == sorted(at)


async def test_a_call_of_gemini_s_is_whole_before_kiro_says_that_the_answer_ends(proxy, kiro):
    """The nearest that a dialect without pieces of arguments can come to it."""
    path, document = REQUESTS["gemini"]
    end = event("metadataEvent", stopReason="TOOL_USE")
    text = event("assistantResponseEvent", content="and more")
    kiro.faults.add(Replay(events=(*ANSWERS["arguments"], text, end)), Stepwise())
    kiro.let_out(5)
    async with asyncio.timeout(10), proxy.post(path, document) as response:
        data = b""
        while b"functionCall" not in data:
            data += await response.content.readany()
        assert kiro.streaming == 1
        kiro.let_out()
        data += await response.content.read()
    assert b"alphabravotangozulu" in data
