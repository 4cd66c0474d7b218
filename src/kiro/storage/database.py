"""One SQLite file, kiro.db: accounts, client keys, the request log, stored responses. No secrets
in the open (`login_links` passes sealed ones on for some minutes).

Write-ahead logging, so that `kiro logs` reads while `kiro serve` writes. One connection per
`Database`, guarded by a lock: any thread may call, and calls wait for each other. All functions
block; asynchronous code calls them through a thread.

MIGRATIONS is a list of steps; `user_version` in the file counts the ones done. A step is never
changed after a release: a new one is added.
"""

import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from kiro.errors import StorageError
from kiro.storage.files import make_private_folder, refuse_link

_CACHE_KIB: Final = 512
"""SQLite would take 2 MB to keep what the log wrote; what is read again is little."""
_BATCHES: Final = (64, 16, 4, 1)
"""How many rows go in one statement. Few different ones: the interpreter keeps what it has prepared, 2 kB a row."""
_BUSY_MS: Final = 5000
_COUNT: Final = (
    "CREATE TRIGGER {table}_{event} AFTER {event} ON {table} BEGIN "
    "UPDATE meta SET value = value + 1 WHERE name = '{table}_version'; END"
)
_COUNT_KEYS: Final = (
    "CREATE TRIGGER client_key_accounts_{event} AFTER {event} ON client_key_accounts BEGIN "
    "UPDATE meta SET value = value + 1 WHERE name = 'client_keys_version'; END"
)

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        "CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        "INSERT INTO meta VALUES ('accounts_version', '0'), ('client_keys_version', '0')",
        """CREATE TABLE accounts (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE COLLATE NOCASE,
            kind TEXT NOT NULL,
            provider TEXT,
            state TEXT NOT NULL,
            reason TEXT,
            enabled INTEGER NOT NULL,
            region TEXT,
            auth_region TEXT,
            profile_arn TEXT,
            priority INTEGER NOT NULL,
            email TEXT,
            user_id TEXT,
            start_url TEXT,
            machine_id TEXT NOT NULL,
            flavour TEXT NOT NULL,
            mode TEXT NOT NULL,
            source TEXT,
            proxy TEXT,
            created_at TEXT NOT NULL,
            expires_at TEXT,
            usage TEXT
        )""",
        """CREATE TABLE client_keys (
            id TEXT PRIMARY KEY,
            name TEXT NOT NULL UNIQUE COLLATE NOCASE,
            hash BLOB NOT NULL UNIQUE,
            last4 TEXT NOT NULL,
            enabled INTEGER NOT NULL,
            created_at TEXT NOT NULL
        )""",
        *(
            _COUNT.format(table=table, event=event)
            for table in ("accounts", "client_keys")
            for event in ("insert", "update", "delete")
        ),
        """CREATE TABLE requests (
            seq INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT NOT NULL UNIQUE,
            started_at REAL NOT NULL,
            protocol TEXT NOT NULL,
            path TEXT NOT NULL,
            client_key TEXT,
            model_asked TEXT,
            model_used TEXT,
            account TEXT,
            status INTEGER NOT NULL,
            outcome TEXT NOT NULL,
            stream INTEGER NOT NULL,
            first_event_ms REAL,
            duration_ms REAL NOT NULL,
            input_tokens INTEGER NOT NULL,
            output_tokens INTEGER NOT NULL,
            cache_read_tokens INTEGER NOT NULL,
            cache_write_tokens INTEGER NOT NULL,
            credits REAL,
            stop_reason TEXT,
            error TEXT,
            message TEXT,
            notes TEXT NOT NULL
        )""",
        "CREATE INDEX requests_started_at ON requests (started_at)",
        """CREATE TABLE attempts (
            request TEXT NOT NULL REFERENCES requests (id) ON DELETE CASCADE,
            n INTEGER NOT NULL,
            account TEXT,
            started_at REAL NOT NULL,
            status INTEGER,
            error TEXT,
            reason TEXT,
            upstream_id TEXT,
            duration_ms REAL NOT NULL,
            PRIMARY KEY (request, n)
        ) WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE responses (
            id TEXT PRIMARY KEY,
            client_key TEXT,
            created_at REAL NOT NULL,
            model TEXT NOT NULL,
            kept INTEGER NOT NULL,
            input BLOB NOT NULL,
            output BLOB NOT NULL,
            response BLOB NOT NULL
        )""",
        "CREATE INDEX responses_created_at ON responses (created_at)",
    ),
    (
        """CREATE TABLE account_health (
            account TEXT PRIMARY KEY REFERENCES accounts (id) ON DELETE CASCADE,
            health TEXT NOT NULL
        ) WITHOUT ROWID""",
    ),
    (
        """CREATE TABLE login_links (
            hash BLOB PRIMARY KEY,
            expires_at REAL NOT NULL,
            waits INTEGER NOT NULL,
            page BLOB NOT NULL,
            answer BLOB
        ) WITHOUT ROWID""",
    ),
    (
        # `limited` stays when the last account of a key is removed: the key can do nothing then, not everything.
        "ALTER TABLE client_keys ADD COLUMN limited INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE client_keys ADD COLUMN account TEXT REFERENCES accounts (id) ON DELETE SET NULL",
        """CREATE TABLE client_key_accounts (
            client_key TEXT NOT NULL REFERENCES client_keys (id) ON DELETE CASCADE,
            account TEXT NOT NULL REFERENCES accounts (id) ON DELETE CASCADE,
            PRIMARY KEY (client_key, account)
        ) WITHOUT ROWID""",
        *(_COUNT_KEYS.format(event=event) for event in ("insert", "delete")),
    ),
    ("ALTER TABLE accounts ADD COLUMN overage_budget REAL",),
)


class Database:
    """The open file. Made on first open, mode 0600, and brought up to date. Raises StorageError."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._closed = False
        try:
            self._connection = _connect(path)
            _migrate(self._connection, path)
        except sqlite3.Error as error:
            raise _translated(error, path) from error

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[sqlite3.Row]:
        """All rows of a query."""
        with self._lock:
            try:
                return self._connection.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise _translated(error, self.path) from error

    def row(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        rows = self.rows(sql, values)
        return rows[0] if rows else None

    @contextmanager
    def change(self) -> Iterator["Change"]:
        """A transaction: everything done with the Change is stored at the end of the block, or nothing if it raises."""
        with self._lock:
            try:
                self._connection.execute("BEGIN IMMEDIATE")
                try:
                    yield Change(self._connection)
                    self._connection.execute("COMMIT")
                except BaseException:
                    if self._connection.in_transaction:
                        self._connection.execute("ROLLBACK")
                    raise
            except sqlite3.Error as error:
                raise _translated(error, self.path) from error

    def meta(self, name: str) -> str | None:
        """A small fact about this installation."""
        row = self.row("SELECT value FROM meta WHERE name = ?", (name,))
        return None if row is None else str(row[0])

    def counter(self, name: str) -> int:
        """A counter kept by triggers: it changes when another connection or process changes the table. About 10 µs."""
        return int(self.meta(name) or 0)

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._connection.close()

    def __enter__(self) -> "Database":  # noqa: PYI034  # the class is not meant to be derived from
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Change:
    """What can be done inside a transaction."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def run(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Run one statement; the number of rows it changed."""
        return self._connection.execute(sql, values).rowcount

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        self._connection.executemany(sql, rows)

    def insert(self, into: str, rows: Iterable[Sequence[Any]]) -> None:
        """`into` is all of an INSERT up to VALUES. Many rows go in one statement.

        With a statement per row SQLite hands the interpreter back and forth for each of them, and whoever
        serves requests meanwhile pays for it.
        """
        left = list(rows)
        for size in _BATCHES:
            while len(left) >= size:
                batch, left = left[:size], left[size:]
                marks = f"({', '.join('?' * len(batch[0]))})"
                values = [value for row in batch for value in row]
                self._connection.execute(f"{into} VALUES {', '.join([marks] * size)}", values)

    def row(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Row | None:
        found = self._connection.execute(sql, values).fetchone()
        return found if isinstance(found, sqlite3.Row) else None

    def set_meta(self, name: str, value: str) -> None:
        self.run(
            "INSERT INTO meta VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", (name, value)
        )


def _connect(path: Path) -> sqlite3.Connection:
    refuse_link(path)
    make_private_folder(path.parent)
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise StorageError(f"{path} cannot be opened: {error.strerror}.") from error
    connection = sqlite3.connect(path, timeout=_BUSY_MS / 1000, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _migrate(connection: sqlite3.Connection, path: Path) -> None:
    try:
        if _version(connection) == len(MIGRATIONS):
            return
        connection.execute("BEGIN IMMEDIATE")
        for step in _missing(_version(connection), path):
            for statement in step:
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise


def _missing(done: int, path: Path) -> tuple[tuple[str, ...], ...]:
    if done > len(MIGRATIONS):
        raise StorageError(f"{path} was written by a newer kiro.", hint="Update kiro.")
    return MIGRATIONS[done:]


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _translated(error: sqlite3.Error, path: Path) -> StorageError:
    text = str(error)
    if "locked" in text or "busy" in text:
        return StorageError(f"{path} is busy: another program keeps it locked.", hint="Try again in a moment.")
    if isinstance(error, sqlite3.IntegrityError):
        return StorageError(f"{path} refused the change: {text}.")
    if "not a database" in text or "malformed" in text:
        return StorageError(
            f"{path} is damaged.", hint="Put it back from a backup (`kiro backup list`), or move it away to start anew."
        )
    return StorageError(f"{path}: {text}.")
