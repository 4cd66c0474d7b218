"""Taking turns: places, the queue, and what is learned."""

import asyncio

import pytest

from kiro import errors
from kiro.accounts.account import Account
from kiro.accounts.health import FINE, Health
from kiro.accounts.pool import Ask
from kiro.accounts.turns import Turns
from support.accounts import account, rules
from support.clock import FakeClock


class Pool(Turns):
    """Turns over a list of accounts that a test can change; `heard` are the healths that were told."""

    def __init__(self, *accounts: Account, clock=None, health=None, **changes) -> None:
        self.list = list(accounts)
        self.rules = rules(**changes)
        self.heard: list[tuple[str, Health]] = []
        super().__init__(
            lambda: self.list,
            lambda: self.rules,
            changed=lambda who, health: self.heard.append((who.name, health)),
            health=health,
            clock=clock or FakeClock(),
        )


async def settled():
    for _ in range(5):
        await asyncio.sleep(0)


async def queued(pool, *asks):
    tasks = []
    for ask in asks:
        tasks.append(asyncio.create_task(pool.take(ask)))
        await settled()
    return tasks


def done(tasks):
    return [task.done() for task in tasks]


async def test_first_come_first_served():
    pool = Pool(account("a"), max_in_flight=1)
    await pool.take(Ask("m"))
    tasks = await queued(pool, Ask("m"), Ask("m"), Ask("m"))
    assert (pool.waiting, pool.in_flight) == (3, 1)
    for served in ([True, False, False], [True, True, False], [True, True, True]):
        pool.leave("id-a")
        await settled()
        assert done(tasks) == served
    assert pool.waiting == 0


async def test_a_new_request_does_not_overtake_those_who_wait():
    pool = Pool(account("a"), max_in_flight=1)
    await pool.take(Ask("m"))
    (early,) = await queued(pool, Ask("m"))
    pool.leave("id-a")
    (late,) = await queued(pool, Ask("m"))
    assert (early.done(), late.done()) == (True, False)
    pool.leave("id-a")
    await late


async def test_who_waits_for_a_busy_account_does_not_hold_up_the_others():
    pool = Pool(account("a"), account("b"), max_in_flight=1)
    await pool.take(Ask("m", only="a"))
    pinned, free = await queued(pool, Ask("m", only="a"), Ask("m"))
    assert (pinned.done(), free.done()) == (False, True)
    assert free.result().name == "b"
    pool.leave("id-a")
    assert (await pinned).name == "a"


async def test_a_client_that_leaves_gives_up_its_place_in_the_queue():
    pool = Pool(account("a"), max_in_flight=1)
    await pool.take(Ask("m"))
    gone, next_one = await queued(pool, Ask("m"), Ask("m"))
    gone.cancel()
    await settled()
    assert pool.waiting == 1
    pool.leave("id-a")
    assert (await next_one).name == "a"


async def test_a_place_that_was_given_in_the_moment_of_leaving_is_not_lost():
    pool = Pool(account("a"), max_in_flight=1)
    await pool.take(Ask("m"))
    gone, next_one = await queued(pool, Ask("m"), Ask("m"))
    pool.leave("id-a")
    gone.cancel()
    assert (await next_one).name == "a"
    assert gone.cancelled()


async def test_patience_ends():
    pool = Pool(account("a"), max_in_flight=1)
    await pool.take(Ask("m"))
    with pytest.raises(errors.NoAccountReady, match="No account had a free place"):
        await pool.take(Ask("m"), patience_s=0.01)
    assert pool.waiting == 0


async def test_when_the_last_account_goes_to_rest_the_queue_is_told():
    pool = Pool(account("a"), max_in_flight=1)
    first = await pool.take(Ask("m"))
    (waiting,) = await queued(pool, Ask("m"))
    pool.learn(first, errors.RateLimited("x"))
    with pytest.raises(errors.NoAccountReady):
        await waiting


async def test_an_account_that_comes_while_somebody_waits_serves_him():
    pool = Pool(account("a"), max_in_flight=1)
    await pool.take(Ask("m"))
    (waiting,) = await queued(pool, Ask("m"))
    pool.list = [account("a"), account("b")]
    pool.refresh()
    assert (await waiting).name == "b"


async def test_pacing_lets_the_next_one_go_when_its_time_has_come():
    clock = FakeClock()
    pool = Pool(account("a"), clock=clock, min_interval_ms=20)
    await pool.take(Ask("m"))
    (waiting,) = await queued(pool, Ask("m"))
    assert not waiting.done()
    clock.advance(0.02)
    assert (await asyncio.wait_for(waiting, 2)).name == "a"


def test_a_total_limit_counts_all_accounts_and_forgets_after_a_minute():
    clock = FakeClock()
    pool = Pool(account("a"), account("b"), clock=clock, total_requests_per_minute=2)
    assert [pool.take_now(Ask("m")) is not None for _ in range(3)] == [True, True, False]
    clock.advance(60)
    assert pool.take_now(Ask("m")) is not None


def test_a_limit_of_one_account_counts_its_last_minute():
    clock = FakeClock()
    pool = Pool(account("a"), clock=clock, requests_per_minute=2)
    for _ in range(2):
        assert pool.take_now(Ask("m"))
        clock.advance(20)
    assert pool.take_now(Ask("m")) is None
    clock.advance(20)
    assert pool.take_now(Ask("m"))


def test_round_robin_goes_round_per_model():
    pool = Pool(account("a"), account("b"), account("c"), strategy="round-robin")
    turns = [pool.take_now(Ask(model)).name for model in "mmnmmn"]
    assert turns == ["a", "b", "a", "c", "a", "b"]


def test_a_session_is_forgotten_after_its_time():
    clock = FakeClock()
    pool = Pool(account("a"), account("b"), clock=clock, sticky_minutes=1)
    names = [pool.take_now(Ask("m", "s")).name for _ in range(3)]
    assert names == ["a", "a", "a"]
    clock.advance(61)
    assert pool.take_now(Ask("m", "s")).name == "b"


def test_zero_minutes_bind_nobody():
    pool = Pool(account("a"), account("b"), sticky_minutes=0)
    assert [pool.take_now(Ask("m", "s")).name for _ in range(4)] == ["a", "b", "a", "b"]


def test_half_open_after_a_rest_one_request_and_then_all():
    clock = FakeClock()
    pool = Pool(account("a"), clock=clock)
    first = pool.take_now(Ask("m"))
    pool.learn(first, errors.RateLimited("x"))
    pool.leave(first.id)
    clock.advance(11)
    assert pool.take_now(Ask("m"))
    assert pool.take_now(Ask("m")) is None
    pool.learn(first, None)
    assert pool.take_now(Ask("m"))
    assert [health.state for _, health in pool.heard] == ["cooling", "active"]


def test_what_an_earlier_process_knew_holds():
    clock = FakeClock()
    known = {"id-a": Health("throttled", "suspicious", clock.now, clock.now + 1800, 1)}
    pool = Pool(account("a"), account("b"), clock=clock, health=known)
    assert [pool.take_now(Ask("m")).name for _ in range(3)] == ["b", "b", "b"]
    clock.advance(1801)
    assert [pool.take_now(Ask("m")).name for _ in range(2)] == ["a", "b"]


def test_health_outlives_a_change_of_the_account():
    pool = Pool(account("a"))
    pool.learn(account("a"), errors.RateLimited("x"))
    pool.list = [account("a", priority=3)]
    assert pool.health("id-a").state == "cooling"
    pool.set_health("id-a", FINE)
    assert pool.take_now(Ask("m")).priority == 3


def test_an_account_that_is_gone_is_not_learned_about():
    pool = Pool(account("a"))
    assert pool.learn(account("gone"), errors.RateLimited("x")) is None
    pool.leave("id-gone")


def test_credits_spent_since_kiro_was_asked_count():
    from support.accounts import usage

    pool = Pool(account("a", usage=usage(0, 100)), account("b", usage=usage(5, 100)), strategy="most-left")
    assert pool.take_now(Ask("m")).name == "a"
    pool.leave("id-a", spent=10.0)
    assert pool.take_now(Ask("m")).name == "b"


def test_looking_takes_no_place_and_minds_no_place():
    pool = Pool(account("a"), max_in_flight=1)
    for _ in range(3):
        assert pool.look(Ask()).name == "a"
    pool.take_now(Ask("m"))
    assert pool.look(Ask()).name == "a"
