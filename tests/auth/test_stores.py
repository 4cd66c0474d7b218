"""The Kiro CLI's database is read while the CLI uses it: nothing is left there, nothing half-done is believed."""

import json
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing, contextmanager
from datetime import UTC, datetime

import pytest

from kiro.auth.files import read_sign_ins
from kiro.auth.stores import UnreadableStore, read_store, read_store_at

KEY = "kirocli:social:token"
OWNER = """
    import sqlite3, sys
    path, *statements = sys.argv[1:]
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        connection.execute(statement).fetchall()
    print("ready", flush=True)
    sys.stdin.read()
"""


BIG = ["PRAGMA cache_size = 1", "BEGIN EXCLUSIVE"]
SPILLED = ["CREATE TABLE big (b)", "INSERT INTO big VALUES (zeroblob(400000))"]
"""More than the cache holds, so that SQLite writes into the database before the change is committed."""


def put(token):
    text = json.dumps({"access_token": "aoa", "refresh_token": token, "provider": "google"})
    return f"INSERT OR REPLACE INTO auth_kv VALUES ('{KEY}', '{text}')"


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "kiro-cli ?#%"
    folder.mkdir()
    return folder / "data.sqlite3"


@contextmanager
def owner(path, *statements):
    """Another process that did these statements and still has the database open."""
    command = [sys.executable, "-c", textwrap.dedent(OWNER), str(path), *statements]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        yield
    finally:
        process.communicate("")


def made(path, mode="delete"):
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA journal_mode = {mode}")
        connection.execute("CREATE TABLE auth_kv (key TEXT PRIMARY KEY, value TEXT)")
        connection.execute(put("first"))


def tokens(path):
    return [row.record["refresh_token"] for row in read_store_at(path)]


def files(path):
    return sorted(file.name.removeprefix(path.name) for file in path.parent.iterdir())


STATES = {
    "at rest": ("delete", [], ["first"]),
    "at rest after a write-ahead log": ("wal", [], ["first"]),
    "open with its newest rows in the write-ahead log": ("wal", [put("second")], ["second"]),
    "open with a change that is not committed": ("wal", ["BEGIN", put("second")], ["first"]),
    "open with a rollback journal": ("delete", ["BEGIN", put("second")], ["first"]),
    "locked for a change": ("delete", ["BEGIN EXCLUSIVE", put("second")], ["first"]),
    "locked with half of a big change on the disk": (
        "delete",
        [*BIG, put("second"), *SPILLED],
        ["first"],
    ),
    "locked by an owner that shares nothing": ("wal", ["PRAGMA locking_mode = EXCLUSIVE", put("second")], ["second"]),
}


@pytest.mark.parametrize(("mode", "statements", "expected"), STATES.values(), ids=STATES.keys())
def test_a_database_is_read(path, mode, statements, expected):
    made(path, mode)
    with owner(path, *statements):
        before = files(path)
        content = path.read_bytes()
        assert tokens(path) == expected
        assert files(path) == before
        assert path.read_bytes() == content


def test_reading_does_not_disturb_the_owner(path):
    made(path, "wal")
    with closing(sqlite3.connect(path, isolation_level=None, timeout=0)) as connection:
        for number in range(20):
            connection.execute(put(f"token-{number}"))
            assert tokens(path) == [f"token-{number}"]


def test_what_a_crash_left_is_read_as_sqlite_would_repair_it(path):
    made(path)
    with owner(path, *BIG, put("second"), *SPILLED):
        data = path.read_bytes()
        journal = path.with_name(f"{path.name}-journal").read_bytes()
    assert b"second" in data
    (row,) = read_store(data, "d", {"d-journal": journal}.get)
    assert row.record["refresh_token"] == "first"


@pytest.mark.skipif(sys.platform == "win32", reason="links need a privilege on Windows")
def test_a_link_leads_to_the_database(path, tmp_path):
    made(path)
    link = tmp_path / "data.sqlite3"
    link.symlink_to(path)
    assert tokens(link) == ["first"]


@pytest.mark.parametrize("content", [b"SQLite format 3\0", b"SQLite format 3\0" + b"\xff" * 5000])
def test_what_is_no_database_is_told(path, content):
    path.write_bytes(content)
    with pytest.raises(UnreadableStore):
        read_store_at(path)


def test_a_database_cut_in_the_middle_is_told(path):
    made(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(put("x" * 100_000))
    path.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(UnreadableStore):
        read_store_at(path)


def test_a_file_that_is_being_written_is_read_again(tmp_path):
    """The Kiro IDE writes its token file in place, so that for a moment it is empty."""
    path = tmp_path / "kiro-auth-token.json"
    path.write_text("")
    whole = json.dumps({"accessToken": "aoa", "refreshToken": "r" * 120, "authMethod": "social", "provider": "Google"})
    writer = "import sys, time; time.sleep(0.05); open(sys.argv[1], 'w').write(sys.argv[2])"
    with subprocess.Popen([sys.executable, "-S", "-c", writer, str(path), whole]):
        report = read_sign_ins(path, now=datetime.now(UTC))
    assert len(report.accounts) == 1
