"""`kiro accounts set NAME --profile`: which profile of the company an account works with."""

import sys

import pytest

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

from support.terminal import Terminal

SECOND = "arn:aws:codewhisperer:eu-central-1:111122223333:profile/SECOND"


@pytest.fixture
def work(here, join):
    """A company sign-in with two profiles, of which the first is used."""
    join("idc", "work", more_profiles=(SECOND,))
    return here


def profile(kiro):
    account = kiro.json("accounts", "list")[0]
    return account["profile_arn"], account["region"]


def test_an_arn_is_taken_with_its_region(work):
    work.ok("accounts", "set", "work", "--profile", SECOND)
    assert profile(work) == (SECOND, "eu-central-1")
    assert work.run("ask", "hello", "--account", "work").returncode == 0


def test_those_there_are_can_be_chosen_anew(work):
    terminal = Terminal(work.env, "accounts", "set", "work", "--profile", "list")
    terminal.expect("Which one? [1-2, Enter: 1] ")
    terminal.type("2")
    assert terminal.status() == 0, terminal.seen
    assert profile(work) == (SECOND, "eu-central-1")


def test_without_a_terminal_they_are_listed(work):
    before = profile(work)
    done = work.run("accounts", "set", "work", "--profile", "list")
    assert done.returncode == 2
    assert SECOND in done.stdout
    assert "--profile ARN" in done.stderr
    assert profile(work) == before


def test_a_profile_that_came_later_makes_the_account_usable(here, join):
    person = join("idc", "work", without_profile=True)
    assert here.json("accounts", "list")[0]["state"] == "needs_profile"
    assert here.run("accounts", "set", "work", "--profile", "list").returncode == 1
    person.without_profile = False
    terminal = Terminal(here.env, "accounts", "set", "work", "--profile", "list")
    terminal.expect("work uses the profile")
    assert terminal.status() == 0, terminal.seen
    assert here.json("accounts", "list")[0]["state"] == "active"


def test_what_is_no_arn_is_wrong_usage(work):
    status, _, err = work.call("accounts", "set", "work", "--profile", "arn:nonsense")
    assert status == 2
    assert "no ARN of a Kiro profile" in err


def test_only_company_sign_ins_have_profiles(here, join):
    join("builder_id")
    status, _, err = here.call("accounts", "set", "mine", "--profile", SECOND)
    assert status == 2
    assert "no profile to choose" in err
