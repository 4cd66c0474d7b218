"""What Google's own library makes of our streams and responses."""

import pytest
from google import genai

from kiro import errors
from kiro.conversation.collect import collect
from kiro.conversation.messages import Conversation
from kiro.protocols import gemini as dialect
from kiro.protocols.base import ModelCard
from kiro.protocols.gemini.request import GeminiAsk
from support.answers import WHOLE
from support.canned import canned

ASK = GeminiAsk(Conversation("claude-test", ()), stream=True, sse=True, thoughts=True)
SAID = {"model": "claude-test", "contents": "Hi"}


@pytest.fixture
async def server():
    async with canned() as running:
        yield running


@pytest.fixture
async def sdk(server):
    made = genai.Client(api_key="k", http_options={"base_url": server.url}).aio
    yield made
    await made.aclose()


async def chunks_of(sdk):
    return [chunk async for chunk in await sdk.models.generate_content_stream(**SAID)]


def check(chunks, sequence):
    want, name = sequence["expect"], sequence["name"]
    parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts or []]
    assert "".join(part.text for part in parts if part.text and not part.thought).startswith(want["text"]), name
    assert "".join(part.text for part in parts if part.thought) == want["reasoning"], name
    calls = [part.function_call for part in parts if part.function_call]
    assert [(call.id, call.name, call.args) for call in calls] == [
        (tool["id"], tool["name"], tool["input"]) for tool in want["tools"]
    ], name
    assert chunks[-1].candidates[0].finish_reason is not None
    assert chunks[-1].usage_metadata.total_token_count > 0


async def test_it_reads_every_stream(server, sdk):
    for sequence, events in WHOLE:
        stream = dialect.renderer(ASK, "1")
        body = stream.keepalive() + b"".join(stream.feed([event]) + stream.keepalive() for event in events)
        server.say(body, stream.content_type)
        check(await chunks_of(sdk), sequence)


async def test_it_reads_every_response(server, sdk):
    for sequence, events in WHOLE:
        server.say(dialect.answer(ASK, collect(events), "1"))
        check([await sdk.models.generate_content(**SAID)], sequence)


async def test_an_error_inside_a_stream_is_raised(server, sdk):
    stream = dialect.renderer(ASK, "1")
    server.say(stream.feed(WHOLE[0][1][:2]) + stream.failure(errors.ModelOverloaded("Busy.")), stream.content_type)
    with pytest.raises(genai.errors.ServerError, match="Busy"):
        await chunks_of(sdk)


async def test_models_and_counts(server, sdk):
    server.say(dialect.model(ModelCard("claude-x", "Claude X", 200_000, 64_000)))
    model = await sdk.models.get(model="claude-x")
    assert (model.name, model.input_token_limit) == ("models/claude-x", 200_000)
    server.say(dialect.count(7))
    assert (await sdk.models.count_tokens(**SAID)).total_tokens == 7
