"""Accounts that follow another program's sign-in: its store is read anew, never refreshed and never written.

If we rotated a refresh token that the Kiro IDE or CLI also holds, that program would be signed out;
so the other program stays the only one that refreshes.
"""

from datetime import datetime
from pathlib import Path

from kiro.accounts.account import Account
from kiro.auth.credentials import Credentials, kind_of
from kiro.auth.formats import read_import
from kiro.errors import StorageError


def read_source(account: Account, now: datetime, extra_hosts: tuple[str, ...] = ()) -> Credentials | None:
    """What the followed store holds for this account now; `None` when nobody of its kind is signed in there. Blocks."""
    if account.source is None:
        return None
    path = Path(account.source)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(
            f"{path}, which the account {account.name} follows, cannot be read: {error.strerror}."
        ) from error

    def sibling(name: str) -> bytes | None:
        beside = path.with_name(name)
        return beside.read_bytes() if beside.is_file() else None

    report = read_import(data, name=path.name, siblings=sibling, now=now, extra_hosts=extra_hosts)
    found = [one for one in report.accounts if kind_of(one.credentials) == account.kind]
    return found[0].credentials if found else None
