"""The emulator over HTTP: who may ask, the three flavours, the small questions, what it remembers."""

import asyncio
import json
from typing import Any

import aiohttp
import pytest

from kiro.emulator.accounts import BUILDER_ID_ARN, SOCIAL_ARN, Kind
from kiro.emulator.models import MODELS
from kiro.emulator.seed import demo_credentials
from kiro.emulator.server import Emulator, running_in_thread
from support.asking import Asker
from support.bodies import body, dump, tool
from support.clock import FakeClock
from support.frames import calls_of, payload_of, text_of

ASK = body("EMULATE: text=PONG")
BAD_TOKEN = "The bearer token included in the request is invalid."


class TestAnswers:
    async def test_text_then_the_tail_in_its_order(self, asker: Asker) -> None:
        found = await asker.stream(ASK)
        assert found[0][0] == "messageMetadataEvent"
        assert text_of(found) == "PONG"
        assert [name for name, _ in found[-3:]] == ["metadataEvent", "contextUsageEvent", "meteringEvent"]
        assert payload_of(found, "metadataEvent")["stopReason"] == "END_TURN"

    async def test_a_tool_call_reaches_the_client_intact(self, asker: Asker) -> None:
        wanted = {"city": "Lima — “x” \\ \n é😀", "days": 3}
        asked = body(f"EMULATE: tool=get_weather input={json.dumps(wanted)}", tools=[tool()])
        found = await asker.stream(asked)
        assert calls_of(found) == [("get_weather", wanted)]
        assert payload_of(found, "metadataEvent")["stopReason"] == "TOOL_USE"

    async def test_credits_are_charged(self, asker: Asker) -> None:
        before = asker.person.used
        found = await asker.stream(ASK)
        assert asker.person.used - before == pytest.approx(payload_of(found, "meteringEvent")["usage"])

    @pytest.mark.parametrize(
        ("target", "first"),
        [
            ("AmazonCodeWhispererStreamingService.GenerateAssistantResponse", "messageMetadataEvent"),
            ("KiroRuntimeService.GenerateAssistantResponse", "initial-response"),
        ],
    )
    async def test_aws_json_flavours(self, asker: Asker, target: str, first: str) -> None:
        found = await asker.stream(ASK, target=target)
        assert (found[0][0], text_of(found)) == (first, "PONG")


class TestWhoMayAsk:
    async def test_nobody_without_a_token(self, asker: Asker) -> None:
        status, answer = await asker.refused(ASK, headers={"Authorization": "Bearer nonsense"})
        assert (status, answer["message"]) == (403, BAD_TOKEN)
        assert answer["__type"].endswith("#AccessDeniedException")

    async def test_not_with_an_expired_token(self, asker: Asker, clock: FakeClock) -> None:
        clock.advance(3601)
        assert (await asker.refused(ASK))[0] == 403

    @pytest.mark.parametrize("kind", ["social", "builder_id", "idc", "external_idp", "api_key"])
    async def test_every_kind_with_its_own_header(
        self, emulator: Emulator, session: aiohttp.ClientSession, kind: Kind
    ) -> None:
        asker = Asker(emulator, session, emulator.people.add("x", kind))
        assert text_of(await asker.stream(ASK)) == "PONG"

    @pytest.mark.parametrize(
        ("kind", "sent"),
        [("social", "API_KEY"), ("external_idp", ""), ("api_key", "EXTERNAL_IDP"), ("idc", "EXTERNAL_IDP")],
    )
    async def test_not_with_another_token_type(
        self, emulator: Emulator, session: aiohttp.ClientSession, kind: Kind, sent: str
    ) -> None:
        asker = Asker(emulator, session, emulator.people.add("x", kind))
        assert await asker.refused(ASK, headers={"TokenType": sent}) == (403, _denied(BAD_TOKEN))

    async def test_not_while_suspended(self, asker: Asker) -> None:
        asker.person.suspended = True
        status, answer = await asker.refused(ASK)
        assert (status, answer["reason"]) == (403, "TEMPORARILY_SUSPENDED")

    async def test_not_with_an_application_outside_the_plan(self, asker: Asker) -> None:
        asker.person.refuses_agents = ("KiroIDE",)
        status, answer = await asker.refused(ASK, headers={"User-Agent": "KiroIDE-1"})
        assert (status, answer["reason"]) == (403, "FEATURE_NOT_SUPPORTED")

    async def test_not_without_credits(self, asker: Asker) -> None:
        asker.person.used = asker.person.limit
        status, answer = await asker.refused(ASK)
        assert (status, answer["reason"]) == (402, "MONTHLY_REQUEST_COUNT")
        asker.person.overage = True
        assert text_of(await asker.stream(ASK)) == "PONG"

    async def test_not_with_the_wrong_content_type(self, asker: Asker) -> None:
        target = "KiroRuntimeService.GenerateAssistantResponse"
        status, _ = await asker.refused(ASK, target=target, headers={"Content-Type": "application/json"})
        assert status == 415

    async def test_a_refusal_names_its_shape_in_the_header(self, asker: Asker) -> None:
        async with asker.post(body("")) as response:
            assert response.status == 400
            assert response.headers["x-amzn-errortype"] == "ValidationException"
        assert asker.emulator.requests[0].refusal is not None
        assert asker.emulator.requests[0].refusal.why == "an empty message"

    async def test_an_unknown_operation(self, asker: Asker) -> None:
        status, answer = await asker.refused(ASK, target="KiroRuntimeService.Other")
        assert (status, answer["__type"].partition("#")[2]) == (404, "UnknownOperationException")


def _denied(message: str) -> dict[str, str]:
    return {"__type": "com.amazon.kiro.runtimeservice#AccessDeniedException", "message": message}


async def asked(asker: Asker, path: str, *, target: str | None = None, **document: Any) -> tuple[int, Any]:
    """A small question by GET, or by POST when there is a body or a target."""
    url, headers = asker.emulator.url + path, asker.headers
    if target is not None:
        headers |= {"X-Amz-Target": target, "Content-Type": "application/x-amz-json-1.0"}
    method = "POST" if document or target else "GET"
    data = dump(document) if method == "POST" else None
    async with asker.session.request(method, url, data=data, headers=headers) as response:
        return response.status, json.loads(await response.read() or b"null")


class TestSmallQuestions:
    async def test_models_by_path_and_by_target(self, asker: Asker) -> None:
        by_path = await asked(asker, "/ListAvailableModels?origin=AI_EDITOR&maxResults=50")
        by_target = await asked(asker, "/", target="AmazonCodeWhispererService.ListAvailableModels", origin="KIRO_CLI")
        assert by_path[1]["models"] == by_target[1]["models"]
        assert [model["modelId"] for model in by_path[1]["models"]] == [model.id for model in MODELS]

    async def test_models_need_an_origin(self, asker: Asker) -> None:
        assert (await asked(asker, "/ListAvailableModels"))[0] == 400

    async def test_models_come_in_pages(self, asker: Asker) -> None:
        _, first = await asked(asker, "/ListAvailableModels?origin=AI_EDITOR&maxResults=10")
        _, second = await asked(asker, f"/ListAvailableModels?origin=AI_EDITOR&nextToken={first['nextToken']}")
        assert len(first["models"]) == 10
        assert len(first["models"]) + len(second["models"]) == len(MODELS)
        assert "nextToken" not in second

    @pytest.mark.parametrize("number", ["maxResults=x", "nextToken=x"])
    async def test_a_page_that_is_no_number(self, asker: Asker, number: str) -> None:
        assert (await asked(asker, f"/ListAvailableModels?origin=AI_EDITOR&{number}"))[0] == 400

    async def test_usage_tells_what_is_left(self, asker: Asker) -> None:
        asker.person.used, asker.person.limit = 412.37, 1000.0
        _, usage = await asked(asker, "/getUsageLimits?origin=AI_EDITOR&isEmailRequired=true")
        (credits_row,) = usage["usageBreakdownList"]
        assert (credits_row["currentUsageWithPrecision"], credits_row["usageLimitWithPrecision"]) == (412.37, 1000.0)
        assert usage["userInfo"]["email"] == "first@example.com"
        assert usage["nextDateReset"] > asker.emulator.now()

    async def test_a_foreign_profile_looks_like_a_bad_token(self, asker: Asker) -> None:
        assert await asked(asker, f"/getUsageLimits?profileArn={BUILDER_ID_ARN}") == (403, _denied(BAD_TOKEN))
        assert (await asked(asker, f"/getUsageLimits?profileArn={SOCIAL_ARN}"))[0] == 200

    @pytest.mark.parametrize(
        ("kind", "count"), [("social", 0), ("idc", 1), ("external_idp", 1), ("builder_id", None), ("api_key", None)]
    )
    async def test_profiles(
        self, emulator: Emulator, session: aiohttp.ClientSession, kind: Kind, count: int | None
    ) -> None:
        asker = Asker(emulator, session, emulator.people.add("x", kind))
        status, answer = await asked(asker, "/ListAvailableProfiles", maxResults=10)
        if count is None:
            assert status == 403
        else:
            assert [profile["arn"] for profile in answer["profiles"]] == [asker.person.profile_arn] * count

    async def test_profiles_for_a_bad_token_are_empty(self, asker: Asker) -> None:
        asker.emulator.people.expire(asker.person)
        assert await asked(asker, "/ListAvailableProfiles", maxResults=10) == (200, {"profiles": []})

    async def test_profiles_without_the_token_type_are_empty(
        self, emulator: Emulator, session: aiohttp.ClientSession
    ) -> None:
        asker = Asker(emulator, session, emulator.people.add("x", "external_idp"))
        headers = {"Authorization": asker.headers["Authorization"]}
        async with session.post(emulator.url + "/ListAvailableProfiles", json={}, headers=headers) as response:
            assert await response.json() == {"profiles": []}


class TestWebSearch:
    async def search(self, asker: Asker, **fields: Any) -> tuple[int, Any]:
        return await asked(asker, "/mcp", jsonrpc="2.0", id="1", **fields)

    async def test_the_same_query_finds_the_same_pages(self, asker: Asker) -> None:
        call = {"method": "tools/call", "params": {"name": "web_search", "arguments": {"query": "kiro"}}}
        status, answer = await self.search(asker, **call)
        found = json.loads(answer["result"]["content"][0]["text"])
        assert (status, answer["id"], found["totalResults"]) == (200, "1", 3)
        assert found["results"][0]["title"] == "kiro result 1"
        assert (await self.search(asker, **call))[1] == answer

    @pytest.mark.parametrize(
        ("fields", "code"),
        [
            ({"method": "tools/none"}, -32601),
            ({"method": "tools/call", "params": {"name": "web_fetch"}}, -32602),
            ({"method": 7}, -32600),
        ],
        ids=["an unknown method", "an unknown tool", "no request"],
    )
    async def test_errors(self, asker: Asker, fields: dict[str, Any], code: int) -> None:
        assert (await self.search(asker, **fields))[1]["error"]["code"] == code

    async def test_a_query_is_needed(self, asker: Asker) -> None:
        _, answer = await self.search(asker, method="tools/call", params={"name": "web_search", "arguments": {}})
        assert answer["result"]["isError"] is True

    async def test_handshake(self, asker: Asker) -> None:
        assert (await self.search(asker, method="initialize"))[1]["result"]["serverInfo"]["name"] == "kiro-emulator"
        assert (await self.search(asker, method="notifications/initialized"))[0] == 202
        assert (await self.search(asker, method="ping"))[1]["result"] == {}
        (listed,) = (await self.search(asker, method="tools/list"))[1]["result"]["tools"]
        assert listed["name"] == "web_search"

    async def test_a_token_is_needed(self, asker: Asker) -> None:
        asker.emulator.people.revoke(asker.person)
        assert (await self.search(asker, method="ping"))[0] == 403


class TestMemory:
    async def test_requests_are_kept_last_first(self, asker: Asker) -> None:
        await asker.stream(ASK)
        await asked(asker, "/getUsageLimits?origin=AI_EDITOR")
        last, first = asker.emulator.requests
        assert (last.operation, last.query, last.account) == ("usage", {"origin": "AI_EDITOR"}, "first")
        assert first.headers["content-type"] == "application/json"
        assert first.document()["profileArn"] == SOCIAL_ARN
        assert asker.emulator.seen("generate") == [first]

    async def test_tokens_are_made_on_demand(self, emulator: Emulator) -> None:
        assert emulator.people.owner(emulator.tokens.access) is emulator.people.persons["first"]


async def test_a_taken_port_is_told(emulator: Emulator) -> None:
    port = int(emulator.url.rpartition(":")[2])
    with pytest.raises(OSError, match=r"address already in use|bind"):
        await Emulator(port=port).start()


async def test_demo_credentials_are_those_of_the_ide_and_work(
    emulator: Emulator, session: aiohttp.ClientSession
) -> None:
    stored = demo_credentials(emulator)
    assert list(stored) == ["accessToken", "refreshToken", "profileArn", "expiresAt", "authMethod", "provider"]
    assert (stored["authMethod"], stored["expiresAt"][-1]) == ("social", "Z")
    document = {**ASK, "profileArn": stored["profileArn"]}
    headers = {"Authorization": f"Bearer {stored['accessToken']}"}
    async with session.post(emulator.url + "/generateAssistantResponse", json=document, headers=headers) as response:
        assert response.status == 200
    async with session.post(emulator.url + "/refreshToken", json={"refreshToken": stored["refreshToken"]}) as response:
        assert (await response.json())["profileArn"] == stored["profileArn"]


async def test_it_runs_in_a_thread_too(session: aiohttp.ClientSession) -> None:
    with running_in_thread(Emulator()) as emulator:
        asker = Asker(emulator, session, emulator.people.add("first"))
        assert text_of(await asker.stream(ASK)) == "PONG"
    with pytest.raises(aiohttp.ClientConnectorError):
        await session.get(emulator.url)


def test_a_thread_that_cannot_start_says_why() -> None:
    with running_in_thread(Emulator()) as emulator:
        port = int(emulator.url.rpartition(":")[2])
        with pytest.raises(OSError, match=r"address already in use|bind"), running_in_thread(Emulator(port=port)):
            pass


async def test_a_pace_spreads_the_events(clock: FakeClock, session: aiohttp.ClientSession) -> None:
    async with Emulator(now=clock, pace_ms=5) as emulator:
        asker = Asker(emulator, session, emulator.people.add("first"))
        began = asyncio.get_running_loop().time()
        found = await asker.stream(ASK)
        assert asyncio.get_running_loop().time() - began >= 0.005 * len(found)
