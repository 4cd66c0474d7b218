"""Accounts that follow another program's sign-in: its store is read anew, never refreshed and never written.

If we rotated a refresh token that the Kiro IDE or CLI also holds, that program would be signed out;
so the other program stays the only one that refreshes.
"""

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import msgspec

from kiro.accounts.account import Account
from kiro.auth.credentials import Credentials, ExternalIdpCredentials, IdcCredentials, SocialCredentials, kind_of
from kiro.auth.discover import profile_files
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

    report = read_import(data, name=path.name, siblings=beside(path), now=now, extra_hosts=extra_hosts)
    found = [one.credentials for one in report.accounts if kind_of(one.credentials) == account.kind]
    return _with_known_profile(found[0], account.profile_arn) if found else None


def beside(path: Path) -> Callable[[str], bytes | None]:
    """What gives the files that belong to the sign-in file at `path`: from its folder, or the IDE's chosen profile."""

    def read(name: str) -> bytes | None:
        places = [path.with_name(name)]
        if name == "profile.json":
            places += profile_files(path, _home(), os.environ)
        for place in places:
            try:
                if place.is_file():
                    return place.read_bytes()
            except OSError as error:
                raise StorageError(f"{place} cannot be read: {error.strerror}.") from error
        return None

    return read


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError:  # nobody knows this user's home
        return Path("/nonexistent")


def _with_known_profile(found: Credentials, arn: str | None) -> Credentials:
    """Stores do not always hold the profile; the one that was found for the account stays."""
    if (
        isinstance(found, SocialCredentials | IdcCredentials | ExternalIdpCredentials)
        and found.profile_arn is None
        and arn
    ):
        return msgspec.structs.replace(found, profile_arn=arn)
    return found
