"""Accounts as rows of the table `accounts`: a column per field, times as ISO text, the credits as JSON."""

import sqlite3
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

import msgspec

from kiro.accounts.account import Account, UsageSnapshot
from kiro.storage.database import Change

_COLUMNS: Final = Account.__struct_fields__


def read(row: sqlite3.Row) -> Account:
    values = {name: row[name] for name in _COLUMNS}
    values["enabled"] = bool(values["enabled"])
    if values["usage"] is not None:
        values["usage"] = msgspec.json.decode(values["usage"])
    return msgspec.convert(values, Account)


def insert(change: Change, account: Account) -> None:
    change.insert(f"INSERT INTO accounts ({', '.join(_COLUMNS)})", [_values(msgspec.structs.asdict(account))])


def update(change: Change, account_id: str, changes: Mapping[str, Any]) -> None:
    """Set the fields of `changes`. Does nothing when the account is gone."""
    columns = ", ".join(f"{name} = ?" for name in changes)
    change.run(f"UPDATE accounts SET {columns} WHERE id = ?", (*_values(changes), account_id))  # noqa: S608  # fields are the callers' constants


def _values(fields: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(_value(field) for field in fields.values())


def _value(field: Any) -> Any:
    if isinstance(field, datetime):
        return field.isoformat()
    return msgspec.json.encode(field).decode() if isinstance(field, UsageSnapshot) else field
