"""`kiro accounts export`, and the way back."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from kiro.auth.exports import FORMATS

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
    ids = [one["id"] for one in two.json("accounts", "list")]
    before = emptied(two)
    assert two.run("accounts", "import", str(file), **PASSPHRASE).returncode == 0
    assert told(two) == before
    assert [one["id"] for one in two.json("accounts", "list")] == ids


@pytest.mark.parametrize("form", ["kiro", "kiro-rs", "account-manager", "kiro-go"])
def test_every_format_comes_back_in_the_open(two, file, form):
    done = two.run("accounts", "export", "-o", str(file), "--format", form, "--plain")
    assert "in the open" in done.stderr
    before = emptied(two)
    assert two.run("accounts", "import", str(file)).returncode == 0
    assert told(two) == before


BUILDER = {"refreshToken": "b" * 120, "authMethod": "builder-id", "clientId": "c", "clientSecret": "hush-hush-1"}
IDC = {"refreshToken": "c" * 120, "authMethod": "idc", "clientId": "c", "clientSecret": "hush-hush-2"}
COMPANY = {"startUrl": "https://d-1.awsapps.com/start", "authRegion": "eu-west-1"}
ARN = {"profileArn": "arn:aws:codewhisperer:eu-central-1:000000000000:profile/FAKEEXAMPLE1"}
ENTRA = {"refreshToken": "d" * 120, "authMethod": "external_idp", "clientId": "c"}
TENANT = {"tokenEndpoint": "https://login.microsoftonline.com/t/token"}
EVERY_KIND = [
    {
        "refreshToken": "a" * 120,
        "authMethod": "social",
        "provider": "Github",
        "email": "sue@example.com",
        "priority": 4,
    },
    BUILDER | {"name": "Home.9", "endpoint": "cli", "machineId": "0f" * 32},
    IDC | COMPANY | ARN | {"disabled": True, "name": "work"},
    ENTRA | TENANT | {"name": "company", "proxyUrl": "http://u:p4ssword@127.0.0.1:9"},
    {"kiroApiKey": "ksk_" + "e" * 20, "name": "robot", "apiRegion": "eu-central-1"},
]


@pytest.fixture
def five(kiro, tmp_path):
    """An account of every kind, with everything an account can have."""
    source = tmp_path / "five.json"
    source.write_text(json.dumps(EVERY_KIND))
    kiro.ok("accounts", "import", str(source))
    kiro.ok("accounts", "set", "robot", "--flavour", "runtime")
    return kiro


def everything(kiro, tmp_path):
    """All that is kept of each account, with its secrets."""
    whole = tmp_path / "whole.json"
    kiro.ok("accounts", "export", "-o", str(whole), "--plain", "--yes")
    accounts = json.loads(whole.read_text())["accounts"]
    return sorted(({**one, "id": None} for one in accounts), key=lambda one: one["name"])


WAYS = {"sealed": ("kiro", ()), **{form: (form, ("--plain",)) for form in ("kiro", "kiro-rs", "account-manager")}}


@pytest.mark.parametrize(("form", "options"), WAYS.values(), ids=WAYS.keys())
def test_every_kind_comes_back_with_all_that_belongs_to_it(five, file, tmp_path, form, options):
    five.env |= PASSPHRASE
    before = everything(five, tmp_path)
    assert [one["credentials"]["type"] for one in before] == ["builder_id", "external_idp", "api_key", "social", "idc"]
    status, _, err = five.call("accounts", "export", "-o", str(file), "--format", form, *options)
    assert status == 0
    if form == "kiro-rs":
        assert "kiro-rs files cannot tell of robot: the API flavour." in err
        before = [{**one, "flavour": "ide"} if one["name"] == "robot" else one for one in before]
    else:
        assert "cannot tell" not in err
    emptied(five)
    five.ok("accounts", "import", str(file), "--yes")
    assert everything(five, tmp_path) == before
    assert [one["result"] for one in five.json("accounts", "import", str(file))["accounts"]] == ["updated"] * 5
    assert everything(five, tmp_path) == before


def test_what_a_format_cannot_hold_is_told_by_name(five, file):
    status, _, err = five.call("accounts", "export", "-o", str(file), "--format", "kiro-go", "--plain")
    assert status == 0
    assert "company is left out: kiro-go files do not know its kind of sign-in" in err
    assert "robot is left out" in err
    assert "3 accounts written" in err
    assert "kiro-go files cannot tell of sue: the priority." in err
    assert "kiro-go files cannot tell of Home.9: the API flavour." in err


def test_a_format_that_holds_nothing_of_it_is_refused(five, file):
    status, _, err = five.call("accounts", "export", "robot", "-o", str(file), "--format", "kiro-gateway", "--plain")
    assert status == 1
    assert "kiro-gateway files can hold none of these accounts." in err
    assert not file.exists()


def test_a_format_of_one_account_takes_one(five, file):
    arguments = ("accounts", "export", "-o", str(file), "--format", "cliproxyapi", "--plain", "--yes")
    status, _, err = five.call(*arguments)
    assert status == 2
    assert "holds one account" in err
    assert five.call(*arguments, "Home.9")[0] == 0
    assert json.loads(file.read_text())["type"] == "kiro"


def test_an_export_never_shows_a_secret(five, file):
    five.env |= PASSPHRASE
    shown = ""
    for form in ("kiro", "kiro-rs", "account-manager", "kiro-go", "kiro-gateway"):
        shown += "".join(five.call("accounts", "export", "-o", str(file), "--format", form, "--plain", "--yes")[1:])
        shown += "".join(five.call("accounts", "import", str(file), "--yes")[1:])
    secrets = [
        *("abcde"[number] * 20 for number in range(5)),
        "hush-hush",
        "p4ssword",
        PASSPHRASE["KIRO_EXPORT_PASSPHRASE"],
    ]
    assert not [secret for secret in secrets if secret in shown]


def test_an_old_export_does_not_end_a_sign_in_that_was_refreshed_since(signed_in, upstream, file):
    """Its refresh token was used up by the refresh; the one that is here works."""
    signed_in.ok("accounts", "export", "-o", str(file), "--plain")
    rows = json.loads(file.read_text())
    rows["accounts"][0]["credentials"]["expires_at"] = "2020-01-01T00:00:00Z"
    file.write_text(json.dumps(rows))
    assert signed_in.call("accounts", "refresh")[0] == 0
    again = signed_in.json("accounts", "import", str(file))
    assert [one["result"] for one in again["accounts"]] == ["kept"]
    assert "The sign-in here is newer" in signed_in.ok("accounts", "import", str(file), "--yes")
    assert signed_in.call("accounts", "refresh")[0] == 0
    upstream.people.revoke(upstream.people.persons["first"])
    assert signed_in.call("accounts", "refresh")[0] == 3
    assert signed_in.json("accounts", "import", str(file))["accounts"][0]["result"] == "updated"


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
    "a format there is none of": (["--format", "xml"], f"There are {', '.join(FORMATS)}."),
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


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_a_link_is_not_followed(two, file, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for target in (victim, tmp_path / "nothing"):
        file.unlink(missing_ok=True)
        file.symlink_to(target)
        status, _, err = two.call("accounts", "export", "-o", str(file), "--plain", "--yes")
        assert status == 1
        assert "symbolic link" in err
    assert victim.read_text() == "mine"
    assert not (tmp_path / "nothing").exists()


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes and limits are POSIX")
def test_what_is_no_plain_file_is_not_replaced(two, file):
    os.mkfifo(file)
    status, _, err = two.call("accounts", "export", "-o", str(file), "--plain", "--yes")
    assert status == 1
    assert "not a plain file" in err
    assert stat.S_ISFIFO(file.stat().st_mode)


@pytest.mark.skipif(sys.platform == "win32", reason="limits are POSIX")
def test_a_disk_that_takes_no_more_leaves_the_old_file_whole(two, tmp_path):
    """The system stops the writing in the middle, as a full disk does; the database itself needs 32 KiB more."""
    source = tmp_path / "large.json"
    source.write_text(json.dumps([{"refreshToken": letter * 30_000, "authMethod": "social"} for letter in "abc"]))
    two.ok("accounts", "import", str(source))
    folder = tmp_path / "out"
    folder.mkdir()
    file = folder / "out.kiro"
    file.write_text("the old file")
    command = [sys.executable, "-m", "kiro", "accounts", "export", "-o", str(file), "--plain", "--yes"]
    limit = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000)); "
    limited = [sys.executable, "-c", limit + "os.execv(sys.argv[1], sys.argv[1:])", *command]
    done = subprocess.run(limited, env=two.env, capture_output=True, check=False, text=True)
    assert done.returncode == 1
    assert f"{file} cannot be written" in done.stderr
    assert file.read_text() == "the old file"
    assert [one.name for one in folder.iterdir()] == ["out.kiro"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
def test_a_pipe_that_takes_no_more_is_told(two):
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "kiro", "accounts", "export", "--plain"],
            env=two.env,
            stdout=full,
            stderr=subprocess.PIPE,
            check=False,
            text=True,
        )
    assert done.returncode == 1
    assert "The export cannot be written: No space left on device." in done.stderr


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
