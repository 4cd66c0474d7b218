"""Questions on a real terminal: asked there, and only there."""

import os
import sys
from pathlib import Path

import pytest

from support.terminal import Terminal

if sys.platform == "win32":
    pytest.skip("pseudo-terminals are POSIX", allow_module_level=True)

TWO = Path(__file__).parents[1] / "cases" / "auth" / "imports" / "kam-export.json"


def names(kiro):
    return [account["name"] for account in kiro.json("accounts", "list")]


def without_passphrase(kiro):
    """A home whose vault exists already, so that no question about its key comes first."""
    kiro.ok("keys", "create", "laptop")


def test_an_import_is_shown_and_confirmed_first(kiro):
    without_passphrase(kiro)
    terminal = Terminal(kiro.env, "accounts", "import", str(TWO))
    terminal.expect("Import 2 accounts? [Y/n]")
    assert "user211@example.com" in terminal.seen
    terminal.type("")
    assert terminal.status() == 0
    assert len(names(kiro)) == 2


def test_an_import_that_is_declined_changes_nothing_and_ends_with_status_4(kiro):
    without_passphrase(kiro)
    terminal = Terminal(kiro.env, "accounts", "import", str(TWO))
    terminal.expect("[Y/n]")
    terminal.type("n")
    assert terminal.status() == 4
    assert names(kiro) == []


def test_yes_asks_nothing(kiro):
    without_passphrase(kiro)
    assert Terminal(kiro.env, "accounts", "import", str(TWO), "--yes").status() == 0


def test_removing_asks_and_the_default_is_no(kiro):
    kiro.ok("accounts", "import", str(TWO))
    terminal = Terminal(kiro.env, "accounts", "remove", "fake-211")
    terminal.expect("[y/N]")
    terminal.type("")
    assert terminal.status() == 4
    terminal = Terminal(kiro.env, "accounts", "remove", "fake-211")
    terminal.expect("[y/N]")
    terminal.type("y")
    assert terminal.status() == 0
    assert names(kiro) == ["fake-212"]


def test_an_api_key_does_not_show_while_it_is_typed(kiro):
    without_passphrase(kiro)
    terminal = Terminal(kiro.env, "login", "key")
    terminal.expect("Kiro API key: ")
    terminal.type("ksk_abcdefgh12345678")
    assert terminal.status() == 0
    assert "abcdefgh" not in terminal.seen


def test_a_new_vault_asks_for_a_passphrase_twice_and_then_needs_it(kiro):
    terminal = Terminal(kiro.env, "keys", "create", "laptop")
    for text, typed in (
        ("New passphrase", "one"),
        ("again", "two"),
        ("differ", None),
        ("New passphrase (empty: use a key file): ", "three"),
        ("The same again: ", "three"),
    ):
        terminal.expect(text)
        terminal.seen = terminal.seen.partition(text)[2]
        if typed is not None:
            terminal.type(typed)
    assert terminal.status() == 0
    assert not (kiro.home / "vault.key").exists()
    done = kiro.run("keys", "show", "laptop")
    assert done.returncode == 1
    assert "KIRO_VAULT_PASSPHRASE" in done.stderr
    terminal = Terminal(kiro.env, "keys", "show", "laptop")
    terminal.expect("Passphrase of the stored sign-ins: ")
    terminal.type("three")
    assert terminal.status() == 0
    assert "sk-kiro-" in terminal.seen


def test_without_a_passphrase_a_key_file_is_made(kiro):
    terminal = Terminal(kiro.env, "keys", "create", "laptop")
    terminal.expect("New passphrase")
    terminal.type("")
    assert terminal.status() == 0
    assert (kiro.home / "vault.key").exists()


def test_ctrl_c_at_a_question_ends_with_status_4(kiro):
    without_passphrase(kiro)
    terminal = Terminal(kiro.env, "login", "key")
    terminal.expect("Kiro API key: ")
    os.write(terminal.handle, b"\x03")
    assert terminal.status() == 4
    assert "Traceback" not in terminal.seen


def test_colours_are_for_terminals_and_no_color_is_respected(kiro):
    kiro.ok("accounts", "import", str(TWO))
    painted = Terminal(kiro.env, "accounts", "list")
    assert painted.status() == 0
    assert "\x1b[" in painted.seen
    assert "fake-211" in painted.seen
    plain = Terminal(kiro.env | {"NO_COLOR": "1"}, "accounts", "list")
    assert plain.status() == 0
    assert "\x1b[" not in plain.seen


def test_thinking_is_dimmed_and_beside_the_answer(signed_in):
    terminal = Terminal(signed_in.env, "ask", "hi", "-m", "claude-opus-4.8-thinking")
    assert terminal.status() == 0
    assert "\x1b[2m" in terminal.seen
    piped = signed_in.run("ask", "hi", "-m", "claude-opus-4.8-thinking")
    assert piped.stderr == ""
    assert "\x1b" not in piped.stdout


def test_an_error_is_red_on_a_terminal_only(kiro):
    terminal = Terminal(kiro.env, "frob")
    assert terminal.status() == 2
    assert "\x1b[1;31merror:" in terminal.seen
    assert "\x1b" not in kiro.run("frob").stderr
