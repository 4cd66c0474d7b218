"""Accounts in other programs' stores: what is taken over from there, and for shared ones, what is given back.

A shared sign-in may be refreshed by us or by the program it belongs to. The program goes first: we refresh
only a token that is about to end, in a store that nobody has touched for a minute. The new tokens go into
our vault before they go into the store, and the vault remembers which tokens they replace until they have
arrived there: a crash or a full disk in between is made good at the next look. Where the store holds
something else by then, its program was faster, and what it has is taken.
"""

import contextlib
import hashlib
import logging
import os
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from kiro.accounts.account import MENDED_BY_A_SIGN_IN, Account
from kiro.accounts.directory import AccountDirectory
from kiro.accounts.follow import read_source
from kiro.auth.credentials import ApiKeyCredentials, Credentials, TokenCredentials, can_refresh, expiry
from kiro.errors import StorageError

_MARGIN: Final = timedelta(minutes=3)
_QUIET_S: Final = 60.0

log: Final = logging.getLogger("kiro")


class Source(msgspec.Struct, frozen=True):
    """What a store holds for an account; the file was last changed at `changed_at` (seconds since 1970)."""

    credentials: Credentials
    changed_at: float


class _Seen(msgspec.Struct, frozen=True):
    """A sign-in that was first seen in a store at `since` (seconds); the store changed last at `changed_at`."""

    mark: bytes
    since: float
    changed_at: float


class ForeignStores:
    """The stores of other programs. Blocking calls, from any thread. `clock` is wall time, aware."""

    def __init__(self, directory: AccountDirectory, clock: Callable[[], datetime]) -> None:
        self._directory = directory
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def load(
        self, account: Account, stored: Credentials | None, hosts: tuple[str, ...], *, locked: bool
    ) -> Credentials | None:
        """The account's sign-in, as its program has it now. `locked`: the caller holds the account's lock."""
        source = self._read(account, hosts)
        self._look(account.id, source)
        if source is None or (stored is not None and _mark(source.credentials) == _mark(stored)):
            return stored
        with contextlib.nullcontext() if locked else self._directory.lock(account.id):
            stored = self._directory.credentials(account.id)
            source = self._read(account, hosts)
            if source is None:
                return stored
            if account.mode == "shared" and stored is not None and self._is_old(account, source, stored):
                return stored
            return self._adopt(account, source.credentials)

    def obstacle(self, account: Account, credentials: Credentials, *, rejected: bool) -> str | None:
        """Why a shared sign-in is not to be refreshed here and now, in words; None when it may be."""
        now, seen = self._clock(), self._seen.get(account.id)
        ends = expiry(credentials)
        if account.mode != "shared" or account.source is None:
            return "the program it belongs to refreshes it"
        if isinstance(credentials, ApiKeyCredentials) or not can_refresh(credentials):
            return "it cannot be refreshed"
        if not rejected and ends is not None and ends - now > _MARGIN:
            return "its token lasts"
        closed = unwritable(Path(account.source))
        if seen is not None and closed is not None:
            return closed
        if seen is None or seen.mark != _mark(credentials):
            return "the program it is shared with does not hold it any more"
        if now.timestamp() - min(seen.changed_at, seen.since) < _QUIET_S:
            return "the program it is shared with has just changed its store"
        return None

    def give_back(
        self, account: Account, used: TokenCredentials, renewed: TokenCredentials, hosts: tuple[str, ...]
    ) -> Credentials | None:
        """Keep the new tokens and put them where the other program looks; the caller holds the account's lock.

        Returns what counts from now on: the new tokens, or those the program has put there meanwhile. None when
        the account is gone. A store that cannot be written is tried again at the next look.
        """
        self._directory.set_rotated(account.id, _mark(used))
        if not self._directory.save_credentials(account.id, renewed):
            return None
        if self._deliver(account, used, renewed) is not False:
            return renewed
        source = self._read(account, hosts)
        return renewed if source is None else self._adopt(account, source.credentials)

    def _read(self, account: Account, hosts: tuple[str, ...]) -> Source | None:
        changed_at = _changed_at(Path(account.source or ""))
        found = read_source(account, self._clock(), hosts)
        return Source(found, changed_at) if found is not None else None

    def _deliver(self, account: Account, used: TokenCredentials, renewed: TokenCredentials) -> bool | None:
        """Whether the store has the new tokens now; None when it could not be written."""
        from kiro.auth.write_back import write_back  # all the formats: only for those who share one

        try:
            delivered = write_back(Path(account.source or ""), used, renewed)
        except StorageError as error:
            log.warning(
                "the new tokens of account %s did not reach %s yet: %s", account.name, account.source, error.message
            )
            return None
        if delivered:
            self._directory.set_rotated(account.id, None)
        return delivered

    def _is_old(self, account: Account, source: Source, stored: Credentials) -> bool:
        """The store still holds tokens that we have replaced: give it the new ones."""
        found = source.credentials
        if self._directory.rotated(account.id) != _mark(found):
            return False
        if not isinstance(found, ApiKeyCredentials) and not isinstance(stored, ApiKeyCredentials):
            self._deliver(account, found, stored)
        return True

    def _adopt(self, account: Account, found: Credentials) -> Credentials:
        """Take what the other program has. A new sign-in there mends an account that was dead."""
        self._directory.save_credentials(account.id, found)
        if self._directory.rotated(account.id) is not None:
            self._directory.set_rotated(account.id, None)
        if account.state in MENDED_BY_A_SIGN_IN:
            self._directory.set_state(account.id, "active")
        return found

    def _look(self, account_id: str, source: Source | None) -> None:
        """Remembers since when the store holds what it holds."""
        if source is None:
            self._seen.pop(account_id, None)
            return
        mark, before = _mark(source.credentials), self._seen.get(account_id)
        same = before is not None and before.mark == mark
        since = before.since if before is not None and same else self._clock().timestamp()
        self._seen[account_id] = _Seen(mark, since, source.changed_at)


def _changed_at(path: Path) -> float:
    """When the store changed last; a database in write-ahead mode has its latest rows in another file."""
    times = [0.0]
    for file in (path, path.with_name(f"{path.name}-wal")):
        with contextlib.suppress(OSError):  # reading it tells what is wrong with it
            times.append(file.stat().st_mtime)
    return max(times)


def _mark(credentials: Credentials) -> bytes:
    """Tells tokens apart without holding them."""
    if isinstance(credentials, ApiKeyCredentials):
        return b""
    access = credentials.access_token.reveal() if credentials.access_token is not None else ""
    both = f"{credentials.refresh_token.reveal()}\0{access}"
    return hashlib.sha256(both.encode("utf-8", "surrogatepass")).digest()


def unwritable(path: Path) -> str | None:
    """Why new tokens could not be written into this store, in words; None when they can."""
    if path.is_symlink():
        return f"{path} is a symbolic link, and kiro writes through none"
    if not os.access(path, os.W_OK) or not os.access(path.parent, os.W_OK):
        return f"{path} cannot be written"
    return None
