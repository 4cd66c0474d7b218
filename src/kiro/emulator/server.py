"""The emulator as a whole: who is known, what goes wrong next, what was asked, and its life as a server on loopback.

All of Kiro's services share one address here: inference, models and usage, web search, social
sign-in, OIDC, a company's provider.

    async with Emulator() as emulator:
        person = emulator.people.add("first")
        tokens = emulator.people.issue(person)
        ...                                     # talk to emulator.url
        emulator.requests[0].body               # what came last

`running_in_thread` does the same for programs without an event loop. aiohttp is imported when the
server starts, not before.
"""

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Self

from kiro.emulator.accounts import People, Tokens
from kiro.emulator.faults import Faults, Operation
from kiro.emulator.portal_cookie import PortalCookie
from kiro.emulator.signin import SignIn
from kiro.emulator.traffic import Recorded

if TYPE_CHECKING:
    from aiohttp import web


class Emulator:
    """A Kiro on loopback. `pace_ms` is the pause before each event of an answer.

    `port=0` takes a free one. `now` is the wall clock that tokens expire by. `polls`: see `SignIn`.
    The last `keep` requests are remembered, last first.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        pace_ms: int = 0,
        now: Callable[[], float] = time.time,
        polls: int | None = 1,
        keep: int = 1000,
    ) -> None:
        self._host, self._port = host, port
        self._runner: web.AppRunner | None = None
        self.url = ""
        """The base address, known once it runs."""
        self.pace_ms = pace_ms
        self.now = now
        self.people = People(now)
        self.sign_in = SignIn(self.people, now, polls)
        self.portal_cookie = PortalCookie(self.sign_in)
        self.faults = Faults()
        self.requests: deque[Recorded] = deque(maxlen=keep)
        self.served = 0
        """Requests received so far."""
        self.streaming = 0
        """Answers being sent right now."""
        self.aborted = 0
        """Answers whose client left before their end."""

    @property
    def tokens(self) -> Tokens:
        """A fresh sign-in of the first person; that person is made when there is nobody yet."""
        person = next(iter(self.people.persons.values()), None) or self.people.add("first")
        return self.people.issue(person)

    def seen(self, operation: Operation) -> list[Recorded]:
        """The remembered requests of one operation, last first."""
        return [one for one in self.requests if one.operation == operation]

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def start(self) -> None:
        """Listen. OSError when the port is taken."""
        from kiro.emulator.handler import open_server

        self._runner, self.url = await open_server(self, self._host, self._port)

    async def close(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None


@contextlib.contextmanager
def running_in_thread(emulator: Emulator) -> Iterator[Emulator]:
    """The emulator in an event loop and a thread of its own, until the block is left."""
    started = threading.Event()
    failure: list[BaseException] = []
    stop: list[Callable[[], object]] = []

    async def serve() -> None:
        async with emulator:
            left = asyncio.Event()
            loop = asyncio.get_running_loop()
            stop.append(lambda: loop.call_soon_threadsafe(left.set))
            started.set()
            await left.wait()

    def run() -> None:
        try:
            asyncio.run(serve())
        except Exception as error:  # noqa: BLE001 - handed to the thread that waits for the start
            failure.append(error)
            started.set()

    thread = threading.Thread(target=run, name="kiro-emulator", daemon=True)
    thread.start()
    started.wait()
    if failure:
        raise failure[0]
    try:
        yield emulator
    finally:
        stop[0]()
        thread.join(10)
