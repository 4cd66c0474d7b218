"""Accounts that follow another program's sign-in: its store is read anew, never refreshed and never written.

If we rotated a refresh token that the Kiro IDE or CLI also holds, that program would be signed out;
so the other program stays the only one that refreshes.
"""

from datetime import datetime
from pathlib import Path

import msgspec

from kiro.accounts.account import Account
from kiro.accounts.identity import no_other
from kiro.auth.credentials import Credentials, ExternalIdpCredentials, IdcCredentials, SocialCredentials, kind_of
from kiro.errors import StorageError


def read_source(account: Account, now: datetime, extra_hosts: tuple[str, ...] = ()) -> Credentials | None:
    """What the followed store holds for this account now. Blocks.

    `None` when nobody of its kind is signed in there, or somebody who is known to be another person.
    """
    if account.source is None:
        return None
    from kiro.auth.files import read_sign_ins  # all the formats: only for those who follow one

    path = Path(account.source)
    try:
        report = read_sign_ins(path, now=now, extra_hosts=extra_hosts)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError(
            f"{path}, which the account {account.name} follows, cannot be read: {error.strerror}."
        ) from error
    found = [one for one in report.accounts if kind_of(one.credentials) == account.kind and no_other(account, one)]
    return _with_known_profile(found[0].credentials, account.profile_arn) if found else None


def _with_known_profile(found: Credentials, arn: str | None) -> Credentials:
    """Stores do not always hold the profile; the one that was found for the account stays."""
    if (
        isinstance(found, SocialCredentials | IdcCredentials | ExternalIdpCredentials)
        and found.profile_arn is None
        and arn
    ):
        return msgspec.structs.replace(found, profile_arn=arn)
    return found
