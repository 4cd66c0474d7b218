"""What is done for accounts while nobody asks for them."""

from datetime import UTC, datetime

import pytest

from kiro import errors
from kiro.accounts.health import FINE, Health
from kiro.accounts.overage import BUDGET_REACHED
from kiro.accounts.turns import Turns
from kiro.relay.upkeep import Due, Upkeep, due
from kiro.upstream.queries import UsageLimits
from support.accounts import account, rules, usage
from support.clock import FakeClock
from support.proxy import running_proxy

NOW = 1_790_000_000.0
NEVER = float("-inf")
CHECK_S = 600.0


def at(seconds_ago):
    return datetime.fromtimestamp(NOW - seconds_ago, UTC)


def needs(who, health=FINE, *, used_ago=None, asked_ago=None, token_ago=0.0, check_every_s=CHECK_S):
    return due(
        who,
        health,
        last_used=NEVER if used_ago is None else NOW - used_ago,
        token_asked=NOW - token_ago,
        usage_asked=0.0 if asked_ago is None else NOW - asked_ago,
        now=NOW,
        check_every_s=check_every_s,
    )


SPENT = Health("exhausted", "credits of the month are spent", NOW - 4000, NOW + 9e5, 1)
COOLING = Health("cooling", "rate limited", NOW - 5, NOW + 5, 1)
THROTTLED = Health("throttled", "x", NOW - 5, NOW + 1800, 1)
NOTHING = Due()
CREDITS = Due(usage=True)

CASES = {
    "an account that nobody has used or asked about is looked at": (needs(account()), CREDITS),
    "one that was looked at a while ago is left in peace": (needs(account(), asked_ago=599), NOTHING),
    "one that was looked at ten minutes ago is looked at again": (needs(account(), asked_ago=600), CREDITS),
    "what another process was told counts": (needs(account(usage=usage(taken_at=at(60)))), NOTHING),
    "use is a look, too": (needs(account(), used_ago=10, asked_ago=10), NOTHING),
    "after use the credits are asked for": (needs(account(), used_ago=10, asked_ago=300), CREDITS),
    "but not before five minutes are over": (needs(account(), used_ago=10, asked_ago=299), NOTHING),
    "without use since then they are still known": (needs(account(), used_ago=350, asked_ago=301), NOTHING),
    "checks can be switched off": (needs(account(), check_every_s=0.0), NOTHING),
    "credits after use are asked for all the same": (
        needs(account(), used_ago=10, asked_ago=300, check_every_s=0.0),
        CREDITS,
    ),
    "never more often than once a minute": (needs(account(), asked_ago=59, check_every_s=1.0), NOTHING),
    "once a minute when so set": (needs(account(), asked_ago=60, check_every_s=1.0), CREDITS),
    "one that is disabled is left alone": (needs(account(enabled=False), token_ago=9e5), NOTHING),
    "one that is suspended is never asked": (needs(account(state="suspended"), token_ago=9e5), NOTHING),
    "one whose own sign-in is dead waits for a person": (needs(account(state="invalid"), token_ago=9e5), NOTHING),
    "one that another program may have mended is looked for": (
        needs(account(state="invalid", mode="shared"), token_ago=60),
        Due(look=True),
    ),
    "not more than once a minute": (needs(account(state="invalid", mode="shared"), token_ago=59), NOTHING),
    "one that rests is left to rest": (needs(account(), COOLING), NOTHING),
    "one that was suspicious above all": (needs(account(), THROTTLED), NOTHING),
    "one without credits is looked at every hour": (needs(account(), SPENT, asked_ago=3600), Due(recheck=True)),
    "not sooner": (needs(account(), SPENT, asked_ago=3599), NOTHING),
    "tokens are renewed ahead every five minutes": (needs(account(), asked_ago=1, token_ago=300), Due(token=True)),
    "those of another program are its own affair": (
        needs(account(mode="follow"), asked_ago=1, token_ago=300),
        NOTHING,
    ),
}


@pytest.mark.parametrize(("found", "wanted"), CASES.values(), ids=CASES.keys())
def test_due(found, wanted):
    assert found == wanted


class Keeper:
    """Takes the place of the keeper of tokens."""

    def __init__(self):
        self.calls = []

    async def refresh_ahead(self, account_id, margin):
        self.calls.append(("ahead", account_id))

    async def refresh_now(self, account_id):
        self.calls.append(("now", account_id))

    async def look_again(self, account_id):
        self.calls.append(("look", account_id))


def limits(used=10.0, *, left=990.0, overage=0.0):
    return UsageLimits(used, 1000.0, left, NOW + 86_400, "PRO", None, None, bool(overage), overage, None)


class Kept:
    """Upkeep of some accounts; `answers` are what Kiro says, one after the other, the last one for ever."""

    def __init__(self, *accounts, answers=(limits(),), health=None, **changes):
        self.clock = FakeClock(NOW)
        self.answers = list(answers)
        self.asked = []
        self.learned = []
        self.keeper = Keeper()
        self.turns = Turns(lambda: accounts, lambda: rules(**changes), health=health, clock=self.clock)
        self.upkeep = Upkeep(
            lambda: accounts,
            self.turns,
            self.keeper,
            self.look_up,
            check_every_s=lambda: CHECK_S,
            learn=lambda who, error: self.learned.append((who.name, type(error).__name__)),
            clock=self.clock,
        )

    async def look_up(self, account_id):
        self.asked.append(account_id)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_every_unused_account_is_asked_once_in_ten_minutes():
    kept = Kept(account("a"), account("b"))
    for _ in range(600):
        await kept.upkeep.once()
        kept.clock.advance(5)
    assert kept.asked == ["id-a", "id-b"] * 5


@pytest.mark.parametrize("error", [errors.NetworkFailed("x"), errors.UpstreamBroken("x"), errors.RateLimited("x")])
async def test_trouble_on_the_way_says_nothing_about_the_account_and_is_not_repeated_soon(error):
    kept = Kept(account("a"), answers=[error])
    for _ in range(100):
        await kept.upkeep.once()
        kept.clock.advance(5)
    assert (kept.asked, kept.learned) == (["id-a"], [])


async def test_a_suspension_is_learned_before_a_request_runs_into_it():
    kept = Kept(account("a"), account("b"), answers=[errors.AccountSuspended("x"), limits()])
    await kept.upkeep.once()
    assert kept.learned == [("a", "AccountSuspended")]
    assert kept.asked == ["id-a", "id-b"]


async def test_a_token_that_is_refused_is_renewed_once():
    kept = Kept(account("a"), answers=[errors.TokenRejected("x"), limits()])
    await kept.upkeep.once()
    assert ("now", "id-a") in kept.keeper.calls
    assert kept.learned == []
    kept = Kept(account("a"), answers=[errors.TokenRejected("x")])
    await kept.upkeep.once()
    assert kept.learned == [("a", "TokenRejected")]
    assert len(kept.asked) == 2


async def test_a_spent_account_with_credits_again_is_tried():
    spent = {"id-a": SPENT}
    kept = Kept(account("a"), health=spent)
    await kept.upkeep.once()
    assert kept.turns.health("id-a").on_probation(NOW)
    kept = Kept(account("a"), health=spent, answers=[limits(1000.0, left=0.0)])
    await kept.upkeep.once()
    assert kept.turns.health("id-a").resting_until == NOW + 86_400


async def test_overage_over_its_budget_rests_the_account():
    kept = Kept(account("a"), answers=[limits(1000.0, left=0.0, overage=20.0)], overage_credits=20.0)
    await kept.upkeep.once()
    assert kept.turns.health("id-a").reason == BUDGET_REACHED


async def test_a_dead_sign_in_of_another_program_is_looked_for_in_its_store():
    kept = Kept(account("a", mode="follow", state="invalid"))
    await kept.upkeep.once()
    assert (kept.keeper.calls, kept.asked) == ([("look", "id-a")], [])


# -- with a real server


def operations(kiro, name):
    return [one.operation for one in kiro.requests if one.operation == name]


async def once(proxy):
    await proxy.runtime.upkeep.once()
    await proxy.runtime.settled()


async def test_a_suspended_account_is_set_aside_by_the_check(tmp_path, kiro):
    async with running_proxy(tmp_path, kiro, people=("first", "second")) as proxy:
        kiro.people.persons["first"].suspended = True
        await once(proxy)
        assert [one.state for one in proxy.home.accounts.list()] == ["suspended", "active"]
        assert operations(kiro, "generate") == []


async def test_a_dead_sign_in_is_known_after_the_check(tmp_path, kiro):
    async with running_proxy(tmp_path, kiro) as proxy:
        kiro.people.revoke(kiro.people.persons["first"])
        await once(proxy)
        assert proxy.home.accounts.get("first").state == "invalid"


async def test_the_check_stores_the_credits_and_costs_none(tmp_path, kiro):
    async with running_proxy(tmp_path, kiro) as proxy:
        spent = kiro.people.persons["first"].used
        await once(proxy)
        await once(proxy)
        assert proxy.home.accounts.get("first").usage.used == spent == kiro.people.persons["first"].used
        assert len(operations(kiro, "usage")) == 1


async def test_the_setting_switches_it_off(tmp_path, kiro):
    async with running_proxy(tmp_path, kiro, flags={"pool.health_check_minutes": 0.0}) as proxy:
        await once(proxy)
        assert operations(kiro, "usage") == []


async def test_the_usage_route_asks_kiro_once_in_five_minutes_and_a_failure_not_again_at_once(tmp_path, kiro):
    async with running_proxy(tmp_path, kiro, people=("first", "second")) as proxy:
        for path in ("/a/first", "/a/first"):
            async with proxy.get(f"{path}/v1/kiro/usage-limits") as response:
                assert response.status == 200
        assert len(operations(kiro, "usage")) == 1
        kiro.people.persons["second"].suspended = True
        for _ in range(2):
            async with proxy.get("/a/second/v1/kiro/usage-limits") as response:
                assert response.status == 403
        assert len(operations(kiro, "usage")) == 2


async def test_models_are_not_asked_of_an_account_that_is_set_aside_or_rests(tmp_path, kiro):
    async with running_proxy(tmp_path, kiro, people=("first", "second", "third")) as proxy:
        turns = proxy.runtime.turns
        ids = {one.name: one.id for one in proxy.home.accounts.list()}
        proxy.home.accounts.set_state(ids["first"], "invalid")
        proxy.runtime.roster.reload()
        turns.set_health(ids["second"], Health("throttled", "x", 1.0, 9e9, 1))
        assert [turns.serves(ids[name]) for name in ("first", "second", "third")] == [False, False, True]
