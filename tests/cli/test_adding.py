"""`kiro accounts add` asks; each answer leads where the direct command leads."""

import json
import sys

import pytest

from kiro.cli.adding import _KINDS
from kiro.emulator.seed import social_file

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

from support.terminal import Terminal

START = "https://d-1234567890.awsapps.com/start"


def accounts(kiro):
    return kiro.json("accounts", "list")


def begin(kiro, kind, *arguments):
    terminal = Terminal(kiro.env, "accounts", "add", *arguments)
    terminal.expect("What kind of account is it?")
    terminal.expect(f"[1-{len(_KINDS)}, Enter: 1] ")
    terminal.type(kind)
    return terminal


def answer(terminal, question, said):
    terminal.expect(question)
    terminal.seen = ""
    terminal.type(said)


@pytest.mark.parametrize(("kind", "provider"), [("1", "Google"), ("2", "Github")])
def test_google_and_github_by_code_where_no_browser_is(here, kind, provider):
    terminal = begin(here, kind, "--name", "mine")
    terminal.expect("1  by a code")
    answer(terminal, "Enter: 1] ", "")
    assert terminal.status() == 0, terminal.seen
    assert (accounts(here)[0]["name"], accounts(here)[0]["provider"]) == ("mine", provider)


def test_google_in_the_browser_where_there_is_one(here, browser):
    here.env["BROWSER"] = browser
    terminal = begin(here, "1")
    terminal.expect("1  in this computer's browser")
    terminal.expect("2  by a code")
    answer(terminal, "[1-3, Enter: 1] ", "")
    assert terminal.status() == 0, terminal.seen


def test_google_in_another_machines_browser(here, upstream):
    terminal = begin(here, "1")
    answer(terminal, "[1-3, Enter: 1] ", "3")
    terminal.expect("Open this in a browser there:")
    terminal.interrupt()
    assert terminal.status() == 4


def test_builder_id(here):
    terminal = begin(here, "3")
    assert terminal.status() == 0, terminal.seen
    assert accounts(here)[0]["kind"] == "builder_id"


def test_identity_center_needs_its_place(here):
    terminal = begin(here, "4")
    answer(terminal, "Start URL", "")
    answer(terminal, "This is needed.", START)
    answer(terminal, "Region", "eu-west-1")
    answer(terminal, "[1-3, Enter: 1] ", "1")
    assert terminal.status() == 0, terminal.seen
    assert accounts(here)[0]["kind"] == "idc"


def test_a_company_found_by_email(here, upstream, browser):
    here.env["BROWSER"] = browser
    upstream.sign_in.portal_option = "external_idp"
    terminal = begin(here, "5")
    answer(terminal, "[1-2, Enter: 1] ", "1")
    answer(terminal, "[y/N] ", "y")
    assert terminal.status() == 0, terminal.seen
    assert accounts(here)[0]["kind"] == "external_idp"


def test_what_is_on_this_computer(here, upstream):
    folder = here.home / ".aws" / "sso" / "cache"
    folder.mkdir(parents=True)
    file = folder / "kiro-auth-token.json"
    file.write_text(json.dumps(social_file(upstream, upstream.people.add("sue"))))
    file.chmod(0o600)
    terminal = begin(here, "6")
    assert terminal.status() == 0, terminal.seen
    assert "1 account added" in terminal.seen


def test_a_file(here, upstream, tmp_path):
    file = tmp_path / "file.json"
    file.write_text(json.dumps(social_file(upstream, upstream.people.add("sue"))))
    terminal = begin(here, "7")
    answer(terminal, "File: ", str(file))
    answer(terminal, "[Y/n] ", "")
    assert terminal.status() == 0, terminal.seen
    assert len(accounts(here)) == 1


def test_a_key(here, upstream):
    person = upstream.people.add("sue", "api_key")
    terminal = begin(here, "8")
    answer(terminal, "Kiro API key: ", upstream.people.issue(person).access)
    assert terminal.status() == 0, terminal.seen
    assert "KIRO PRO" in terminal.seen
    assert accounts(here)[0]["kind"] == "api_key"


def test_a_token_with_what_it_needs(here, upstream):
    person = upstream.people.add("sue", "builder_id")
    terminal = begin(here, "9")
    answer(terminal, "[1-4, Enter: 1] ", "2")
    answer(terminal, "Client id", person.client.id)
    answer(terminal, "Refresh token: ", upstream.people.issue(person).refresh)
    answer(terminal, "Client secret: ", person.client.secret)
    assert terminal.status() == 0, terminal.seen
    assert accounts(here)[0]["kind"] == "builder_id"


def test_ctrl_c_at_the_first_question_ends_with_status_4(here):
    terminal = Terminal(here.env, "accounts", "add")
    terminal.expect("Enter: 1] ")
    terminal.interrupt()
    assert terminal.status() == 4


def test_where_nobody_can_answer_the_direct_commands_are_named(here):
    done = here.run("accounts", "add")
    assert done.returncode == 2
    for command in ("kiro login device", "kiro accounts import FILE", "kiro accounts scan --add"):
        assert command in done.stderr
