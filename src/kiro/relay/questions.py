"""The small questions to Kiro: which models an account has, how many credits it has used."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

from kiro.accounts.access import AccessKeeper
from kiro.accounts.account import usage_snapshot
from kiro.accounts.directory import AccountDirectory
from kiro.auth.http import HttpAsk, HttpReply
from kiro.errors import KiroError
from kiro.upstream import queries
from kiro.upstream.catalogue import Model
from kiro.upstream.client import KiroClient
from kiro.upstream.endpoints import Access
from kiro.upstream.queries import UsageLimits

_USAGE_FRESH_S: Final = 300.0
_USAGE_AGAIN_S: Final = 60.0


def sender(client: KiroClient) -> Callable[[HttpAsk], Awaitable[HttpReply]]:
    """What brings a request to a sign-in service, through the account's own proxy where there is one."""

    async def send(ask: HttpAsk) -> HttpReply:
        proxy = ask.proxy.reveal() if ask.proxy is not None else None
        status, headers, body = await client.fetch(ask.method, ask.url, ask.headers, ask.body, proxy=proxy)
        return HttpReply(status, {name.lower(): value for name, value in headers.items()}, body)

    return send


class Questions:
    """`base_url` is the setting `upstream.url`, asked each time."""

    def __init__(
        self,
        client: KiroClient,
        keeper: AccessKeeper,
        directory: AccountDirectory,
        base_url: Callable[[], str | None],
    ) -> None:
        self._client = client
        self._keeper = keeper
        self._directory = directory
        self._base_url = base_url
        self._usage: dict[str, tuple[float, UsageLimits]] = {}
        self._failed: dict[str, tuple[float, KiroError]] = {}

    async def models(self, account_id: str) -> tuple[Model, ...]:
        access = await self._keeper.access(account_id)
        models: tuple[Model, ...] = await self._ask(access, queries.models_ask, queries.read_models)
        return models

    async def usage(self, account_id: str) -> UsageLimits:
        """Credits of one account, asked of Kiro at most every five minutes; after a failure not within a minute."""
        known = self._usage.get(account_id)
        if known is not None and time.time() - known[0] < _USAGE_FRESH_S:
            return known[1]
        failed = self._failed.get(account_id)
        if failed is not None and time.time() - failed[0] < _USAGE_AGAIN_S:
            raise failed[1].with_traceback(None)
        try:
            return await self.look_up_usage(account_id)
        except KiroError as error:
            self._failed[account_id] = (time.time(), error)
            raise

    async def look_up_usage(self, account_id: str) -> UsageLimits:
        """Credits of one account, asked of Kiro now and kept, with whose they are."""
        access = await self._keeper.access(account_id)

        def read(status: int, headers: Mapping[str, str], body: bytes) -> UsageLimits:
            return queries.read_usage(status, headers, body, now=time.time())

        limits: UsageLimits = await self._ask(access, queries.usage_ask, read)
        self._usage[account_id] = (time.time(), limits)
        self._failed.pop(account_id, None)
        await asyncio.to_thread(self._keep, account_id, limits)
        return limits

    def _keep(self, account_id: str, limits: UsageLimits) -> None:
        snapshot = usage_snapshot(limits, time.time())
        if snapshot is not None:
            self._directory.set_usage(account_id, snapshot)
        self._directory.set_person(account_id, limits.email, limits.user_id)

    def usage_asked_at(self, account_id: str) -> float | None:
        """When Kiro told the credits last, in seconds since 1970."""
        known = self._usage.get(account_id)
        return known[0] if known is not None else None

    async def _ask(self, access: Access, make: Callable[..., Any], read: Callable[..., Any]) -> Any:
        """Asks with the profile; a 400 is repeated without it, because the services disagree about it."""
        base_url = self._base_url()
        ask = make(access, base_url)
        status, headers, body = await self._client.fetch(ask.method, ask.url, ask.headers, ask.body, proxy=access.proxy)
        if status == 400 and access.profile_arn:
            ask = make(access, base_url, with_profile=False)
            status, headers, body = await self._client.fetch(
                ask.method, ask.url, ask.headers, ask.body, proxy=access.proxy
            )
        return read(status, headers, body)
