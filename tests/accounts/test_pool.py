"""Whose turn it is."""

import pytest

from kiro.accounts.health import Bench, Health
from kiro.accounts.pool import Ask, Take, View, Wait, choose
from kiro.errors import NoAccountReady, SignInNeeded, UnknownModel
from support.accounts import rules, stand, usage

NOW = 1_790_000_000.0
RESTING = Health("cooling", "rate limited", NOW - 5, NOW + 20, 1)
OVER = Health("cooling", "rate limited", NOW - 50, NOW - 20, 1)
LACKING = Health(benched=(Bench("m", NOW + 60, lacking=True),))
BUSY_MODEL = Health(benched=(Bench("m", NOW + 60, lacking=False),))


def pick(standings, ask=None, view=None, **changes):
    return choose(standings, ask or Ask("m", "s"), rules(**changes), view or View(), now=NOW)


def name(choice):
    assert isinstance(choice, Take)
    return choice.account.name


CHOSEN = {
    "least-used: fewest requests in flight": (
        "least-used",
        [stand("a", in_flight=2, recent=1.0), stand("b", in_flight=1, recent=9.0)],
        "b",
    ),
    "least-used: then the least used lately": ("least-used", [stand("a", recent=9.0), stand("b", recent=8.0)], "b"),
    "least-used: never used goes first": ("least-used", [stand("a", recent=9.0), stand("b")], "b"),
    "least-used: among equals the order of the list": ("least-used", [stand("a"), stand("b")], "a"),
    "priority: the smaller number": ("priority", [stand("a", priority=2), stand("b", priority=1, recent=9.0)], "b"),
    "priority: among equals the least used": ("priority", [stand("a", in_flight=1), stand("b")], "b"),
    "priority: the next one when the first is full": (
        "priority",
        [stand("a", priority=1, in_flight=8), stand("b", priority=2)],
        "b",
    ),
    "most-left: most credits": (
        "most-left",
        [stand("a", credits_told=usage(600)), stand("b", credits_told=usage(500))],
        "b",
    ),
    "most-left: trials and overage count": (
        "most-left",
        [stand("a", credits_told=usage(1000, left=700.0, overage=True)), stand("b", credits_told=usage(500))],
        "a",
    ),
    "most-left: unknown comes last": ("most-left", [stand("a"), stand("b", credits_told=usage(999))], "b"),
}


@pytest.mark.parametrize(("strategy", "standings", "wanted"), CHOSEN.values(), ids=CHOSEN.keys())
def test_strategies(strategy, standings, wanted):
    assert name(pick(standings, strategy=strategy)) == wanted


def test_round_robin_takes_who_waited_longest_and_new_ones_first():
    three = [stand("a"), stand("b"), stand("c")]
    assert name(pick(three, view=View(turns={"id-a": 7, "id-b": 5, "id-c": 6}), strategy="round-robin")) == "b"
    assert name(pick(three, view=View(turns={"id-a": 7, "id-b": 5}), strategy="round-robin")) == "c"


PASSED_OVER = {
    "a resting one": stand("a", health=RESTING),
    "one on probation with a request under way": stand("a", health=OVER, in_flight=1, last_started=NOW - 1),
    "one whose plan lacks the model": stand("a", health=LACKING),
    "one whose model is overloaded": stand("a", health=BUSY_MODEL),
    "a full one": stand("a", in_flight=8),
    "a disabled one": stand("a", enabled=False),
    **{f"one that is {state}": stand("a", state=state) for state in ("suspended", "invalid", "misconfigured")},
}


@pytest.mark.parametrize("bad", PASSED_OVER.values(), ids=PASSED_OVER.keys())
def test_passed_over(bad):
    assert name(pick([bad, stand("b", in_flight=7, recent=99.0)])) == "b"


def test_one_on_probation_gets_one_request():
    assert name(pick([stand("a", health=OVER)])) == "a"
    assert pick([stand("a", health=OVER, in_flight=1, last_started=NOW - 1)]) == Wait(None)


def test_long_answers_from_before_the_rest_do_not_keep_an_account_from_being_tried():
    assert name(pick([stand("a", health=OVER, in_flight=1, last_started=NOW - 60)])) == "a"


def test_one_that_failed_this_request_is_passed_over():
    assert name(pick([stand("a"), stand("b")], Ask("m", tried=frozenset({"id-a"})))) == "b"


def test_when_all_have_failed_this_request_that_is_said():
    with pytest.raises(NoAccountReady, match="no other account to try"):
        pick([stand("a"), stand("b", health=RESTING)], Ask("m", tried=frozenset({"id-a", "id-b"})))


def test_an_overloaded_model_is_asked_for_where_nothing_better_is_free():
    assert name(pick([stand("a", health=BUSY_MODEL)])) == "a"
    assert name(pick([stand("a", health=BUSY_MODEL), stand("b", in_flight=8)])) == "a"


class TestModels:
    def test_accounts_without_the_model_are_passed_over(self):
        assert name(pick([stand("a"), stand("b", in_flight=3)], view=View(lacking=frozenset({"id-a"})))) == "b"

    def test_a_list_can_be_old_so_when_nobody_has_the_model_everybody_is_asked(self):
        assert name(pick([stand("a")], view=View(lacking=frozenset({"id-a"})))) == "a"

    def test_one_refusal_shows_that_the_lists_are_right_and_nobody_else_is_asked(self):
        lists = View(lacking=frozenset({"id-a", "id-b"}))
        with pytest.raises(UnknownModel):
            pick([stand("a", health=LACKING), stand("b")], view=lists)
        assert name(pick([stand("a", health=LACKING), stand("b")], Ask("n"), view=lists)) in ("a", "b")

    def test_the_one_that_has_it_is_waited_for(self):
        two = [stand("a"), stand("b", in_flight=8)]
        assert pick(two, view=View(lacking=frozenset({"id-a"}))) == Wait(None)
        with pytest.raises(NoAccountReady):
            pick([stand("a"), stand("b", health=RESTING)], view=View(lacking=frozenset({"id-a"})))

    def test_a_model_that_every_plan_refused_is_unknown(self):
        with pytest.raises(UnknownModel):
            pick([stand("a", health=LACKING), stand("b", health=LACKING)])

    def test_other_models_of_the_same_account_go_on(self):
        assert name(pick([stand("a", health=LACKING)], Ask("n"))) == "a"


class TestSessions:
    BOUND = View(bound="id-b")

    def test_a_session_stays_with_its_account(self):
        assert pick([stand("a"), stand("b", in_flight=5, recent=99.0)], view=self.BOUND) == Take(
            stand("b").account, bind=True
        )

    def test_while_its_account_is_full_another_helps_out(self):
        assert pick([stand("a"), stand("b", in_flight=8)], view=self.BOUND) == Take(stand("a").account, bind=False)

    @pytest.mark.parametrize("lost", [stand("b", health=RESTING), stand("b", enabled=False)], ids=["rests", "disabled"])
    def test_when_its_account_is_lost_it_moves(self, lost):
        assert pick([stand("a"), lost], view=self.BOUND) == Take(stand("a").account, bind=True)

    def test_after_a_failure_it_moves(self):
        found = pick([stand("a"), stand("b")], Ask("m", "s", tried=frozenset({"id-b"})), self.BOUND)
        assert found == Take(stand("a").account, bind=True)


class TestPins:
    def test_by_name_or_id(self):
        both = [stand("a"), stand("b")]
        assert name(pick(both, Ask("m", only="b"))) == "b"
        assert name(pick(both, Ask("m", only="id-b"))) == "b"

    def test_an_unknown_name_is_told_with_those_there_are(self):
        with pytest.raises(SignInNeeded) as told:
            pick([stand("b"), stand("a")], Ask("m", only="x"))
        assert (str(told.value), told.value.hint) == ("There is no account 'x'.", "There are: a, b.")

    def test_a_pinned_account_is_waited_for_and_never_replaced(self):
        assert pick([stand("a", in_flight=8), stand("b")], Ask("m", only="a")) == Wait(None)
        with pytest.raises(NoAccountReady):
            pick([stand("a", health=RESTING), stand("b")], Ask("m", only="a"))

    def test_a_pin_is_asked_for_whatever_its_list_says(self):
        assert name(pick([stand("a"), stand("b")], Ask("m", only="a"), View(lacking=frozenset({"id-a"})))) == "a"


class TestPacing:
    def test_off_by_default(self):
        assert name(pick([stand("a", last_started=NOW, started=(NOW,) * 99)], view=View(total=[NOW] * 999))) == "a"

    def test_a_pause_between_two_starts(self):
        assert pick([stand("a", last_started=NOW - 0.5)], min_interval_ms=2000) == Wait(NOW + 1.5)
        assert name(pick([stand("a", last_started=NOW - 2)], min_interval_ms=2000)) == "a"
        assert name(pick([stand("a", last_started=NOW), stand("b", in_flight=7)], min_interval_ms=2000)) == "b"

    def test_starts_per_minute_with_one_account(self):
        paced = stand("a", started=(NOW - 50, NOW - 40, NOW - 30))
        assert pick([paced], requests_per_minute=2) == Wait(NOW + 20)
        assert name(pick([paced], requests_per_minute=4)) == "a"

    def test_starts_per_minute_altogether(self):
        assert pick([stand("a")], view=View(total=[NOW - 10, NOW - 5]), total_requests_per_minute=2) == Wait(NOW + 50)

    def test_a_rest_that_ends_sooner_wakes_up(self):
        assert pick([stand("a", in_flight=8), stand("b", health=RESTING)]) == Wait(NOW + 20)


class TestNobody:
    def test_there_is_no_account(self):
        with pytest.raises(SignInNeeded, match="There is no account yet"):
            pick([])

    def test_one_that_is_set_aside_says_why(self):
        with pytest.raises(SignInNeeded, match="The account a cannot be used: it is suspended"):
            pick([stand("a", state="suspended")])

    def test_all_are_set_aside(self):
        with pytest.raises(SignInNeeded, match="None of the 2 accounts can be used"):
            pick([stand("a", enabled=False), stand("b", state="invalid")])

    def test_the_only_one_rests(self):
        with pytest.raises(NoAccountReady) as told:
            pick([stand("a", health=RESTING), stand("b", enabled=False)])
        assert str(told.value) == "The account a is resting (rate limited); it is ready in 20 s."
        assert told.value.retry_after_s == 20

    def test_all_rest_and_the_first_to_be_ready_counts(self):
        later = Health("exhausted", "credits of the month are spent", NOW, NOW + 9 * 86400, 1)
        with pytest.raises(NoAccountReady, match=r"All 2 accounts that could serve are resting; .* ready in 20 s"):
            pick([stand("a", health=later), stand("b", health=RESTING)])
        with pytest.raises(NoAccountReady, match="it is ready in 9 days"):
            pick([stand("a", health=later)])

    def test_a_limit_for_all_does_not_hide_that_nobody_can_serve(self):
        with pytest.raises(SignInNeeded):
            pick([stand("a", enabled=False)], view=View(total=[NOW]), total_requests_per_minute=1)


def test_choosing_changes_nothing():
    """Equal questions get equal answers: all state is in the values."""
    three = [stand("a"), stand("b", in_flight=1), stand("c", health=OVER)]
    assert len({name(pick(three)) for _ in range(20)}) == 1
