"""The only file here that opens a connection.

One `KiroClient` serves the whole process: one session (per proxy) with one TLS context, unlimited
connections and a generous idle pool, because a connection costs 19 ms of handshake.

A conversation goes out by a `Lane` and comes back as an `Exchange`. `PushHandler`, which the latter
needs, takes the place of the connector's private protocol factory; where there is none, and where a
proxy is between, aiohttp's session does the same, more slowly.

There is no timer per chunk or request. One sweep per process looks for exchanges that have been silent
for `idle_timeout_s`; Kiro sends nothing while a model thinks, for minutes.
"""

import asyncio
import functools
import io
import time
from collections.abc import Mapping
from typing import Any, Final, Self

import aiohttp

from kiro.errors import NetworkFailed, UpstreamTimeout
from kiro.upstream import refusals
from kiro.upstream.direct import Lane, Reply, is_possible
from kiro.upstream.endpoints import Address
from kiro.upstream.exchange import Exchange, PushHandler

_LARGE_BODY: Final = 1024 * 1024
_ERROR_BODY_LIMIT: Final = 64 * 1024
_ERROR_BODY_DEADLINE_S: Final = 10.0
_SWEEP_S: Final = 1.0
_CONNECT_S: Final = 15.0

DIRECT: Final = "direct"
"""In place of a proxy's address: none, whatever the default is."""


class KiroClient:
    """Connections to Kiro and its sign-in services. Use as `async with`.

    `push=False`, set before the first request, sends by aiohttp's session and reads with the plain loop. `proxy` is the default for all requests, an http(s) or
    socks5 address; a request's own goes first, and `direct` there means none at all.
    """

    def __init__(self, *, idle_timeout_s: float = 300, proxy: str | None = None, push: bool = True) -> None:
        self._idle_timeout_s = idle_timeout_s
        self._proxy = proxy
        self.push = push
        self._failures: tuple[type[Exception], ...] = (OSError,)
        self._direct = is_possible()
        self._lanes: dict[str, Lane] = {}
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
        response = await self._converse(address, body, proxy, begin_by)
        if response.status == 200:
            exchange = Exchange(response, self._live.discard)
            exchange.begin_by = begin_by
            self._live.add(exchange)
            return exchange
        signal = refusals.from_response(response.status, response.headers, await _read_error(response))
        raise refusals.as_error(signal)

    async def _converse(
        self, address: Address, body: bytes, proxy: str | None, begin_by: float | None
    ) -> aiohttp.ClientResponse | Reply:
        proxy = None if proxy == DIRECT else proxy or self._proxy
        if proxy is not None or not (self._direct and self.push):
            headers = address.call_headers()
            return await self._send("POST", address.url, headers, body, proxy=proxy or DIRECT, begin_by=begin_by)
        patient_until = time.monotonic() + self._idle_timeout_s
        try:
            return await self._lane(address.url).send(address, body, by=min(patient_until, begin_by or patient_until))
        except aiohttp.ClientError as error:
            raise refusals.network_error(error) from error
        except TimeoutError as error:
            raise UpstreamTimeout("Kiro did not begin to answer within the time that is set for it.") from error
        except OSError as error:
            raise refusals.network_error(error) from error
        except ValueError as error:
            raise NetworkFailed(f"This address cannot be used: {error}.") from error

    def _lane(self, url: str) -> Lane:
        lane = self._lanes.get(url)
        if lane is None:
            session = self._session(None)
            assert session.connector is not None  # noqa: S101  a session has one until it is closed
            lane = self._lanes[url] = Lane(url, session.connector, connect_s=_CONNECT_S)
        return lane

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
        try:
            async with asyncio.timeout(timeout_s):
                response = await self._send(method, url, headers, body, proxy=proxy)
                async with response:
                    return response.status, response.headers, await response.content.read(1024 * 1024)
        except TimeoutError as error:
            raise UpstreamTimeout(f"Kiro did not answer within {timeout_s:.0f} s.") from error
        except (aiohttp.ClientError, OSError) as error:
            raise refusals.network_error(error) from error

    async def _send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None,
        *,
        proxy: str | None,
        begin_by: float | None = None,
    ) -> aiohttp.ClientResponse:
        proxy = None if proxy == DIRECT else proxy or self._proxy
        data: Any = io.BytesIO(body) if body is not None and len(body) > _LARGE_BODY else body
        options: dict[str, Any] = {"proxy": proxy} if proxy and proxy.startswith("http") else {}
        patience_s = self._idle_timeout_s
        if begin_by is not None:
            patience_s = max(0.0, min(patience_s, begin_by - time.monotonic()))
        try:
            session = self._session(proxy)
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
        if proxy is not None and response.status == 407:
            response.close()
            raise refusals.proxy_refused()
        return response

    def _session(self, proxy: str | None) -> aiohttp.ClientSession:
        """The session for a proxy; http proxies share the direct one, each SOCKS proxy needs its own connector."""
        key = proxy if proxy and proxy.startswith("socks") else None
        session = self._sessions.get(key)
        if session is None:
            connector = self._socks_connector(key) if key else aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
            if self.push and hasattr(connector, "_factory"):
                handler: Any = functools.partial(PushHandler, loop=asyncio.get_running_loop())
                connector._factory = handler  # noqa: SLF001  see the module's docstring
            session = self._sessions[key] = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_S),
            )
        return session

    def _socks_connector(self, proxy: str) -> aiohttp.TCPConnector:
        from kiro.upstream import socks

        self._failures = (OSError, *socks.FAILURES)
        return socks.connector(proxy)

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(min(_SWEEP_S, self._idle_timeout_s / 2))
            now = time.monotonic()
            for lane in self._lanes.values():
                lane.give_up(now)
            silent_since = now - self._idle_timeout_s
            for exchange in [one for one in self._live if one.begin_by is not None and one.begin_by < now]:
                exchange.fail(UpstreamTimeout("Kiro did not begin its answer within the time that is set for it."))
            for exchange in [exchange for exchange in self._live if exchange.last_heard < silent_since]:
                exchange.fail(
                    UpstreamTimeout(f"Kiro fell silent for {self._idle_timeout_s:.0f} s in the middle of the answer.")
                )


async def _read_error(response: aiohttp.ClientResponse | Reply) -> bytes:
    """Some edges keep the connection open after an error page: read with a limit and a deadline."""
    try:
        async with asyncio.timeout(_ERROR_BODY_DEADLINE_S):
            chunks: list[bytes] = []
            async for chunk in response.content.iter_chunked(16 * 1024):
                chunks.append(chunk)
                if sum(map(len, chunks)) >= _ERROR_BODY_LIMIT:
                    break
            return b"".join(chunks)
    except (TimeoutError, aiohttp.ClientError, OSError):
        return b"".join(chunks)
    finally:
        response.release()
