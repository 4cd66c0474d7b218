"""New tokens back into another program's store: into the same record, and only if it still holds the old ones.

Pure for files (bytes in, bytes out); for a database of the Kiro CLI one short transaction. What is not
a token stays as it is: unknown fields, their order, the spelling of names. A store whose form is not
known here is refused, never guessed at.
"""

import json
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from kiro.auth.credentials import TokenCredentials
from kiro.auth.files import load
from kiro.auth.stores import TOKEN_KEYS
from kiro.errors import StorageError
from kiro.storage.files import refuse_link, replace_foreign

_BUSY_S: Final = 5.0
_FILE_NAMES: Final = ("accessToken", "refreshToken", "expiresAt")
_ROW_NAMES: Final = ("access_token", "refresh_token", "expires_at")


def refuse_unknown(path: Path) -> None:
    """Raises StorageError when tokens cannot be written back into this store."""
    refuse_link(path)
    try:
        data, database = load(path)
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
    if database is None and _record(data) is None:
        raise StorageError(
            f"{path} is no sign-in of the Kiro IDE or the Kiro CLI.",
            hint="Only these can be shared; follow it instead.",
        )


def write_back(path: Path, used: TokenCredentials, renewed: TokenCredentials) -> bool:
    """Put `renewed` where `used` is stored. False when the store holds something else by now: it is left alone.

    Blocks. Raises StorageError when it cannot be written.
    """
    refuse_link(path)
    try:
        data, database = load(path)
    except FileNotFoundError:
        return False
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}.") from error
    if database is not None:
        return _into_database(database, used, renewed)
    changed = changed_file(data, used, renewed)
    return changed is not None and replace_foreign(path, data, changed)


def changed_file(data: bytes, used: TokenCredentials, renewed: TokenCredentials) -> bytes | None:
    """The content of a token file with new tokens; None when it does not hold `used`."""
    record = _record(data)
    if record is None or not _holds(record, _FILE_NAMES, used):
        return None
    ends = renewed.expires_at
    new = _merged(record, _FILE_NAMES, renewed, _milliseconds(ends) if ends else None)
    lines = b"\n" in data.strip()
    text = json.dumps(new, ensure_ascii=False, indent=2 if lines else None, separators=None if lines else (",", ":"))
    return text.encode("utf-8", "surrogatepass") + (b"\n" if data.endswith(b"\n") else b"")


def _into_database(path: Path, used: TokenCredentials, renewed: TokenCredentials) -> bool:
    ends = renewed.expires_at
    ends_text = ends.astimezone(UTC).isoformat().replace("+00:00", "Z") if ends else None
    try:
        with closing(
            sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=_BUSY_S, isolation_level=None)
        ) as db:
            db.execute("BEGIN IMMEDIATE")
            for key in TOKEN_KEYS:
                row = db.execute("SELECT value FROM auth_kv WHERE key = ?", (key,)).fetchone()
                record = _object(row[0]) if row is not None else None
                if record is None or not _holds(record, _ROW_NAMES, used):
                    continue
                text = json.dumps(
                    _merged(record, _ROW_NAMES, renewed, ends_text), ensure_ascii=False, separators=(",", ":")
                )
                value = text.encode() if isinstance(row[0], bytes) else text
                db.execute("UPDATE auth_kv SET value = ? WHERE key = ?", (value, key))
                db.execute("COMMIT")
                return True
            db.execute("ROLLBACK")
    except sqlite3.Error as error:
        raise StorageError(f"{path} cannot be written: {error}.") from error
    return False


def _record(data: bytes) -> dict[str, Any] | None:
    """The one sign-in of a token file, as the IDE writes it."""
    record = _object(data)
    return record if record is not None and all(isinstance(record.get(name), str) for name in _FILE_NAMES) else None


def _object(value: object) -> dict[str, Any] | None:
    if not isinstance(value, str | bytes):
        return None
    try:
        document = json.loads(value)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _holds(record: Mapping[str, Any], names: tuple[str, str, str], used: TokenCredentials) -> bool:
    """The tokens in the store are those that were refreshed; the access token counts, too: not every service rotates."""
    access, refresh, _ = names
    stored = used.access_token.reveal() if used.access_token is not None else None
    return record.get(refresh) == used.refresh_token.reveal() and (stored is None or record.get(access) == stored)


def _merged(
    record: dict[str, Any], names: tuple[str, str, str], renewed: TokenCredentials, ends: str | None
) -> dict[str, Any]:
    access, refresh, expires = names
    new = {refresh: renewed.refresh_token.reveal()}
    if renewed.access_token is not None:
        new[access] = renewed.access_token.reveal()
    if ends is not None:
        new[expires] = ends
    return record | new


def _milliseconds(when: datetime) -> str:
    return when.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
