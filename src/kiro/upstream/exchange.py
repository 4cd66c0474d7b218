"""One answer being received: its bytes are pushed to a callback instead of read by a task.

aiohttp would queue each chunk, resolve a future and wake a task, which is a fifth of what a paced event
costs. `PushHandler` hands the body over right after aiohttp's parser has run. Connections made with
another protocol are read by a plain loop, which does the same, more slowly. Both are tested.
"""

import asyncio
import time
from collections.abc import Callable

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import StreamReader

from kiro.errors import KiroError, StreamCut
from kiro.upstream import refusals
from kiro.upstream.direct import Reply

OnData = Callable[[bytes], None]
OnEnd = Callable[[KiroError | None], None]


class PushHandler(ResponseHandler):
    """aiohttp's client protocol that tells a listener when body bytes have arrived."""

    listener: Callable[[], None] | None = None

    @property
    def reading_is_paused(self) -> bool:
        """aiohttp's buffer ran full within one read; it has to be emptied by aiohttp's own means."""
        return self._reading_paused

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.listener is not None:
            self.listener()

    def eof_received(self) -> None:
        super().eof_received()
        if self.listener is not None:
            self.listener()

    def connection_lost(self, exc: BaseException | None) -> None:
        super().connection_lost(exc)
        if self.listener is not None:
            self.listener()


class Exchange:
    """One answer being received. `listen` once; then `pause`, `resume`, `close` as needed. `on_over` hears of its end."""

    def __init__(self, response: aiohttp.ClientResponse | Reply, on_over: "Callable[[Exchange], None]") -> None:
        self._response = response
        self._on_over = on_over
        self._content: StreamReader = response.content
        self._on_data: OnData | None = None
        self._on_end: OnEnd | None = None
        self._handler: PushHandler | None = None
        self._task: asyncio.Task[None] | None = None
        self._resumed = asyncio.Event()
        self._paused = False
        self._draining = False
        self._again = False
        self.last_heard = time.monotonic()
        self.begin_by: float | None = None
        """When the answer must have begun (monotonic seconds). Whoever sees it begin sets this to None."""

    @property
    def upstream_id(self) -> str | None:
        return refusals.request_id(self._response.headers)

    def listen(self, on_data: OnData, on_end: OnEnd) -> None:
        """Push what has come and will come to `on_data`; `on_end(None)` at a clean end, else the error, once."""
        self._on_data, self._on_end = on_data, on_end
        connection = self._response.connection
        handler = connection.protocol if connection is not None else None
        if isinstance(handler, PushHandler):
            self._handler = handler
            handler.listener = self._drain
            self._drain()
        elif connection is None:
            self._drain()  # all of it is here already
        else:
            self._task = asyncio.create_task(self._read_loop())

    def pause(self) -> None:
        """Stop reading: the client is slower than Kiro."""
        if self._paused or self._on_end is None:
            return
        self._paused = True
        self._resumed.clear()
        if self._handler is not None:
            self._handler.pause_reading()

    def resume(self) -> None:
        if not self._paused:
            return
        self._paused = False
        self._resumed.set()
        if self._handler is not None:
            self._handler.resume_reading()
            self._drain()

    def close(self) -> None:
        """Drop the connection. Kiro stops generating; no callback comes after this."""
        self._let_go()
        self._response.close()

    def fail(self, error: KiroError) -> None:
        """End with an error from outside, such as the idle watchdog's."""
        self._end(error)

    def _drain(self) -> None:
        """Takes what aiohttp has buffered. Taking it may make aiohttp parse more and call back: hence the loop."""
        self._again = True
        if self._draining or self._paused:
            return
        self._draining = True
        try:
            while self._again and not self._paused:
                self._again = False
                data = self._take()
                if data:
                    self.last_heard = time.monotonic()
                    if self._on_data is not None:
                        self._on_data(data)
        except (aiohttp.ClientError, OSError) as error:
            self._end(_cut(error))
            return
        finally:
            self._draining = False
        if self._content.at_eof():
            self._end(None)
        elif self._handler is not None and self._handler.transport is None:
            self._end(_cut(None))

    def _take(self) -> bytes:
        """The buffered bytes. aiohttp's own read re-enters its parser for each HTTP chunk, a tenth of a small answer."""
        content, handler = self._content, self._handler
        whole = handler is None and content.is_eof() and not content.at_eof()
        if content.exception() is not None or (not whole and (handler is None or handler.reading_is_paused)):
            return content.read_nowait()
        buffer = content._buffer  # noqa: SLF001  see the module's docstring
        data = buffer[0] if len(buffer) == 1 else b"".join(buffer)
        buffer.clear()
        content._size = 0  # noqa: SLF001  as above
        if content._http_chunk_splits:  # noqa: SLF001  as above
            content._http_chunk_splits.clear()  # noqa: SLF001  as above
        return data

    async def _read_loop(self) -> None:
        try:
            while data := await self._content.readany():
                self.last_heard = time.monotonic()
                if self._on_data is not None:
                    self._on_data(data)
                if self._paused:
                    await self._resumed.wait()
        except (aiohttp.ClientError, OSError) as error:
            self._end(_cut(error))
        else:
            self._end(None)

    def _end(self, error: KiroError | None) -> None:
        on_end = self._on_end
        self._let_go()
        if error is not None:
            self._response.close()
        if on_end is not None:
            on_end(error)

    def _let_go(self) -> None:
        self._on_over(self)
        self._on_data = self._on_end = None
        if self._handler is not None:
            self._handler.listener = None
            self._handler = None
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._task = None


def _cut(error: BaseException | None) -> StreamCut:
    detail = f" ({type(error).__name__})" if error is not None else ""
    return StreamCut(f"The connection to Kiro broke in the middle of the answer{detail}.")
