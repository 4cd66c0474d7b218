"""`kiro login …` on a terminal, against an emulated Kiro."""

import sys
from urllib.parse import parse_qsl, urlsplit

import pytest

from kiro.cli.signing_in import half_blocks
from kiro.emulator.faults import HttpError

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

from support.terminal import Terminal

COMPANY = ("--start-url", "https://d-1234567890.awsapps.com/start", "--region", "eu-west-1")
SECOND = "arn:aws:codewhisperer:eu-central-1:111122223333:profile/SECOND"


def accounts(kiro):
    return kiro.json("accounts", "list")


# -- by code, with AWS


def test_builder_id_by_code_ends_with_an_account_that_works(here, upstream):
    terminal = Terminal(here.env, "login", "device", "--name", "mine")
    terminal.expect("/device?user_code=EMUL-")
    terminal.expect("Waiting; Ctrl-C stops.")
    assert terminal.status() == 0, terminal.seen
    for text in ("mine is added.", "AWS Builder ID", "@example.com", "KIRO PRO", "12.5 of 1000"):
        assert text in terminal.seen
    account = accounts(here)[0]
    assert (account["name"], account["kind"], account["state"]) == ("mine", "builder_id", "active")
    assert "mine: renewed" in here.run("accounts", "refresh", "mine").stderr


def test_without_a_terminal_the_code_is_told_the_same(here):
    done = here.run("login", "device")
    assert done.returncode == 0, done.stderr
    assert "code: EMUL-" in done.stderr
    assert "KIRO PRO" in done.stdout


def test_identity_center_finds_its_profile(here, upstream):
    done = here.run("login", "device", *COMPANY)
    assert done.returncode == 0, done.stderr
    account = accounts(here)[0]
    assert (account["kind"], account["region"]) == ("idc", "us-east-1")
    assert account["profile_arn"].startswith("arn:aws:codewhisperer:us-east-1:111122223333:profile/")


def test_of_several_profiles_the_person_chooses(here, upstream):
    upstream.people.add("sue", "idc").more_profiles = (SECOND,)
    upstream.sign_in.signs_in = "sue"
    terminal = Terminal(here.env, "login", "device", *COMPANY)
    terminal.expect("Which one? [1-2, Enter: 1]")
    assert "sue profile 2 (eu-central-1)" in terminal.seen
    terminal.type("7")
    terminal.expect("none of the numbers")
    terminal.type("2")
    assert terminal.status() == 0, terminal.seen
    assert (accounts(here)[0]["profile_arn"], accounts(here)[0]["region"]) == (SECOND, "eu-central-1")


def test_ctrl_c_at_the_choice_ends_with_status_4(here, upstream):
    upstream.people.add("sue", "idc").more_profiles = (SECOND,)
    upstream.sign_in.signs_in = "sue"
    terminal = Terminal(here.env, "login", "device", *COMPANY)
    terminal.expect("Enter: 1]")
    terminal.interrupt()
    assert terminal.status() == 4
    assert "Traceback" not in terminal.seen
    assert accounts(here) == []


def test_where_nobody_can_choose_the_first_profile_is_taken_and_named(here, upstream):
    upstream.people.add("sue", "idc").more_profiles = (SECOND,)
    upstream.sign_in.signs_in = "sue"
    done = here.run("login", "device", *COMPANY)
    assert done.returncode == 0
    assert "the first one, sue profile, is taken" in done.stderr


def test_without_a_profile_the_account_is_kept_and_status_is_3(here, upstream):
    upstream.people.add("sue", "idc").without_profile = True
    upstream.sign_in.signs_in = "sue"
    done = here.run("login", "device", *COMPANY)
    assert done.returncode == 3
    assert "no Kiro profile was found" in done.stderr
    assert accounts(here)[0]["state"] == "needs_profile"


def test_signing_in_again_renews_the_account_and_keeps_its_id(here, upstream):
    upstream.people.add("sue", "builder_id")
    upstream.sign_in.signs_in = "sue"
    here.run("login", "device")
    before = accounts(here)
    done = here.run("login", "device")
    assert "is renewed." in done.stderr
    assert [one["id"] for one in accounts(here)] == [one["id"] for one in before]


def test_signing_in_again_revives_a_dead_sign_in(here, upstream):
    person = upstream.people.add("sue", "builder_id")
    upstream.sign_in.signs_in = "sue"
    here.run("login", "device")
    upstream.people.revoke(person)
    assert here.run("accounts", "refresh").returncode == 3
    here.run("login", "device")
    assert accounts(here)[0]["state"] == "active"


def test_ctrl_c_while_waiting_ends_with_status_4_and_adds_nothing(here, upstream):
    upstream.sign_in._polls = None
    terminal = Terminal(here.env, "login", "device")
    terminal.expect("Ctrl-C stops.")
    terminal.interrupt()
    assert terminal.status() == 4
    assert "Traceback" not in terminal.seen
    assert accounts(here) == []


def test_a_refusal_in_the_browser_is_told(here, upstream):
    upstream.sign_in._polls = None
    terminal = Terminal(here.env, "login", "device")
    upstream.sign_in.deny(terminal.after("code: "))
    assert terminal.status() == 1
    assert "refused in the browser" in terminal.seen
    assert accounts(here) == []


def test_a_plan_that_is_not_told_is_a_warning(here, upstream):
    upstream.faults.add(HttpError(500), operation="usage", times=None)
    done = here.run("login", "device")
    assert done.returncode == 0
    assert "did not tell plan and credits" in done.stderr
    assert len(accounts(here)) == 1


def test_a_name_that_cannot_be_one_is_refused_before_the_sign_in(here, upstream):
    assert here.run("login", "device", "--name", "no/name").returncode == 2
    assert upstream.served == 0


@pytest.mark.parametrize(("lines", "shown"), [("12", False), ("60", True)], ids=["too low", "high enough"])
def test_a_terminal_that_is_large_enough_shows_the_address_as_a_picture(here, lines, shown):
    terminal = Terminal(here.env | {"LINES": lines}, "login", "device")
    assert terminal.status() == 0
    assert ("█" in terminal.seen) is shown


def test_two_rows_of_dots_become_one_line():
    assert half_blocks([[True, False, True, False], [True, True, False, False], [True] * 4]) == "█▄▀ \n▀▀▀▀"


# -- in the browser


@pytest.mark.parametrize("provider", ["google", "github"])
def test_google_and_github_in_the_browser(here, upstream, browser, provider, tmp_path):
    upstream.sign_in.portal_option = provider
    terminal = Terminal(here.env | {"BROWSER": browser}, "login", provider)
    assert terminal.status() == 0, terminal.seen
    assert "Your browser opens" in terminal.seen
    assert (accounts(here)[0]["kind"], accounts(here)[0]["provider"].lower()) == ("social", provider)
    called = (tmp_path / "called").read_text()
    assert called.endswith("/start")


def test_the_name_of_a_browser_may_be_given(here, browser):
    terminal = Terminal(here.env, "login", "google", "--browser", browser)
    assert terminal.status() == 0, terminal.seen


def test_a_browser_there_is_none_of_is_wrong_usage(here, upstream):
    done = here.run("login", "google", "--browser", "netscape")
    assert done.returncode == 2
    assert upstream.served == 0


def test_identity_center_in_the_browser(here, browser):
    terminal = Terminal(here.env | {"BROWSER": browser}, "login", "sso", *COMPANY)
    assert terminal.status() == 0, terminal.seen
    assert accounts(here)[0]["kind"] == "idc"
    assert accounts(here)[0]["profile_arn"]


def test_over_ssh_the_address_is_shown_with_the_ways_to_finish(here):
    terminal = Terminal(here.env | {"SSH_TTY": "/dev/pts/1", "BROWSER": "x %s"}, "login", "github")
    for text in (
        "/signin?state=",
        "ssh -L 3128:127.0.0.1:3128",
        "`kiro login github --device`",
        "paste it here",
        "Ctrl-C",
    ):
        terminal.expect(text)
    terminal.interrupt()
    assert terminal.status() == 4
    assert accounts(here) == []


def test_the_address_the_browser_failed_at_can_be_pasted(here, upstream):
    terminal = Terminal(here.env, "login", "google", "--no-browser")
    address = terminal.after("Open this address in a browser:")
    terminal.expect("Waiting")
    terminal.type("https://example.com/")
    terminal.expect("not the address of this sign-in")
    query = dict(parse_qsl(urlsplit(address).query))
    terminal.type(upstream.sign_in.portal(query))
    assert terminal.status() == 0, terminal.seen
    assert accounts(here)[0]["kind"] == "social"


@pytest.mark.parametrize("provider", ["google", "github"])
def test_google_and_github_by_code(here, provider):
    done = here.run("login", provider, "--device")
    assert done.returncode == 0, done.stderr
    assert "code: EMUL-" in done.stderr
    assert accounts(here)[0]["provider"].lower() == provider


def test_a_refusal_on_the_portal_is_told(here, upstream, browser):
    upstream.sign_in.portal_error = "access_denied"
    terminal = Terminal(here.env | {"BROWSER": browser}, "login", "google")
    assert terminal.status() == 1
    assert "refused in the browser" in terminal.seen


# -- which browser


@pytest.fixture
def firefox(here, browser, tmp_path):
    """A Firefox in PATH: the script that goes where it is sent, which notes its flags."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "firefox"
    program.write_text(
        f'#!/bin/sh\necho "$@" > "{tmp_path}/flags"\nfor last; do :; done\nexec {browser.replace("%s", "$last")}\n'
    )
    program.chmod(0o755)
    here.env["PATH"] = f"{folder}:{here.env['PATH']}"
    return tmp_path / "flags"


def test_a_browser_is_found_by_the_name_people_use(here, firefox):
    terminal = Terminal(here.env, "login", "google", "--browser", "firefox")
    assert terminal.status() == 0, terminal.seen
    assert firefox.read_text().startswith("http://localhost:")


def test_a_private_window_is_asked_for_in_the_browsers_own_words(here, firefox):
    terminal = Terminal(here.env, "login", "google", "--browser", "firefox", "--incognito")
    assert terminal.status() == 0, terminal.seen
    flag, url = firefox.read_text().split()
    assert flag == "--private-window"
    assert url.endswith("/start")


def test_incognito_alone_takes_a_browser_that_can(here, firefox):
    terminal = Terminal(here.env, "login", "github", "--incognito")
    assert terminal.status() == 0, terminal.seen
    assert firefox.read_text().startswith("--private-window")


def test_a_browser_without_a_private_window_is_wrong_usage(here, upstream, browser):
    done = here.run("login", "google", "--browser", browser, "--incognito")
    assert done.returncode == 2
    assert "private window" in done.stderr
    assert upstream.served == 0


def test_a_browser_that_is_not_here_is_told_with_those_that_are(here, firefox):
    done = here.run("login", "google", "--browser", "vivaldi")
    assert done.returncode == 2
    assert "There is firefox" in done.stderr


def test_a_browser_that_does_not_start_is_told_with_the_other_way(here):
    terminal = Terminal(
        here.env | {"BROWSER": "/nonexistent/browser %s"}, "login", "github", "--browser", "/nonexistent/browser %s"
    )
    terminal.expect("No browser could be opened")
    terminal.expect("`kiro login github --device`")
    terminal.interrupt()
    assert terminal.status() == 4
