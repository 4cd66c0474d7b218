"""A fresh Access for an account: from memory while it lasts, by one refresh when it does not.

While the access token has more than five minutes left, `access` is a dictionary look-up. After that
the account is refreshed, once however many callers wait: tasks share one running refresh, processes
take turns by a file lock and look into the vault again inside it, so whoever comes second finds the
new tokens there.

The order inside the lock is what makes a crash harmless, because a rotated refresh token exists only
once: read the vault → ask the service → write the new tokens, flushed to the disk → only then use
them. If the process dies between the answer and the write, the sign-in is lost, and no order can
prevent that; after the write nothing is lost any more.

Trouble on the way (network, 5xx, 429) says nothing about the sign-in: a token that has not expired
stays in use, and the next try waits 1, 2, 4 … 60 s. A refusal of the sign-in marks the account
`invalid` and keeps its secrets, so that a wrong verdict can be undone.
"""

import asyncio
import random
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

import msgspec

from kiro.accounts.account import MENDED_BY_A_SIGN_IN, Account
from kiro.accounts.acting import make_access, sign_in_hint
from kiro.accounts.directory import AccountDirectory
from kiro.accounts.locking import acquire
from kiro.accounts.renewing import MARGIN, ends, good_until, renew, until_next_refresh
from kiro.accounts.sharing import ForeignStores
from kiro.auth.credentials import (
    ApiKeyCredentials,
    Credentials,
    TokenCredentials,
    bearer,
    can_refresh,
    profile_arn,
)
from kiro.auth.http import Send
from kiro.auth.refresh import RefreshRefused, RefreshUrls
from kiro.errors import AccessRefused, KiroError, SignInNeeded, UpstreamError
from kiro.upstream.endpoints import Access

_REFUSALS_UNTIL_INVALID: Final = 3
_LONGEST_WAIT_S: Final = 60.0


class _Held(msgspec.Struct, frozen=True):
    access: Access
    good_until: datetime


class _Trouble(msgspec.Struct, frozen=True):
    """Failed refreshes of `credentials` in a row; the next one not before `until` (monotonic seconds)."""

    credentials: Credentials
    count: int
    until: float
    error: UpstreamError
    refusals: int


class AccessKeeper:
    """Gives out Access by account id. One per process; all methods belong to one event loop.

    `send` brings an HttpAsk to its service; it raises NetworkFailed or UpstreamTimeout when there is no
    answer. `region` is the setting `upstream.region`. `clock` is wall time, aware; `monotonic` counts the waits between failed tries.
    """

    def __init__(
        self,
        directory: AccountDirectory,
        send: Send,
        *,
        urls: RefreshUrls | None = None,
        region: str = "us-east-1",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._directory = directory
        self._send = send
        self._urls = urls or RefreshUrls()
        self._region = region
        self._clock = clock
        self._monotonic = monotonic
        self._held: dict[str, _Held] = {}
        self._running: dict[str, asyncio.Task[Access]] = {}
        self._trouble: dict[str, _Trouble] = {}
        self._proxies: dict[str, str | None] = {}
        self._stores = ForeignStores(directory, clock)

    def configure(self, urls: RefreshUrls, region: str) -> None:
        """Take over changed settings."""
        self._urls = urls
        self._region = region
        self._held.clear()

    def forget(self, account_id: str | None = None) -> None:
        """Drop what is in memory (of one account or of all), after another process changed something.

        Waits between failed tries stay: they end by themselves, or with new credentials.
        """
        if account_id is None:
            self._held.clear()
        else:
            self._held.pop(account_id, None)

    async def access(self, account_id: str) -> Access:
        """An Access good for at least some minutes, or as good as can be had.

        Raises SignInNeeded when a person has to act, else the UpstreamError that kept the refresh from working.
        """
        held = self._held.get(account_id)
        if held is not None and held.good_until > self._clock():
            return held.access
        return await self._shared(account_id, None)

    async def refresh_now(self, account_id: str, rejected_token: str | None = None) -> Access:
        """A different Access than the one with `rejected_token`, whatever the clock says about that token.

        Kiro refused it; perhaps another caller or process has a newer one already, then that is given.
        Without `rejected_token` the one given out last counts as refused.
        """
        running = self._running.get(account_id)
        if running is not None:
            access = await asyncio.shield(running)
            if access.token != rejected_token:
                return access
        held = self._held.get(account_id)
        if held is not None and rejected_token is None:
            rejected_token = held.access.token
        if held is not None and held.access.token != rejected_token and held.good_until > self._clock():
            return held.access
        return await self._shared(account_id, rejected_token or "")

    async def refresh_ahead(self, account_id: str, margin: timedelta) -> None:
        """Refresh now if the token ends within `margin`, so that no request has to wait for it. Raises as `access`."""
        held = self._held.get(account_id)
        if held is None or held.good_until <= self._clock() + margin - MARGIN:
            await self._shared(account_id, None, margin)

    async def look_again(self, account_id: str) -> None:
        """Take over what another program has in its store by now, without using it. Raises as `access`."""
        await self._load(account_id)

    async def take_over(self, account_id: str) -> None:
        """Make another program's sign-in our own by refreshing it once; that program is signed out by it.

        Raises as `access`; then everything is as it was.
        """
        account, credentials = await self._load(account_id)
        if account.mode == "own":
            return
        if not can_refresh(credentials):
            self._sign_in_again(account, "The sign-in cannot be taken over: nothing here can refresh it")
        await asyncio.to_thread(self._directory.set_mode, account_id, "own", None)
        try:
            await self._shared(account_id, "")
        except KiroError:
            await asyncio.to_thread(self._directory.set_mode, account_id, account.mode, account.source)
            raise

    async def close(self) -> None:
        """Let running refreshes end: one that was cut off could lose a rotated token."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _shared(self, account_id: str, rejected: str | None, margin: timedelta = MARGIN) -> Access:
        """Join the running refresh or start it. A caller that goes away does not stop it."""
        task = self._running.get(account_id)
        if task is None:
            task = asyncio.create_task(self._renew(account_id, rejected, margin), name=f"refresh-{account_id}")
            self._running[account_id] = task
            task.add_done_callback(lambda done: self._ended(account_id, done))
        return await asyncio.shield(task)

    def _ended(self, account_id: str, task: "asyncio.Task[Access]") -> None:
        self._running.pop(account_id, None)
        if not task.cancelled():
            task.exception()  # looked at here, in case every caller has gone away

    async def _renew(self, account_id: str, rejected: str | None, margin: timedelta) -> Access:
        """`rejected` None: whatever is fresh will do. Otherwise anything but that token; empty: refresh in any case."""
        account, credentials = await self._load(account_id)
        found = self._usable(account, credentials, rejected, margin)
        if found is not None:
            return found
        if isinstance(credentials, ApiKeyCredentials):
            self._sign_in_again(account, "Kiro does not accept the API key")
        obstacle = await self._obstacle(account, credentials, rejected)
        if obstacle is not None:
            return self._last_use(account, credentials, rejected, obstacle)
        trouble = self._trouble.get(account_id)
        if trouble is not None and trouble.credentials == credentials and self._monotonic() < trouble.until:
            return self._make_do(account, credentials, rejected, trouble.error)
        lock = self._directory.lock(account_id)
        await acquire(lock)
        try:
            account, credentials = await self._load(account_id, locked=True)
            found = self._usable(account, credentials, rejected, margin)
            if found is not None:
                return found
            obstacle = await self._obstacle(account, credentials, rejected)
            if obstacle is not None:
                return self._last_use(account, credentials, rejected, obstacle)
            return await self._refresh(account, credentials, rejected)
        finally:
            lock.release()

    async def _obstacle(self, account: Account, credentials: Credentials, rejected: str | None) -> str | None:
        """Why the sign-in is not refreshed here, in words; None when it is."""
        if account.mode == "own":
            return None if can_refresh(credentials) else "it cannot be refreshed"
        return await asyncio.to_thread(self._stores.obstacle, account, credentials, rejected=rejected is not None)

    async def _refresh(self, account: Account, credentials: Credentials, rejected: str | None) -> Access:
        """Ask, write, use: in this order, inside the lock."""
        try:
            renewed = await self._ask(account, credentials)
        except RefreshRefused as refusal:
            newer = await self._newer(account, credentials, rejected)
            if newer is not None:
                return newer
            await self._mark_invalid(account, refusal.reason)
            raise SignInNeeded(
                f"{account.name}: {refusal.message}", hint=refusal.hint or sign_in_hint(account)
            ) from refusal
        except AccessRefused as refusal:
            trouble = self._count(account.id, credentials, refusal)
            if trouble.refusals >= _REFUSALS_UNTIL_INVALID:
                await self._mark_invalid(account, refusal.reason or "refused")
                self._sign_in_again(account, "The sign-in service keeps refusing", refusal)
            return self._make_do(account, credentials, rejected, refusal)
        except UpstreamError as error:
            self._count(account.id, credentials, error)
            return self._make_do(account, credentials, rejected, error)
        kept = await asyncio.to_thread(self._keep, account, credentials, renewed)
        if kept is None:
            self._sign_in_again(account, "The account was removed")
        self._trouble.pop(account.id, None)
        if account.state in MENDED_BY_A_SIGN_IN:
            await asyncio.to_thread(self._directory.set_state, account.id, "active")
        account = msgspec.structs.replace(account, profile_arn=profile_arn(kept))
        return self._hold(account, kept, until_next_refresh(kept, self._clock()))

    def _keep(self, account: Account, used: Credentials, renewed: TokenCredentials) -> Credentials | None:
        """Write the new tokens down, also where another program looks. None when the account is gone."""
        if account.mode == "shared" and not isinstance(used, ApiKeyCredentials):
            return self._stores.give_back(account, used, renewed, self._urls.external_hosts)
        return renewed if self._directory.save_credentials(account.id, renewed) else None

    async def _newer(self, account: Account, used: Credentials, rejected: str | None) -> Access | None:
        """After a refused refresh: what the other program has put into its store meanwhile, if that can be used."""
        if account.mode == "own":
            return None
        account, found = await self._load(account.id, locked=True)
        if bearer(found) == bearer(used):
            return None
        usable = self._usable(account, found, rejected, MARGIN)
        return usable or self._sign_in_again(account, "The program it is shared with has just signed in anew")

    async def _ask(self, account: Account, credentials: Credentials) -> TokenCredentials:
        proxy = await asyncio.to_thread(self._directory.proxy, account.id)
        return await renew(credentials, self._send, self._urls, proxy, self._clock)

    async def _load(self, account_id: str, *, locked: bool = False) -> tuple[Account, Credentials]:
        return await asyncio.to_thread(self._load_now, account_id, locked=locked)

    def _load_now(self, account_id: str, *, locked: bool) -> tuple[Account, Credentials]:
        account = self._directory.find(account_id)
        if account is None:
            raise SignInNeeded("The account is not there any more.", hint="`kiro accounts list` shows what there is.")
        credentials = self._directory.credentials(account_id)
        proxy = self._directory.proxy(account_id) if account.proxy is not None else None
        self._proxies[account_id] = proxy.reveal() if proxy is not None else None
        if account.mode != "own":
            credentials = self._stores.load(account, credentials, self._urls.external_hosts, locked=locked)
        if credentials is None:
            raise SignInNeeded(f"The sign-in of {account.name} is not stored.", hint=sign_in_hint(account))
        return account, credentials

    def _usable(
        self, account: Account, credentials: Credentials, rejected: str | None, margin: timedelta
    ) -> Access | None:
        """What is stored, if it is good for at least `margin` and not the rejected one."""
        token = bearer(credentials)
        until = good_until(credentials)
        if token is None or until is None or until <= self._clock() + (margin - MARGIN):
            return None
        if rejected == "" or token.reveal() == rejected:
            return None
        return self._hold(account, credentials, until)

    def _last_use(self, account: Account, credentials: Credentials, rejected: str | None, obstacle: str) -> Access:
        """A token that nobody here can refresh is used until it ends."""
        token, end = bearer(credentials), ends(credentials)
        if token is not None and end is not None and end > self._clock() and token.reveal() != rejected:
            return self._hold(account, credentials, min(end, self._clock() + timedelta(seconds=2)))
        words = {"own": "The sign-in has ended", "follow": "The followed sign-in has expired"}
        return self._sign_in_again(account, words.get(account.mode, f"The shared sign-in has expired, and {obstacle}"))

    def _make_do(
        self, account: Account, credentials: Credentials, rejected: str | None, error: UpstreamError
    ) -> Access:
        """After a refresh that failed for now: the old token while it lives, else the error."""
        token, end, now = bearer(credentials), ends(credentials), self._clock()
        if token is None or end is None or end <= now or rejected is not None:
            raise error.with_traceback(None)
        trouble = self._trouble.get(account.id)
        wait_s = max(trouble.until - self._monotonic(), 0.0) if trouble else 0.0
        return self._hold(account, credentials, min(end, now + timedelta(seconds=wait_s)))

    def _hold(self, account: Account, credentials: Credentials, good_until: datetime) -> Access:
        access = make_access(account, credentials, self._region, self._proxies.get(account.id))
        self._held[account.id] = _Held(access, good_until)
        return access

    def _count(self, account_id: str, credentials: Credentials, error: UpstreamError) -> _Trouble:
        before = self._trouble.get(account_id)
        if before is not None and before.credentials != credentials:
            before = None
        count = before.count + 1 if before else 1
        refusals = (before.refusals if before else 0) + isinstance(error, AccessRefused)
        wait_s = min(2.0 ** (count - 1), _LONGEST_WAIT_S) * random.uniform(0.75, 1.25)  # noqa: S311  # spreads tries, guards nothing
        trouble = _Trouble(
            credentials, count, self._monotonic() + max(wait_s, error.retry_after_s or 0.0), error, refusals
        )
        self._trouble[account_id] = trouble
        return trouble

    async def _mark_invalid(self, account: Account, reason: str) -> None:
        self._held.pop(account.id, None)
        await asyncio.to_thread(self._directory.set_state, account.id, "invalid", reason)

    def _sign_in_again(self, account: Account, what: str, cause: Exception | None = None) -> NoReturn:
        self._held.pop(account.id, None)
        raise SignInNeeded(f"{account.name}: {what}.", hint=sign_in_hint(account)) from cause
