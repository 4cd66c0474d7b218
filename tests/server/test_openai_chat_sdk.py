"""OpenAI's own library speaking Chat Completions against the whole proxy."""

import json

import openai
import pytest
from pydantic import BaseModel

from kiro.emulator.faults import HttpError, Reset, Shred
from support.asked import FUNCTION, PICTURE, PIXEL, current, lines, results_sent, saying

MODEL = "claude-sonnet-4.5"
WEATHER = {"type": "function", "function": FUNCTION}
CODE = {"type": "custom", "custom": {"name": "run", "description": "Runs code", "format": {"type": "text"}}}
LIMA = {"city": "Lima — “x” \\ \n é😀"}


@pytest.fixture
async def client(proxy):
    async with openai.AsyncOpenAI(api_key=proxy.key, base_url=f"{proxy.url}/v1", max_retries=0) as made:
        yield made


def said(*script):
    return [{"role": "user", "content": lines(*script)}]


def asked(*script, **more):
    return {"model": MODEL, "messages": said(*script), **more}


async def streamed(client, **request):
    """The completion as the library's helper assembles it."""
    async with client.chat.completions.stream(**request) as reading:
        return await reading.get_final_completion()


async def whole(client, **request):
    return await client.chat.completions.create(**request)


both = pytest.mark.parametrize("complete", [whole, streamed], ids=["whole", "streamed"])


@both
async def test_a_plain_answer(client, complete):
    completion = await complete(client, **asked("text=PONG"))
    assert completion.choices[0].message.content == "PONG"
    assert completion.choices[0].finish_reason == "stop"


async def test_usage_is_told_always_and_in_a_stream_when_asked_for(client):
    completion = await client.chat.completions.create(**asked("text=PONG"))
    assert completion.usage.prompt_tokens > 0
    assert completion.usage.total_tokens == completion.usage.prompt_tokens + completion.usage.completion_tokens
    for wish in (True, False):
        reading = await client.chat.completions.create(
            **asked("text=PONG"), stream=True, stream_options={"include_usage": wish}
        )
        chunks = [chunk async for chunk in reading]
        assert [bool(chunk.usage) for chunk in chunks] == [False] * (len(chunks) - 1) + [wish]
        assert [bool(chunk.choices) for chunk in chunks] == [True] * (len(chunks) - 1) + [not wish]


@both
async def test_a_tool_and_its_result(client, kiro, complete):
    request = asked('tool=get_weather input={"city": "Paris"}', "text=DONE", tools=[WEATHER])
    completion = await complete(client, **request)
    assert completion.choices[0].finish_reason == "tool_calls"
    message = completion.choices[0].message
    (call,) = message.tool_calls
    assert (call.function.name, json.loads(call.function.arguments)) == ("get_weather", {"city": "Paris"})
    turn = {"role": "assistant", "content": message.content, "tool_calls": [called(call)]}
    result = {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
    request["messages"] += [turn, result]
    completion = await complete(client, **request)
    assert completion.choices[0].message.content == "DONE"
    assert results_sent(kiro) == [(call.id, "sunny")]


def called(call):
    return {
        "id": call.id,
        "type": "function",
        "function": {"name": call.function.name, "arguments": call.function.arguments},
    }


@both
async def test_parallel_tools_cut_anywhere(client, kiro, complete):
    kiro.faults.add(Shred(seed=5), times=None)
    paris = {"city": "Paris"}
    script = (
        f"tool=get_weather input={json.dumps(paris)}",
        f"+tool=get_weather input={json.dumps(LIMA)}",
        "text=DONE",
    )
    request = asked(*script, tools=[WEATHER])
    message = (await complete(client, **request)).choices[0].message
    assert [json.loads(call.function.arguments) for call in message.tool_calls] == [paris, LIMA]
    first, second = message.tool_calls
    assert first.id != second.id
    request["messages"] += [
        {"role": "assistant", "content": None, "tool_calls": [called(first), called(second)]},
        {"role": "tool", "tool_call_id": second.id, "content": "rain"},
        {"role": "tool", "tool_call_id": first.id, "content": [{"type": "text", "text": "sun"}]},
    ]
    assert (await complete(client, **request)).choices[0].message.content == "DONE"
    assert results_sent(kiro) == [(first.id, "sun"), (second.id, "rain")]


async def test_one_call_at_a_time_if_so_wished(client):
    script = ('tool=get_weather input={"city": "Paris"}', '+tool=get_weather input={"city": "Lima"}')
    completion = await whole(client, **asked(*script, tools=[WEATHER], parallel_tool_calls=False))
    assert len(completion.choices[0].message.tool_calls) == 1


async def test_the_library_runs_a_tool_s_arguments_through_its_own_type(client):
    class GetWeather(BaseModel):
        city: str

    tool = openai.pydantic_function_tool(GetWeather, name="get_weather")
    completion = await client.chat.completions.parse(**asked('tool=get_weather input={"city": "Paris"}', tools=[tool]))
    assert completion.choices[0].message.tool_calls[0].function.parsed_arguments == GetWeather(city="Paris")


@both
async def test_a_tool_that_takes_free_text(client, complete):
    text = 'print("é")\nprint(2)'
    script = (f"tool=run input={json.dumps(text)}", "text=DONE")
    request = asked(*script, tools=[CODE])
    if complete is streamed:
        reading = await client.chat.completions.create(**request, stream=True)
        calls = [call async for chunk in reading for call in chunk.choices[0].delta.tool_calls or ()]
        (call,) = calls
        call_id, custom = call.id, call.model_extra["custom"]
    else:
        (call,) = (await whole(client, **request)).choices[0].message.tool_calls
        call_id, custom = call.id, call.custom.model_dump()
    assert custom == {"name": "run", "input": text}
    request["messages"] += [
        {"role": "assistant", "tool_calls": [{"id": call_id, "type": "custom", "custom": custom}]},
        {"role": "tool", "tool_call_id": call_id, "content": "2"},
    ]
    assert (await whole(client, **request)).choices[0].message.content == "DONE"


@both
async def test_functions_of_the_old_kind(client, kiro, complete):
    request = asked('tool=get_weather input={"city": "Paris"}', "text=DONE", functions=[FUNCTION])
    choice = (await complete(client, **request)).choices[0]
    assert choice.finish_reason == "function_call"
    called = choice.message.function_call
    assert (called.name, json.loads(called.arguments)) == ("get_weather", {"city": "Paris"})
    request["messages"] += [
        {"role": "assistant", "content": None, "function_call": {"name": called.name, "arguments": called.arguments}},
        {"role": "function", "name": "get_weather", "content": "sunny"},
    ]
    assert (await complete(client, **request)).choices[0].message.content == "DONE"
    assert [text for _, text in results_sent(kiro)] == ["sunny"]


@pytest.mark.parametrize(
    "choice",
    ["required", {"type": "function", "function": {"name": "get_weather"}}],
    ids=["some tool", "one by name"],
)
async def test_a_forced_tool_is_called(client, kiro, choice):
    kiro.faults.add(saying("I would rather talk."), times=1)
    request = asked('tool=get_weather input={"city": "Paris"}', tools=[WEATHER], tool_choice=choice)
    (call,) = (await whole(client, **request)).choices[0].message.tool_calls
    assert call.function.name == "get_weather"
    assert len(kiro.seen("generate")) == 2


class City(BaseModel):
    city: str
    days: int = 1


@both
async def test_an_answer_of_a_given_form(client, kiro, complete):
    kiro.faults.add(saying('```json\n{"town": "Paris"}\n```'), times=1)
    request = asked('text={"city": "Paris", "days": 2}', response_format=City)
    if complete is whole:
        completion = await client.chat.completions.parse(**request)
    else:
        completion = await streamed(client, **request)
    assert completion.choices[0].message.parsed == City(city="Paris", days=2)


async def test_any_json_object(client):
    completion = await whole(client, **asked('text={"a": 1}', response_format={"type": "json_object"}))
    assert json.loads(completion.choices[0].message.content) == {"a": 1}


async def test_a_form_that_is_never_met_is_an_error(client, kiro):
    kiro.faults.add(saying("no JSON at all"), times=None)
    with pytest.raises(openai.InternalServerError, match="JSON schema"):
        await client.chat.completions.parse(**asked(response_format=City))
    assert len(kiro.seen("generate")) == 2


@both
async def test_a_picture(client, kiro, complete):
    content = [
        {"type": "image_url", "image_url": {"url": PICTURE}},
        {"type": "text", "text": lines("text=SEEN")},
    ]
    completion = await complete(client, model=MODEL, messages=[{"role": "user", "content": content}])
    assert completion.choices[0].message.content == "SEEN"
    assert current(kiro)["images"] == [{"format": "png", "source": {"bytes": PIXEL}}]


@pytest.mark.parametrize("model", ["claude-opus-5", MODEL], ids=["by the model's own fields", "by tags"])
async def test_reasoning_comes_out_and_goes_back(client, kiro, model):
    script = ("thinking=pondering", 'tool=get_weather input={"city": "Paris"}', "text=DONE")
    request = asked(*script, reasoning_effort="high", tools=[WEATHER]) | {"model": model}
    message = (await whole(client, **request)).choices[0].message
    assert message.reasoning_content == "pondering"
    reading = await client.chat.completions.create(**request, stream=True)
    thought = [getattr(c.choices[0].delta, "reasoning_content", None) async for c in reading]
    assert "".join(filter(None, thought)) == "pondering"
    if model == MODEL:
        return
    turn = message.model_dump(exclude_none=True)
    request["messages"] += [turn, {"role": "tool", "tool_call_id": message.tool_calls[0].id, "content": "sunny"}]
    assert (await whole(client, **request)).choices[0].message.content == "DONE"
    history = kiro.seen("generate")[0].document()["conversationState"]["history"]
    assert history[-1]["assistantResponseMessage"]["reasoningContent"]["reasoningText"]["text"] == "pondering"


@both
async def test_a_web_search(client, kiro, complete):
    script = ('tool=web_search input={"query": "kiro"}', "text=Found it.")
    request = asked(*script, web_search_options={}, tools=[WEATHER])
    message = (await complete(client, **request)).choices[0].message
    assert message.content == "Found it."
    assert message.tool_calls is None
    cited = [note["url_citation"] if isinstance(note, dict) else note.url_citation for note in message.annotations]
    addresses = [one["url"] if isinstance(one, dict) else one.url for one in cited]
    assert addresses
    assert all(address.startswith("https://") for address in addresses)
    assert len(kiro.seen("mcp")) == 1


async def test_searches_stand_in_the_usage_and_in_the_log(client, proxy):
    script = ('tool=web_search input={"query": "a"}', 'tool=web_search input={"query": "b"}', "text=Found it.")
    completion = await whole(client, **asked(*script, web_search_options={}))
    assert completion.usage.model_extra == {"server_tool_use": {"web_search_requests": 2}}
    assert "searched the web 2 times" in (await proxy.last_row()).notes


async def test_a_web_search_and_a_tool_of_the_client(client):
    script = (
        'tool=web_search input={"query": "kiro"}',
        'tool=get_weather input={"city": "Paris"}',
        "text=DONE",
    )
    request = asked(*script, web_search_options={}, tools=[WEATHER])
    message = (await whole(client, **request)).choices[0].message
    assert [call.function.name for call in message.tool_calls] == ["get_weather"]
    assert message.annotations


ERRORS = {
    "a rate limit": (
        HttpError(status=429, reason="USER_REQUEST_RATE_EXCEEDED"),
        openai.RateLimitError,
        "rate_limit_exceeded",
    ),
    "a quota": (HttpError(status=402, reason="MONTHLY_REQUEST_COUNT"), openai.RateLimitError, "insufficient_quota"),
    "an overflow": (
        HttpError(status=400, reason="CONTENT_LENGTH_EXCEEDS_THRESHOLD"),
        openai.BadRequestError,
        "context_length_exceeded",
    ),
    "a feature": (HttpError(status=403, reason="FEATURE_NOT_SUPPORTED"), openai.PermissionDeniedError, None),
    "no such model": (HttpError(status=400, reason="INVALID_MODEL_ID"), openai.NotFoundError, "model_not_found"),
    "a failure": (HttpError(status=500), openai.InternalServerError, None),
}


@pytest.mark.parametrize(("fault", "error", "code"), ERRORS.values(), ids=ERRORS)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
async def test_errors_by_class(client, kiro, fault, error, code, stream):
    kiro.faults.add(fault, times=None)
    with pytest.raises(error) as raised:
        await whole(client, **asked("text=x"), stream=stream)
    assert raised.value.code == code
    assert (raised.value.status_code != 429) or int(raised.value.response.headers["retry-after"]) >= 1


async def test_a_wrong_key(proxy):
    async with openai.AsyncOpenAI(api_key="sk-wrong", base_url=f"{proxy.url}/v1", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            await whole(client, **asked("text=x"))


async def test_several_choices_are_refused_by_name(client):
    with pytest.raises(openai.BadRequestError) as raised:
        await whole(client, **asked("text=x", n=2))
    assert (raised.value.param, raised.value.code) == ("n", "unsupported_value")


async def test_a_broken_stream_raises(client, kiro):
    kiro.faults.add(Reset(after=2), times=None)
    with pytest.raises(openai.APIError):
        await streamed(client, **asked("text=one two three four five"))


async def test_models(client):
    models = [model async for model in client.models.list()]
    assert MODEL in {model.id for model in models}
    assert (await client.models.retrieve(MODEL)).id == MODEL
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("no-such-model")
