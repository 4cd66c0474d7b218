"""How accounts, their credits and their states are told, and that they are still known after a restart."""

import json
import re
import signal
import sys
import time
import urllib.error
import urllib.request
from datetime import datetime

import pytest

from kiro.cli import render
from kiro.cli.opening import span
from support.commandline import read_until, value
from support.terminal import Terminal

BAR = re.compile(r"\x1b\[([0-9;]+)m([█░]{10})\x1b\[0m")
GREEN, ORANGE, RED = "32", "33", "31"
"""As a terminal of sixteen colours shows them."""

posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo-terminals")

SHADES = {0.0: "green", 0.7: "green", 0.71: "orange3", 0.9: "orange3", 0.91: "red", 1.0: "red", 1.5: "red"}


@pytest.mark.parametrize(("share", "colour"), SHADES.items())
def test_the_colour_of_a_bar(share, colour):
    assert render.shade(share) == colour


def until_the_reset(kiro):
    """How a person is told the time until the credits of the one account are renewed, now or some seconds ago."""
    (account,) = kiro.json("accounts", "list")
    left = datetime.fromisoformat(account["usage"]["resets_at"]).timestamp() - time.time()
    return f"(?:{'|'.join({span(left), *(span(left + ago) for ago in range(1, 10))})})"


def used(kiro, upstream, credits_used, **more):
    first = upstream.people.persons["first"]
    first.used = credits_used
    for name, what in more.items():
        setattr(first, name, what)
    kiro.ok("accounts", "usage")


def on_terminal(kiro, *arguments):
    terminal = Terminal(kiro.env | {"COLUMNS": "200", "LANG": "C.UTF-8", "PYTHONUTF8": "1"}, *arguments)
    assert terminal.status() == 0
    return terminal.seen


FULL = {
    "nothing used": (0.0, GREEN, "░" * 10),
    "a little shows": (1.0, GREEN, "█" + "░" * 9),
    "below 70 %": (600.0, GREEN, "█" * 6 + "░" * 4),
    "above 70 %": (750.0, ORANGE, "█" * 8 + "░" * 2),
    "above 90 %": (999.0, RED, "█" * 9 + "░"),
    "all": (1000.0, RED, "█" * 10),
}


@posix
@pytest.mark.parametrize(("spent", "colour", "bar"), FULL.values(), ids=FULL.keys())
def test_credits_are_a_bar_on_a_terminal(signed_in, upstream, spent, colour, bar):
    used(signed_in, upstream, spent)
    assert BAR.findall(on_terminal(signed_in, "accounts", "list")) == [(colour, bar)]


@posix
@pytest.mark.parametrize("command", [("accounts", "show", "first"), ("accounts", "usage"), ("status",)], ids=" ".join)
def test_every_place_that_tells_credits_has_the_bar(signed_in, upstream, command):
    used(signed_in, upstream, 600.0)
    assert BAR.findall(on_terminal(signed_in, *command)) == [(GREEN, "█" * 6 + "░" * 4)]


@pytest.mark.parametrize("command", [("accounts", "list"), ("accounts", "show", "first"), ("status",)], ids=" ".join)
def test_in_a_pipe_there_are_plain_numbers_and_when_they_were_asked(signed_in, upstream, command):
    used(signed_in, upstream, 600.0)
    shown = signed_in.ok(*command)
    assert "600 of 1000" in shown
    assert re.search(r"\d+ s ago", shown)
    assert "█" not in shown
    assert "\x1b" not in shown


def test_usage_tells_what_is_left_within_the_budget(signed_in, upstream):
    signed_in.ok("accounts", "set", "first", "--overage-budget", "50")
    used(signed_in, upstream, 1020.0, overage=True)
    shown = signed_in.ok("accounts", "usage")
    (row,) = shown.splitlines()[1:]
    assert re.search(r"first +active +KIRO PRO +1000 +1000 +30 +20 of 50 ", row)
    assert "1000 of 1000, overage 20 of 50" in signed_in.ok("accounts", "list")
    fields = signed_in.ok("accounts", "show", "first")
    assert "on; used 20 of 50" in fields
    assert "50 credits a period" in fields


def test_a_spent_budget_shows_without_a_server_too(signed_in, upstream):
    signed_in.ok("config", "set", "pool.overage_credits", "5")
    used(signed_in, upstream, 1020.0, overage=True)
    (listed,) = signed_in.json("accounts", "list")
    assert (listed["state"], listed["reason"]) == ("exhausted", "overage budget reached")
    status, _, err = signed_in.call("accounts", "list")
    assert status == 0
    again = until_the_reset(signed_in)
    assert re.search(rf"first: .* \(overage budget reached\); again in {again}\. Wait .* --overage-budget N", err)


def test_status_tells_what_the_server_is_doing(signed_in):
    with signed_in.started("serve", "--port", "0") as process:
        url = value(read_until(process, "Claude Code"), "base URL")
        signed_in.env["KIRO_SERVER_PORT"] = url.rpartition(":")[2]
        assert "0 being answered, 0 waiting" in signed_in.ok("status")
        assert signed_in.json("status")["server"] == {"url": url, "up": True, "in_flight": 0, "waiting": 0}
        process.send_signal(signal.SIGTERM)
        process.wait(15)
    assert "requests" not in signed_in.ok("status")


def ask(url, key):
    body = {"model": "claude-sonnet-4.5", "max_tokens": 5000, "messages": [{"role": "user", "content": "Hello!"}]}
    request = urllib.request.Request(f"{url}/v1/messages", json.dumps(body).encode(), {"x-api-key": key})
    try:
        with urllib.request.urlopen(request, timeout=20) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def serving(kiro, work):
    with kiro.started("serve", "--port", "0") as process:
        banner = read_until(process, "Claude Code")
        done = work(value(banner, "base URL"), value(banner, "client key"))
        process.send_signal(signal.SIGTERM)
        assert process.wait(15) == 0
    return banner, done


def ready(url, key):
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=20) as response:
            return response.status, response.headers["retry-after"], json.load(response)["status"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["retry-after"], json.load(error)["status"]


def test_a_spent_account_is_still_known_after_a_restart(signed_in, upstream):
    used(signed_in, upstream, 1000.0)
    _, (status, _) = serving(signed_in, ask)
    assert status == 429
    (listed,) = signed_in.json("accounts", "list")
    assert (listed["state"], listed["reason"]) == ("exhausted", "credits of the month are spent")
    asked = sum(one.operation == "generate" for one in upstream.requests)
    banner, (code, wait, word) = serving(signed_in, ready)
    assert "first: exhausted" in banner
    assert (code, word) == (503, "no account is ready")
    assert int(wait) > 60
    _, (_, told) = serving(signed_in, ask)
    assert "The account first is resting (credits of the month are spent)" in told["error"]["message"]
    assert sum(one.operation == "generate" for one in upstream.requests) == asked


def test_a_suspended_account_stays_set_aside_until_a_person_restores_it(signed_in, upstream):
    upstream.people.persons["first"].suspended = True
    serving(signed_in, ask)
    upstream.people.persons["first"].suspended = False
    banner, (code, _, _) = serving(signed_in, ready)
    assert "first: suspended" in banner
    assert code == 503
    signed_in.ok("accounts", "restore", "first")
    _, (status, _) = serving(signed_in, ask)
    assert status == 200


def test_doctor_tells_why_an_account_rests_until_when_and_what_to_do(signed_in, upstream):
    signed_in.ok("config", "set", "pool.overage_credits", "5")
    used(signed_in, upstream, 1020.0, overage=True)
    found = next(one for one in signed_in.json("doctor") if one["what"] == "account first")
    assert found["level"] == "warning"
    again = until_the_reset(signed_in)
    assert re.search(rf"\(overage budget reached\); again in {again}$", found["says"])
    assert "--overage-budget" in found["mend"]


def test_doctor_tells_of_a_key_that_can_do_nothing(signed_in):
    signed_in.ok("keys", "create", "laptop", "--accounts", "first")
    assert not [one for one in signed_in.json("doctor") if one["what"] == "client key laptop"]
    signed_in.ok("accounts", "remove", "first", "--yes")
    (found,) = [one for one in signed_in.json("doctor") if one["what"] == "client key laptop"]
    assert "kiro keys set laptop --accounts" in found["mend"]
