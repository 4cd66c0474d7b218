"""`--mode`: sign-ins of the Kiro IDE and CLI, used beside them."""

import json
import os
import sqlite3
import time

import pytest

from kiro.emulator.seed import social_file


@pytest.fixture
def ide(kiro, upstream):
    """The token file of a Kiro IDE that is signed in with an emulated Kiro, untouched for an hour."""
    kiro.env |= dict.fromkeys(("KIRO_UPSTREAM_URL", "KIRO_AUTH_SOCIAL_URL", "KIRO_AUTH_OIDC_URL"), upstream.url)
    file = kiro.home / ".aws" / "sso" / "cache" / "kiro-auth-token.json"
    file.parent.mkdir(parents=True)
    file.write_text(json.dumps(social_file(upstream, upstream.people.add("first")), indent=2))
    hour_ago = time.time() - 3600
    os.utime(file, (hour_ago, hour_ago))
    return file


def mode(kiro, name="google"):
    shown = kiro.ok("accounts", "show", name)
    return next(line.removeprefix("refreshed by").strip() for line in shown.splitlines() if "refreshed by" in line)


def tokens(file):
    document = json.loads(file.read_text())
    return document["accessToken"], document["refreshToken"]


def test_a_file_in_the_place_of_the_ide_is_followed_by_default(kiro, ide):
    status, _, err = kiro.call("accounts", "import", str(ide))
    assert status == 0
    assert "1 account: the program it belongs to goes on refreshing it." in err
    assert mode(kiro) == "the program it belongs to"


def test_the_same_file_elsewhere_is_kiros_own(kiro, ide, tmp_path):
    copy = tmp_path / "copy.json"
    copy.write_bytes(ide.read_bytes())
    kiro.ok("accounts", "import", str(copy))
    assert mode(kiro) == "kiro"


def test_own_can_be_wanted_and_is_warned_about(kiro, ide):
    _, _, err = kiro.call("accounts", "import", str(ide), "--mode", "own")
    assert "lose its sign-in" in err
    assert mode(kiro) == "kiro"


def test_a_shared_sign_in_is_refreshed_in_both_places(kiro, ide, upstream):
    kiro.ok("accounts", "import", str(ide), "--mode", "shared")
    assert mode(kiro) == "kiro and the program it is shared with"
    before = tokens(ide)
    _, _, err = kiro.call("accounts", "refresh")
    assert "up to date in both places" in err
    after = tokens(ide)
    assert after[0] != before[0]
    assert upstream.people.owner(after[0]).name == "first"
    assert upstream.people.refreshes == 1


def test_an_account_that_follows_can_be_shared_and_back(kiro, ide):
    kiro.ok("accounts", "import", str(ide))
    kiro.ok("accounts", "set", "google", "--mode", "shared")
    assert mode(kiro) == "kiro and the program it is shared with"
    kiro.ok("accounts", "set", "google", "--mode", "follow")
    assert mode(kiro) == "the program it belongs to"


@pytest.mark.parametrize("how", ["import", "set", "scan"])
def test_taking_over_warns_refreshes_once_and_is_own_then(kiro, ide, upstream, how):
    before = tokens(ide)
    if how == "set":
        kiro.ok("accounts", "import", str(ide))
    calls = {
        "import": ("accounts", "import", str(ide), "--mode", "take-over"),
        "set": ("accounts", "set", "google", "--mode", "take-over"),
        "scan": ("accounts", "scan", "--add", "--mode", "take-over"),
    }
    status, _, err = kiro.call(*calls[how])
    assert status == 0, err
    assert "signed out" in err or "has to sign in again" in err
    assert mode(kiro) == "kiro"
    assert upstream.people.refreshes == 1
    assert tokens(ide) == before


def test_a_take_over_that_is_refused_leaves_the_account_following(kiro, ide, upstream):
    kiro.ok("accounts", "import", str(ide))
    upstream.people.revoke(upstream.people.persons["first"])
    assert kiro.call("accounts", "set", "google", "--mode", "take-over")[0] == 3
    assert mode(kiro) == "the program it belongs to"


def test_what_scan_adds_can_be_shared(kiro, ide):
    kiro.ok("accounts", "scan", "--add", "--mode", "shared")
    assert mode(kiro) == "kiro and the program it is shared with"


def test_a_database_of_the_cli_can_be_shared(kiro, upstream, tmp_path):
    kiro.env |= dict.fromkeys(("KIRO_UPSTREAM_URL", "KIRO_AUTH_SOCIAL_URL"), upstream.url)
    found = upstream.people.issue(upstream.people.add("first"))
    store = tmp_path / "data.sqlite3"
    row = {
        "access_token": found.access,
        "refresh_token": found.refresh,
        "provider": "google",
        "expires_at": "2020-01-01T00:00:00Z",
    }
    connection = sqlite3.connect(store)
    connection.execute("CREATE TABLE auth_kv (key TEXT PRIMARY KEY, value TEXT)")
    connection.execute("INSERT INTO auth_kv VALUES ('kirocli:social:token', ?)", (json.dumps(row),))
    connection.commit()
    connection.close()
    os.utime(store, (1, 1))
    kiro.ok("accounts", "import", str(store), "--mode", "shared", "--name", "cli")
    kiro.ok("accounts", "usage")
    connection = sqlite3.connect(store)
    (value,) = connection.execute("SELECT value FROM auth_kv").fetchone()
    connection.close()
    assert upstream.people.owner(json.loads(value)["access_token"]).name == "first"


def test_removing_an_account_signs_nobody_out(kiro, ide, upstream):
    kiro.ok("accounts", "import", str(ide))
    kiro.ok("accounts", "remove", "google", "--yes")
    access, refresh = tokens(ide)
    assert upstream.people.owner(access).name == "first"
    assert upstream.people.holder(refresh).name == "first"


MISUSED = {
    "no such mode": (["import", "{file}", "--mode", "mine"], "There is no mode 'mine'."),
    "two at once": (
        ["import", "{file}", "--follow", "--mode", "own"],
        "--follow and --mode own contradict each other.",
    ),
    "stdin": (["import", "-", "--mode", "shared"], "Stdin cannot be followed."),
    "a scan that adds nothing": (["scan", "--mode", "shared"], "--mode says how sign-ins are added."),
    "an export that is shared": (["import", "{list}", "--mode", "shared"], "is no sign-in of the Kiro IDE"),
}


@pytest.mark.parametrize(("arguments", "message"), MISUSED.values(), ids=MISUSED.keys())
def test_misused_it_says_what_is_wrong_and_adds_nothing(kiro, ide, tmp_path, arguments, message):
    listed = tmp_path / "list.json"
    listed.write_text(f"[{ide.read_text()}]")
    status, _, err = kiro.call("accounts", *(one.format(file=ide, list=listed) for one in arguments))
    assert status == 2
    assert message in err
    assert kiro.json("accounts", "list") == []


def test_an_account_without_a_file_has_nothing_to_follow(kiro, ide, tmp_path):
    copy = tmp_path / "copy.json"
    copy.write_bytes(ide.read_bytes())
    kiro.ok("accounts", "import", str(copy))
    status, _, err = kiro.call("accounts", "set", "google", "--mode", "shared")
    assert status == 2
    assert "there is no file to read it from" in err
    assert "kiro accounts import FILE --mode shared" in err
    kiro.ok("accounts", "set", "google", "--mode", "own")


def test_a_link_is_not_shared(kiro, ide):
    real = ide.with_name("real.json")
    ide.rename(real)
    ide.symlink_to(real)
    kiro.ok("accounts", "import", str(ide))
    status, _, err = kiro.call("accounts", "set", "google", "--mode", "shared")
    assert status == 2
    assert "symbolic link" in err


def test_doctor_tells_of_a_shared_file_that_became_a_link(kiro, ide):
    kiro.ok("accounts", "import", str(ide), "--mode", "shared")
    assert "symbolic link" not in kiro.ok("doctor")
    real = ide.with_name("real.json")
    ide.rename(real)
    ide.symlink_to(real)
    status, out, _ = kiro.call("doctor")
    assert status == 1
    assert "cannot be refreshed here" in out
    assert "kiro accounts set google --mode follow" in out
