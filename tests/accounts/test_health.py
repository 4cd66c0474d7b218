"""What each outcome costs an account."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from kiro import errors
from kiro.accounts.health import FINE, Bench, Health, SetAside, SwitchFlavour, after, after_recheck
from support.accounts import account, usage

NOW = 1_790_000_000.0
RESET = datetime.fromtimestamp(NOW, UTC) + timedelta(days=9)
SPENT = usage(1000, 1000, resets_at=RESET)


def suspicious(**more):
    error = errors.RateLimited("limits", **more)
    error.suspicious = True
    return error


def quota(period, **more):
    error = errors.QuotaExhausted("spent", **more)
    error.period = period
    return error


RESTS = {
    "a dead token: five minutes": (errors.TokenRejected("x"), "cooling", 300),
    "a wrong profile: ten minutes": (errors.ProfileRefused("x"), "cooling", 600),
    "no profile: ten minutes": (errors.ProfileMissing("x"), "cooling", 600),
    "an unknown 403: ten minutes": (errors.AccessRefused("x"), "cooling", 600),
    "a sign-in that cannot be used now: a moment": (errors.SignInNeeded("x"), "cooling", 10),
    "credits of the month: until the reset that Kiro's usage told": (quota("month"), "exhausted", 9 * 86400),
    "credits of the month with Retry-After: as told": (quota("month", retry_after_s=50.0), "exhausted", 50),
    "credits of the day: an hour, then one request asks": (quota("day"), "exhausted", 3600),
    "credits of the hour: ten minutes": (quota("hour"), "exhausted", 600),
    "credits of the week: an hour": (quota("week"), "exhausted", 3600),
    "too fast: ten seconds": (errors.RateLimited("x"), "cooling", 10),
    "too fast with Retry-After: as told": (errors.RateLimited("x", retry_after_s=25.0), "cooling", 25),
    "too fast with an empty Retry-After: ten seconds": (errors.RateLimited("x", retry_after_s=0.0), "cooling", 10),
    "credits too fast: ten seconds": (
        errors.RateLimited("x", reason="CREDIT_CONSUMPTION_RATE_EXCEEDED"),
        "cooling",
        10,
    ),
    "suspicious activity: half an hour": (suspicious(), "throttled", 1800),
    "suspicious activity with a short Retry-After: ten minutes all the same": (
        suspicious(retry_after_s=5.0),
        "throttled",
        600,
    ),
    "suspicious activity with a long Retry-After: as told": (suspicious(retry_after_s=7200.0), "throttled", 7200),
}


@pytest.mark.parametrize(("error", "state", "seconds"), RESTS.values(), ids=RESTS.keys())
def test_a_refusal_rests_the_account(error, state, seconds):
    found = after(error, FINE, account(usage=SPENT), now=NOW)
    assert (found.state, found.resting_until - NOW, found.since, found.failures) == (state, seconds, NOW, 1)
    assert found.reason


FREE = {
    "everybody's rate": errors.RateLimited("x", reason="SERVICE_REQUEST_RATE_EXCEEDED"),
    "a broken Kiro": errors.UpstreamBroken("x"),
    "a slow Kiro": errors.UpstreamTimeout("x"),
    "an edge's time-out": errors.UpstreamTimeout("x", upstream_status=524),
    "the network": errors.NetworkFailed("x"),
    "a cut": errors.StreamCut("x"),
    "an empty answer": errors.EmptyAnswer("x"),
    "a request of ours": errors.RequestRefused("x"),
    "a signature": errors.SignatureRefused("x"),
    "fields of a model": errors.FieldsRefused("x"),
    "a long conversation": errors.ConversationTooLong("x"),
    "a prompt over the window": errors.ContextOverflow(2, 1),
}


@pytest.mark.parametrize("error", FREE.values(), ids=FREE.keys())
@pytest.mark.parametrize("before", [FINE, Health("cooling", "x", NOW - 5, NOW + 5, 1)], ids=["fine", "resting"])
def test_what_is_not_the_accounts_doing_costs_it_nothing(error, before):
    assert after(error, before, account(), now=NOW, model="m") is before


ASIDE = {
    "suspended": (errors.AccountSuspended("x", reason="TEMPORARILY_SUSPENDED"), "suspended", "TEMPORARILY_SUSPENDED"),
    "suspended without a reason": (errors.AccountSuspended("x"), "suspended", "suspended"),
    "a company's key refuses": (
        errors.EncryptionRefused("x", reason="INVALID_KMS_GRANT"),
        "misconfigured",
        "INVALID_KMS_GRANT",
    ),
    "a conflict about a key": (errors.EncryptionRefused("x"), "misconfigured", "encryption key refused"),
}


@pytest.mark.parametrize(("error", "state", "reason"), ASIDE.values(), ids=ASIDE.keys())
def test_what_needs_a_person_sets_the_account_aside(error, state, reason):
    assert after(error, FINE, account(), now=NOW) == SetAside(state, reason)


def test_a_refused_application_switches_the_flavour_once_and_then_sets_aside():
    error = errors.ApplicationRefused("x", reason="FEATURE_NOT_SUPPORTED")
    assert after(error, FINE, account(flavour="ide"), now=NOW) == SwitchFlavour("runtime")
    for flavour in ("runtime", "cli"):
        assert after(error, FINE, account(flavour=flavour), now=NOW) == SetAside(
            "misconfigured", "FEATURE_NOT_SUPPORTED"
        )


def test_a_model_the_plan_lacks_is_benched_for_an_hour_and_the_account_works_on():
    found = after(errors.ModelUnavailable("x"), FINE, account(), now=NOW, model="m")
    assert found == Health(benched=(Bench("m", NOW + 3600, lacking=True),))
    assert not found.resting(NOW)
    assert found.bench("m", NOW + 3599)
    assert found.bench("m", NOW + 3600) is None
    assert found.bench("other", NOW) is None


def test_an_overloaded_model_is_benched_shortly():
    found = after(errors.ModelOverloaded("x"), FINE, account(), now=NOW, model="m")
    assert found.benched == (Bench("m", NOW + 30, lacking=False),)
    again = after(errors.ModelOverloaded("x", retry_after_s=2.0), found, account(), now=NOW + 1, model="m")
    assert again.benched == (Bench("m", NOW + 3, lacking=False),)


def test_rests_double_up_to_a_minute():
    health, now, seen = FINE, NOW, []
    for _ in range(5):
        health = after(errors.RateLimited("x"), health, account(), now=now)
        seen.append(health.resting_until - now)
        now = health.resting_until + 1
    assert seen == [10, 20, 40, 60, 60]


def test_one_burst_of_refusals_is_one_refusal():
    first = after(errors.RateLimited("x"), FINE, account(), now=NOW, began=NOW - 2)
    second = after(errors.RateLimited("x"), first, account(), now=NOW + 1, began=NOW - 1)
    assert (second.failures, second.resting_until) == (1, NOW + 11)


def test_a_lesser_refusal_never_shortens_a_rest():
    long = Health("exhausted", "x", NOW, NOW + 86400, 1)
    assert after(errors.RateLimited("x"), long, account(), now=NOW + 5) is long


def test_a_success_after_the_rest_clears_it_and_one_from_before_proves_nothing():
    rest = Health("cooling", "x", NOW, NOW + 10, 2)
    assert after(None, rest, account(), now=NOW + 5, began=NOW - 3) is rest
    assert after(None, rest, account(), now=NOW + 15, began=NOW - 3) is rest
    assert rest.on_probation(NOW + 10)
    assert after(None, rest, account(), now=NOW + 15, began=NOW + 12) is FINE


def test_a_success_takes_its_model_from_the_bench_and_leaves_the_others():
    both = Health(benched=(Bench("m", NOW + 20, False), Bench("n", NOW + 20, True), Bench("old", NOW - 1, True)))
    assert after(None, both, account(), now=NOW, model="m") == Health(benched=(Bench("n", NOW + 20, True),))


SPENT_OUT = Health("exhausted", "x", NOW - 3600, NOW + 86400, 1)
RECHECKS = {
    "with credits again one request tries": ({"remaining": 5.0, "resets_at": None}, NOW),
    "without credits it rests until the reset": ({"remaining": 0.0, "resets_at": NOW + 500}, NOW + 500),
    "without a word nothing changes": ({"remaining": None, "resets_at": None}, NOW + 86400),
}


@pytest.mark.parametrize(("told", "until"), RECHECKS.values(), ids=RECHECKS.keys())
def test_spent_credits_are_looked_up(told, until):
    found = after_recheck(SPENT_OUT, now=NOW, **told)
    assert (found.state, found.resting_until) == ("exhausted", until)


def test_credits_told_right_after_a_refusal_for_lack_of_them_are_not_believed():
    young = Health("exhausted", "x", NOW - 30, NOW + 3570, 1)
    assert after_recheck(young, remaining=5.0, resets_at=NOW + 86400, now=NOW) is young
    assert after_recheck(young, remaining=0.0, resets_at=NOW + 86400, now=NOW).resting_until == NOW + 86400
    assert after_recheck(young, remaining=5.0, resets_at=NOW + 86400, now=NOW + 30).on_probation(NOW + 30)


def test_only_an_exhausted_account_is_freed_by_credits():
    rest = Health("throttled", "x", NOW, NOW + 1800, 1)
    assert after_recheck(rest, remaining=5.0, resets_at=None, now=NOW) is rest


def test_health_survives_as_json():
    health = Health("cooling", "x", NOW, NOW + 10, 2, (Bench("m", NOW + 20, True),))
    assert msgspec.json.decode(msgspec.json.encode(health), type=Health) == health
