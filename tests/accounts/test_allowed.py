"""A client that may use some accounts only."""

import pytest

from kiro.accounts.health import Health
from kiro.accounts.pool import Ask, Take, View, Wait, choose
from kiro.accounts.turns import Turns
from kiro.errors import AccountForbidden, NoAccountReady, SignInNeeded
from support.accounts import account, rules, stand
from support.clock import FakeClock

NOW = 1_790_000_000.0
RESTING = Health("cooling", "rate limited", NOW - 5, NOW + 20, 1)
ONLY_B = frozenset({"id-b"})
GONE = frozenset({"id-removed"})


def pick(standings, ask, view=None, **changes):
    return choose(standings, ask, rules(**changes), view or View(), now=NOW)


@pytest.mark.parametrize("strategy", ["least-used", "priority", "round-robin", "most-left"])
def test_every_strategy_chooses_among_the_allowed(strategy):
    found = pick([stand("a"), stand("b", in_flight=5, priority=9)], Ask("m", allowed=ONLY_B), strategy=strategy)
    assert found == Take(stand("b", priority=9).account)


def test_a_session_bound_to_another_account_moves():
    found = pick([stand("a"), stand("b")], Ask("m", "s", allowed=ONLY_B), View(bound="id-a"))
    assert found == Take(stand("b").account)


def test_an_allowed_account_is_waited_for_and_never_replaced():
    assert pick([stand("a"), stand("b", in_flight=8)], Ask("m", allowed=ONLY_B)) == Wait(None)
    with pytest.raises(NoAccountReady, match="The account b is resting"):
        pick([stand("a"), stand("b", health=RESTING)], Ask("m", allowed=ONLY_B))


def test_a_pin_within_the_allowed_is_followed():
    both = [stand("a"), stand("b")]
    assert pick(both, Ask("m", only="b", allowed=frozenset({"id-a", "id-b"}))) == Take(stand("b").account)


def test_a_pin_outside_the_allowed_is_refused_by_name_or_id():
    both = [stand("a"), stand("b")]
    for pin in ("a", "id-a"):
        with pytest.raises(AccountForbidden) as told:
            pick(both, Ask("m", only=pin, allowed=ONLY_B))
        assert (str(told.value), told.value.hint) == ("This client key may not use the account a.", "It may use: b.")


def test_a_name_that_nobody_has_is_told_with_the_allowed_ones_only():
    with pytest.raises(SignInNeeded) as told:
        pick([stand("a"), stand("b")], Ask("m", only="x", allowed=ONLY_B))
    assert told.value.hint == "There are: b."


def test_when_all_allowed_accounts_are_gone_nothing_is_allowed():
    with pytest.raises(AccountForbidden, match="are gone"):
        pick([stand("a"), stand("b")], Ask("m", allowed=GONE))
    with pytest.raises(AccountForbidden, match="may not use the account a"):
        pick([stand("a")], Ask("m", only="a", allowed=GONE))


def test_a_busy_account_of_one_client_holds_up_no_other():
    """Two wishes that differ only in the allowed accounts are two wishes."""
    accounts = [account("a"), account("b")]
    turns = Turns(lambda: accounts, lambda: rules(max_in_flight=1), clock=FakeClock())
    assert turns.take_now(Ask("m", allowed=ONLY_B)).name == "b"
    assert turns.take_now(Ask("m", allowed=ONLY_B)) is None
    assert turns.take_now(Ask("m", allowed=frozenset({"id-a"}))).name == "a"


def test_a_look_stays_among_the_allowed():
    accounts = [account("a"), account("b")]
    turns = Turns(lambda: accounts, rules, clock=FakeClock())
    assert turns.look(Ask(allowed=ONLY_B)).name == "b"
    assert turns.eligible(Ask()) is None
    assert turns.eligible(Ask(allowed=ONLY_B)) == ONLY_B
    assert turns.eligible(Ask(only="a", allowed=None)) == frozenset({"id-a"})


def test_questions_that_cost_nothing_go_to_a_resting_account_when_all_rest():
    clock = FakeClock()
    accounts = [account("a"), account("b")]
    rest = {f"id-{name}": Health("exhausted", "x", clock(), clock() + wait, 1) for name, wait in (("a", 90), ("b", 60))}
    turns = Turns(lambda: accounts, rules, health=rest, clock=clock)
    assert turns.look_anyway(Ask()).name == "b"
    assert turns.look_anyway(Ask(only="a")).name == "a"
