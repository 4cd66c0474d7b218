"""Google's own library against the whole proxy."""

import base64
import enum
import gc
import json

import pytest
from google import genai
from google.genai import errors, types
from pydantic import BaseModel

from kiro.emulator.faults import HttpError, Reset, Shred
from support.asked import FUNCTION, PIXEL, SCHEMA, current, lines, results_sent, saying

MODEL = "claude-sonnet-4.5"
WEATHER = types.Tool(
    function_declarations=[
        types.FunctionDeclaration(name=FUNCTION["name"], description="Weather", parameters_json_schema=SCHEMA)
    ]
)
BY_HAND = types.AutomaticFunctionCallingConfig(disable=True)
LIMA = {"city": "Lima — “x” \\ \n é😀"}


def library(proxy, key, version):
    options = types.HttpOptions(base_url=proxy.url, api_version=version)
    return genai.Client(api_key=key, http_options=options).aio


@pytest.fixture
async def client(proxy):
    made = library(proxy, proxy.key, None)
    yield made.models
    await made.aclose()


def config(**wishes):
    return types.GenerateContentConfig(automatic_function_calling=BY_HAND, **wishes)


class Read:
    """The parts of an answer, whether it came whole or in pieces."""

    def __init__(self, responses):
        self.parts = [part for one in responses for part in one.candidates[0].content.parts or []]
        self.last = responses[-1]

    @property
    def text(self):
        return "".join(part.text for part in self.parts if part.text and not part.thought)

    @property
    def thoughts(self):
        return "".join(part.text for part in self.parts if part.thought)

    @property
    def calls(self):
        return [part.function_call for part in self.parts if part.function_call]

    @property
    def turn(self):
        """The answer as the library keeps it in a chat: without the thoughts."""
        return types.Content(role="model", parts=[part for part in self.parts if not part.thought])


async def whole(client, contents, model=MODEL, **wishes):
    return Read([await client.generate_content(model=model, contents=contents, config=config(**wishes))])


async def streamed(client, contents, model=MODEL, **wishes):
    reading = await client.generate_content_stream(model=model, contents=contents, config=config(**wishes))
    return Read([chunk async for chunk in reading])


both = pytest.mark.parametrize("complete", [whole, streamed], ids=["whole", "streamed"])


def user(*parts):
    return types.Content(role="user", parts=[types.Part(text=one) if isinstance(one, str) else one for one in parts])


def answered(call, text):
    return types.Part(function_response=types.FunctionResponse(id=call.id, name=call.name, response={"output": text}))


@both
async def test_a_plain_answer(client, complete):
    read = await complete(client, lines("text=PONG"), system_instruction="Be brief.", temperature=0.5)
    assert read.text == "PONG"
    assert read.last.candidates[0].finish_reason == types.FinishReason.STOP
    used = read.last.usage_metadata
    assert used.total_token_count == used.prompt_token_count + used.candidates_token_count > 0


@pytest.mark.parametrize("version", ["v1", "v1beta"])
async def test_under_either_version(proxy, version):
    client = library(proxy, proxy.key, version)
    assert (await whole(client.models, lines("text=PONG"))).text == "PONG"
    assert (await streamed(client.models, lines("text=PONG"))).text == "PONG"
    pages = await client.models.list()
    assert f"models/{MODEL}" in {model.name async for model in pages}
    assert (await client.models.get(model=MODEL)).input_token_limit == 200_000
    await client.aclose()


@both
async def test_a_function_and_its_response(client, kiro, complete):
    contents = [user(lines('tool=get_weather input={"city": "Paris"}', "text=DONE"))]
    read = await complete(client, contents, tools=[WEATHER])
    (call,) = read.calls
    assert (call.name, call.args) == ("get_weather", {"city": "Paris"})
    contents += [read.turn, user(answered(call, "sunny"))]
    assert (await complete(client, contents, tools=[WEATHER])).text == "DONE"
    assert results_sent(kiro) == [(call.id, "sunny")]


@both
async def test_parallel_functions_cut_anywhere(client, kiro, complete):
    kiro.faults.add(Shred(seed=3), times=None)
    script = (
        'tool=get_weather input={"city": "Paris"}',
        f"+tool=get_weather input={json.dumps(LIMA)}",
        "text=DONE",
    )
    contents = [user(lines(*script))]
    read = await complete(client, contents, tools=[WEATHER])
    first, second = read.calls
    assert [call.args for call in (first, second)] == [{"city": "Paris"}, LIMA]
    failed = types.FunctionResponse(id=first.id, name=first.name, response={"error": "no sun"})
    contents += [read.turn, user(answered(second, "rain"), types.Part(function_response=failed))]
    assert (await complete(client, contents, tools=[WEATHER])).text == "DONE"
    assert results_sent(kiro) == [(first.id, "no sun"), (second.id, "rain")]
    results = current(kiro)["userInputMessageContext"]["toolResults"]
    assert [result["status"] for result in results] == ["error", "success"]


async def test_responses_without_ids_are_paired_by_name_and_order(client, kiro):
    script = ('tool=get_weather input={"city": "Paris"}', '+tool=get_weather input={"city": "Lima"}', "text=DONE")
    contents = [user(lines(*script))]
    read = await whole(client, contents, tools=[WEATHER])
    calls = [types.Part(function_call=types.FunctionCall(name=call.name, args=call.args)) for call in read.calls]
    answers = [types.Part.from_function_response(name="get_weather", response={"output": text}) for text in ("a", "b")]
    contents += [types.Content(role="model", parts=calls), user(*answers)]
    assert (await whole(client, contents, tools=[WEATHER])).text == "DONE"
    assert [text for _, text in results_sent(kiro)] == ["a", "b"]


async def test_the_library_calls_functions_by_itself(client):
    asked = []

    def get_weather(city: str, days: int = 1) -> str:
        """Weather for a city."""
        asked.append((city, days))
        return "sunny"

    response = await client.generate_content(
        model=MODEL,
        contents=lines('tool=get_weather input={"city": "Paris", "days": 2}', "text=DONE"),
        config=types.GenerateContentConfig(tools=[get_weather]),
    )
    assert (asked, response.text) == ([("Paris", 2)], "DONE")


async def test_a_forced_function_is_called(client, kiro):
    kiro.faults.add(saying("I would rather talk."), times=1)
    calling = types.FunctionCallingConfig(
        mode=types.FunctionCallingConfigMode.ANY, allowed_function_names=["get_weather"]
    )
    read = await whole(
        client,
        lines('tool=get_weather input={"city": "Paris"}'),
        tools=[WEATHER],
        tool_config=types.ToolConfig(function_calling_config=calling),
    )
    assert [call.name for call in read.calls] == ["get_weather"]
    assert len(kiro.seen("generate")) == 2


class City(BaseModel):
    city: str
    days: int | None = None


FORMS = {
    "the library's own": {"response_schema": City},
    "a schema of Google's": {
        "response_schema": {
            "type": "OBJECT",
            "properties": {"city": {"type": "STRING"}, "days": {"type": "INTEGER", "nullable": True}},
            "required": ["city"],
        }
    },
    "a JSON Schema": {"response_json_schema": City.model_json_schema()},
}


@both
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
async def test_an_answer_of_a_given_form(client, kiro, complete, form):
    kiro.faults.add(saying('```json\n{"town": "Paris"}\n```'), times=1)
    wishes = {"response_mime_type": "application/json", **form}
    read = await complete(client, lines('text={"city": "Paris", "days": null}'), **wishes)
    assert City.model_validate_json(read.text) == City(city="Paris")
    assert len(kiro.seen("generate")) == 2


class Mood(enum.Enum):
    CALM = "calm"
    WILD = "wild"


@pytest.mark.parametrize("answer", ["wild", '"wild"', "`wild`\n"], ids=["bare", "quoted", "as code"])
async def test_one_word_of_a_few(client, kiro, answer):
    kiro.faults.add(saying("I feel rather wild today."), times=1)
    kiro.faults.add(saying(answer), times=1)
    wishes = config(response_mime_type="text/x.enum", response_schema=Mood)
    response = await client.generate_content(model=MODEL, contents="hi", config=wishes)
    assert (response.text, response.parsed) == ("wild", Mood.WILD)


async def test_a_form_that_is_never_met_is_an_error(client, kiro):
    kiro.faults.add(saying("no JSON at all"), times=None)
    with pytest.raises(errors.ServerError, match="JSON schema"):
        await whole(client, lines(), response_mime_type="application/json", response_schema=City)


@both
async def test_a_picture(client, kiro, complete):
    picture = types.Part.from_bytes(data=base64.b64decode(PIXEL), mime_type="image/jpeg")
    read = await complete(client, [user(picture, lines("text=SEEN"))])
    assert read.text == "SEEN"
    assert current(kiro)["images"] == [{"format": "png", "source": {"bytes": PIXEL}}]


@both
@pytest.mark.parametrize("model", ["claude-opus-5", MODEL], ids=["by the model's own fields", "by tags"])
async def test_thoughts_come_out_and_their_signature_goes_back(client, kiro, complete, model):
    wish = types.ThinkingConfig(include_thoughts=True, thinking_budget=2000)
    script = ("thinking=pondering", 'tool=get_weather input={"city": "Paris"}', "text=DONE")
    contents = [user(lines(*script))]
    read = await complete(client, contents, model, tools=[WEATHER], thinking_config=wish)
    assert read.thoughts == "pondering"
    contents += [read.turn, user(answered(read.calls[0], "sunny"))]
    again = await complete(client, contents, model, tools=[WEATHER], thinking_config=wish)
    assert again.text == "DONE"
    if model != MODEL:
        history = kiro.seen("generate")[0].document()["conversationState"]["history"]
        reasoning = history[-1]["assistantResponseMessage"]["reasoningContent"]["reasoningText"]
        assert reasoning["text"] == "pondering"


async def test_thoughts_stay_away_unless_asked_for(client):
    read = await whole(client, lines("thinking=pondering", "text=PONG"), "claude-opus-5")
    assert (read.thoughts, read.text) == ("", "PONG")


@both
async def test_a_web_search(client, kiro, complete):
    search = types.Tool(google_search=types.GoogleSearch())
    read = await complete(client, lines('tool=.*search input={"query": "kiro"}', "text=Found it."), tools=[search])
    assert (read.text, read.calls) == ("Found it.", [])
    grounding = read.last.candidates[0].grounding_metadata
    assert grounding.web_search_queries == ["kiro"]
    assert all(chunk.web.uri.startswith("https://") for chunk in grounding.grounding_chunks)
    assert len(kiro.seen("mcp")) == 1


async def test_a_web_search_and_a_function_of_the_client(client):
    search = types.Tool(google_search=types.GoogleSearch())
    script = ('tool=.*search input={"query": "kiro"}', 'tool=get_weather input={"city": "Paris"}')
    read = await streamed(client, lines(*script), tools=[search, WEATHER])
    assert [call.name for call in read.calls] == ["get_weather"]
    assert read.last.candidates[0].grounding_metadata.web_search_queries == ["kiro"]


async def test_a_chat_remembers(proxy, kiro):
    client = library(proxy, proxy.key, None)
    chat = client.chats.create(model=MODEL)
    assert (await chat.send_message(lines("text=PONG"))).text == "PONG"
    chunks = [chunk.text async for chunk in await chat.send_message_stream(lines("text=AGAIN"))]
    assert "".join(filter(None, chunks)) == "AGAIN"
    assert (await chat.send_message(lines("text=THIRD"))).text == "THIRD"
    history = kiro.seen("generate")[0].document()["conversationState"]["history"]
    said = [one["assistantResponseMessage"]["content"] for one in history if "assistantResponseMessage" in one]
    assert said == ["PONG", "AGAIN"]
    await client.aclose()


async def test_counting(client):
    counted = await client.count_tokens(model=MODEL, contents=lines("text=x"))
    assert counted.total_tokens > 5


ERRORS = {
    "a rate limit": (HttpError(status=429, reason="USER_REQUEST_RATE_EXCEEDED"), 429, "RESOURCE_EXHAUSTED"),
    "an overflow": (HttpError(status=400, reason="CONTENT_LENGTH_EXCEEDS_THRESHOLD"), 400, "INVALID_ARGUMENT"),
    "a feature": (HttpError(status=403, reason="FEATURE_NOT_SUPPORTED"), 403, "PERMISSION_DENIED"),
    "no such model": (HttpError(status=400, reason="INVALID_MODEL_ID"), 404, "NOT_FOUND"),
    "an overload": (HttpError(status=503, reason="INSUFFICIENT_MODEL_CAPACITY"), 503, "UNAVAILABLE"),
    "a failure": (HttpError(status=500), 500, "INTERNAL"),
}


@both
@pytest.mark.parametrize(("fault", "code", "status"), ERRORS.values(), ids=ERRORS)
async def test_errors_by_class(client, kiro, complete, fault, code, status):
    kiro.faults.add(fault, times=None)
    with pytest.raises(errors.ClientError if code < 500 else errors.ServerError) as raised:
        await complete(client, lines("text=x"))
    assert (raised.value.code, raised.value.status) == (code, status)


async def test_a_wrong_key(proxy):
    client = library(proxy, "sk-wrong", None)
    with pytest.raises(errors.ClientError) as raised:
        await whole(client.models, lines("text=x"))
    assert raised.value.code == 401
    await client.aclose()


@pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning")
async def test_a_broken_stream_raises(client, kiro):
    kiro.faults.add(Reset(after=2), times=None)
    with pytest.raises(errors.ServerError):
        await streamed(client, lines("text=one two three four five"))
    gc.collect()  # the library leaves its connection to the collector, which complains of it: here, not in another test
