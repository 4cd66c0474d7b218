"""Answers of several rounds: web search, verified JSON, forced tools."""

import json

import pytest

from kiro.emulator.answers import RawEvent
from kiro.emulator.faults import HttpError, Replay
from support.asked import saying
from support.sse import blocks_of, records

MODEL = "claude-sonnet-4-5"
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 3}
RUN = {
    "name": "run",
    "description": "Runs",
    "input_schema": {"type": "object", "properties": {"cmd": {"type": "string"}}},
}
PERSON = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name"],
    "additionalProperties": False,
}


def ask(*lines, **more):
    text = "\n".join(["Test.", *(f"EMULATE: {line}" for line in lines), "EMULATE: end"])
    return {"model": MODEL, "max_tokens": 8000, "messages": [{"role": "user", "content": text}], **more}


async def message(proxy, document):
    async with proxy.post("/v1/messages", document) as response:
        return response.status, await response.json()


async def stream(proxy, document):
    async with proxy.post("/v1/messages", {**document, "stream": True}) as response:
        assert response.status == 200
        return records(await response.read())


class TestSearch:
    async def test_claude_code_s_side_query_needs_no_model(self, proxy, kiro):
        document = {
            "model": "claude-opus-5",
            "max_tokens": 1024,
            "system": [{"type": "text", "text": "You are an assistant for performing a web search tool use"}],
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "Perform a web search for the query: weather in Selters"}],
                }
            ],
            "tools": [SEARCH],
            "tool_choice": {"type": "tool", "name": "web_search"},
        }
        found = await stream(proxy, document)
        call, result, text = blocks_of(found)
        assert [call["type"], result["type"], text["type"]] == ["server_tool_use", "web_search_tool_result", "text"]
        assert json.loads(call["json"]) == {"query": "weather in Selters"}
        assert result["tool_use_id"] == call["id"]
        assert result["content"][0]["url"].startswith("https://")
        assert found[-2][1]["usage"]["server_tool_use"] == {"web_search_requests": 1}
        assert kiro.seen("generate") == []
        (asked,) = kiro.seen("mcp")
        assert asked.document()["params"] == {"name": "web_search", "arguments": {"query": "weather in Selters"}}
        _, whole = await message(proxy, document)
        assert [block["type"] for block in whole["content"]] == ["server_tool_use", "web_search_tool_result", "text"]

    async def test_beside_other_tools_the_model_searches_and_goes_on(self, proxy, kiro):
        document = ask('tool=web_search input={"query": "kiro"}', "text=Found it.", tools=[RUN, SEARCH])
        found = await stream(proxy, document)
        kinds = [block["type"] for block in blocks_of(found)]
        assert kinds == ["server_tool_use", "web_search_tool_result", "text"]
        assert blocks_of(found)[-1]["text"] == "Found it."
        assert [name for name, _ in found].count("message_start") == 1
        assert found[-2][1]["delta"]["stop_reason"] == "end_turn"
        assert found[-2][1]["usage"]["server_tool_use"] == {"web_search_requests": 1}
        first, second = reversed(kiro.seen("generate"))
        tools = first.document()["conversationState"]["currentMessage"]["userInputMessage"]["userInputMessageContext"][
            "tools"
        ]
        assert {tool["toolSpecification"]["name"] for tool in tools} == {"run", "web_search"}
        results = second.document()["conversationState"]["currentMessage"]["userInputMessage"][
            "userInputMessageContext"
        ]["toolResults"]
        assert "https://" in results[0]["content"][0]["text"]

    async def test_a_client_s_own_call_goes_to_the_client(self, proxy):
        document = ask('tool=web_search input={"query": "kiro"}', '+tool=run input={"cmd": "ls"}', tools=[RUN, SEARCH])
        status, whole = await message(proxy, document)
        assert status == 200
        assert whole["stop_reason"] == "tool_use"
        assert {block["type"] for block in whole["content"]} == {
            "server_tool_use",
            "web_search_tool_result",
            "tool_use",
        }

    async def test_searches_are_bounded(self, proxy, kiro):
        lines = [f"tool=web_search input={json.dumps({'query': f'q{number}'})}" for number in range(9)]
        _, whole = await message(proxy, ask(*lines, "text=Done.", tools=[RUN, {**SEARCH, "max_uses": 2}]))
        assert len(kiro.seen("mcp")) == 2
        assert whole["usage"]["server_tool_use"] == {"web_search_requests": 2}
        errors = [
            block["content"]["error_code"]
            for block in whole["content"]
            if block["type"] == "web_search_tool_result" and isinstance(block["content"], dict)
        ]
        assert set(errors) == {"max_uses_exceeded"}

    @pytest.mark.parametrize(
        "refusal",
        [
            HttpError(status=403),
            HttpError(status=403, reason="FEATURE_NOT_SUPPORTED"),
            HttpError(status=403, message="The bearer token is invalid."),
            HttpError(status=400, reason="INVALID_MODEL_ID"),
        ],
        ids=["denied", "not in this plan", "a token it does not take", "no such model"],
    )
    async def test_an_account_that_may_not_search_goes_on_talking(self, proxy, kiro, refusal):
        kiro.faults.add(refusal, times=None, operation="mcp")
        searching = ask('tool=web_search input={"query": "kiro"}', "text=Sorry.", tools=[RUN, SEARCH])
        for _ in range(2):
            status, whole = await message(proxy, searching)
            assert (status, whole["content"][-1]["text"]) == (200, "Sorry.")
        account = proxy.home.accounts.get("first")
        assert (account.state, account.flavour) == ("active", "ide")

    async def test_a_failed_search_is_told_to_model_and_client(self, proxy, kiro):
        kiro.faults.add(HttpError(status=500), times=None, operation="mcp")
        _, whole = await message(
            proxy, ask('tool=web_search input={"query": "kiro"}', "text=Sorry.", tools=[RUN, SEARCH])
        )
        assert whole["content"][1]["content"] == {"type": "web_search_tool_result_error", "error_code": "unavailable"}
        assert whole["content"][-1]["text"] == "Sorry."

    async def test_domains_are_filtered(self, proxy):
        document = ask(
            'tool=web_search input={"query": "kiro"}',
            "text=x",
            tools=[RUN, {**SEARCH, "allowed_domains": ["nowhere.invalid"]}],
        )
        _, whole = await message(proxy, document)
        assert whole["content"][1]["content"] == []

    async def test_a_past_search_comes_back_as_text(self, proxy, kiro):
        _, whole = await message(
            proxy, ask('tool=web_search input={"query": "kiro"}', "text=Found it.", tools=[RUN, SEARCH])
        )
        document = ask("text=ok", tools=[RUN, SEARCH])
        document["messages"] = [
            {"role": "user", "content": "before"},
            {"role": "assistant", "content": whole["content"]},
            *document["messages"],
        ]
        status, _ = await message(proxy, document)
        assert status == 200
        assert "https://" in json.dumps(kiro.seen("generate")[0].document()["conversationState"]["history"])

    async def test_thinking_before_a_search_goes_on_with_it(self, proxy, kiro):
        document = ask(
            "thinking=pondering", 'tool=web_search input={"query": "kiro"}', "text=Found it.", tools=[SEARCH]
        )
        await stream(proxy, document | {"model": "claude-opus-5", "thinking": {"type": "adaptive"}})
        history = kiro.seen("generate")[0].document()["conversationState"]["history"]
        assert history[-1]["assistantResponseMessage"]["reasoningContent"]["reasoningText"]["text"] == "pondering"

    async def test_a_search_that_was_forced_leaves_the_model_free(self, proxy, kiro):
        document = ask(
            'tool=web_search input={"query": "kiro"}',
            'tool=run input={"cmd": "ls"}',
            tools=[RUN, SEARCH],
            tool_choice={"type": "any"},
        )
        _, whole = await message(proxy, document)
        assert [block["type"] for block in whole["content"]] == [
            "server_tool_use",
            "web_search_tool_result",
            "tool_use",
        ]


FORMAT = {"format": {"type": "json_schema", "schema": PERSON}}


class TestSearchesBeforeAnAnswerThatHasToBeSo:
    async def test_json(self, proxy, kiro):
        script = ('tool=web_search input={"query": "Ann"}', 'text={"name": "Ann"}')
        _, whole = await message(proxy, ask(*script, tools=[RUN, SEARCH], output_config=FORMAT))
        kinds = [block["type"] for block in whole["content"]]
        assert kinds == ["server_tool_use", "web_search_tool_result", "text"]
        assert json.loads(whole["content"][-1]["text"]) == {"name": "Ann"}

    async def test_json_that_does_not_match_is_asked_for_once_more_with_the_hits(self, proxy, kiro):
        script = ('tool=web_search input={"query": "Ann"}', "text=Ann, I think.")
        status, document = await message(proxy, ask(*script, tools=[RUN, SEARCH], output_config=FORMAT))
        assert (status, document["error"]["type"]) == (502, "api_error")
        assert len(kiro.seen("mcp")) == 1
        assert len(kiro.seen("generate")) == 3
        last = kiro.seen("generate")[0].document()["conversationState"]
        assert "cannot be used" in last["currentMessage"]["userInputMessage"]["content"]
        assert "https://" in json.dumps(last["history"])

    async def test_a_search_that_follows_such_a_question_does_not_say_the_refused_answer_again(self, proxy, kiro):
        call = {"toolUseId": "t1", "name": "web_search", "input": '{"query": "Ann"}', "stop": True}
        kiro.faults.add(saying("Ann, I think."), times=1)
        kiro.faults.add(
            Replay(
                events=(
                    RawEvent(event_type="toolUseEvent", payload=call),
                    RawEvent(event_type="metadataEvent", payload={"stopReason": "TOOL_USE"}),
                )
            ),
            times=1,
        )
        kiro.faults.add(saying('{"name": "Ann"}'), times=1)
        _, whole = await message(proxy, ask(tools=[RUN, SEARCH], output_config=FORMAT))
        assert json.loads(whole["content"][-1]["text"]) == {"name": "Ann"}
        history = kiro.seen("generate")[0].document()["conversationState"]["history"]
        answers = [turn["assistantResponseMessage"] for turn in history if "assistantResponseMessage" in turn]
        assert ["Ann, I think." in answer["content"] for answer in answers] == [True, False]

    async def test_a_tool_by_name(self, proxy, kiro):
        kiro.faults.add(saying("I would rather talk."), times=1)
        choice = {"type": "tool", "name": "run"}
        _, whole = await message(proxy, ask('tool=run input={"cmd": "ls"}', tools=[RUN, SEARCH], tool_choice=choice))
        assert [block["type"] for block in whole["content"]] == ["tool_use"]


class TestJson:
    @pytest.mark.parametrize(
        "said",
        [
            '{"name": "Ann", "age": 3}',
            '```json\n{"name": "Ann", "age": 3}\n```',
            'Here you are:\n{"name": "Ann", "age": 3}\nBye.',
        ],
        ids=["bare", "fenced", "in prose"],
    )
    async def test_the_answer_is_bare_json(self, proxy, kiro, said):
        kiro.faults.add(saying(said))
        wanted = {"format": {"type": "json_schema", "schema": PERSON}}
        _, whole = await message(proxy, ask(output_config=wanted))
        assert whole["content"] == [{"type": "text", "text": '{"name": "Ann", "age": 3}'}]
        sent = kiro.seen("generate")[0].document()["conversationState"]["currentMessage"]["userInputMessage"]["content"]
        assert '"name"' in sent

    async def test_what_does_not_match_is_asked_for_once_more(self, proxy, kiro):
        kiro.faults.add(saying('{"age": "old"}'), times=1)
        kiro.faults.add(saying('{"name": "Ann"}'), times=1)
        found = await stream(proxy, ask(output_config={"format": {"type": "json_schema", "schema": PERSON}}))
        assert blocks_of(found)[0]["text"] == '{"name": "Ann"}'
        again = kiro.seen("generate")[0].document()["conversationState"]["currentMessage"]["userInputMessage"][
            "content"
        ]
        assert "cannot be used" in again

    async def test_what_never_matches_is_an_error(self, proxy, kiro):
        kiro.faults.add(saying("no JSON at all"), times=None)
        status, document = await message(
            proxy, ask(output_config={"format": {"type": "json_schema", "schema": PERSON}})
        )
        assert (status, document["error"]["type"]) == (502, "api_error")
        assert "JSON" in document["error"]["message"]
        assert len(kiro.seen("generate")) == 2


class TestForcedTools:
    async def test_a_call_streams_as_soon_as_it_comes(self, proxy):
        found = await stream(proxy, ask('tool=run input={"cmd": "ls"}', tools=[RUN], tool_choice={"type": "any"}))
        assert [block["type"] for block in blocks_of(found)] == ["tool_use"]

    async def test_a_missing_call_is_asked_for_once_more(self, proxy, kiro):
        kiro.faults.add(saying("I would rather talk."), times=1)
        document = ask('tool=run input={"cmd": "ls"}', tools=[RUN], tool_choice={"type": "tool", "name": "run"})
        _, whole = await message(proxy, document)
        assert [block["type"] for block in whole["content"]] == ["tool_use"]
        again = kiro.seen("generate")[0].document()["conversationState"]["currentMessage"]["userInputMessage"][
            "content"
        ]
        assert "Respond by calling the tool run now." in again

    async def test_a_call_that_never_comes_ends_with_the_text(self, proxy, kiro):
        kiro.faults.add(saying("I would rather talk."), times=None)
        _, whole = await message(proxy, ask(tools=[RUN], tool_choice={"type": "any"}))
        assert whole["content"] == [{"type": "text", "text": "I would rather talk."}]
        assert len(kiro.seen("generate")) == 2
        row = await proxy.last_row()
        assert len(row.attempts) == 2
