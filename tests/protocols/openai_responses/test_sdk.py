"""What OpenAI's own library makes of our streams and responses."""

import json

import openai
import pytest

from kiro import errors
from kiro.conversation.collect import collect
from kiro.conversation.events import SearchCall, SearchHit, SearchResult, Start, TextDelta
from kiro.protocols import openai_responses as dialect
from support.answers import WHOLE, finish, has_broken_call
from support.canned import canned

SAID = {"model": "claude-test", "input": "Hi", "reasoning": {"summary": "auto"}}
ASK = dialect.parse(json.dumps(SAID).encode(), {})


@pytest.fixture
async def server():
    async with canned() as running:
        yield running


@pytest.fixture
async def sdk(server):
    async with openai.AsyncOpenAI(api_key="k", base_url=f"{server.url}/v1", max_retries=0) as made:
        yield made


def check(response, sequence):
    want, name = sequence["expect"], sequence["name"]
    assert response.output_text == want["text"], name
    calls = [item for item in response.output if item.type == "function_call"]
    assert has_broken_call(sequence) or len(calls) == len(want["tools"]), name
    for call, tool in zip(calls, want["tools"], strict=False):
        assert (call.call_id, call.name) == (tool["id"], tool["name"]), name
        assert json.loads(call.arguments) == tool["input"], name
    thoughts = [part.text for item in response.output if item.type == "reasoning" for part in item.summary]
    assert "".join(thoughts) == want["reasoning"], name
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens


async def test_it_reads_every_stream(server, sdk):
    """The library's helper hands a response out only when it is complete; of others the last event is looked at."""
    for sequence, events in WHOLE:
        stream = dialect.renderer(ASK, "1")
        server.say(stream.keepalive() + stream.keepalive() + stream.feed(events), stream.content_type)
        async with sdk.responses.stream(**SAID) as reading:
            last = [event async for event in reading][-1]
            check(last.response, sequence)
            if last.type == "response.completed":
                check(await reading.get_final_response(), sequence)


async def test_it_reads_every_response(server, sdk):
    for sequence, events in WHOLE:
        server.say(dialect.answer(ASK, collect(events), "1"))
        check(await sdk.responses.create(**SAID), sequence)


async def test_citations_are_read(server, sdk):
    hit = SearchHit("T", "https://example.com")
    said = [Start(), SearchCall("s", "q"), SearchResult("s", (hit,)), TextDelta("At https://example.com."), finish()]
    stream = dialect.renderer(ASK, "1")
    server.say(stream.feed(said), stream.content_type)
    async with sdk.responses.stream(**SAID) as reading:
        response = await reading.get_final_response()
    search, message = response.output
    assert search.type == "web_search_call"
    assert message.content[0].annotations[0].url == "https://example.com"


async def test_a_failure_inside_a_stream_is_told(server, sdk):
    stream = dialect.renderer(ASK, "1")
    server.say(stream.feed(WHOLE[0][1][:2]) + stream.failure(errors.ModelOverloaded("Busy.")), stream.content_type)
    async with await sdk.responses.create(**SAID, stream=True) as reading:
        last = [event async for event in reading][-1]
    assert last.type == "response.failed"
    assert "Busy" in last.response.error.message


async def test_a_compaction_is_read(server, sdk):
    asked = dialect.parse(json.dumps(SAID).encode(), {}, {"verb": "compact"})
    server.say(dialect.answer(asked, collect([Start(), TextDelta("We built X."), finish()]), "1"))
    compacted = await sdk.responses.compact(model="claude-test", input="Hi")
    assert [item.type for item in compacted.output] == ["compaction"]


async def test_a_refused_request_names_the_field(server, sdk):
    reply = dialect.error(
        errors.InvalidRequest("background: no.", param="background", code="unsupported_parameter"), "r"
    )
    server.say(reply.body, status=reply.status)
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.responses.create(**SAID)
    assert (refused.value.param, refused.value.code) == ("background", "unsupported_parameter")
