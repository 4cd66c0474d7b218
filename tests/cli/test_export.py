"""`kiro accounts export`, and the way back."""

import json
import stat
import sys
from pathlib import Path

import pytest

CASES = Path(__file__).parents[1] / "cases" / "auth" / "imports"
PASSPHRASE = {"KIRO_EXPORT_PASSPHRASE": "correct horse"}


@pytest.fixture
def two(kiro):
    kiro.ok("accounts", "import", str(CASES / "kam-export.json"))
    return kiro


@pytest.fixture
def file(tmp_path):
    return tmp_path / "out.kiro"


def told(kiro):
    return [{**one, "id": None} for one in kiro.json("accounts", "list")]


def emptied(kiro):
    """What is here, and then nothing is."""
    before = told(kiro)
    for one in kiro.json("accounts", "list"):
        kiro.ok("accounts", "remove", one["id"], "--yes")
    return before


def test_an_export_is_sealed_private_and_comes_back_whole(two, file):
    done = two.run("accounts", "export", "-o", str(file), **PASSPHRASE)
    assert done.returncode == 0, done.stderr
    assert "2 accounts written" in done.stderr
    assert "refreshed in two places" in done.stderr
    if sys.platform != "win32":
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = emptied(two)
    assert two.run("accounts", "import", str(file), **PASSPHRASE).returncode == 0
    assert told(two) == before


@pytest.mark.parametrize("form", ["kiro", "kiro-rs", "account-manager"])
def test_every_format_comes_back_in_the_open(two, file, form):
    done = two.run("accounts", "export", "-o", str(file), "--format", form, "--plain")
    assert "in the open" in done.stderr
    before = emptied(two)
    assert two.run("accounts", "import", str(file)).returncode == 0
    assert told(two) == before


def test_only_named_accounts_are_exported(two, file):
    two.ok("accounts", "export", "fake-211", "-o", str(file), "--plain")
    assert [one["name"] for one in json.loads(file.read_text())["accounts"]] == ["fake-211"]


def test_a_pipe_takes_the_export_from_stdout(two):
    done = two.run("accounts", "export", **PASSPHRASE)
    assert json.loads(done.stdout)["format"] == "kiro-accounts-sealed"
    again = two.run("accounts", "import", "-", stdin=done.stdout, **PASSPHRASE)
    assert again.returncode == 0, again.stderr


def broken(file, change):
    file.write_bytes(change(file.read_bytes()))


BROKEN = {
    "a wrong passphrase": (lambda data: data, "wrong horse", "The passphrase is wrong."),
    "a cut file": (lambda data: data[:-60], "correct horse", "The end of the file is missing."),
    "a changed file": (
        lambda data: data.replace(b'"n": 131072', b'"n": 131074'),
        "correct horse",
        "damaged or changed",
    ),
}


@pytest.mark.parametrize(("change", "passphrase", "message"), BROKEN.values(), ids=BROKEN.keys())
def test_is_told_and_changes_nothing(two, file, change, passphrase, message):
    two.run("accounts", "export", "-o", str(file), **PASSPHRASE)
    broken(file, change)
    before = two.json("accounts", "list")
    done = two.run("accounts", "import", str(file), KIRO_EXPORT_PASSPHRASE=passphrase)
    assert done.returncode == 1
    assert message in done.stderr
    assert two.json("accounts", "list") == before


REFUSED = {
    "a foreign format without --plain": (["--format", "kiro-rs"], "--plain"),
    "a format there is none of": (["--format", "xml"], "kiro-rs"),
    "an account there is none of": (["nobody"], "There is no account"),
    "no passphrase": ([], "A passphrase is needed."),
}


@pytest.mark.parametrize(("arguments", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_is_refused_and_writes_nothing(two, file, arguments, message):
    done = two.run("accounts", "export", *arguments, "-o", str(file))
    assert done.returncode == 2
    assert message in done.stderr
    assert not file.exists()


def test_a_short_passphrase_is_refused_and_not_quoted(two, file):
    done = two.run("accounts", "export", "-o", str(file), KIRO_EXPORT_PASSPHRASE="secret7")
    assert done.returncode == 2
    assert "secret7" not in done.stderr


def test_a_file_that_exists_is_replaced_only_with_yes(two, file):
    file.write_text("mine")
    assert two.run("accounts", "export", "-o", str(file), **PASSPHRASE).returncode == 2
    assert file.read_text() == "mine"
    assert two.run("accounts", "export", "-o", str(file), "--yes", **PASSPHRASE).returncode == 0


def test_a_sealed_file_without_anybody_to_ask_says_what_to_set(two, file):
    two.run("accounts", "export", "-o", str(file), **PASSPHRASE)
    done = two.run("accounts", "import", str(file))
    assert done.returncode == 2
    assert "KIRO_EXPORT_PASSPHRASE" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals are POSIX")
def test_on_a_terminal_the_passphrase_is_asked_for_twice_and_once(two, file):
    from support.terminal import Terminal

    terminal = Terminal(two.env, "accounts", "export", "-o", str(file))
    for text, typed in (
        ("New passphrase for the file: ", "short"),
        ("At least 8", None),
        ("New passphrase", "long enough"),
    ):
        terminal.expect(text)
        terminal.seen = terminal.seen.partition(text)[2]
        if typed is not None:
            terminal.type(typed)
    terminal.expect("The same again: ")
    terminal.type("long enough")
    assert terminal.status() == 0
    assert "long enough" not in terminal.seen
    terminal = Terminal(two.env, "accounts", "import", str(file), "--yes")
    terminal.expect("Passphrase of the file: ")
    terminal.type("long enough")
    assert terminal.status() == 0
