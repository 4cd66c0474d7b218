"""Whether a sign-in belongs to an account that is already here, and what that account knows better. Pure."""

from collections.abc import Callable
from typing import Final

import msgspec

from kiro.accounts.account import MENDED_BY_A_SIGN_IN, Account
from kiro.auth.credentials import (
    BuilderIdCredentials,
    Credentials,
    IdcCredentials,
    clean_start_url,
    expiry,
    kind_of,
    profile_arn,
)
from kiro.auth.records import ImportedAccount


def same_id(account: Account, imported: ImportedAccount) -> bool:
    """A file of kiro's own tells which account it was, here or in the home it came from."""
    return imported.id == account.id and no_other(account, imported)


def same_user(account: Account, imported: ImportedAccount) -> bool:
    return bool(imported.user_id) and imported.user_id == account.user_id


def same_email(account: Account, imported: ImportedAccount) -> bool:
    """One email can be signed in at several companies and with several providers: those are several accounts."""
    if not imported.email or not account.email or not no_other(account, imported):
        return False
    same_place = _start_url(imported.start_url) == _start_url(account.start_url)
    return same_place and _agree(imported.provider, account.provider)


SIGNS: Final[tuple[Callable[[Account, ImportedAccount], bool], ...]] = (same_id, same_user, same_email)
"""What shows that an account of the same kind is the same person, the surest first."""


def no_other(account: Account, imported: ImportedAccount) -> bool:
    """Nothing says that these are two persons."""
    emails = [text.lower() if text else None for text in (account.email, imported.email)]
    return _agree(account.user_id, imported.user_id) and _agree(*emails)


def is_newer(account: Account, imported: ImportedAccount) -> bool:
    """The account's own sign-in was refreshed after this copy of it was made, and nothing is wrong with it."""
    ends = expiry(imported.credentials)
    fine = account.mode == "own" and account.state not in MENDED_BY_A_SIGN_IN
    return fine and ends is not None and account.expires_at is not None and ends < account.expires_at


def with_what_was_known(account: Account, imported: ImportedAccount) -> ImportedAccount:
    """The newcomer with the profile and the start URL of the account, where it does not tell them itself.

    No later question brings back a start URL, and a company sign-in without its profile cannot be used.
    """
    credentials = _as_the_known_kind(account, imported)
    if account.kind != kind_of(credentials):
        return imported
    start_url = imported.start_url or account.start_url
    if account.profile_arn and not profile_arn(credentials) and hasattr(credentials, "profile_arn"):
        credentials = msgspec.structs.replace(credentials, profile_arn=account.profile_arn)
    if isinstance(credentials, IdcCredentials):
        credentials = msgspec.structs.replace(credentials, start_url=start_url)
    return msgspec.structs.replace(imported, credentials=credentials, start_url=start_url)


def _as_the_known_kind(account: Account, imported: ImportedAccount) -> Credentials:
    """A file that does not tell Builder ID from Identity Center is read as the latter; the account may know better."""
    credentials = imported.credentials
    guessed = isinstance(credentials, IdcCredentials) and imported.provider is None and imported.start_url is None
    if not guessed or account.kind != "builder_id" or not isinstance(credentials, IdcCredentials):
        return credentials
    names = ("access_token", "refresh_token", "expires_at", "client", "auth_region", "scopes")
    return BuilderIdCredentials(**{name: getattr(credentials, name) for name in names})


def _agree(one: str | None, other: str | None) -> bool:
    return not one or not other or one == other


def _start_url(url: str | None) -> str | None:
    return clean_start_url(url) if url else None
