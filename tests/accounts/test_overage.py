"""Overage costs money: how much of it an account may use."""

from datetime import UTC, datetime

import msgspec
import pytest

from kiro.accounts.health import FINE, Bench, Health
from kiro.accounts.overage import BUDGET_REACHED, after_told, left_within, within_budget
from kiro.accounts.pool import Ask
from kiro.accounts.showing import shown
from kiro.accounts.turns import Turns
from kiro.errors import NoAccountReady
from support.accounts import account, rules, usage
from support.clock import FakeClock

NOW = 1_790_000_000.0
RESET = datetime.fromtimestamp(NOW + 86_400, UTC)


def told(overage_used=0.0, *, included=0.0, cap=10_000.0, on=True, resets_at=RESET):
    """A plan of 1000 credits, `included` of them left."""
    left = included + (cap or 0.0) - overage_used if on else included
    snapshot = usage(1000.0 - included, 1000.0, left=left, overage=on, resets_at=resets_at)
    return msgspec.structs.replace(snapshot, overage_used=overage_used, overage_cap=cap)


LEFT = {
    "without a budget as much as Kiro allows": (told(200.0), None, 9800.0),
    "with one as much as that": (told(20.0), 50.0, 30.0),
    "what the plan still has goes first": (told(included=100.0), 50.0, 150.0),
    "a budget above Kiro's cap changes nothing": (told(20.0, cap=40.0), 500.0, 20.0),
    "used up": (told(50.0), 50.0, 0.0),
    "more than used up": (told(60.0), 50.0, 0.0),
    "none at all": (told(included=5.0), 0.0, 5.0),
    "a cap that nobody told": (told(20.0, cap=None), 50.0, 30.0),
    "overage switched off": (told(included=5.0, on=False), 50.0, 5.0),
    "what older versions stored": (usage(900.0), 50.0, 100.0),
}


@pytest.mark.parametrize(("snapshot", "budget", "left"), LEFT.values(), ids=LEFT.keys())
def test_credits_left(snapshot, budget, left):
    assert left_within(snapshot, budget) == pytest.approx(left)


def test_at_the_budget_the_account_rests_until_the_period_ends():
    benched = (Bench("m", NOW + 60, lacking=True),)
    found = within_budget(Health(benched=benched), told(50.0), 50.0, now=NOW)
    assert found == Health("exhausted", BUDGET_REACHED, NOW, NOW + 86_400, 0, benched)
    assert within_budget(found, told(50.0), 50.0, now=NOW + 5) is found


def test_an_unknown_end_of_the_period_is_looked_up_every_hour():
    assert within_budget(FINE, told(50.0, resets_at=None), 50.0, now=NOW).resting_until == NOW + 3600


GOES_ON = {
    "below the budget": (told(49.9), 50.0),
    "without a budget": (told(9000.0), None),
    "overage switched off: Kiro itself says no": (told(0.0, on=False), 0.0),
    "numbers of a period that is over": (told(50.0, resets_at=datetime.fromtimestamp(NOW - 1, UTC)), 50.0),
    "nothing told": (None, 50.0),
}


@pytest.mark.parametrize(("snapshot", "budget"), GOES_ON.values(), ids=GOES_ON.keys())
def test_goes_on(snapshot, budget):
    assert within_budget(FINE, snapshot, budget, now=NOW) is FINE
    reached = Health("exhausted", BUDGET_REACHED, NOW - 9, NOW + 9, 0)
    assert within_budget(reached, snapshot, budget, now=NOW) is FINE


def test_a_budget_neither_shortens_nor_hides_a_rest_that_kiro_gave():
    kiros = Health("exhausted", "credits of the month are spent", NOW, NOW + 9e5, 1)
    assert within_budget(kiros, told(50.0), 50.0, now=NOW) is kiros
    assert within_budget(kiros, told(5.0), 50.0, now=NOW) is kiros


def test_an_answer_that_spends_the_last_credit_counts():
    assert within_budget(FINE, told(49.0), 50.0, now=NOW, spent=0.5) is FINE
    assert within_budget(FINE, told(49.0), 50.0, now=NOW, spent=1.0).reason == BUDGET_REACHED


def test_after_a_look_a_spent_account_is_tried_within_its_budget_only():
    spent = Health("exhausted", "credits of the month are spent", NOW - 100, NOW + 9e5, 1)
    assert after_told(spent, told(10.0), 50.0, now=NOW).on_probation(NOW)
    assert not after_told(spent, told(50.0), 50.0, now=NOW).on_probation(NOW)


class Pool(Turns):
    def __init__(self, *accounts, clock, **changes):
        self.list, self.rules, self.heard = list(accounts), rules(**changes), []
        super().__init__(
            lambda: self.list,
            lambda: self.rules,
            changed=lambda who, health: self.heard.append((who.name, health.state, health.reason)),
            clock=clock,
        )


def pool(*accounts, **changes):
    return Pool(*accounts, clock=FakeClock(NOW), **changes)


def test_what_answers_cost_counts_at_once():
    turns = pool(account("a", usage=told(48.0), overage_budget=50.0), account("b"))
    turns.take_now(Ask("m"))
    turns.leave("id-a", spent=1.5)
    assert turns.heard == []
    turns.leave("id-a", spent=0.6)
    assert turns.heard == [("a", "exhausted", BUDGET_REACHED)]
    assert turns.look(Ask(only="b")).name == "b"
    with pytest.raises(NoAccountReady, match=BUDGET_REACHED):
        turns.look(Ask(only="a"))


def test_the_setting_counts_for_accounts_without_a_budget_of_their_own():
    turns = pool(
        account("a", usage=told(30.0)), account("b", usage=told(30.0), overage_budget=99.0), overage_credits=20.0
    )
    assert (turns.budget("id-a"), turns.budget("id-b")) == (20.0, 99.0)
    assert [turns.health(f"id-{name}").state for name in "ab"] == ["exhausted", "active"]


def test_a_changed_setting_or_budget_takes_effect_at_once_in_both_directions():
    turns = pool(account("a", usage=told(30.0)), overage_credits=20.0)
    assert turns.health("id-a").state == "exhausted"
    turns.rules = rules(overage_credits=40.0)
    turns.refresh()
    assert turns.health("id-a") is FINE
    turns.list = [account("a", usage=told(30.0), overage_budget=0.0)]
    assert turns.health("id-a").state == "exhausted"


def test_most_left_counts_the_budget_only():
    rich = account("rich", usage=told(0.0, included=10.0), overage_budget=5.0)
    other = account("other", usage=usage(900.0))
    assert pool(rich, other, strategy="most-left").look(Ask("m")).name == "other"
    without = msgspec.structs.replace(rich, overage_budget=None)
    assert pool(without, other, strategy="most-left").look(Ask("m")).name == "rich"


def test_it_is_told_with_what_to_do():
    told_as = shown(account("a"), Health("exhausted", BUDGET_REACHED, NOW, NOW + 60, 0), now=NOW)
    assert (told_as.state, told_as.reason, told_as.until) == ("exhausted", "overage budget reached", NOW + 60)
    assert "kiro accounts set a --overage-budget" in told_as.todo
