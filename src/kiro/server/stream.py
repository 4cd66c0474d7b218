"""One streamed HTTP answer: a head that waits, one write per batch of events, keep-alives, an end or an abort.

The head is held back until the first event, so that a failure before it keeps its true status. A
client that has waited `first_wait_s` gets the head and keep-alives; from then on failures can only be
told inside the stream.

Head and batches are written here, straight to the transport. aiohttp's own way makes a response object's headers
anew for each answer, a twentieth of a small one, and its `write` is a coroutine: calling it would need a task, and
a wake-up, per event. aiohttp is told about the answer by a response that has nothing left to write.

A client that reads slowly makes the transport's buffer grow; over `_HIGH_WATER` reading from Kiro is paused.
A stream that fails is aborted: the last chunk is never sent, so no client can take it for complete.
"""

import asyncio
import email.utils
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final, Self

from aiohttp import web
from aiohttp.http import HttpVersion11

_HIGH_WATER: Final = 256 * 1024
_LOW_WATER: Final = 64 * 1024
_SLOW_CLIENT_POLL_S: Final = 0.02
_ABORT_FLUSH_S: Final = 2.0
_TICK_S: Final = 0.25
_LAST_CHUNK: Final = b"0\r\n\r\n"


class _Written(web.StreamResponse):
    """An answer that went past aiohttp: nothing is left to be written."""

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._kept = keep_alive

    @property
    def keep_alive(self) -> bool:
        """Whether the connection is good for another request."""
        return self._kept

    async def prepare(self, request: web.BaseRequest) -> None:
        """The head is out."""

    async def write_eof(self, data: bytes = b"") -> None:
        """The end is out."""


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
    the source of the events. `begin`, `whole` and `end` raise ConnectionResetError when the client has left.
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
        self.opened = False
        """The head is out: the status can no longer change."""
        self._transport = request.transport
        self._headers = headers
        self._chunked = request.version >= HttpVersion11
        self._keeps_alive = self._chunked and request.keep_alive  # without chunks, only the end tells the body's
        self._keepalive = keepalive
        self._pause = pause
        self._resume = resume
        self._ping_s = ping_s
        self._throttled = False
        self._last_write = time.monotonic()
        self._head_due = self._last_write + first_wait_s
        self._patience = patience
        patience.watch(self)

    def begin(self, data: bytes) -> None:
        """Head (unless it is out already) and first bytes, in one write."""
        self._send(self._framed(data))

    def whole(self, data: bytes) -> web.StreamResponse:
        """Head (unless it is out already), everything and end, in one write."""
        self._send(self._framed(data) + (_LAST_CHUNK if self._chunked else b""))
        return self._told()

    def write(self, data: bytes) -> None:
        """Bytes after `begin`. Writing to a client that has left does nothing."""
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        self._last_write = time.monotonic()
        if not self._throttled and transport.get_write_buffer_size() > _HIGH_WATER:
            self._throttle()

    def end(self) -> web.StreamResponse:
        self._send(_LAST_CHUNK if self._chunked else b"")
        return self._told()

    async def abort(self, data: bytes) -> web.StreamResponse:
        """The error's bytes, then an end that no client can take for a proper one."""
        transport = self._transport
        if transport is not None and not transport.is_closing():
            self._send(self._framed(data))
            deadline = time.monotonic() + _ABORT_FLUSH_S
            while transport.get_write_buffer_size() and not transport.is_closing() and time.monotonic() < deadline:  # noqa: ASYNC110  no event tells
                await asyncio.sleep(_SLOW_CLIENT_POLL_S)  # a transport tells its buffer, not when it is empty
            transport.abort()
        return self._told()

    def close(self) -> None:
        """No more keep-alives."""
        self._patience.forget(self)

    def tick(self, now: float) -> None:
        """First-event patience may be over, or a ping due."""
        if now >= (self._last_write + self._ping_s if self.opened else self._head_due):
            transport = self._transport
            if transport is not None and not transport.is_closing():
                self._send(self._framed(self._keepalive()))

    # -- inside

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if self._chunked and data else data

    def _send(self, framed: bytes) -> None:
        """The seldom writes, behind the head."""
        transport = self._transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("The client has left.")
        if not self.opened:
            framed = self._head() + framed
            self.opened = True
        transport.write(framed)
        self._last_write = time.monotonic()
        if not self._throttled and transport.get_write_buffer_size() > _HIGH_WATER:
            self._throttle()

    def _head(self) -> bytes:
        fields = [f"{name}: {value}" for name, value in self._headers().items()]
        if self._chunked:
            fields.append("Transfer-Encoding: chunked")
        if not self._keeps_alive:
            fields.append("Connection: close")
        lines = ["HTTP/1.1 200 OK", f"Date: {_date(int(time.time()))}", *fields]
        head = "\r\n".join(lines)
        if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1:
            raise ValueError("a header would break out of its line")
        return head.encode() + b"\r\n\r\n"

    def _told(self) -> _Written:
        return _Written(keep_alive=self._keeps_alive)

    def _throttle(self) -> None:
        self._throttled = True
        self._pause()
        asyncio.get_running_loop().call_later(_SLOW_CLIENT_POLL_S, self._unthrottle)

    def _unthrottle(self) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > _LOW_WATER:
            asyncio.get_running_loop().call_later(_SLOW_CLIENT_POLL_S, self._unthrottle)
        else:
            self._throttled = False
            self._resume()


@lru_cache(1)
def _date(second: int) -> str:
    return email.utils.formatdate(second, usegmt=True)
