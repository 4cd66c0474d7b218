"""OpenAI's own library speaking Responses against the whole proxy: streams, tools, and what is stored."""

import asyncio
import json
import sqlite3

import openai
import pytest
from pydantic import BaseModel

from kiro.emulator.faults import HttpError, Reset, Shred
from support.asked import FUNCTION, PICTURE, PIXEL, current, lines, results_sent, saying

MODEL = "claude-sonnet-4.5"
WEATHER = {"type": "function", **FUNCTION, "strict": False}
CODE = {"type": "custom", "name": "run", "description": "Runs code", "format": {"type": "text"}}
LIMA = {"city": "Lima — “x” \\ \n é😀"}
SECOND_KEY = "sk-second-0123456789"


@pytest.fixture
async def client(proxy):
    async with openai.AsyncOpenAI(api_key=proxy.key, base_url=f"{proxy.url}/v1", max_retries=0) as made:
        yield made


@pytest.fixture
async def stranger(proxy):
    """Somebody with another key of the same proxy."""
    proxy.home.keys.create("second", SECOND_KEY)
    async with openai.AsyncOpenAI(api_key=SECOND_KEY, base_url=f"{proxy.url}/v1", max_retries=0) as made:
        yield made


def asked(*script, **more):
    return {"model": MODEL, "input": lines(*script), **more}


async def streamed(client, **request):
    """The response as the library's helper assembles it."""
    async with client.responses.stream(**request) as reading:
        return await reading.get_final_response()


async def whole(client, **request):
    return await client.responses.create(**request)


both = pytest.mark.parametrize("complete", [whole, streamed], ids=["whole", "streamed"])


def of_kind(response, kind):
    return [item for item in response.output if item.type == kind]


@both
async def test_a_plain_answer(client, complete):
    response = await complete(client, **asked("text=PONG", instructions="Be brief."))
    assert (response.output_text, response.status) == ("PONG", "completed")
    assert response.usage.total_tokens == response.usage.input_tokens + response.usage.output_tokens > 0


async def test_every_event_has_its_number(client):
    events = [event async for event in await client.responses.create(**asked("text=PONG"), stream=True)]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[-1].type) == ("response.created", "response.completed")


@both
async def test_a_tool_and_its_result(client, kiro, complete):
    request = asked('tool=get_weather input={"city": "Paris"}', "text=DONE", tools=[WEATHER], store=False)
    response = await complete(client, **request)
    (call,) = of_kind(response, "function_call")
    assert (call.name, json.loads(call.arguments)) == ("get_weather", {"city": "Paris"})
    items = [{"role": "user", "content": request["input"]}]
    items += [sent_back(item) for item in response.output]
    items += [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
    assert (await complete(client, **{**request, "input": items})).output_text == "DONE"
    assert results_sent(kiro) == [(call.call_id, "sunny")]


def sent_back(item):
    """An item as clients return it; what the library adds to it for its own use stays away."""
    return {name: value for name, value in item.model_dump(exclude_none=True).items() if name != "parsed_arguments"}


@both
async def test_parallel_tools_cut_anywhere(client, kiro, complete):
    kiro.faults.add(Shred(seed=7), times=None)
    script = (
        'tool=get_weather input={"city": "Paris"}',
        f"+tool=get_weather input={json.dumps(LIMA)}",
        "text=DONE",
    )
    request = asked(*script, tools=[WEATHER], store=False)
    response = await complete(client, **request)
    first, second = of_kind(response, "function_call")
    assert [json.loads(call.arguments) for call in (first, second)] == [{"city": "Paris"}, LIMA]
    rain = [{"type": "input_text", "text": "rain"}]
    items = [
        {"role": "user", "content": request["input"]},
        *[sent_back(call) for call in (first, second)],
        {"type": "function_call_output", "call_id": second.call_id, "output": rain},
        {"type": "function_call_output", "call_id": first.call_id, "output": "sun"},
    ]
    assert (await complete(client, **{**request, "input": items})).output_text == "DONE"
    assert results_sent(kiro) == [(first.call_id, "sun"), (second.call_id, "rain")]


@both
async def test_a_tool_that_takes_free_text(client, complete):
    text = 'print("é")\nprint(2)'
    request = asked(f"tool=run input={json.dumps(text)}", "text=DONE", tools=[CODE], store=False)
    (call,) = of_kind(await complete(client, **request), "custom_tool_call")
    assert (call.name, call.input) == ("run", text)
    items = [
        {"role": "user", "content": request["input"]},
        sent_back(call),
        {"type": "custom_tool_call_output", "call_id": call.call_id, "output": "2"},
    ]
    assert (await complete(client, **{**request, "input": items})).output_text == "DONE"


async def test_a_forced_tool_is_called(client, kiro):
    kiro.faults.add(saying("I would rather talk."), times=1)
    choice = {"type": "function", "name": "get_weather"}
    request = asked('tool=get_weather input={"city": "Paris"}', tools=[WEATHER], tool_choice=choice)
    assert len(of_kind(await whole(client, **request), "function_call")) == 1
    assert len(kiro.seen("generate")) == 2


class City(BaseModel):
    city: str
    days: int = 1


@both
async def test_an_answer_of_a_given_form(client, kiro, complete):
    kiro.faults.add(saying('Here: {"town": "Paris"}'), times=1)
    request = asked('text={"city": "Paris", "days": 2}', text_format=City)
    response = await (client.responses.parse(**request) if complete is whole else streamed(client, **request))
    assert response.output_parsed == City(city="Paris", days=2)


async def test_a_form_that_is_never_met_is_an_error(client, kiro):
    kiro.faults.add(saying("no JSON at all"), times=None)
    with pytest.raises(openai.InternalServerError, match="JSON schema"):
        await client.responses.parse(**asked(text_format=City))


@both
async def test_a_picture(client, kiro, complete):
    content = [{"type": "input_image", "image_url": PICTURE}, {"type": "input_text", "text": lines("text=SEEN")}]
    response = await complete(client, model=MODEL, input=[{"role": "user", "content": content}])
    assert response.output_text == "SEEN"
    assert current(kiro)["images"] == [{"format": "png", "source": {"bytes": PIXEL}}]


@both
async def test_reasoning_comes_out_and_goes_back(client, kiro, complete):
    """Sealed for clients that keep their own history; the summary is shown, and not what goes back to Kiro."""
    script = ("thinking=pondering", 'tool=get_weather input={"city": "Paris"}', "text=DONE")
    wishes = {
        "tools": [WEATHER],
        "reasoning": {"effort": "high", "summary": "auto"},
        "include": ["reasoning.encrypted_content"],
        "store": False,
    }
    request = {**asked(*script, **wishes), "model": "claude-opus-5"}
    response = await complete(client, **request)
    (thought,) = of_kind(response, "reasoning")
    assert [part.text for part in thought.summary] == ["pondering"]
    (call,) = of_kind(response, "function_call")
    items = [
        {"role": "user", "content": request["input"]},
        {**sent_back(thought), "summary": []},
        sent_back(call),
        {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"},
    ]
    assert (await complete(client, **{**request, "input": items})).output_text == "DONE"
    history = kiro.seen("generate")[0].document()["conversationState"]["history"]
    assert history[-1]["assistantResponseMessage"]["reasoningContent"]["reasoningText"]["text"] == "pondering"


@both
async def test_a_web_search(client, kiro, complete):
    request = asked('tool=web_search input={"query": "kiro"}', "text=Found it.", tools=[{"type": "web_search"}])
    response = await complete(client, **request)
    (search,) = of_kind(response, "web_search_call")
    assert (search.status, search.action.query) == ("completed", "kiro")
    assert response.output_text == "Found it."
    assert len(kiro.seen("mcp")) == 1


async def test_a_web_search_and_a_tool_of_the_client(client, kiro):
    """Both at once: the hits are the model's to know in the next turn."""
    script = ('tool=web_search input={"query": "kiro"}', '+tool=get_weather input={"city": "Paris"}')
    request = asked(*script, tools=[WEATHER, {"type": "web_search"}], include=["web_search_call.action.sources"])
    first = await whole(client, **request)
    (search,), (call,) = of_kind(first, "web_search_call"), of_kind(first, "function_call")
    assert all(source.url.startswith("https://") for source in search.action.sources)
    answer = {"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}
    more = {"role": "user", "content": lines("text=DONE")}
    second = await whole(client, **{**request, "input": [answer, more]}, previous_response_id=first.id)
    assert second.output_text == "DONE"
    assert results_sent(kiro) == [(call.call_id, "sunny")]
    history = json.dumps(kiro.seen("generate")[0].document()["conversationState"]["history"])
    assert all(source.url in history for source in search.action.sources)


class TestStored:
    @both
    async def test_a_chain_remembers_what_was_said(self, client, kiro, complete):
        first = await complete(client, **asked("text=PONG", instructions="Be brief."))
        second = await complete(client, **asked("text=AGAIN"), previous_response_id=first.id)
        assert (second.output_text, second.previous_response_id) == ("AGAIN", first.id)
        third = await complete(client, **asked("text=THIRD"), previous_response_id=second.id)
        assert third.output_text == "THIRD"
        history = kiro.seen("generate")[0].document()["conversationState"]["history"]
        said = [one["assistantResponseMessage"]["content"] for one in history if "assistantResponseMessage" in one]
        assert said[-2:] == ["PONG", "AGAIN"]
        assert "Be brief." not in json.dumps(history)

    async def test_a_tool_round_trip_by_its_chain(self, client, kiro):
        request = asked('tool=get_weather input={"city": "Paris"}', "text=DONE", tools=[WEATHER])
        first = await whole(client, **request)
        (call,) = of_kind(first, "function_call")
        answer = [{"type": "function_call_output", "call_id": call.call_id, "output": "sunny"}]
        second = await whole(client, **{**request, "input": answer}, previous_response_id=first.id)
        assert second.output_text == "DONE"
        assert results_sent(kiro) == [(call.call_id, "sunny")]

    @both
    async def test_it_is_there_until_it_is_deleted(self, client, complete):
        made = await complete(client, **asked("text=PONG"))
        found = await client.responses.retrieve(made.id)
        assert (found.id, found.output_text) == (made.id, "PONG")
        items = [item async for item in client.responses.input_items.list(made.id)]
        assert [item.content[0].text for item in items] == [lines("text=PONG")]
        await client.responses.delete(made.id)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(made.id)
        with pytest.raises(openai.BadRequestError) as raised:
            await whole(client, **asked("text=x"), previous_response_id=made.id)
        assert raised.value.code == "previous_response_not_found"

    async def test_its_input_comes_in_pages(self, client):
        said = [{"role": "user", "content": f"{number}"} for number in range(5)]
        made = await whole(client, model=MODEL, input=[*said, {"role": "user", "content": lines("text=PONG")}])
        first = await client.responses.input_items.list(made.id, limit=2, order="asc")
        assert [item.content[0].text for item in first.data] == ["0", "1"]
        assert first.has_more
        rest = await client.responses.input_items.list(made.id, order="asc", after=first.data[-1].id)
        assert [item.content[0].text for item in rest.data] == ["2", "3", "4", lines("text=PONG")]

    async def test_what_was_not_to_be_stored_is_not(self, client):
        made = await whole(client, **asked("text=PONG", store=False))
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(made.id)
        with pytest.raises(openai.BadRequestError):
            await whole(client, **asked("text=x"), previous_response_id=made.id)

    async def test_another_key_sees_nothing_of_it(self, client, stranger):
        made = await whole(client, **asked("text=PONG"))
        for question in (stranger.responses.retrieve, stranger.responses.delete, stranger.responses.input_items.list):
            with pytest.raises(openai.NotFoundError):
                await question(made.id)
        with pytest.raises(openai.BadRequestError):
            await whole(stranger, **asked("text=x"), previous_response_id=made.id)
        assert (await client.responses.retrieve(made.id)).id == made.id

    async def test_who_goes_on_at_once_need_not_fear_for_what_is_still_being_stored(self, client, proxy):
        busy = sqlite3.connect(proxy.home.paths.database_file)
        busy.execute("BEGIN IMMEDIATE")
        first = await whole(client, **asked("text=PONG"))
        second = asyncio.create_task(whole(client, **asked("text=AGAIN"), previous_response_id=first.id))
        await asyncio.wait({second}, timeout=0.2)
        busy.rollback()
        busy.close()
        assert (await second).output_text == "AGAIN"

    async def test_an_item_can_be_referred_to(self, client, kiro):
        """Also one of a response that was not to be stored: some clients do so a moment later."""
        first = await whole(client, **asked("text=PONG", store=False))
        items = [
            {"type": "item_reference", "id": first.output[0].id},
            {"role": "user", "content": lines("text=DONE")},
        ]
        assert (await whole(client, model=MODEL, input=items)).output_text == "DONE"
        assert "PONG" in json.dumps(kiro.seen("generate")[0].document()["conversationState"]["history"])


async def test_a_compaction_stands_for_what_was_said(client, kiro):
    kiro.faults.add(saying("They want X; it is half done."), times=1)
    compacted = await client.responses.compact(model=MODEL, input=[{"role": "user", "content": "Build X."}])
    (item,) = compacted.output
    items = [sent_back(item), {"role": "user", "content": lines("text=DONE")}]
    assert (await whole(client, model=MODEL, input=items)).output_text == "DONE"
    assert "it is half done" in kiro.seen("generate")[0].body.decode()


async def test_counting(client):
    counted = await client.responses.input_tokens.count(model=MODEL, input=lines("text=x"), tools=[WEATHER])
    assert counted.input_tokens > 20


ERRORS = {
    "a rate limit": (
        HttpError(status=429, reason="USER_REQUEST_RATE_EXCEEDED"),
        openai.RateLimitError,
        "rate_limit_exceeded",
    ),
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
    assert raised.value.request_id.startswith("req_")


async def test_a_wrong_key(proxy):
    async with openai.AsyncOpenAI(api_key="sk-wrong", base_url=f"{proxy.url}/v1", max_retries=0) as client:
        with pytest.raises(openai.AuthenticationError):
            await whole(client, **asked("text=x"))


async def test_a_stream_that_breaks_says_so(client, kiro):
    """The library raises where the connection ends; before that comes the failure, in the dialect's own event."""
    kiro.faults.add(Reset(after=2), times=None)
    seen = []
    with pytest.raises((openai.APIError, openai.APIConnectionError)):
        async for event in await client.responses.create(**asked("text=one two three four five"), stream=True):
            seen = [*seen[-1:], event]
    assert seen[-1].type == "response.failed"
    assert seen[-1].response.error.code == "server_error"
