"""The only file here that opens a connection.

One `KiroClient` serves the whole process: one session (per proxy) with one TLS context, unlimited
connections and a generous idle pool, because a connection costs 19 ms of handshake.

An `Exchange` is one answer being received. Its bytes are pushed to a callback instead of read by a
task: aiohttp would queue each chunk, resolve a future and wake a task, which is a fifth of what a
paced event costs. `_PushHandler` hands the body over right after aiohttp's parser has run. It hooks
in by replacing the connector's private protocol factory; where that is not possible a plain read
loop does the same, more slowly. Both are tested.

There is no timer per chunk either. One sweep per process looks for exchanges that have been silent
for `idle_timeout_s`; Kiro sends nothing while a model thinks, for minutes.
"""

import asyncio
import functools
import io
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Self

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.streams import StreamReader

from kiro.errors import KiroError, NetworkFailed, StreamCut, UpstreamTimeout
from kiro.upstream import refusals
from kiro.upstream.direct import Lane, Reply, is_possible
from kiro.upstream.endpoints import Address

_LARGE_BODY: Final = 1024 * 1024
_ERROR_BODY_LIMIT: Final = 64 * 1024
_ERROR_BODY_DEADLINE_S: Final = 10.0
_SWEEP_S: Final = 1.0
_CONNECT_S: Final = 15.0

DIRECT: Final = "direct"
"""In place of a proxy's address: none, whatever the default is."""

OnData = Callable[[bytes], None]
OnEnd = Callable[[KiroError | None], None]


class _PushHandler(ResponseHandler):
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
    """One answer being received. `listen` once; then `pause`, `resume`, `close` as needed."""

    def __init__(self, response: aiohttp.ClientResponse | Reply, client: "KiroClient") -> None:
        self._response = response
        self._client = client
        self._content: StreamReader = response.content
        self._on_data: OnData | None = None
        self._on_end: OnEnd | None = None
        self._handler: _PushHandler | None = None
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
        if isinstance(handler, _PushHandler):
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
        self._client.forget(self)
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


class KiroClient:
    """Connections to Kiro and its sign-in services. Use as `async with`.

    `push=False` reads with the plain loop (before the first request). `proxy` is the default for all requests, an http(s) or
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
            exchange = Exchange(response, self)
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
        lane = self._lanes.get(address.url)
        if lane is None:
            session = self._session(None)
            assert session.connector is not None  # noqa: S101  a session has one until it is closed
            lane = self._lanes[address.url] = Lane(address.url, session.connector, connect_s=_CONNECT_S)
        patient_until = time.monotonic() + self._idle_timeout_s
        try:
            return await lane.send(address, body, by=min(patient_until, begin_by or patient_until))
        except aiohttp.ClientError as error:
            raise refusals.network_error(error) from error
        except TimeoutError as error:
            raise UpstreamTimeout("Kiro did not begin to answer within the time that is set for it.") from error
        except OSError as error:
            raise refusals.network_error(error) from error

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

    def forget(self, exchange: Exchange) -> None:
        self._live.discard(exchange)

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
                handler: Any = functools.partial(_PushHandler, loop=asyncio.get_running_loop())
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
