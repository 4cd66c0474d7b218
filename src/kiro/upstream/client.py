"""What this program asks of the network: conversations, and small questions beside them.

One `KiroClient` serves the whole process. All goes out by a `Lane` per host, or, where a proxy is between, by
aiohttp's session (one per SOCKS proxy). Connections are unlimited, those that are idle are kept, because a new
one costs a handshake: the question for models at the start leaves one to the first conversation.

There is no timer per chunk or request. One sweep per process looks for exchanges that have been silent
for `idle_timeout_s`; Kiro sends nothing while a model thinks, for minutes.
"""

import asyncio
import io
import ssl
import time
from collections.abc import Mapping
from typing import Any, Final, Self
from urllib.parse import urlsplit

import aiohttp

from kiro.errors import KiroError, NetworkFailed, StreamCut, UpstreamTimeout
from kiro.upstream import refusals
from kiro.upstream.connection import Reply
from kiro.upstream.direct import Lane
from kiro.upstream.endpoints import Address, small_request
from kiro.upstream.exchange import Exchange, PulledExchange

_LARGE_BODY: Final = 1024 * 1024
_SMALL_ANSWER_LIMIT: Final = 1024 * 1024
_ERROR_BODY_LIMIT: Final = 64 * 1024
_ERROR_BODY_DEADLINE_S: Final = 10.0
_SWEEP_S: Final = 1.0
_CONNECT_S: Final = 15.0

DIRECT: Final = "direct"
"""In place of a proxy's address: none, whatever the default is."""


class KiroClient:
    """Connections to Kiro and its sign-in services. Use as `async with`.

    `direct=False`, set before the first request, sends by aiohttp's session as if a proxy were between. `proxy` is the
    default for all requests, an http(s) or socks5 address; a request's own goes first, and `direct` there means none at all.
    `tls` verifies servers in place of the computer's own list of authorities.
    """

    def __init__(
        self,
        *,
        idle_timeout_s: float = 300,
        proxy: str | None = None,
        direct: bool = True,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._idle_timeout_s = idle_timeout_s
        self._tls = tls
        self._proxy = proxy
        self.direct = direct
        self._failures: tuple[type[Exception], ...] = (OSError,)
        self._lanes: dict[tuple[str, str], Lane] = {}
        self._sessions: dict[str | None, aiohttp.ClientSession] = {}
        self._live: set[Exchange] = set()
        self._sweeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._sweeper = asyncio.create_task(self._sweep())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._sweeper is not None:
            self._sweeper.cancel()
        for exchange in list(self._live):
            exchange.close()
        for lane in self._lanes.values():
            lane.close()
        for session in self._sessions.values():
            await session.close()

    def configure(self, *, idle_timeout_s: float, proxy: str | None) -> None:
        """Changed settings, for the requests from now on."""
        self._idle_timeout_s = idle_timeout_s
        self._proxy = proxy

    async def converse(
        self, address: Address, body: bytes, *, proxy: str | None = None, begin_by: float | None = None
    ) -> Exchange:
        """Send one conversation. Raises UpstreamError for a refusal, NetworkFailed when Kiro cannot be reached.

        `begin_by` (monotonic seconds) is when patience for the beginning ends; see `Exchange.begin_by`.
        """
        exchange = await self._converse(address, body, proxy, begin_by)
        if exchange.status == 200:
            exchange.begin_by = begin_by
            exchange.on_over = self._live.discard
            self._live.add(exchange)
            return exchange
        error_body = await _read_error(exchange)
        raise refusals.as_error(refusals.from_response(exchange.status, exchange.headers, error_body))

    async def _converse(self, address: Address, body: bytes, proxy: str | None, begin_by: float | None) -> Exchange:
        way = self._way(proxy)
        if way is not None or not self.direct:
            return await self._send("POST", address.url, address.call_headers(), body, way=way, begin_by=begin_by)
        patient_until = time.monotonic() + self._idle_timeout_s
        request = address.call_head(len(body)) + body
        try:
            return await self._ask(address.url, request, by=min(patient_until, begin_by or patient_until))
        except TimeoutError as error:
            raise UpstreamTimeout("Kiro did not begin to answer within the time that is set for it.") from error

    async def _ask(self, url: str, request: bytes, *, by: float) -> Reply:
        """Sends over a connection of our own. Raises NetworkFailed; TimeoutError when no answer has begun `by` then."""
        try:
            parts = urlsplit(url)
            lane = self._lanes.get((parts.scheme, parts.netloc))
            if lane is None:
                lane = self._lanes[parts.scheme, parts.netloc] = Lane(url, connect_s=_CONNECT_S, tls=self._tls)
            return await lane.send(request, by=by)
        except TimeoutError:
            raise
        except OSError as error:
            raise refusals.network_error(error) from error
        except ValueError as error:
            raise NetworkFailed(f"This address cannot be used: {error}.") from error

    async def fetch(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        *,
        proxy: str | None = None,
        timeout_s: float = 30,
    ) -> tuple[int, Mapping[str, str], bytes]:
        """One small request: status, headers and at most 1 MiB of body. Raises NetworkFailed or UpstreamTimeout."""
        way = self._way(proxy)
        exchange: Exchange
        try:
            async with asyncio.timeout(timeout_s):
                if way is None and self.direct:
                    request = small_request(method, url, headers, body)
                    exchange = await self._ask(url, request, by=time.monotonic() + timeout_s)
                else:
                    exchange = await self._send(method, url, headers, body, way=way)
                return exchange.status, exchange.headers, await _read(exchange, _SMALL_ANSWER_LIMIT)
        except TimeoutError as error:
            raise UpstreamTimeout(f"Kiro did not answer within {timeout_s:.0f} s.") from error
        except StreamCut as error:
            raise refusals.network_error(error) from error

    async def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        way: str | None,
        begin_by: float | None = None,
    ) -> PulledExchange:
        """Sends by the session."""
        data: Any = io.BytesIO(body) if body is not None and len(body) > _LARGE_BODY else body
        options: dict[str, Any] = {"proxy": way} if way and way.startswith("http") else {}
        patience_s = self._idle_timeout_s
        if begin_by is not None:
            patience_s = max(0.0, min(patience_s, begin_by - time.monotonic()))
        try:
            session = self._session(way)
            async with asyncio.timeout(patience_s):
                response = await session.request(
                    method, url, data=data, headers=headers, allow_redirects=False, **options
                )
        except aiohttp.ClientError as error:
            raise refusals.network_error(error) from error
        except TimeoutError as error:
            raise UpstreamTimeout(f"Kiro did not answer within {patience_s:.0f} s.") from error
        except self._failures as error:
            raise refusals.network_error(error) from error
        except ValueError as error:
            raise NetworkFailed(f"This address cannot be used: {error}.") from error
        if way is not None and response.status == 407:
            response.close()
            raise refusals.proxy_refused()
        return PulledExchange(response)

    def _way(self, proxy: str | None) -> str | None:
        """The proxy that a request goes through; None for none."""
        return None if proxy == DIRECT else proxy or self._proxy

    def _session(self, proxy: str | None) -> aiohttp.ClientSession:
        """The session for a proxy; http proxies share the direct one, each SOCKS proxy needs its own connector."""
        key = proxy if proxy and proxy.startswith("socks") else None
        session = self._sessions.get(key)
        if session is None:
            connector = self._socks_connector(key) if key else self._connector()
            session = self._sessions[key] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
            )
        return session

    def _connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=0, keepalive_timeout=60, ssl=self._tls or True)

    def _socks_connector(self, proxy: str) -> aiohttp.TCPConnector:
        from kiro.upstream import socks

        self._failures = (OSError, *socks.FAILURES)
        return socks.connector(proxy)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(_SWEEP_S, self._idle_timeout_s / 2))
            now = time.monotonic()
            for lane in self._lanes.values():
                lane.sweep(now)
            silent_since = now - self._idle_timeout_s
            for exchange in [one for one in self._live if one.begin_by is not None and one.begin_by < now]:
                exchange.fail(UpstreamTimeout("Kiro did not begin its answer within the time that is set for it."))
            for exchange in [exchange for exchange in self._live if exchange.last_heard < silent_since]:
                exchange.fail(
                    UpstreamTimeout(f"Kiro fell silent for {self._idle_timeout_s:.0f} s in the middle of the answer.")
                )


async def _read_error(exchange: Exchange) -> bytes:
    """Some edges keep the connection open after an error page: what has come by then tells enough."""
    pieces: list[bytes] = []
    try:
        async with asyncio.timeout(_ERROR_BODY_DEADLINE_S):
            return await _read(exchange, _ERROR_BODY_LIMIT, pieces)
    except (TimeoutError, KiroError):
        return b"".join(pieces)


async def _read(exchange: Exchange, limit: int, pieces: list[bytes] | None = None) -> bytes:
    """The body, or as much of it as is over `limit`; `pieces` takes it as it comes. Raises StreamCut."""
    read: list[bytes] = [] if pieces is None else pieces
    left = limit
    ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def take(piece: bytes) -> None:
        nonlocal left
        read.append(piece)
        left -= len(piece)
        if left <= 0:
            stop(None)

    def stop(error: KiroError | None) -> None:
        if ended.done():
            return
        if error is not None:
            ended.set_exception(error)
        else:
            ended.set_result(None)

    exchange.listen(take, stop)
    try:
        await ended
    finally:
        exchange.close()
    return b"".join(read)
