"""Responses that clients may come back to: continue, look at, delete. Bound to the client key that made them.

A response that its client wants stored is kept for `responses.retention_days`. Of any other only the
items of its answer stay, for an hour, because some clients refer to them by id all the same; it can be
neither looked at nor continued. All functions block. Times are seconds since 1970.
"""

import sqlite3
from collections.abc import Sequence
from typing import Final

import msgspec

from kiro.storage.database import Database

SHORT_S: Final = 3600.0
"""How long the items of a response stay that is not stored."""

_decode_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode


class StoredResponse(msgspec.Struct, frozen=True):
    """One response. `input`, `output` (arrays of items) and `response` are JSON; `client_key` is a key's id.

    `input` holds everything the answer was made from, the history of earlier responses included.
    `kept` is False when only `output` is there, for references.
    """

    id: str
    client_key: str | None
    created_at: float
    model: str
    kept: bool
    input: bytes
    output: bytes
    response: bytes


_COLUMNS: Final = ", ".join(StoredResponse.__struct_fields__)
_MARKS: Final = ", ".join("?" * len(StoredResponse.__struct_fields__))


def put(database: Database, response: StoredResponse) -> None:
    """Store a response. One of the same id is replaced."""
    with database.change() as change:
        change.run(
            f"INSERT OR REPLACE INTO responses ({_COLUMNS}) VALUES ({_MARKS})",  # noqa: S608  # constant column names
            msgspec.structs.astuple(response),
        )


def find(database: Database, ids: Sequence[str], *, client_key: str | None, now: float) -> list[StoredResponse]:
    """Those of `ids` that this key may build on, kept or not; no particular order."""
    marks = ", ".join("?" * len(ids))
    rows = database.rows(
        f"SELECT {_COLUMNS} FROM responses WHERE id IN ({marks}) AND client_key IS ? AND (kept OR created_at > ?)",  # noqa: S608  # only marks
        (*ids, client_key, now - SHORT_S),
    )
    return [_read(row) for row in rows]


def get(database: Database, response_id: str, *, client_key: str | None) -> StoredResponse | None:
    """A kept response, or None when there is none of this id for this key."""
    row = database.row(
        f"SELECT {_COLUMNS} FROM responses WHERE id = ? AND client_key IS ? AND kept",  # noqa: S608  # constant column names
        (response_id, client_key),
    )
    return None if row is None else _read(row)


def input_items(database: Database, response_id: str, *, client_key: str | None) -> list[msgspec.Raw] | None:
    """The input items of a kept response, oldest first; None when there is none of this id for this key."""
    found = get(database, response_id, client_key=client_key)
    return None if found is None else _decode_raws(found.input)


def delete(database: Database, response_id: str, *, client_key: str | None) -> bool:
    """Delete a kept response; whether there was one."""
    with database.change() as change:
        gone = change.run("DELETE FROM responses WHERE id = ? AND client_key IS ? AND kept", (response_id, client_key))
    return gone > 0


def prune(database: Database, days: int, *, now: float) -> int:
    """Delete what is older than `days`, and what was not to be kept after its hour; the number deleted."""
    with database.change() as change:
        return change.run(
            "DELETE FROM responses WHERE created_at < ? OR (NOT kept AND created_at <= ?)",
            (now - days * 86400, now - SHORT_S),
        )


def _read(row: sqlite3.Row) -> StoredResponse:
    return StoredResponse(**{**dict(row), "kept": bool(row["kept"])})
