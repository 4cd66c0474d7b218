"""The log of requests: one row each, with a row for every try, and what may be asked of them.

Rows are written in batches off the hot path. Times are seconds since 1970, durations milliseconds.
Nothing of what was said is stored, only counts, names and the words of errors.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import Any, Final

import msgspec

from kiro.redaction import redact_text
from kiro.storage.database import Database

_MESSAGE_CHARACTERS: Final = 1000


class Attempt(msgspec.Struct, frozen=True):
    """One try of one request. `error` is a class name, `reason` Kiro's own word, `upstream_id` Kiro's request id."""

    n: int
    account: str | None
    started_at: float
    status: int | None
    error: str | None
    reason: str | None
    upstream_id: str | None
    duration_ms: float


class RequestRow(msgspec.Struct, frozen=True):
    """One request. `outcome`: `done`, `failed`, `refused` (before any account) or `left` (the client went away).

    `client_key` and `account` are ids. `error` is a class name of kiro.errors, `message` its text.
    """

    id: str
    started_at: float
    protocol: str
    path: str
    status: int
    outcome: str
    stream: bool
    duration_ms: float
    client_key: str | None = None
    model_asked: str | None = None
    model_used: str | None = None
    account: str | None = None
    first_event_ms: float | None = None
    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    credits: float | None = None
    stop_reason: str | None = None
    error: str | None = None
    message: str | None = None
    notes: tuple[str, ...] = ()
    attempts: tuple[Attempt, ...] = ()
    seq: int = 0
    """The row's place in the log, given when it is stored; grows for ever."""


class Filters(msgspec.Struct, frozen=True):
    """Which rows: everything given has to hold. `model` matches the asked or the used one.

    `before` and `after` are `seq` numbers, for older pages and for following. `limit` counts rows.
    """

    since: float | None = None
    failed: bool = False
    account: str | None = None
    client_key: str | None = None
    model: str | None = None
    protocol: str | None = None
    before: int | None = None
    after: int | None = None
    limit: int = 100


_PLAIN_COLUMNS: Final = tuple(
    name for name in RequestRow.__struct_fields__ if name not in ("message", "notes", "attempts", "seq")
)
_COLUMNS: Final = (*_PLAIN_COLUMNS, "message", "notes")
_plain_values: Final = attrgetter(*_PLAIN_COLUMNS)
_ATTEMPT_COLUMNS: Final = Attempt.__struct_fields__


def append_many(database: Database, rows: Iterable[RequestRow]) -> None:
    """Store finished requests in one transaction. A row whose id is already there replaces nothing and is skipped."""
    rows = list(rows)
    with database.change() as change:
        change.insert(f"INSERT OR IGNORE INTO requests ({', '.join(_COLUMNS)})", map(_stored, rows))
        change.insert(
            f"INSERT OR IGNORE INTO attempts (request, {', '.join(_ATTEMPT_COLUMNS)})",
            ((row.id, *msgspec.structs.astuple(attempt)) for row in rows for attempt in row.attempts),
        )


def query(database: Database, filters: Filters) -> list[RequestRow]:
    """The newest matching rows first, without their attempts; with `after` the oldest first."""
    conditions, values = _conditions(filters)
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    order = "ASC" if filters.after is not None else "DESC"
    sql = f"SELECT * FROM requests {where} ORDER BY seq {order} LIMIT ?"  # noqa: S608  # conditions are constants, values are bound
    return [_read(row, ()) for row in database.rows(sql, (*values, filters.limit))]


def get(database: Database, request_id: str) -> RequestRow | None:
    """One request with its attempts."""
    row = database.row("SELECT * FROM requests WHERE id = ?", (request_id,))
    if row is None:
        return None
    attempts = database.rows("SELECT * FROM attempts WHERE request = ? ORDER BY n", (request_id,))
    return _read(row, tuple(Attempt(*(attempt[name] for name in _ATTEMPT_COLUMNS)) for attempt in attempts))


def prune(database: Database, days: int, *, now: float) -> int:
    """Delete what is older than `days`; the number of requests deleted."""
    with database.change() as change:
        return change.run("DELETE FROM requests WHERE started_at < ?", (now - days * 86400,))


def _conditions(filters: Filters) -> tuple[list[str], list[Any]]:
    table: Sequence[tuple[str, Any]] = (
        ("started_at >= ?", filters.since),
        ("account = ?", filters.account),
        ("client_key = ?", filters.client_key),
        ("? IN (model_asked, model_used)", filters.model),
        ("protocol = ?", filters.protocol),
        ("seq < ?", filters.before),
        ("seq > ?", filters.after),
    )
    conditions = [condition for condition, value in table if value is not None]
    values = [value for _, value in table if value is not None]
    return ([*conditions, "outcome IN ('failed', 'refused')"] if filters.failed else conditions), values


def _stored(row: RequestRow) -> tuple[Any, ...]:
    message = row.message and redact_text(row.message)[:_MESSAGE_CHARACTERS]
    notes = msgspec.json.encode(row.notes).decode() if row.notes else "[]"
    return (*_plain_values(row), message, notes)


def _read(row: sqlite3.Row, attempts: tuple[Attempt, ...]) -> RequestRow:
    values = {name: row[name] for name in _COLUMNS}
    values["stream"] = bool(values["stream"])
    values["notes"] = msgspec.json.decode(values["notes"], type=tuple[str, ...])
    return RequestRow(**values, attempts=attempts, seq=row["seq"])
