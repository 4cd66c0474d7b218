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
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final, NoReturn

import msgspec

from kiro.accounts.account import Account
from kiro.accounts.acting import make_access, sign_in_hint
from kiro.accounts.directory import AccountDirectory
from kiro.accounts.follow import read_source
from kiro.accounts.locking import acquire
from kiro.auth.credentials import (
    ApiKeyCredentials,
    Credentials,
    ExternalIdpCredentials,
    TokenCredentials,
    bearer,
    can_refresh,
    profile_arn,
)
from kiro.auth.http import HttpAsk, HttpReply
from kiro.auth.refresh import RefreshRefused, RefreshUrls, parse_refresh, refresh_request
from kiro.errors import AccessRefused, NetworkFailed, SignInNeeded, UpstreamError
from kiro.redaction import Secret
from kiro.upstream.endpoints import Access

_MARGIN: Final = timedelta(minutes=5)
_REFUSALS_UNTIL_INVALID: Final = 3
_LONGEST_WAIT_S: Final = 60.0
_FOR_EVER: Final = datetime.max.replace(tzinfo=UTC)

Send = Callable[[HttpAsk], Awaitable[HttpReply]]


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
        if held is None or held.good_until <= self._clock() + margin - _MARGIN:
            await self._shared(account_id, None, margin)

    async def close(self) -> None:
        """Let running refreshes end: one that was cut off could lose a rotated token."""
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    async def _shared(self, account_id: str, rejected: str | None, margin: timedelta = _MARGIN) -> Access:
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
        if account.mode == "follow" or not can_refresh(credentials):
            return self._last_use(account, credentials, rejected)
        trouble = self._trouble.get(account_id)
        if trouble is not None and trouble.credentials == credentials and self._monotonic() < trouble.until:
            return self._make_do(account, credentials, rejected, trouble.error)
        lock = self._directory.lock(account_id)
        await acquire(lock)
        try:
            account, credentials = await self._load(account_id)
            found = self._usable(account, credentials, rejected, margin)
            if found is not None:
                return found
            return await self._refresh(account, credentials, rejected)
        finally:
            lock.release()

    async def _refresh(self, account: Account, credentials: Credentials, rejected: str | None) -> Access:
        """Ask, write, use: in this order, inside the lock."""
        try:
            renewed = await self._ask(account, credentials)
        except RefreshRefused as refusal:
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
        if not await asyncio.to_thread(self._directory.save_credentials, account.id, renewed):
            self._sign_in_again(account, "The account was removed")
        self._trouble.pop(account.id, None)
        if account.state in ("invalid", "misconfigured"):
            await asyncio.to_thread(self._directory.set_state, account.id, "active")
        account = msgspec.structs.replace(account, profile_arn=profile_arn(renewed))
        return self._hold(account, renewed, _until_next_refresh(renewed, self._clock()))

    async def _ask(self, account: Account, credentials: Credentials) -> TokenCredentials:
        if isinstance(credentials, ApiKeyCredentials):
            raise RefreshRefused("An API key is never refreshed.", reason="api_key")
        proxy = await asyncio.to_thread(self._directory.proxy, account.id)
        try:
            return await self._ask_once(credentials, proxy, with_scope=True)
        except AccessRefused as refusal:
            scoped = isinstance(credentials, ExternalIdpCredentials) and credentials.scopes
            if not scoped or refusal.reason != "invalid_scope":
                raise
        return await self._ask_once(credentials, proxy, with_scope=False)

    async def _ask_once(
        self, credentials: TokenCredentials, proxy: Secret | None, *, with_scope: bool
    ) -> TokenCredentials:
        ask = refresh_request(credentials, self._urls, with_scope=with_scope)
        if ask is None:
            raise RefreshRefused("The sign-in has no client registration.", reason="no_client")
        try:
            reply = await self._send(msgspec.structs.replace(ask, proxy=proxy))
        except OSError as error:
            raise NetworkFailed(f"The sign-in service cannot be reached: {type(error).__name__}.") from error
        return parse_refresh(credentials, reply, self._clock())

    async def _load(self, account_id: str) -> tuple[Account, Credentials]:
        return await asyncio.to_thread(self._load_now, account_id)

    def _load_now(self, account_id: str) -> tuple[Account, Credentials]:
        account = self._directory.find(account_id)
        if account is None:
            raise SignInNeeded("The account is not there any more.", hint="`kiro accounts list` shows what there is.")
        credentials = self._directory.credentials(account_id)
        proxy = self._directory.proxy(account_id) if account.proxy is not None else None
        self._proxies[account_id] = proxy.reveal() if proxy is not None else None
        if account.mode == "follow":
            followed = read_source(account, self._clock(), self._urls.external_hosts)
            if followed is not None and (credentials is None or bearer(followed) != bearer(credentials)):
                with self._directory.lock(account_id):
                    self._directory.save_credentials(account_id, followed)
                credentials = followed
        if credentials is None:
            raise SignInNeeded(f"The sign-in of {account.name} is not stored.", hint=sign_in_hint(account))
        return account, credentials

    def _usable(
        self, account: Account, credentials: Credentials, rejected: str | None, margin: timedelta
    ) -> Access | None:
        """What is stored, if it is good for at least `margin` and not the rejected one."""
        token = bearer(credentials)
        good_until = _good_until(credentials)
        if token is None or good_until is None or good_until <= self._clock() + (margin - _MARGIN):
            return None
        if rejected == "" or token.reveal() == rejected:
            return None
        return self._hold(account, credentials, good_until)

    def _last_use(self, account: Account, credentials: Credentials, rejected: str | None) -> Access:
        """A token that nobody here can refresh is used until it ends."""
        token, ends = bearer(credentials), _ends(credentials)
        if token is not None and ends is not None and ends > self._clock() and token.reveal() != rejected:
            return self._hold(account, credentials, min(ends, self._clock() + timedelta(seconds=2)))
        what = "The followed sign-in has expired" if account.mode == "follow" else "The sign-in has ended"
        return self._sign_in_again(account, what)

    def _make_do(
        self, account: Account, credentials: Credentials, rejected: str | None, error: UpstreamError
    ) -> Access:
        """After a refresh that failed for now: the old token while it lives, else the error."""
        token, ends, now = bearer(credentials), _ends(credentials), self._clock()
        if token is None or ends is None or ends <= now or rejected is not None:
            raise error.with_traceback(None)
        trouble = self._trouble.get(account.id)
        wait_s = max(trouble.until - self._monotonic(), 0.0) if trouble else 0.0
        return self._hold(account, credentials, min(ends, now + timedelta(seconds=wait_s)))

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


def _ends(credentials: Credentials) -> datetime | None:
    return _FOR_EVER if isinstance(credentials, ApiKeyCredentials) else credentials.expires_at


def _good_until(credentials: Credentials) -> datetime | None:
    """Until when a token is used without a thought; an unknown end means "refresh first"."""
    ends = _ends(credentials)
    return ends - _MARGIN if ends is not None and ends != _FOR_EVER else ends


def _until_next_refresh(renewed: Credentials, now: datetime) -> datetime:
    """A token that lives for less than ten minutes is used for half of its life, or every request would refresh."""
    ends = _ends(renewed) or now
    return max(ends - _MARGIN, now + (ends - now) / 2)
