"""The official Anthropic SDK against the whole proxy."""

import json
from collections.abc import AsyncIterator

import anthropic
import pytest

from kiro.emulator.faults import HttpError, Reset, Shred
from support.proxy import Proxy

MODEL = "claude-sonnet-4-5"
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
WEATHER = {
    "name": "get_weather",
    "description": "Weather for a city",
    "input_schema": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
pytestmark = pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")


@pytest.fixture
async def client(proxy: Proxy) -> AsyncIterator[anthropic.AsyncAnthropic]:
    async with anthropic.AsyncAnthropic(api_key=proxy.key, base_url=proxy.url, max_retries=0) as made:
        yield made


def prompt(*lines):
    return [{"role": "user", "content": "\n".join(["Test.", *(f"EMULATE: {line}" for line in lines), "EMULATE: end"])}]


async def test_a_message(client):
    message = await client.messages.create(model=MODEL, max_tokens=100, messages=prompt("text=PONG"))
    assert message.content[0].text == "PONG"
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0


async def test_a_stream(client):
    async with client.messages.stream(model=MODEL, max_tokens=100, messages=prompt("text=PONG")) as stream:
        kinds = [event.type async for event in stream]
        message = await stream.get_final_message()
    assert message.content[0].text == "PONG"
    assert (kinds[0], kinds[-1]) == ("message_start", "message_stop")


async def test_a_tool_and_its_result(client):
    messages = prompt('tool=get_weather input={"city": "Paris"}', "text=DONE")
    message = await client.messages.create(model=MODEL, max_tokens=100, messages=messages, tools=[WEATHER])
    call = message.content[-1]
    assert (message.stop_reason, call.name, call.input) == ("tool_use", "get_weather", {"city": "Paris"})
    result = {"type": "tool_result", "tool_use_id": call.id, "content": "sunny"}
    messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    message = await client.messages.create(model=MODEL, max_tokens=100, messages=messages, tools=[WEATHER])
    assert message.content[-1].text == "DONE"


async def test_parallel_tools_in_a_stream_cut_anywhere(client, kiro):
    kiro.faults.add(Shred(seed=5), times=None)
    lima = {"city": "Lima — “x” \\ \n é😀"}
    messages = prompt(
        'tool=get_weather input={"city": "Paris"}', f"+tool=get_weather input={json.dumps(lima)}", "text=DONE"
    )
    async with client.messages.stream(model=MODEL, max_tokens=100, messages=messages, tools=[WEATHER]) as stream:
        message = await stream.get_final_message()
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [call.input for call in calls] == [{"city": "Paris"}, lima]
    assert calls[0].id != calls[1].id
    results = [{"type": "tool_result", "tool_use_id": call.id, "content": "rain", "is_error": True} for call in calls]
    messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    message = await client.messages.create(model=MODEL, max_tokens=100, messages=messages, tools=[WEATHER])
    assert message.content[-1].text == "DONE"
    sent = kiro.seen("generate")[0].document()["conversationState"]["currentMessage"]["userInputMessage"]
    assert [one["status"] for one in sent["userInputMessageContext"]["toolResults"]] == ["error", "error"]


@pytest.mark.parametrize("model", ["claude-opus-5", MODEL], ids=["by the model's own fields", "by tags"])
async def test_thinking_with_its_signature(client, model):
    async with client.messages.stream(
        model=model,
        max_tokens=4000,
        thinking={"type": "enabled", "budget_tokens": 2000},
        messages=prompt("thinking=pondering hard", "text=PONG"),
    ) as stream:
        message = await stream.get_final_message()
    assert message.content[0].type == "thinking"
    assert message.content[0].thinking == "pondering hard"
    assert message.content[0].signature
    assert message.content[-1].text == "PONG"


async def test_signed_thinking_goes_back_in_a_tool_loop(client, kiro):
    messages = prompt("thinking=plan", 'tool=get_weather input={"city": "Paris"}', "text=DONE")
    asked = {"model": "claude-opus-5", "max_tokens": 4000, "thinking": {"type": "adaptive"}, "tools": [WEATHER]}
    message = await client.messages.create(messages=messages, **asked)
    result = {"type": "tool_result", "tool_use_id": message.content[-1].id, "content": "sunny"}
    messages += [{"role": "assistant", "content": message.content}, {"role": "user", "content": [result]}]
    message = await client.messages.create(messages=messages, **asked)
    assert message.content[-1].text == "DONE"
    history = kiro.seen("generate")[0].document()["conversationState"]["history"]
    assert history[-1]["assistantResponseMessage"]["reasoningContent"]["reasoningText"]["text"] == "plan"


async def test_a_picture(client, kiro):
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": PIXEL}}
    content = [image, {"type": "text", "text": prompt("text=SEEN")[0]["content"]}]
    message = await client.messages.create(model=MODEL, max_tokens=100, messages=[{"role": "user", "content": content}])
    assert message.content[0].text == "SEEN"
    sent = kiro.seen("generate")[0].document()["conversationState"]["currentMessage"]["userInputMessage"]
    assert sent["images"] == [{"format": "png", "source": {"bytes": PIXEL}}]


SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}


@pytest.mark.parametrize("streamed", [True, False], ids=["streamed", "whole"])
async def test_a_search_with_citations(client, streamed):
    asked = {"model": MODEL, "max_tokens": 1000, "tools": [WEATHER, SEARCH]}
    asked["messages"] = prompt('tool=web_search input={"query": "kiro"}', "text=Found it.")
    if streamed:
        async with client.messages.stream(**asked) as stream:
            message = await stream.get_final_message()
    else:
        message = await client.messages.create(**asked)
    call, result, text = message.content
    assert (call.type, call.input, result.tool_use_id) == ("server_tool_use", {"query": "kiro"}, call.id)
    assert text.text == "Found it."
    assert {citation.url for citation in text.citations} == {hit.url for hit in result.content}
    assert message.usage.server_tool_use.web_search_requests == 1
    asked["messages"] += [{"role": "assistant", "content": message.content}, *prompt("text=AGAIN")]
    assert (await client.messages.create(**asked)).content[0].text == "AGAIN"


async def test_an_answer_of_a_given_form(client):
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    wish = {"format": {"type": "json_schema", "schema": schema}}
    message = await client.messages.create(
        model=MODEL, max_tokens=100, messages=prompt('text={"city": "Paris"}'), output_config=wish
    )
    assert json.loads(message.content[0].text) == {"city": "Paris"}


async def test_counting(client):
    counted = await client.messages.count_tokens(
        model=MODEL, messages=prompt("text=x"), tools=[WEATHER], system="Be brief."
    )
    assert counted.input_tokens > 20


async def test_models(client):
    models = [model async for model in client.models.list()]
    assert any(model.id == "claude-sonnet-4.5" for model in models)
    assert (await client.models.retrieve("claude-sonnet-4.5")).id == "claude-sonnet-4.5"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (HttpError(status=429, reason="USER_REQUEST_RATE_EXCEEDED"), anthropic.RateLimitError),
        (HttpError(status=400, reason="CONTENT_LENGTH_EXCEEDS_THRESHOLD"), anthropic.BadRequestError),
        (HttpError(status=403, reason="FEATURE_NOT_SUPPORTED"), anthropic.PermissionDeniedError),
        (HttpError(status=503, reason="INSUFFICIENT_MODEL_CAPACITY"), anthropic.InternalServerError),
    ],
    ids=["rate limit", "overflow", "permission", "overload"],
)
async def test_errors_by_class(client, kiro, fault, error):
    kiro.faults.add(fault, times=None)
    with pytest.raises(error):
        await client.messages.create(model=MODEL, max_tokens=100, messages=prompt("text=x"))


async def test_a_wrong_key(proxy):
    async with anthropic.AsyncAnthropic(api_key="sk-wrong-key", base_url=proxy.url, max_retries=0) as client:
        with pytest.raises(anthropic.AuthenticationError):
            await client.messages.create(model=MODEL, max_tokens=100, messages=prompt("text=x"))


async def test_a_broken_stream_raises(client, kiro):
    kiro.faults.add(Reset(after=2), times=None)
    with pytest.raises((anthropic.APIError, anthropic.APIStatusError)):
        async with client.messages.stream(
            model=MODEL, max_tokens=100, messages=prompt("text=one two three four five")
        ) as stream:
            await stream.get_final_message()
