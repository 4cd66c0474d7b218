"""The small questions: how Kiro's answers are read."""

import json

import pytest

from kiro.errors import UpstreamBroken
from kiro.upstream.queries import read_usage

NOW = 1_790_000_000.0
RESET = 1_792_000_000.0

TIMES = {
    "seconds": RESET,
    "seconds with a fraction and an exponent": 1.792e9,
    "milliseconds": RESET * 1000,
    "seconds as a text": "1792000000",
    "a date": "2026-10-14T17:46:40Z",
    "a date with an offset": "2026-10-14T19:46:40+02:00",
    "a date without a zone is UTC": "2026-10-14T17:46:40",
}


def usage(**row):
    body = {"usageBreakdownList": [{"resourceType": "CREDIT", "currentUsage": 10, "usageLimit": 100, **row}]}
    return read_usage(200, {}, json.dumps(body).encode(), now=NOW)


@pytest.mark.parametrize("told", TIMES.values(), ids=TIMES.keys())
def test_a_time_in_every_form_that_was_seen(told):
    assert usage(nextDateReset=told).resets_at == RESET


@pytest.mark.parametrize("told", ["soon", "", None, "nan"])
def test_a_time_that_cannot_be_read_is_unknown_and_the_rest_still_counts(told):
    found = usage(nextDateReset=told)
    assert (found.resets_at, found.used, found.remaining) == (None, 10.0, 90.0)


def test_bonuses_count_until_they_expire():
    bonus = {"status": "ACTIVE", "currentUsage": 5, "usageLimit": 20}
    assert usage(bonuses=[bonus | {"expiresAt": "2099-01-01T00:00:00Z"}]).remaining == 105.0
    assert usage(bonuses=[bonus | {"expiresAt": "2020-01-01T00:00:00Z"}]).remaining == 90.0


def test_what_is_no_answer_is_told_as_such():
    with pytest.raises(UpstreamBroken):
        read_usage(200, {}, b"<html>", now=NOW)
