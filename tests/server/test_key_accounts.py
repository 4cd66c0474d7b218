"""A client key that may use some accounts, and has one of its own."""

from contextlib import asynccontextmanager

import pytest

from kiro.accounts.health import FINE, Health
from support.proxy import running_proxy

MESSAGES = (
    "/v1/messages",
    {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": [{"role": "user", "content": "hi"}]},
)
CHAT = ("/v1/chat/completions", {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": "hi"}]})
RESPONSES = ("/v1/responses", {"model": "claude-sonnet-4-5", "input": "hi"})
GEMINI = (
    "/v1beta/models/claude-sonnet-4-5:generateContent",
    {"contents": [{"role": "user", "parts": [{"text": "hi"}]}]},
)
PEOPLE = ("first", "second", "third")


@asynccontextmanager
async def bound(tmp_path, kiro, accounts=None, account=None):
    """The proxy with three accounts, its key bound to some of them."""
    async with running_proxy(tmp_path, kiro, people=PEOPLE, flags={"pool.strategy": "priority"}) as proxy:
        ids = {one.name: one.id for one in proxy.home.accounts.list()}
        allowed = None if accounts is None else [ids[name] for name in accounts]
        proxy.home.keys.bind("test", accounts=allowed, account=ids[account] if account else None)
        proxy.runtime.reload_keys()
        yield proxy


async def served_by(proxy, path="/v1/messages", **headers):
    async with proxy.post(path, MESSAGES[1], headers=headers) as response:
        assert response.status == 200, await response.text()
    row = await proxy.last_row()
    return next(one.name for one in proxy.home.accounts.list() if one.id == row.account)


async def test_the_path_goes_before_the_header_and_the_header_before_the_default(tmp_path, kiro):
    async with bound(tmp_path, kiro, account="second") as proxy:
        assert await served_by(proxy) == "second"
        assert await served_by(proxy, **{"x-kiro-account": "first"}) == "first"
        assert await served_by(proxy, "/a/third/v1/messages", **{"x-kiro-account": "first"}) == "third"


async def test_others_help_out_while_the_default_cannot_serve(tmp_path, kiro):
    async with bound(tmp_path, kiro, accounts=("second", "third"), account="third") as proxy:
        assert await served_by(proxy) == "third"
        third = proxy.home.accounts.get("third")
        proxy.runtime.turns.set_health(third.id, Health("cooling", "rate limited", 1.0, 9e9, 1))
        assert await served_by(proxy) == "second"
        proxy.runtime.turns.set_health(third.id, FINE)
        assert await served_by(proxy) == "third"
        kiro.people.persons["third"].suspended = True
        assert await served_by(proxy) == "second"


async def test_only_allowed_accounts_serve_and_a_failure_moves_among_them(tmp_path, kiro):
    async with bound(tmp_path, kiro, accounts=("second", "third")) as proxy:
        assert await served_by(proxy) == "second"
        kiro.people.persons["second"].suspended = True
        assert await served_by(proxy) == "third"
        kiro.people.persons["third"].suspended = True
        async with proxy.post(*MESSAGES) as response:
            assert response.status in (401, 403)
    assert {one.account for one in kiro.requests if one.operation == "generate"} == {"second", "third"}


REFUSED = {
    "anthropic": (*MESSAGES, ("error", "type"), "permission_error"),
    "openai chat": (*CHAT, ("error", "type"), "permission_error"),
    "openai responses": (*RESPONSES, ("error", "type"), "permission_error"),
    "gemini": (*GEMINI, ("error", "status"), "PERMISSION_DENIED"),
}


@pytest.mark.parametrize(("path", "body", "where", "word"), REFUSED.values(), ids=REFUSED.keys())
async def test_another_account_is_refused_in_the_words_of_each_protocol(tmp_path, kiro, path, body, where, word):
    async with (
        bound(tmp_path, kiro, accounts=("second",)) as proxy,
        proxy.post(f"/a/first{path}", body) as response,
    ):
        assert response.status == 403
        told = await response.json()
        assert told[where[0]][where[1]] == word
        assert "This client key may not use the account first. It may use: second." in told["error"]["message"]


async def test_a_key_whose_accounts_are_all_removed_can_do_nothing(tmp_path, kiro):
    async with bound(tmp_path, kiro, accounts=("second",)) as proxy:
        proxy.home.accounts.remove("second")
        proxy.runtime.reload_keys()
        for path in ("/v1/messages", "/a/first/v1/messages"):
            async with proxy.post(path, MESSAGES[1]) as response:
                assert response.status == 403
        async with proxy.get("/v1/models") as response:
            assert response.status == 403


async def test_a_renamed_account_stays_allowed(tmp_path, kiro):
    async with bound(tmp_path, kiro, accounts=("second",), account="second") as proxy:
        proxy.home.accounts.rename("second", "work")
        proxy.runtime.roster.reload()
        assert await served_by(proxy) == "work"


async def test_the_models_are_those_of_the_accounts_within_reach(tmp_path, kiro):
    async with bound(tmp_path, kiro, accounts=("second", "third"), account="second") as proxy:
        first, second, third = (kiro.people.persons[name] for name in PEOPLE)
        haiku, sonnet, opus = (
            next(model for model in first.models if word in model.id) for word in ("haiku", "sonnet", "opus")
        )
        first.models, second.models, third.models = (haiku,), (sonnet,), (opus,)
        for one in proxy.home.accounts.list():
            await proxy.runtime.models.refresh(one.id, force=True)
        assert await ids_of(proxy, "/v1/models") == {sonnet.id, opus.id}
        assert await ids_of(proxy, "/a/third/v1/models") == {opus.id}
        async with proxy.get(f"/v1/models/{haiku.id}") as response:
            assert response.status == 404
        proxy.home.keys.bind("test", accounts=[proxy.home.accounts.get("second").id])
        proxy.runtime.reload_keys()
        assert await ids_of(proxy, "/v1/models") == {sonnet.id}


async def ids_of(proxy, path):
    async with proxy.get(path, headers={"anthropic-version": "2023-06-01"}) as response:
        listed = {model["id"] for model in (await response.json())["data"]}
    return {name for name in listed if not name.endswith(("-thinking", "[1m]"))}


async def test_usage_limits_are_of_the_account_in_question(tmp_path, kiro):
    async with bound(tmp_path, kiro, accounts=("second", "third"), account="third") as proxy:
        assert await usage_of(proxy, "/v1/kiro/usage-limits") == (200, "third")
        assert await usage_of(proxy, "/a/second/v1/kiro/usage-limits") == (200, "second")
        assert (await usage_of(proxy, "/a/first/v1/kiro/usage-limits"))[0] == 403


async def test_usage_limits_are_told_while_the_account_rests(tmp_path, kiro):
    async with bound(tmp_path, kiro) as proxy:
        for one in proxy.home.accounts.list():
            rest = Health("exhausted", "credits of the month are spent", 1.0, 9e9 + one.priority, 1)
            proxy.runtime.turns.set_health(one.id, rest)
        assert await usage_of(proxy, "/v1/kiro/usage-limits") == (200, "first")
        assert await usage_of(proxy, "/a/second/v1/kiro/usage-limits") == (200, "second")
        async with proxy.get("/v1/kiro/usage-limits") as response:
            told = await response.json()
        assert (told["state"], told["reason"]) == ("exhausted", "credits of the month are spent")
        assert (told["until"], told["limit"], told["asked_at"] > 1e9) == (9e9, 1000.0, True)


async def usage_of(proxy, path):
    async with proxy.get(path) as response:
        return response.status, (await response.json()).get("account")


async def test_readyz_speaks_of_all_accounts_and_needs_no_key(tmp_path, kiro):
    async with bound(tmp_path, kiro, accounts=()) as proxy, proxy.get("/readyz", key=None) as response:
        assert (response.status, (await response.json())["status"]) == (200, "ready")
