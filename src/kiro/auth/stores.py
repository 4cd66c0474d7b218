"""The Kiro CLI's database (and the Amazon Q CLI's before it): which rows are sign-ins, and what belongs to them.

Token rows in the order the CLI itself prefers: external provider, AWS sign-in, social. The spelling
`odic` is the CLI's own. A client registration belongs to a token only when flow and region match:
rows left by an earlier sign-in stay in the table. The chosen profile is in another table and
belongs to the current sign-in, which is the first one found.
"""

import sqlite3
import tempfile
from collections.abc import Callable
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


class UnreadableStore(Exception):  # becomes a code of the import report
    pass


class StoreRow(msgspec.Struct, frozen=True):
    """A token row joined with its registration and profile, in the form `records.read_record` takes."""

    family: Literal["external_idp", "oidc", "social"]
    record: dict[str, Any]
    legacy: bool


def read_store(data: bytes, name: str, siblings: Callable[[str], bytes | None]) -> list[StoreRow]:
    """The sign-ins in a database given as bytes. `siblings` gives its `-wal`, where the latest rows may still be.

    Works on a copy in a private folder that is deleted again. Raises UnreadableStore.
    """
    with tempfile.TemporaryDirectory(prefix="kiro-", ignore_cleanup_errors=True) as folder:
        path = Path(folder, "data.sqlite3")
        write_private(path, data)
        log = siblings(f"{name}-wal")
        if log:
            write_private(path.with_name("data.sqlite3-wal"), log)
        values, state = _tables(path)
    return _joined(values, state)


def _tables(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    try:
        connection = sqlite3.connect(path)
        try:
            return _pairs(connection, "auth_kv"), _pairs(connection, "state")
        finally:
            connection.close()
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
