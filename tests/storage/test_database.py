"""One database for several processes; a log that can be asked; keys that clients show."""

import sqlite3
import sys
from datetime import UTC, datetime

import msgspec
import pytest

from kiro.errors import StorageError, UsageError
from kiro.storage.client_keys import ClientKeys
from kiro.storage.database import MIGRATIONS, Database
from kiro.storage.request_log import Attempt, Filters, RequestRow, append_many, get, prune, query
from kiro.storage.secrets import Surroundings
from kiro.storage.vault import Vault

NOW = datetime(2026, 9, 1, tzinfo=UTC).timestamp()


@pytest.fixture
def database(tmp_path):
    with Database(tmp_path / "kiro.db") as database:
        yield database


@pytest.fixture
def keys(database, tmp_path):
    return ClientKeys(database, Vault(tmp_path / "vault.json", Surroundings(tmp_path / "vault.key", use_keyring=False)))


def test_the_file_is_private_and_in_write_ahead_mode(database, tmp_path):
    assert database.row("PRAGMA journal_mode")[0] == "wal"
    if sys.platform != "win32":
        assert all(path.stat().st_mode & 0o077 == 0 for path in tmp_path.iterdir())


@pytest.mark.parametrize("count", [0, 1, 3, 4, 63, 64, 85, 500])
def test_as_many_rows_are_inserted_as_there_are_in_their_order(database, count):
    with database.change() as change:
        change.insert("INSERT INTO meta (name, value)", ((f"n{index:03}", str(index)) for index in range(count)))
    found = database.rows("SELECT value FROM meta WHERE name GLOB 'n[0-9]*' ORDER BY name")
    assert [row[0] for row in found] == [str(index) for index in range(count)]


def test_opening_again_changes_nothing(database, tmp_path):
    with Database(tmp_path / "kiro.db") as other:
        assert other.row("PRAGMA user_version")[0] == len(MIGRATIONS)


def test_a_database_of_a_newer_kiro_is_left_alone(tmp_path):
    Database(tmp_path / "kiro.db").close()
    connection = sqlite3.connect(tmp_path / "kiro.db")
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StorageError, match="newer kiro"):
        Database(tmp_path / "kiro.db")


def test_a_file_that_is_no_database_is_told(tmp_path):
    (tmp_path / "kiro.db").write_bytes(b"hello" * 1000)
    with pytest.raises(StorageError, match="damaged"):
        Database(tmp_path / "kiro.db")


def change_and_fail(database: Database, failing: str) -> None:
    with database.change() as change:
        change.set_meta("x", "1")
        change.run(failing)


@pytest.mark.parametrize("failing", ["INSERT INTO meta VALUES ('x', '2')", "no SQL"])
def test_a_change_that_fails_leaves_nothing(database, failing):
    with pytest.raises(StorageError):
        change_and_fail(database, failing)
    assert database.meta("x") is None


def row(number: int, **more) -> RequestRow:
    fields = {
        "id": f"req-{number}",
        "started_at": NOW + number,
        "protocol": "anthropic",
        "path": "/v1/messages",
        "status": 200,
        "outcome": "done",
        "stream": True,
        "duration_ms": 12.5,
    }
    return RequestRow(**{**fields, **more})


FULL = row(
    1,
    client_key="k",
    model_asked="claude",
    model_used="claude-sonnet-4.5",
    account="a",
    first_event_ms=3.5,
    input_tokens=1,
    output_tokens=2,
    cache_read_tokens=3,
    cache_write_tokens=4,
    credits=0.25,
    stop_reason="end_turn",
    error="UpstreamBroken",
    message="Kiro broke",
    notes=("one", "two"),
    attempts=(
        Attempt(1, "a", NOW, 500, "UpstreamBroken", "X", "up-1", 5.0),
        Attempt(2, "b", NOW, 200, None, None, None, 7.0),
    ),
)


def test_a_request_is_read_back_as_it_was_written(database):
    append_many(database, [FULL])
    assert get(database, "req-1") == msgspec.structs.replace(FULL, seq=1)
    assert get(database, "req-2") is None


def test_writing_a_row_twice_keeps_one(database):
    append_many(database, [FULL])
    append_many(database, [FULL, row(2)])
    assert len(query(database, Filters())) == 2


def test_many_rows_are_written_in_their_order_with_their_attempts(database):
    written = [row(number, attempts=FULL.attempts) for number in range(1, 502)]
    append_many(database, [*written, written[0]])
    assert [one.id for one in query(database, Filters(after=0, limit=1000))] == [one.id for one in written]
    assert all(get(database, one.id).attempts == FULL.attempts for one in (written[0], written[200], written[-1]))
    assert len(database.rows("SELECT * FROM attempts")) == 2 * 501


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        (Filters(), [4, 3, 2, 1]),
        (Filters(limit=2), [4, 3]),
        (Filters(since=NOW + 3), [4, 3]),
        (Filters(failed=True), [3]),
        (Filters(account="a"), [2, 1]),
        (Filters(client_key="k"), [4]),
        (Filters(model="m-asked"), [1]),
        (Filters(model="m-used"), [2]),
        (Filters(protocol="gemini"), [3]),
        (Filters(before=3), [2, 1]),
        (Filters(after=2), [3, 4]),
        (Filters(account="a", model="m-used"), [2]),
    ],
)
def test_rows_are_found_newest_first(database, filters, found):
    append_many(
        database,
        [
            row(1, account="a", model_asked="m-asked"),
            row(2, account="a", model_used="m-used"),
            row(3, outcome="failed", protocol="gemini"),
            row(4, client_key="k"),
        ],
    )
    assert [int(one.id[4:]) for one in query(database, filters)] == found


def test_old_rows_go_with_their_attempts(database):
    append_many(database, [FULL, row(2, started_at=NOW - 40 * 86400, attempts=FULL.attempts)])
    assert prune(database, 30, now=NOW) == 1
    assert [one.id for one in query(database, Filters())] == ["req-1"]
    assert len(database.rows("SELECT * FROM attempts")) == 2


def test_a_token_in_an_error_text_is_not_stored(database):
    append_many(database, [row(1, message="refused: access_token=abc-def")])
    assert "abc-def" not in get(database, "req-1").message


def test_a_key_is_made_found_and_shown(keys):
    key, text = keys.create("laptop")
    assert text.reveal().startswith("sk-kiro-")
    assert key.last4 == text.reveal()[-4:]
    assert keys.ring().match(text.reveal()) == key
    assert keys.ring().match(text.reveal() + "x") is None
    assert keys.ring().match("\udcff") is None
    assert keys.show("laptop") == text
    assert keys.get(key.id) == keys.get("LAPTOP") == key


def test_a_person_may_bring_a_key(keys):
    key, text = keys.create("mine", "my-own-key")
    assert (text.reveal(), key.last4) == ("my-own-key", "-key")
    with pytest.raises(UsageError, match="already has this text"):
        keys.create("other", "my-own-key")


@pytest.mark.parametrize("text", ["short", "with a space", "ümlaut-key", "line\nbreak-key"])
def test_texts_that_cannot_travel_in_a_header_are_refused(keys, text):
    with pytest.raises(UsageError):
        keys.create("x", text)


def test_names_are_unique_and_well_formed(keys):
    keys.create("laptop")
    with pytest.raises(UsageError, match="already"):
        keys.create("Laptop")
    with pytest.raises(UsageError):
        keys.create("a b")
    with pytest.raises(UsageError, match="no client key"):
        keys.get("x")


def test_disabled_rotated_and_removed_keys_stop_working(keys):
    _, text = keys.create("laptop")
    keys.enable("laptop", False)
    assert not keys.ring().match(text.reveal()).enabled
    keys.enable("laptop", True)
    _, new = keys.rotate("laptop")
    assert keys.ring().match(text.reveal()) is None
    assert keys.ring().match(new.reveal()) is not None
    assert keys.show("laptop") == new
    keys.remove("laptop")
    assert keys.list() == []
    assert len(keys.ring()) == 0


def test_a_renamed_key_keeps_working(keys):
    key, text = keys.create("laptop")
    keys.create("desk")
    assert keys.rename("laptop", "Laptop").id == key.id
    with pytest.raises(UsageError):
        keys.rename("laptop", "desk")
    assert keys.ring().match(text.reveal()).name == "Laptop"


def test_a_server_notices_changed_keys(keys, tmp_path):
    ring = keys.ring()
    with Database(tmp_path / "kiro.db") as other:
        ClientKeys(other, keys._vault).create("x")
    assert keys.version() != ring.version


def test_the_database_gives_no_key_away(keys, tmp_path):
    _, text = keys.create("laptop")
    files = [path for path in tmp_path.iterdir() if path.name.startswith("kiro.db")]
    assert all(text.reveal().encode() not in path.read_bytes() for path in files)
    assert text.reveal() not in repr(text)
