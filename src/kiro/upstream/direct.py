"""The way to Kiro when no proxy is between: bytes over connections of our own.

aiohttp's session makes a request anew each time: headers, URL, cookies, redirects, a task for the body,
a hundred calls, which is a third of what a small answer costs; and it wakes a task for every event. What is
sent to Kiro differs from the last time in three places only. So the head is bytes already, head and body
leave in one write, and the answer is pushed to whoever listens.
"""

import asyncio
import socket
import ssl
import time
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlsplit

import aiohappyeyeballs

from kiro.upstream.connection import Connection, Reply
from kiro.upstream.tls import Tls, default_context

_KEPT_IDLE_S: Final = 60.0
"""AWS closes an idle connection sooner or later; one that closes while a request is under way would fail it."""
_KEPT_ADDRESSES_S: Final = 10.0
_KEPT_SESSION_S: Final = 300.0
"""Servers take a session up for hours, but change their keys; one that is refused costs a whole handshake, no more."""
_HEAD_START_S: Final = 0.25
"""How long one address of a host is tried before the next one is tried beside it (RFC 8305)."""


class Lane:
    """The connections to one URL's host. `connect_s` bounds the making of one, `tls` verifies the host.

    There is no timer per request: whoever owns the lane calls `sweep` now and then. Raises ValueError for an address
    that nothing can be sent to.
    """

    def __init__(self, url: str, *, connect_s: float, tls: ssl.SSLContext | None = None) -> None:
        parts = urlsplit(url)
        if not parts.hostname:
            raise ValueError(f"{url!r} names no host")
        encrypted = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port or (443 if encrypted else 80)
        self._tls = (tls or default_context()) if encrypted else None
        self._session: ssl.SSLSession | None = None
        self._session_until = 0.0
        self._connect_s = connect_s
        self._addresses: Sequence[Any] = ()
        self._addresses_until = 0.0
        self._idle: dict[Connection, float] = {}
        self._waiting: dict[Reply, float] = {}

    async def send(self, request: bytes, *, by: float) -> Reply:
        """The answer to a request's head and body, once its own head is here; that has to be `by` (monotonic seconds).

        Raises TimeoutError and OSError.
        """
        connection = self._take_idle() or await self._connect()
        reply = connection.ask(request)
        self._waiting[reply] = by
        try:
            await reply.begun
        except BaseException:
            reply.close()
            raise
        finally:
            del self._waiting[reply]
        if connection.tls is not None and self._session_until < time.monotonic():
            self._session = connection.tls.session()
            self._session_until = time.monotonic() + _KEPT_SESSION_S
        return reply

    def sweep(self, now: float) -> None:
        """Wakes those who have waited for longer than they wanted to, and closes what nobody has used for long."""
        for reply in [reply for reply, by in self._waiting.items() if by < now]:
            reply.give_up()
        for connection in [one for one, since in self._idle.items() if since < now - _KEPT_IDLE_S]:
            del self._idle[connection]
            connection.abort()

    def close(self) -> None:
        """Close what is idle. Answers under way are closed by whoever asked."""
        idle, self._idle = self._idle, {}
        for connection in idle:
            connection.abort()

    # -- connections

    def _take_idle(self) -> Connection | None:
        """The one used last: those before it get old and are closed."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.usable:
                return connection
        return None

    def _keep(self, connection: Connection) -> None:
        self._idle[connection] = time.monotonic()

    def _forget(self, connection: Connection) -> None:
        self._idle.pop(connection, None)

    async def _connect(self) -> Connection:
        tls = Tls(self._tls, self._host.rstrip("."), self._session) if self._tls is not None else None
        connection = Connection(tls, on_idle=self._keep, on_lost=self._forget)
        try:
            async with asyncio.timeout(self._connect_s):
                await self._reach(connection)
                await connection.opened
        except TimeoutError as error:
            connection.abort()
            raise ConnectionError(f"{self._host}:{self._port} gives no connection in {self._connect_s:g} s") from error
        except OSError as error:
            connection.abort()
            self._addresses = ()
            raise ConnectionError(f"{self._host}:{self._port}: {error.strerror or error}") from error
        except BaseException:
            connection.abort()
            raise
        return connection

    async def _reach(self, connection: Connection) -> None:
        """A TCP connection, to whichever of the host's addresses answers first."""
        loop, addresses = asyncio.get_running_loop(), await self._look_up()
        if len(addresses) == 1:
            host, port = addresses[0][4][:2]
            await loop.create_connection(lambda: connection, host, port)
        else:
            reached = await aiohappyeyeballs.start_connection(
                addresses, happy_eyeballs_delay=_HEAD_START_S, interleave=1
            )
            await loop.create_connection(lambda: connection, sock=reached)

    async def _look_up(self) -> Sequence[Any]:
        """The host's addresses, as `getaddrinfo` tells them."""
        if not self._addresses or self._addresses_until < time.monotonic():
            loop = asyncio.get_running_loop()
            self._addresses = await loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
            self._addresses_until = time.monotonic() + _KEPT_ADDRESSES_S
        return self._addresses
