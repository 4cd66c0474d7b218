"""`kiro accounts scan`: what other programs left on this computer."""

import contextlib
import json
import os
import shutil
import sqlite3
import sys
from pathlib import Path

import pytest

from kiro.emulator.seed import social_file

STORES = Path(__file__).parents[1] / "cases" / "auth" / "stores"
NOT_OURS = ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "LOCALAPPDATA", "APPDATA", "USERPROFILE")


@pytest.fixture
def user(kiro, tmp_path):
    """The home folder of a person, beside kiro's own, on a Linux."""
    folder = tmp_path / "sue"
    folder.mkdir()
    for name in NOT_OURS:
        kiro.env.pop(name, None)
    kiro.env |= {"HOME": str(folder), "USERPROFILE": str(folder), "XDG_DATA_HOME": str(folder / ".local" / "share")}
    return folder


def cache(user):
    folder = user / ".aws" / "sso" / "cache"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def put_ide(user, case="ide-social"):
    shutil.copytree(STORES / case, cache(user), dirs_exist_ok=True)
    for file in cache(user).iterdir():
        file.chmod(0o600)


def put_cli(user, case="social"):
    folder = user / ".local" / "share" / "kiro-cli"
    folder.mkdir(parents=True)
    connection = sqlite3.connect(folder / "data.sqlite3")
    connection.executescript((STORES / "kiro-cli" / f"{case}.sql").read_text())
    connection.close()
    return folder / "data.sqlite3"


def scan(kiro, *arguments):
    """Through a process, because the home of the person is read from the environment."""
    done = kiro.run("accounts", "scan", "--json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_empty_home_says_where_was_looked_and_what_to_do(kiro, user):
    done = kiro.run("accounts", "scan")
    assert done.returncode == 0
    assert str(user) in done.stderr
    assert "kiro login device" in done.stderr


def test_the_sign_ins_of_ide_and_cli_are_found_and_nothing_is_added(kiro, user):
    put_ide(user)
    put_cli(user, "builder-id")
    found = scan(kiro)
    assert [(one["store"], one["kind"], one["status"]) for one in found] == [
        ("Kiro IDE", "social", "new"),
        ("Kiro CLI", "builder_id", "new"),
    ]
    assert kiro.json("accounts", "list") == []


def test_what_is_added_follows_its_source(kiro, user):
    put_ide(user)
    assert scan(kiro, "--add")[0]["status"] == "added"
    account = kiro.json("accounts", "list")[0]
    shown = kiro.ok("accounts", "show", account["name"])
    assert "the program it belongs to" in shown
    assert str(cache(user) / "kiro-auth-token.json") in shown


def test_what_is_known_already_is_told_as_that_and_not_added_twice(kiro, user):
    put_ide(user)
    scan(kiro, "--add")
    found = scan(kiro, "--add")
    assert [(one["status"], one["account"]) for one in found] == [("known", "google")]
    assert len(kiro.json("accounts", "list")) == 1


def test_a_followed_sign_in_is_known_after_its_program_has_refreshed_it(kiro, user):
    put_ide(user)
    scan(kiro, "--add")
    file = cache(user) / "kiro-auth-token.json"
    document = json.loads(file.read_text())
    file.write_text(json.dumps(document | {"accessToken": "aoa" + "n" * 150, "refreshToken": "aor" + "n" * 150}))
    assert scan(kiro)[0]["status"] == "known"


def test_the_profile_that_was_chosen_in_the_ide_comes_along(kiro, user):
    put_ide(user, "ide-enterprise")
    profile = cache(user) / "profile.json"
    there = user / ".config" / "Kiro" / "User" / "globalStorage" / "kiro.kiroagent"
    there.mkdir(parents=True)
    arn = json.loads(profile.read_text())["arn"]
    profile.rename(there / "profile.json")
    scan(kiro, "--add")
    assert kiro.json("accounts", "list")[0]["profile_arn"] == arn


def test_a_sign_in_of_aws_tools_is_shown_and_not_added(kiro, user):
    shutil.copytree(STORES / "aws-sso-cache", cache(user), dirs_exist_ok=True)
    found = scan(kiro)
    assert [(one["store"], one["status"]) for one in found] == [("AWS tools", "unusable")]
    assert "Kiro does not take" in found[0]["problem"]
    assert kiro.run("accounts", "scan", "--add").returncode == 1


def test_a_damaged_database_is_told_and_does_not_stop_the_others(kiro, user):
    put_ide(user)
    store = put_cli(user)
    store.write_bytes(b"SQLite format 3\0" + b"\xff" * 2000)
    assert [one["status"] for one in scan(kiro)] == ["new", "unusable"]


def test_an_ended_token_is_marked_and_its_program_has_to_be_opened(kiro, user):
    put_ide(user)
    file = cache(user) / "kiro-auth-token.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"expiresAt": "2020-01-01T00:00:00Z"}))
    assert scan(kiro)[0]["expired"] is True
    assert "open the program it belongs to" in kiro.run("accounts", "scan").stderr


def test_a_store_that_others_can_read_is_warned_about(kiro, user):
    put_ide(user)
    (cache(user) / "kiro-auth-token.json").chmod(0o644)
    assert "can be read by others" in kiro.run("accounts", "scan").stderr


@pytest.mark.skipif(sys.platform == "win32", reason="mode bits are POSIX")
def test_a_database_that_others_can_read_is_warned_about(kiro, user):
    store = put_cli(user)
    store.chmod(0o644)
    assert f"{store} can be read by others" in kiro.call("accounts", "scan")[2]
    store.chmod(0o600)
    assert "can be read" not in kiro.call("accounts", "scan")[2]


def test_one_sign_in_in_two_places_counts_once(kiro, user):
    put_ide(user)
    shutil.copy(cache(user) / "kiro-auth-token.json", cache(user) / "kiro-auth-token-copy.json")
    found = kiro.json("accounts", "scan")
    assert [one["status"] for one in found] == ["new", "same"]
    assert found[1]["problem"] == f"the sign-in of {cache(user) / 'kiro-auth-token.json'}"
    assert "1 account can be added" in kiro.call("accounts", "scan")[2]
    assert [one["status"] for one in kiro.json("accounts", "scan", "--add")] == ["added", "known"]


def test_two_persons_in_two_programs_are_two_accounts(kiro, user):
    put_ide(user)
    put_cli(user, "builder-id")
    assert [one["status"] for one in kiro.json("accounts", "scan", "--add")] == ["added", "added"]


def test_a_sign_in_that_was_imported_is_known_by_its_refresh_token(kiro, user):
    put_ide(user)
    kiro.ok("accounts", "import", str(cache(user) / "kiro-auth-token.json"), "--name", "mine")
    assert [(one["status"], one["account"]) for one in kiro.json("accounts", "scan", "--add")] == [("known", "mine")]
    assert len(kiro.json("accounts", "list")) == 1


def test_a_place_that_a_variable_names_comes_first_and_has_to_be_there(kiro, user, tmp_path):
    put_ide(user)
    moved = tmp_path / "moved.json"
    kiro.env["KIRO_CREDS_FILE"] = str(moved)
    found = kiro.json("accounts", "scan")
    assert [(one["path"], one["status"]) for one in found[:1]] == [(str(moved), "unusable")]
    assert found[0]["problem"] == "KIRO_CREDS_FILE names it, and there is no such file."
    (cache(user) / "kiro-auth-token.json").rename(moved)
    assert [(one["path"], one["status"]) for one in kiro.json("accounts", "scan")] == [(str(moved), "new")]


@pytest.mark.skipif(sys.platform == "win32", reason="named pipes are POSIX")
def test_what_is_no_file_is_told_and_not_waited_for(kiro, user):
    os.mkfifo(cache(user) / "kiro-auth-token.json")
    assert [one["problem"] for one in kiro.json("accounts", "scan")] == ["It is not a file."]


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_a_link_leads_to_the_store(kiro, user, tmp_path):
    put_ide(user)
    file = cache(user) / "kiro-auth-token.json"
    file.rename(tmp_path / "elsewhere.json")
    file.symlink_to(tmp_path / "elsewhere.json")
    assert kiro.json("accounts", "scan")[0]["status"] == "new"
    file.unlink()
    file.symlink_to(tmp_path / "nowhere.json")
    assert kiro.json("accounts", "scan") == []


def test_a_store_that_is_locked_is_read_all_the_same(kiro, user):
    store = put_cli(user)
    with contextlib.closing(sqlite3.connect(store, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        assert kiro.json("accounts", "scan")[0]["status"] == "new"


def test_a_file_that_its_program_is_still_writing_is_told_and_not_quoted(kiro, user):
    put_ide(user)
    file = cache(user) / "kiro-auth-token.json"
    file.write_text(file.read_text()[:-40])
    os.utime(file, (0, 0))
    status, out, err = kiro.call("accounts", "scan")
    assert status == 0
    assert "not valid JSON" in out
    assert "aor" not in out + err


@pytest.mark.skipif(sys.platform != "linux", reason="a file that fails when it is read is in /proc")
def test_a_store_that_cannot_be_read_is_told_and_does_not_stop_the_others(kiro, user):
    (cache(user) / "kiro-auth-token.json").symlink_to("/proc/self/mem")
    put_cli(user)
    found = kiro.json("accounts", "scan")
    assert [one["status"] for one in found] == ["unusable", "new"]
    assert found[0]["problem"] == "It cannot be read: Input/output error."


def test_a_key_in_the_environment_is_told_and_not_shown(kiro, user):
    done = kiro.run("accounts", "scan", KIRO_API_KEY="ksk_abcdefgh12345678")
    assert "kiro login key" in done.stderr
    assert "ksk_" not in done.stdout + done.stderr


def test_no_secret_is_shown(kiro, user):
    put_ide(user, "ide-builder-id")
    put_cli(user, "two-logins")
    shown = [
        kiro.run("accounts", "scan"),
        kiro.run("accounts", "scan", "--json"),
        kiro.run("accounts", "scan", "--add"),
    ]
    assert not [word for done in shown for word in ("aoa", "aor", "FAKE-SECRET") if word in done.stdout + done.stderr]


def test_nothing_is_written_to_the_stores(kiro, user):
    put_ide(user)
    store = put_cli(user)
    before = {path: path.read_bytes() for path in (store, cache(user) / "kiro-auth-token.json")}
    scan(kiro, "--add")
    assert before == {path: path.read_bytes() for path in before}
    assert sorted(path.name for path in store.parent.iterdir()) == ["data.sqlite3"]


def test_with_check_kiro_is_asked_for_what_was_added(kiro, user, upstream):
    kiro.env |= dict.fromkeys(("KIRO_UPSTREAM_URL", "KIRO_AUTH_SOCIAL_URL", "KIRO_AUTH_OIDC_URL"), upstream.url)
    (cache(user) / "kiro-auth-token.json").write_text(json.dumps(social_file(upstream, upstream.people.add("sue"))))
    done = kiro.run("accounts", "scan", "--add", "--check")
    assert done.returncode == 0, done.stderr
    assert "google: works" in done.stderr
