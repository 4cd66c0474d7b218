"""One streamed HTTP answer: a head that waits, one write per batch of events, keep-alives, an end or an abort.

The head is held back until the first event, so that a failure before it keeps its true status. A
client that has waited `first_wait_s` gets the head and keep-alives; from then on failures can only be
told inside the stream.

After the head, batches are framed here and written straight to the transport. aiohttp's own
`write` is a coroutine; calling it would need a task, and a wake-up, per event. A client that reads
slowly makes the transport's buffer grow; over `_HIGH_WATER` reading from Kiro is paused.

A stream that fails is aborted: the last chunk is never sent, so no client can take it for complete.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Final, Self

from aiohttp import web
from aiohttp.http import HttpVersion11

_HIGH_WATER: Final = 256 * 1024
_LOW_WATER: Final = 64 * 1024
_SLOW_CLIENT_POLL_S: Final = 0.02
_ABORT_FLUSH_S: Final = 2.0
_TICK_S: Final = 0.25


class _Response(web.StreamResponse):
    """A response whose head leaves together with its first bytes: one write, one packet."""

    _send_headers_immediately = False


class Patience:
    """One clock for all streams, which tells each what is due. A timer per answer would cost 2 % of a small one.

    Waits and pings are therefore up to `_TICK_S` late. Use as `async with`.
    """

    def __init__(self) -> None:
        self._streams: set[ClientStream] = set()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._task is not None:
            self._task.cancel()

    def watch(self, stream: "ClientStream") -> None:
        self._streams.add(stream)

    def forget(self, stream: "ClientStream") -> None:
        self._streams.discard(stream)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_TICK_S)
            now = time.monotonic()
            for stream in list(self._streams):
                stream.tick(now)


class ClientStream:
    """`headers` is asked when the head goes out; `keepalive` makes bytes that mean nothing; `pause` and `resume` act on
    the source of the events.
    """

    def __init__(
        self,
        request: web.Request,
        headers: Callable[[], Mapping[str, str]],
        patience: Patience,
        *,
        keepalive: Callable[[], bytes],
        pause: Callable[[], None],
        resume: Callable[[], None],
        first_wait_s: float,
        ping_s: float,
    ) -> None:
        self._request = request
        self._headers = headers
        self._made: _Response | None = None
        self._chunked = request.version >= HttpVersion11
        self._keepalive = keepalive
        self._pause = pause
        self._resume = resume
        self._ping_s = ping_s
        self._loop = asyncio.get_running_loop()
        self._opening: asyncio.Task[None] | None = None
        self._throttled = False
        self._last_write = time.monotonic()
        self._head_due = self._last_write + first_wait_s
        self._patience = patience
        patience.watch(self)

    @property
    def opened(self) -> bool:
        """The head is out: the status can no longer change."""
        return self._opening is not None or (self._made is not None and self._made.prepared)

    @property
    def _response(self) -> _Response:
        """Made when its head goes out: most answers that are not streamed never need it."""
        if self._made is None:
            self._made = _Response(headers=self._headers())
            if self._chunked:
                self._made.enable_chunked_encoding()
            else:
                self._made.force_close()
        return self._made

    async def begin(self, data: bytes) -> None:
        """Head (unless it is out already) and first bytes, in one write."""
        if self._opening is not None:
            await self._opening
            self.write(data)
            return
        await self._response.prepare(self._request)
        await self._response.write(data)
        self._last_write = time.monotonic()

    async def whole(self, data: bytes) -> web.StreamResponse:
        """Head, everything and end, in one write."""
        if self._opening is not None:
            await self._opening
        else:
            await self._response.prepare(self._request)
        await self._response.write_eof(data)
        return self._response

    def write(self, data: bytes) -> None:
        """Bytes after `begin`. Writing to a client that has left does nothing."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return
        transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        self._last_write = time.monotonic()
        if not self._throttled and transport.get_write_buffer_size() > _HIGH_WATER:
            self._throttled = True
            self._pause()
            self._loop.call_later(_SLOW_CLIENT_POLL_S, self._unthrottle)

    async def end(self) -> web.StreamResponse:
        await self._response.write_eof()
        return self._response

    async def abort(self, data: bytes) -> web.StreamResponse:
        """The error's bytes, then an end that no client can take for a proper one."""
        if self._opening is not None:
            await self._opening
        if not self._response.prepared:
            await self._response.prepare(self._request)
            await self._response.write(data)
        else:
            self.write(data)
        transport = self._request.transport
        if transport is not None:
            deadline = time.monotonic() + _ABORT_FLUSH_S
            while transport.get_write_buffer_size() and not transport.is_closing() and time.monotonic() < deadline:  # noqa: ASYNC110  no event tells
                await asyncio.sleep(_SLOW_CLIENT_POLL_S)  # a transport tells its buffer, not when it is empty
            transport.abort()
        return self._response

    def close(self) -> None:
        """No more keep-alives."""
        self._patience.forget(self)
        if self._opening is not None:
            self._opening.cancel()

    def tick(self, now: float) -> None:
        """First-event patience may be over, or a ping due."""
        if self._made is None or not self._made.prepared:
            if self._opening is None and now >= self._head_due:
                self._opening = self._loop.create_task(self._open_early())
        elif now - self._last_write >= self._ping_s:
            self.write(self._keepalive())

    async def _open_early(self) -> None:
        await self._response.prepare(self._request)
        await self._response.write(self._keepalive())
        self._last_write = time.monotonic()

    def _unthrottle(self) -> None:
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > _LOW_WATER:
            self._loop.call_later(_SLOW_CLIENT_POLL_S, self._unthrottle)
        else:
            self._throttled = False
            self._resume()
