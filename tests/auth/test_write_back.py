"""New tokens in other programs' stores: where the old ones were, and nothing else is touched."""

import json
import os
import sqlite3
import stat
import sys
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest

from kiro.auth.credentials import bearer
from kiro.auth.formats import read_import
from kiro.auth.write_back import refuse_unknown, write_back
from kiro.errors import StorageError
from kiro.redaction import Secret
from kiro.storage.files import replace_foreign

STORES = Path(__file__).parents[1] / "cases" / "auth" / "stores"
NOW = datetime(2026, 9, 1, tzinfo=UTC)
ENDS = datetime(2026, 9, 1, 1, 2, 3, 456789, tzinfo=UTC)
FILES = ("ide-social", "ide-builder-id", "ide-enterprise", "ide-external-idp")
DATABASES = ("builder-id", "idc-pkce", "external-idp", "social", "legacy-amazon-q")
posix = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no mode bits")


def sign_in(path):
    found = read_import(path.read_bytes(), name=path.name, siblings=beside(path), now=NOW)
    return found.accounts[0].credentials


def beside(path):
    return lambda name: path.with_name(name).read_bytes() if path.with_name(name).exists() else None


def renewed(used):
    return msgspec.structs.replace(
        used, access_token=Secret("new-access-ü"), refresh_token=Secret("n" * 120), expires_at=ENDS
    )


@pytest.fixture
def file(tmp_path, request):
    for one in (STORES / getattr(request, "param", "ide-social")).iterdir():
        (tmp_path / one.name).write_bytes(one.read_bytes())
    return tmp_path / "kiro-auth-token.json"


@pytest.fixture
def database(tmp_path, request):
    path = tmp_path / "data.sqlite3"
    with closing(sqlite3.connect(path)) as made:
        made.executescript((STORES / "kiro-cli" / f"{getattr(request, 'param', 'social')}.sql").read_text())
    return path


def rows(path, table="auth_kv"):
    with closing(sqlite3.connect(path)) as opened:
        return dict(opened.execute(f"SELECT key, value FROM {table}"))


@pytest.mark.parametrize("file", FILES, indirect=True)
def test_a_file_gets_the_tokens_and_keeps_everything_else_in_its_order(file):
    before, used = json.loads(file.read_text()), sign_in(file)
    assert write_back(file, used, renewed(used))
    after = json.loads(file.read_text())
    new = {"accessToken": "new-access-ü", "refreshToken": "n" * 120, "expiresAt": "2026-09-01T01:02:03.456Z"}
    assert after == before | new
    assert list(after) == list(before)
    assert sign_in(file).refresh_token == Secret("n" * 120)


@pytest.mark.parametrize(
    "form", [lambda doc: json.dumps(doc, indent=2) + "\n", lambda doc: json.dumps(doc, separators=(",", ":"))]
)
def test_a_file_keeps_its_form_and_its_unknown_fields(file, form):
    document = {"theirs": {"x": [1, None, "ü"]}, **json.loads(file.read_text()), "last": True}
    file.write_text(form(document), encoding="utf-8")
    used = sign_in(file)
    assert write_back(file, used, renewed(used))
    text = file.read_text("utf-8")
    after = json.loads(text)
    assert text == form(after) or text == form(after).encode().decode("unicode_escape")
    assert (after["theirs"], after["last"]) == ({"x": [1, None, "ü"]}, True)


@posix
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_a_file_keeps_its_mode_and_no_other_file_stays(file, mode):
    file.chmod(mode)
    used = sign_in(file)
    assert write_back(file, used, renewed(used))
    assert stat.S_IMODE(file.stat().st_mode) == mode
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_a_file_that_changed_since_is_left_alone(file):
    used = sign_in(file)
    theirs = json.loads(file.read_text()) | {"refreshToken": "t" * 120, "accessToken": "theirs"}
    file.write_text(json.dumps(theirs))
    assert not write_back(file, used, renewed(used))
    assert json.loads(file.read_text()) == theirs


def test_the_same_refresh_token_with_another_access_token_is_a_change(file):
    """Not every service rotates: the other program has refreshed, too."""
    used = sign_in(file)
    file.write_text(json.dumps(json.loads(file.read_text()) | {"accessToken": "theirs"}))
    assert not write_back(file, used, renewed(used))


def test_a_file_that_changes_in_the_last_moment_is_left_alone(file):
    """Between our reading and our replacing: the bytes decide."""
    seen = file.read_bytes()
    file.write_bytes(b"theirs")
    assert not replace_foreign(file, seen, b"ours")
    assert file.read_bytes() == b"theirs"
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_a_half_written_or_missing_file_is_left_alone(file):
    used = sign_in(file)
    half = file.read_bytes()[:200]
    file.write_bytes(half)
    assert not write_back(file, used, renewed(used))
    assert file.read_bytes() == half
    file.unlink()
    assert not write_back(file, used, renewed(used))
    assert not replace_foreign(file, half, b"ours")
    assert not file.exists()


@posix
def test_nothing_is_written_through_a_symbolic_link(file):
    used, before = sign_in(file), file.read_bytes()
    link = file.with_name("link.json")
    link.symlink_to(file)
    for attempt in (lambda: write_back(link, used, renewed(used)), lambda: replace_foreign(link, before, b"")):
        with pytest.raises(StorageError, match="symbolic link"):
            attempt()
    assert (link.is_symlink(), file.read_bytes()) == (True, before)


@pytest.mark.parametrize("database", DATABASES, indirect=True)
def test_a_database_gets_the_tokens_in_the_row_they_were_in(database):
    before, state, used = rows(database), rows(database, "state"), sign_in(database)
    assert write_back(database, used, renewed(used))
    after = rows(database)
    (changed,) = [key for key in before if before[key] != after[key]]
    new = {"access_token": "new-access-ü", "refresh_token": "n" * 120, "expires_at": "2026-09-01T01:02:03.456789Z"}
    assert json.loads(after[changed]) == json.loads(before[changed]) | new
    assert rows(database, "state") == state
    assert bearer(sign_in(database)) == Secret("new-access-ü")


def test_of_two_sign_ins_only_the_one_that_was_used_changes(tmp_path):
    path = tmp_path / "data.sqlite3"
    with closing(sqlite3.connect(path)) as made:
        made.executescript((STORES / "kiro-cli" / "two-logins.sql").read_text())
    report = read_import(path.read_bytes(), name=path.name, siblings=lambda _: None, now=NOW)
    before, used = rows(path), report.accounts[-1].credentials
    assert write_back(path, used, renewed(used))
    after = rows(path)
    assert [key for key in before if before[key] != after[key]] == ["kirocli:social:token"]


def test_a_row_that_is_a_blob_stays_one(database):
    with closing(sqlite3.connect(database)) as opened:
        opened.execute("UPDATE auth_kv SET value = CAST(value AS BLOB)")
        opened.commit()
    used = sign_in(database)
    assert write_back(database, used, renewed(used))
    assert isinstance(rows(database)["kirocli:social:token"], bytes)


def test_a_row_that_changed_since_is_left_alone(database):
    used, theirs = sign_in(database), '{"access_token":"a","refresh_token":"theirs"}'
    with closing(sqlite3.connect(database)) as opened:
        opened.execute("UPDATE auth_kv SET value = ?", (theirs,))
        opened.commit()
    assert not write_back(database, used, renewed(used))
    assert rows(database)["kirocli:social:token"] == theirs


def test_a_database_in_write_ahead_mode_that_somebody_has_open_is_written(database):
    used = sign_in(database)
    with closing(sqlite3.connect(database)) as other:
        other.execute("PRAGMA journal_mode = WAL")
        other.execute("INSERT INTO state VALUES ('x', 'y')")
        other.commit()
        assert write_back(database, used, renewed(used))
        value = other.execute("SELECT value FROM auth_kv").fetchone()[0]
        assert json.loads(value)["access_token"] == "new-access-ü"


def test_a_database_without_the_table_is_told_and_one_without_rows_left_alone(tmp_path, database):
    used = sign_in(database)
    with closing(sqlite3.connect(database)) as opened:
        opened.execute("DELETE FROM auth_kv")
        opened.commit()
    assert not write_back(database, used, renewed(used))
    other = tmp_path / "other.sqlite3"
    with closing(sqlite3.connect(other)) as opened:
        opened.execute("CREATE TABLE x (y)")
        opened.commit()
    with pytest.raises(StorageError, match="cannot be written"):
        write_back(other, used, renewed(used))


UNKNOWN = {"an export": b'{"accounts": []}', "a list": b"[]", "no JSON": b"hello", "numbers": b'{"accessToken": 1}'}


@pytest.mark.parametrize("data", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_what_cannot_be_written_back_is_told_beforehand(tmp_path, data):
    path = tmp_path / "x.json"
    path.write_bytes(data)
    with pytest.raises(StorageError, match="no sign-in of the Kiro IDE"):
        refuse_unknown(path)


def test_what_can_be_written_back_is_not_refused(file, database):
    refuse_unknown(file)
    refuse_unknown(database)
    with pytest.raises(StorageError, match="cannot be read"):
        refuse_unknown(file.with_name("nowhere.json"))


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_told(file):
    used = sign_in(file)
    file.parent.chmod(0o500)
    try:
        with pytest.raises(StorageError, match="cannot be written"):
            write_back(file, used, renewed(used))
    finally:
        file.parent.chmod(0o700)
