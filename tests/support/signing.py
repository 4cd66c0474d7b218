"""A person who signs in at an emulated Kiro, with a clock of their own: waiting takes no time."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import aiohttp

from kiro.auth.flow import Hands, drive
from kiro.auth.http import HttpAsk, HttpReply
from kiro.auth.loopback import Loopback
from kiro.auth.records import ImportedAccount
from kiro.auth.steps import Browse, Flow, ShowCode, Trust
from kiro.errors import NetworkFailed
from support.clock import FakeClock


class Signer:
    """`asks`, `waits`, `codes`, `pages` and `hosts` tell what happened; `on_code` and `on_page` are what the person does then.

    `agrees`: what the person says of a host.
    """

    def __init__(self, session: aiohttp.ClientSession, clock: FakeClock) -> None:
        self._session = session
        self._clock = clock
        self.asks: list[HttpAsk] = []
        self.waits: list[float] = []
        self.codes: list[ShowCode] = []
        self.pages: list[Browse] = []
        self.unreachable = 0
        self.hosts: list[str] = []
        self.agrees = True
        self.on_code: Callable[[ShowCode], object] = lambda _: None
        self.on_page: Callable[[Browse, Loopback], Awaitable[object]] | None = None

    def now(self) -> datetime:
        return datetime.fromtimestamp(self._clock(), UTC)

    async def sign_in(self, flow: Flow, **options: float) -> ImportedAccount:
        return await drive(flow, Hands(self.send, self._sleep, self._code, self._page, self._agree), **options)

    async def send(self, ask: HttpAsk) -> HttpReply:
        self.asks.append(ask)
        if self.unreachable and self.codes:
            self.unreachable -= 1
            raise NetworkFailed("No way there.")
        async with self._session.request(
            ask.method, ask.url, data=ask.body or None, headers=dict(ask.headers), allow_redirects=False
        ) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            return HttpReply(response.status, headers, await response.read())

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self._clock.advance(seconds)

    async def _code(self, step: ShowCode) -> None:
        self.codes.append(step)
        self.on_code(step)

    async def _page(self, step: Browse, listener: Loopback) -> None:
        self.pages.append(step)
        assert self.on_page is not None
        await self.on_page(step, listener)

    async def _agree(self, step: Trust) -> bool:
        self.hosts.append(step.host)
        return self.agrees
