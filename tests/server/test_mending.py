"""Refusals that something mends: what is tried once on the same account, and what is remembered of it."""

import asyncio
import json
from datetime import UTC, datetime, timedelta

import pytest

from kiro.auth.credentials import ApiKeyCredentials, IdcCredentials, OidcClient, SocialCredentials
from kiro.auth.records import ImportedAccount
from kiro.emulator.faults import ExpireToken, Hang, HttpError
from kiro.redaction import Secret
from support.proxy import running_proxy

ANSWER = "one two three four five six seven eight"
FOREIGN = HttpError(status=403, message="User is not authorized to make this call.")
OTHER_APPLICATION = HttpError(status=403, reason="FEATURE_NOT_SUPPORTED")
FIELDS = HttpError(status=400, message="additionalModelRequestFields is not supported for this model")
TOOL = {"name": "run", "description": "Runs.", "input_schema": {"type": "object", "properties": {}}}
OLD_ARN = "arn:aws:codewhisperer:us-east-1:111122223333:profile/OLD"


def ask(*messages, **more):
    said = messages or ({"role": "user", "content": f"Test.\nEMULATE: text={ANSWER}\nEMULATE: end"},)
    return {"model": "claude-sonnet-4-5", "max_tokens": 4000, "messages": list(said), **more}


async def answered(proxy, document=None, **options):
    async with proxy.post("/v1/messages", document or ask(), **options) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def refused(proxy, document=None):
    async with proxy.post("/v1/messages", document or ask()) as response:
        return response.status, (await response.json())["error"]["message"]


def asked(kiro, operation="generate"):
    return [one.account for one in reversed(kiro.seen(operation))]


def bodies(kiro):
    return [one.document() for one in reversed(kiro.seen("generate"))]


def state(document):
    return document["conversationState"]


@pytest.fixture
async def two(tmp_path, kiro):
    flags = {"pool.strategy": "priority", "auth.oidc_url": kiro.url}
    async with running_proxy(tmp_path, kiro, people=("first", "second"), flags=flags) as running:
        yield running


def health(proxy, name):
    return proxy.runtime.turns.health(proxy.home.accounts.get(name).id)


class TestTokens:
    async def test_1_a_refresh_mends_and_the_account_works_on(self, two, kiro):
        kiro.faults.add(ExpireToken(), account="first")
        for _ in range(2):
            await answered(two)
        assert asked(kiro) == ["first", "first", "first"]
        assert not health(two, "first").resting(kiro.now())

    async def test_6_so_it_does_for_an_unknown_403(self, two, kiro):
        kiro.faults.add(HttpError(status=403), account="first")
        for _ in range(2):
            await answered(two)
        assert (asked(kiro), kiro.people.refreshes) == (["first", "first", "first"], 1)

    @pytest.mark.parametrize(
        ("fault", "state", "reason"),
        [
            (HttpError(status=400, shape="invalid_grant"), "invalid", "invalid_grant"),
            (None, "invalid", "bad_credentials"),
            (HttpError(status=429), "active", None),
            (HttpError(status=503), "active", None),
            (HttpError(status=403, raw="<html>Access denied</html>"), "active", None),
        ],
        ids=["27 invalid grant", "27 bad credentials", "28 throttled", "28 broken", "29 a page of an edge"],
    )
    async def test_a_refresh_that_fails_sends_the_request_to_another(self, two, kiro, fault, state, reason):
        if fault is None:
            kiro.people.revoke(kiro.people.persons["first"])
        else:
            kiro.faults.add(ExpireToken(), account="first")
            kiro.faults.add(fault, times=None, account="first", operation="refresh")
        await answered(two)
        assert asked(kiro) == ["first", "second"]
        account = two.home.accounts.get("first")
        assert (account.state, account.reason) == (state, reason)
        assert health(two, "first").resting(kiro.now())
        await answered(two)
        assert asked(kiro)[2:] == ["second"]
        assert len(kiro.seen("refresh")) == 1

    @pytest.mark.parametrize(
        ("fault", "status"),
        [
            (HttpError(status=401, message="Bad credentials"), 401),
            (HttpError(status=429), 429),
            (HttpError(status=503), 502),
            (HttpError(status=403, raw="<html>Access denied</html>"), 502),
        ],
        ids=["27", "28 throttled", "28 broken", "29"],
    )
    async def test_with_nobody_left_the_client_is_told_what_the_sign_in_service_said(self, proxy, kiro, fault, status):
        kiro.faults.add(ExpireToken())
        kiro.faults.add(fault, times=None, operation="refresh")
        assert (await refused(proxy))[0] == status

    @pytest.mark.parametrize(
        "fault",
        [HttpError(status=429), HttpError(status=500), HttpError(status=403, raw="<html></html>")],
        ids=["28 throttled", "28 broken", "29 a page of an edge"],
    )
    async def test_a_token_that_still_lives_is_used_while_no_new_one_is_to_be_had(self, tmp_path, kiro, fault):
        async with running_proxy(tmp_path, kiro) as proxy:
            account = proxy.runtime.accounts[0]
            credentials = proxy.home.accounts.credentials(account.id)
            soon = datetime.now(UTC) + timedelta(minutes=2)
            assert isinstance(credentials, SocialCredentials)
            with proxy.home.accounts.lock(account.id):
                proxy.home.accounts.save_credentials(
                    account.id,
                    SocialCredentials(
                        access_token=credentials.access_token,
                        refresh_token=credentials.refresh_token,
                        expires_at=soon,
                        profile_arn=credentials.profile_arn,
                    ),
                )
            kiro.faults.add(fault, times=None, operation="refresh")
            for _ in range(5):
                await answered(proxy)
            assert len(kiro.seen("refresh")) == 1
            assert proxy.home.accounts.get(account.id).state == "active"


class TestApplications:
    async def test_3_another_api_is_tried_and_kept(self, two, kiro):
        kiro.faults.add(OTHER_APPLICATION, account="first")
        for _ in range(2):
            await answered(two)
        targets = ["x-amz-target" in one.headers for one in reversed(kiro.seen("generate"))]
        assert (asked(kiro), targets) == (["first"] * 3, [False, True, True])
        assert two.home.accounts.get("first").flavour == "runtime"

    async def test_3_requests_side_by_side_switch_once_and_set_nobody_aside(self, two, kiro):
        kiro.faults.add(Hang(ms=50, before_head=True), OTHER_APPLICATION, times=4, account="first")
        await asyncio.gather(*(answered(two) for _ in range(4)))
        assert asked(kiro) == ["first"] * 8
        account = two.home.accounts.get("first")
        assert (account.flavour, account.state) == ("runtime", "active")


def company(kiro, person, arn):
    tokens = kiro.people.issue(person)
    return ImportedAccount(
        index=0,
        credentials=IdcCredentials(
            access_token=Secret(tokens.access),
            refresh_token=Secret(tokens.refresh),
            expires_at=datetime.now(UTC) + timedelta(hours=1),
            client=OidcClient(id=person.client.id, secret=Secret(person.client.secret)),
            profile_arn=arn,
            auth_region="us-east-1",
        ),
    )


class TestProfiles:
    async def join(self, proxy, imported, name):
        account = await asyncio.to_thread(lambda: proxy.home.accounts.add(imported, name=name).account)
        proxy.runtime.roster.reload()
        proxy.runtime.turns.refresh()
        return account

    async def test_1_a_token_refused_after_a_refresh_hints_at_the_profile(self, two, kiro):
        person = kiro.people.add("worker", "idc")
        await self.join(two, company(kiro, person, OLD_ARN), "worker")
        await answered(two, headers={"x-kiro-account": "worker"})
        assert asked(kiro) == ["worker"] * 3
        assert len(kiro.seen("profiles")) == 1
        assert two.home.accounts.get("worker").profile_arn == person.profile_arn
        await answered(two, headers={"x-kiro-account": "worker"})
        assert len(kiro.seen("generate")) == 4

    async def test_5_of_several_profiles_none_is_chosen_unasked(self, two, kiro):
        person = kiro.people.add("worker", "idc")
        person.more_profiles = (f"{person.profile_arn}2",)
        account = await self.join(two, company(kiro, person, OLD_ARN), "worker")
        async with two.post("/v1/messages", ask(), headers={"x-kiro-account": "worker"}) as response:
            assert response.status == 401
        assert two.home.accounts.get("worker").profile_arn == OLD_ARN
        assert two.runtime.turns.health(account.id).state == "cooling"

    @pytest.mark.parametrize(("times", "status", "region"), [(1, 200, "eu-central-1"), (2, 403, None)])
    async def test_5_without_a_profile_the_other_region_is_tried_and_kept_if_it_answers(
        self, two, kiro, times, status, region
    ):
        key = kiro.people.issue(kiro.people.add("headless", "api_key")).access
        await self.join(two, ImportedAccount(index=0, credentials=ApiKeyCredentials(api_key=Secret(key))), "headless")
        kiro.faults.add(FOREIGN, times=times, account="headless")
        async with two.post("/v1/messages", ask(), headers={"x-kiro-account": "headless"}) as response:
            assert response.status == status
        await two.runtime.settled()
        assert asked(kiro) == ["headless"] * 2
        assert two.home.accounts.get("headless").region == region

    async def test_5_a_region_that_contradicts_the_profile_is_given_up_for_the_profile_s(self, two, kiro):
        two.home.accounts.change("first", region="eu-central-1")
        two.runtime.roster.reload()
        kiro.faults.add(FOREIGN, account="first")
        await answered(two)
        await two.runtime.settled()
        assert asked(kiro) == ["first", "first"]
        assert two.home.accounts.get("first").region == "us-east-1"
        assert any("tried in us-east-1" in note for note in (await two.last_row()).notes)

    async def test_21_a_sign_in_without_a_profile_gets_it_with_its_next_token(self, two, kiro):
        person = kiro.people.persons["first"]
        tokens = kiro.people.issue(person)
        bare = SocialCredentials(
            access_token=Secret(tokens.access),
            refresh_token=Secret(tokens.refresh),
            expires_at=datetime.now(UTC) + timedelta(hours=1),
        )
        await self.join(two, ImportedAccount(index=0, credentials=bare), "bare")
        await answered(two, headers={"x-kiro-account": "bare"})
        assert asked(kiro) == ["first", "first"]
        assert two.home.accounts.get("bare").profile_arn == person.profile_arn


class TestRequests:
    async def test_9_a_new_conversation_id_and_nothing_else_new(self, two, kiro):
        kiro.faults.add(HttpError(status=402, reason="CONVERSATION_LIMIT_EXCEEDED"))
        await answered(two)
        before, after = bodies(kiro)
        assert state(before)["conversationId"] != state(after)["conversationId"]
        assert state(before)["currentMessage"] == state(after)["currentMessage"]

    async def test_16_replayed_thinking_is_left_out_once(self, two, kiro):
        asks = {"model": "claude-opus-4-8", "thinking": {"type": "enabled", "budget_tokens": 2000}, "tools": [TOOL]}
        question = {"role": "user", "content": "EMULATE: thinking=Hm.\nEMULATE: tool=run input={}\nEMULATE: text=A"}
        first = await answered(two, ask(question, **asks))
        result = {"type": "tool_result", "tool_use_id": first["content"][-1]["id"], "content": "done"}
        turns = (question, {"role": "assistant", "content": first["content"]}, {"role": "user", "content": [result]})
        kiro.faults.add(HttpError(status=400, reason="THINKING_SIGNATURE_INVALID"))
        await answered(two, ask(*turns, **asks))
        _, before, after = bodies(kiro)
        assert "reasoningContent" in json.dumps(before)
        assert "reasoningContent" not in json.dumps(after)

    async def test_17_refused_fields_are_left_out_and_that_is_remembered_for_the_model(self, two, kiro):
        thinking = {"type": "enabled", "budget_tokens": 2000}
        kiro.faults.add(FIELDS)
        notes = []
        for model in ("claude-opus-4-8", "claude-opus-4-8", "claude-opus-4-7"):
            await answered(two, ask(model=model, thinking=thinking))
            notes.append(" ".join((await two.last_row()).notes))
        assert ["without fields" in note for note in notes] == [True, True, False]
        sent = ["additionalModelRequestFields" in body for body in bodies(kiro)]
        assert (asked(kiro), sent) == (["first"] * 4, [True, False, False, True])

    async def test_17_it_is_not_remembered_when_that_was_not_it(self, two, kiro):
        kiro.faults.add(FIELDS, times=2)
        thinking = {"type": "enabled", "budget_tokens": 2000}
        assert (await refused(two, ask(model="claude-opus-4-8", thinking=thinking)))[0] == 400
        await answered(two, ask(model="claude-opus-4-8", thinking=thinking))
        assert ["additionalModelRequestFields" in body for body in bodies(kiro)] == [True, False, True]

    async def test_19_the_same_bytes_sometimes_pass_the_second_time(self, two, kiro):
        kiro.faults.add(HttpError(status=400, message="Invalid tool use format."))
        await answered(two)
        first, second = (one.body for one in kiro.seen("generate"))
        assert first == second


class TestModels:
    async def test_15_only_accounts_whose_list_has_the_model_are_asked(self, tmp_path, kiro):
        people = ("first", "second", "third")
        async with running_proxy(tmp_path, kiro, people=people, flags={"pool.strategy": "priority"}) as proxy:
            kiro.people.persons["second"].models = kiro.people.persons["second"].models[:1]
            for account in proxy.runtime.accounts:
                await proxy.runtime.models.refresh(account.id, force=True)
            kiro.faults.add(HttpError(status=400, reason="INVALID_MODEL_ID"), account="first")
            for _ in range(2):
                await answered(proxy)
            assert asked(kiro) == ["first", "third", "third"]
            kiro.faults.add(HttpError(status=400, reason="INVALID_MODEL_ID"), account="third")
            assert (await refused(proxy))[0] == 404
            assert asked(kiro) == ["first", "third", "third", "third"]


class TestCredits:
    async def test_7_an_account_without_credits_rests_until_the_reset_that_kiro_tells(self, two, kiro):
        kiro.people.persons["first"].used = 1000.0
        await answered(two)
        assert asked(kiro) == ["first", "second"]
        await two.runtime.upkeep.once()
        account = two.home.accounts.get("first")
        assert account.usage is not None
        assert account.usage.resets_at is not None
        assert health(two, "first").resting_until == account.usage.resets_at.timestamp()
        looked = len(kiro.seen("usage"))
        await two.runtime.upkeep.once()
        assert len(kiro.seen("usage")) == looked


async def test_nobody_goes_back_to_an_account_that_rests_since_he_was_there(two, kiro):
    """One request waits to repeat after a 500; meanwhile another learns that the account is throttled."""
    kiro.faults.add(HttpError(status=500, retry_after_ms=2000), account="first")
    kiro.faults.add(HttpError(status=429), account="first")
    waiting = asyncio.create_task(answered(two))
    async with asyncio.timeout(5):
        while not asked(kiro):
            await asyncio.sleep(0.01)
    await answered(two)
    await waiting
    assert asked(kiro) == ["first", "first", "second", "second"]


async def read_whole(two):
    async with two.post("/v1/messages", ask(stream=True)) as response:
        await response.read()


async def test_a_client_that_left_costs_the_account_nothing(two, kiro):
    for hold in (Hang(ms=5000, before_head=True), Hang(ms=5000), Hang(ms=5000, after=3)):
        kiro.faults.add(hold)
        before = len(asked(kiro))
        client = asyncio.create_task(read_whole(two))
        async with asyncio.timeout(5):
            while len(asked(kiro)) == before:
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        client.cancel()
        with pytest.raises(asyncio.CancelledError):
            await client
        async with asyncio.timeout(5):
            while two.runtime.turns.in_flight or kiro.streaming:
                await asyncio.sleep(0.01)
    assert asked(kiro) == ["first"] * 3
    assert all(health(two, name).state == "active" for name in ("first", "second"))
    await answered(two)
    assert asked(kiro)[3:] == ["first"]
