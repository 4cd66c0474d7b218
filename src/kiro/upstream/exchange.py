"""One answer being received: its bytes are pushed to a callback, whoever reads them from the network.

`connection.Reply` does so straight from the network's callback, so that no task wakes up per event.
`PulledExchange` reads what aiohttp's session received in a plain loop, more slowly: for answers that come
through a proxy.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

import aiohttp

from kiro.errors import KiroError, StreamCut
from kiro.upstream import refusals

OnData = Callable[[bytes], None]
OnEnd = Callable[[KiroError | None], None]


class Exchange(ABC):
    """`status` and `headers` (names in lower case work) are here. `listen` once; then `pause`, `resume`, `close` as needed.

    `on_over` hears of its end.
    """

    status: int

    def __init__(self) -> None:
        self._on_data: OnData | None = None
        self._on_end: OnEnd | None = None
        self.on_over: Callable[[Exchange], None] | None = None
        self.last_heard = time.monotonic()
        self.begin_by: float | None = None
        """When the answer must have begun (monotonic seconds). Whoever sees it begin sets this to None."""

    @property
    @abstractmethod
    def headers(self) -> Mapping[str, str]: ...

    @property
    def upstream_id(self) -> str | None:
        return refusals.request_id(self.headers)

    def listen(self, on_data: OnData, on_end: OnEnd) -> None:
        """Push what has come and will come to `on_data`; `on_end(None)` at a clean end, else the error, once."""
        self._on_data, self._on_end = on_data, on_end
        self._start()

    @abstractmethod
    def pause(self) -> None:
        """Stop reading: the client is slower than Kiro."""

    @abstractmethod
    def resume(self) -> None: ...

    def close(self) -> None:
        """Drop the connection if the answer is not over. Kiro stops generating; no callback comes after this."""
        self._let_go()
        self._drop()

    def fail(self, error: KiroError) -> None:
        """End with an error from outside, such as the idle watchdog's."""
        self._end(error)

    @abstractmethod
    def _start(self) -> None:
        """There are listeners now."""

    @abstractmethod
    def _drop(self) -> None:
        """Close the connection, unless the answer was read to its end."""

    def _end(self, error: KiroError | None) -> None:
        on_end = self._on_end
        self._let_go()
        if error is not None:
            self._drop()
        if on_end is not None:
            on_end(error)

    def _let_go(self) -> None:
        self._on_data = self._on_end = None
        if self.on_over is not None:
            self.on_over(self)
            self.on_over = None


class PulledExchange(Exchange):
    """An answer of aiohttp's session, read by a task."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        super().__init__()
        self.status = response.status
        self._response = response
        self._task: asyncio.Task[None] | None = None
        self._flowing = asyncio.Event()
        self._flowing.set()

    @property
    def headers(self) -> Mapping[str, str]:
        return self._response.headers

    def pause(self) -> None:
        self._flowing.clear()

    def resume(self) -> None:
        self._flowing.set()

    def _start(self) -> None:
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        try:
            while data := await self._response.content.readany():
                self.last_heard = time.monotonic()
                if self._on_data is not None:
                    self._on_data(data)
                await self._flowing.wait()
        except (aiohttp.ClientError, OSError) as error:
            self._end(cut(error))
        else:
            self._end(None)

    def _drop(self) -> None:
        self._response.close()

    def _let_go(self) -> None:
        super()._let_go()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._task = None


def cut(error: BaseException | None) -> StreamCut:
    """The answer broke off; `error` is what the network said to it."""
    detail = f" ({type(error).__name__})" if error is not None else ""
    return StreamCut(f"The connection to Kiro broke in the middle of the answer{detail}.")
