"""Overage within a budget: the whole way, from what Kiro tells to who may serve."""

from kiro.accounts.overage import BUDGET_REACHED
from support.proxy import running_proxy

BODY = {"model": "claude-sonnet-4-5", "max_tokens": 5000, "messages": [{"role": "user", "content": "hi"}]}


async def ask(proxy):
    async with proxy.post("/v1/messages", BODY) as response:
        return response.status, await response.json()


async def told(proxy, name="first"):
    """What upkeep does after use: Kiro is asked, the number is stored, the account is read again."""
    account = proxy.home.accounts.get(name)
    await proxy.runtime.questions.look_up_usage(account.id)
    proxy.runtime.roster.reload()


async def test_overage_is_used_up_to_the_budget_and_then_the_account_rests(tmp_path, kiro):
    async with running_proxy(tmp_path, kiro) as proxy:
        first = kiro.people.persons["first"]
        first.overage, first.used = True, first.limit + 10
        proxy.home.accounts.set_overage_budget("first", 20.0)
        await told(proxy)
        assert (await ask(proxy))[0] == 200
        first.used = first.limit + 20
        await told(proxy)
        asked = len(kiro.requests)
        status, body = await ask(proxy)
        assert status == 529
        assert BUDGET_REACHED in body["error"]["message"]
        assert len(kiro.requests) == asked


async def test_answers_count_before_kiro_is_asked_again(tmp_path, kiro):
    async with running_proxy(tmp_path, kiro) as proxy:
        first = kiro.people.persons["first"]
        first.overage, first.used = True, first.limit + 10
        proxy.home.accounts.set_overage_budget("first", 10.0001)
        await told(proxy)
        assert (await ask(proxy))[0] == 200
        assert (await ask(proxy))[0] == 529


async def test_a_raised_budget_frees_the_account(tmp_path, kiro):
    async with running_proxy(tmp_path, kiro, flags={"pool.overage_credits": 5.0}) as proxy:
        first = kiro.people.persons["first"]
        first.overage, first.used = True, first.limit + 10
        await told(proxy)
        assert (await ask(proxy))[0] == 529
        proxy.home.accounts.set_overage_budget("first", 50.0)
        proxy.runtime.roster.reload()
        assert (await ask(proxy))[0] == 200


async def test_the_usage_limits_tell_the_budget(tmp_path, kiro):
    async with running_proxy(tmp_path, kiro, flags={"pool.overage_credits": 50.0}) as proxy:
        first = kiro.people.persons["first"]
        first.overage, first.used = True, first.limit + 10
        async with proxy.get("/v1/kiro/usage-limits") as response:
            overage = (await response.json())["overage"]
        assert overage == {"enabled": True, "used": 10.0, "cap": 10000.0, "budget": 50.0}
