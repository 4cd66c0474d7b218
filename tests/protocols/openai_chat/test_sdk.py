"""What OpenAI's own library makes of our streams and completions."""

import json

import openai
import pytest

from kiro import errors
from kiro.conversation.collect import collect
from kiro.conversation.messages import Conversation
from kiro.protocols import openai_chat as dialect
from kiro.protocols.openai_chat.request import ChatAsk
from support.answers import WHOLE, has_broken_call
from support.canned import canned

ASK = ChatAsk(Conversation("claude-test", ()), stream=True, include_usage=True)
REASONS = {"length": ["max_tokens", "model_context_window_exceeded"], "content_filter": ["refusal"]}
SAID = {"model": "claude-test", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.fixture
async def server():
    async with canned() as running:
        yield running


@pytest.fixture
async def sdk(server):
    async with openai.AsyncOpenAI(api_key="k", base_url=f"{server.url}/v1", max_retries=0) as made:
        yield made


def check(completion, sequence):
    want, name = sequence["expect"], sequence["name"]
    (choice,) = completion.choices
    assert (choice.message.content or "").startswith(want["text"]), name
    calls = choice.message.tool_calls or []
    assert has_broken_call(sequence) or len(calls) == len(want["tools"]), name
    for call, tool in zip(calls, want["tools"], strict=False):
        assert (call.id, call.function.name) == (tool["id"], tool["name"]), name
        assert json.loads(call.function.arguments) == tool["input"], name
    assert (getattr(choice.message, "reasoning_content", None) or "") == want["reasoning"], name
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens


async def test_it_reads_every_stream(server, sdk):
    """Answers that were cut at a limit or refused are read and then raised, as the library does it."""
    raised = (openai.LengthFinishReasonError, openai.ContentFilterFinishReasonError)
    for sequence, events in WHOLE:
        stream = dialect.renderer(ASK, "1")
        server.say(stream.keepalive() + stream.feed(events), stream.content_type)
        async with sdk.chat.completions.stream(**SAID) as reading:
            try:
                async for _ in reading:
                    pass
                completion = await reading.get_final_completion()
            except raised:
                cut = reading.current_completion_snapshot.choices[0].finish_reason
                assert sequence["expect"]["finish"] in REASONS[cut]
            else:
                check(completion, sequence)


async def test_it_reads_every_completion(server, sdk):
    for sequence, events in WHOLE:
        server.say(dialect.answer(ASK, collect(events), "1"))
        check(await sdk.chat.completions.create(**SAID), sequence)


async def test_an_error_inside_a_stream_is_raised(server, sdk):
    stream = dialect.renderer(ASK, "1")
    server.say(stream.feed(WHOLE[0][1][:2]) + stream.failure(errors.ModelOverloaded("Busy.")), stream.content_type)
    reading = await sdk.chat.completions.create(**SAID, stream=True)
    with pytest.raises(openai.APIError, match="Busy"):
        async for _ in reading:
            pass


async def test_a_refused_request_names_the_field(server, sdk):
    reply = dialect.error(errors.InvalidRequest("n: no.", param="n", code="unsupported_value"), "r")
    server.say(reply.body, status=reply.status)
    with pytest.raises(openai.BadRequestError) as refused:
        await sdk.chat.completions.create(**SAID)
    assert (refused.value.param, refused.value.code) == ("n", "unsupported_value")
