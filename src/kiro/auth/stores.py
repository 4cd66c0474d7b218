"""The Kiro CLI's database (and the Amazon Q CLI's before it): which rows are sign-ins, and what belongs to them.

Token rows in the order the CLI itself prefers: external provider, AWS sign-in, social. The spelling
`odic` is the CLI's own. A client registration belongs to a token only when flow and region match:
rows left by an earlier sign-in stay in the table. The chosen profile is in another table and
belongs to the current sign-in, which is the first one found.

The CLI may be at work while we look. SQLite reads a database in use without disturbing it, and creates
nothing beside it, when it keeps a rollback journal or when its `-wal` and `-shm` are there. Otherwise, and where
it is locked or looks broken, a private copy is read: the file with its `-wal` and `-journal`, all
three as they were at one moment.
"""

import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from kiro.auth.credentials import BUILDER_ID_START_URL, clean_start_url
from kiro.storage.files import write_private

_TOKENS: Final[tuple[tuple[str, Literal["external_idp", "oidc", "social"]], ...]] = (
    ("kirocli:external-idp:token", "external_idp"),
    ("kirocli:odic:token", "oidc"),
    ("kirocli:oidc:token", "oidc"),
    ("codewhisperer:odic:token", "oidc"),
    ("codewhisperer:oidc:token", "oidc"),
    ("kirocli:social:token", "social"),
)
TOKEN_KEYS: Final = tuple(key for key, _ in _TOKENS)
"""Rows of `auth_kv` that hold a sign-in."""

_PROFILE: Final = "api.codewhisperer.profile"
MAGIC: Final = b"SQLite format 3\0"
_WAL_MODE: Final = 2
_BESIDE: Final = ("-wal", "-journal")
_BUSY_S: Final = 0.5
"""The CLI's own transactions take milliseconds; whoever holds the database longer is passed by with a copy."""
_COPY_PAUSES_S: Final = (0.02, 0.1, 0.3)


class UnreadableStore(Exception):  # becomes a code of the import report
    pass


class StoreRow(msgspec.Struct, frozen=True):
    """A token row joined with its registration and profile, in the form `records.read_record` takes."""

    family: Literal["external_idp", "oidc", "social"]
    record: dict[str, Any]
    legacy: bool


def read_store_at(path: Path) -> list[StoreRow]:
    """The sign-ins in a database on the disk, which is not changed. Blocks. Raises UnreadableStore, OSError."""
    if _may_open(path):
        try:
            return _joined(*_tables(f"{path.absolute().as_uri()}?mode=ro"))
        except UnreadableStore:  # locked, or looked at in the middle of a change: the copy tells
            pass
    return read_store(b"", path.name, lambda _: None, source=path)


def read_store(
    data: bytes, name: str, siblings: Callable[[str], bytes | None], source: Path | None = None
) -> list[StoreRow]:
    """The sign-ins in a database given as bytes, or copied from `source`.

    `siblings` gives its `-wal` and `-journal`, where the latest rows or the way back may be. Works in a
    private folder that is deleted again. Raises UnreadableStore.
    """
    if source is None:
        files = {"": data, **{ending: siblings(f"{name}{ending}") for ending in _BESIDE}}
    else:
        files = _at_one_moment(source)
    with tempfile.TemporaryDirectory(prefix="kiro-", ignore_cleanup_errors=True) as folder:
        path = Path(folder, "data.sqlite3")
        for ending, content in files.items():
            if content:
                write_private(path.with_name(path.name + ending), content)
        values, state = _tables(path.as_uri())
    return _joined(values, state)


def _may_open(path: Path) -> bool:
    """Whether SQLite can read it in place without leaving files there, with locks that hold."""
    if sys.platform == "linux" and path.is_relative_to("/mnt"):  # under WSL, where the locks of Windows are not seen
        return False
    with path.open("rb") as file:
        header = file.read(20)
    in_use = all(path.with_name(path.name + ending).exists() for ending in ("-wal", "-shm"))
    return in_use if header[18:19] == bytes([_WAL_MODE]) else True


def _at_one_moment(path: Path) -> dict[str, bytes | None]:
    """The database and what belongs to it, read again when something changed meanwhile."""
    paths = {ending: path.with_name(path.name + ending) for ending in ("", *_BESIDE)}
    for pause_s in (*_COPY_PAUSES_S, None):
        before = [_stamp(each) for each in paths.values()]
        files = {ending: _content(each) for ending, each in paths.items()}
        if pause_s is None or before == [_stamp(each) for each in paths.values()]:
            break
        time.sleep(pause_s)
    return files


def _stamp(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _tables(uri: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Both tables as one transaction saw them."""
    try:
        with closing(sqlite3.connect(uri, uri=True, timeout=_BUSY_S, isolation_level=None)) as connection:
            connection.execute("BEGIN")
            return _pairs(connection, "auth_kv"), _pairs(connection, "state")
    except sqlite3.Error as error:
        raise UnreadableStore from error


def _pairs(connection: sqlite3.Connection, table: str) -> dict[str, Any]:
    if connection.execute("SELECT 1 FROM sqlite_master WHERE name = ?", (table,)).fetchone() is None:
        return {}
    return {key: _json(value) for key, value in connection.execute(f"SELECT key, value FROM {table}")}  # noqa: S608  # constant names


def _json(value: object) -> Any:
    """The JSON text of a value, which comes as text or as a blob; anything else counts as absent."""
    if not isinstance(value, str | bytes):
        return None
    try:
        return msgspec.json.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _joined(values: dict[str, Any], state: dict[str, Any]) -> list[StoreRow]:
    rows: list[StoreRow] = []
    for key, family in _TOKENS:
        token = values.get(key)
        if not isinstance(token, dict):
            continue
        record = dict(token)
        if family == "oidc":
            record |= _registration(values.get(key.replace(":token", ":device-registration")), token)
        profile = state.get(_PROFILE)
        if (
            not rows
            and isinstance(profile, dict)
            and not record.get("profile_arn")
            and not _is_builder_id(family, record)
        ):
            record["profile_arn"] = profile.get("arn")
        rows.append(StoreRow(family, record, key.startswith("codewhisperer:")))
    return rows


def _is_builder_id(family: str, token: dict[str, Any]) -> bool:
    start_url = token.get("start_url")
    return family == "oidc" and (not start_url or clean_start_url(str(start_url)) == BUILDER_ID_START_URL)


def _registration(row: object, token: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(row, dict):
        return {}
    flows = [str(part.get("oauth_flow", "")).lower() for part in (row, token)]
    regions = [str(part.get("region") or "us-east-1").lower() for part in (row, token)]
    if flows[0] != flows[1] or regions[0] != regions[1]:
        return {}
    return {name: row.get(name) for name in ("client_id", "client_secret", "client_secret_expires_at")}
