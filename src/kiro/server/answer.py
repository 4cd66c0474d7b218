"""One handler for every dialect: parse, answer, stream or collect, log.

The dialect's row says how to parse and how to write; the relay gives events; this file owns only the
order of things and what happens when they go wrong: before the head a true status in the dialect's
own shape, after it the dialect's error event and an aborted connection.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from aiohttp import web

from kiro.conversation.collect import Collector
from kiro.conversation.events import Event, Start
from kiro.errors import BadClientKey, KiroError
from kiro.protocols.base import Ask, ErrorReply, Protocol
from kiro.relay.answers import Underway, answer
from kiro.relay.recorder import Record
from kiro.runtime import Runtime
from kiro.server import guards
from kiro.server.stream import ClientStream, Patience
from kiro.storage.client_keys import ClientKey

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_NO_CACHE: Final = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_UNEXPECTED: Final = KiroError("Something unexpected went wrong in the proxy.", hint="`kiro logs` has the details.")


class Visit:
    """One HTTP request that was let in."""

    __slots__ = ("client", "cors", "record", "request", "runtime")

    def __init__(self, runtime: Runtime, request: web.Request, protocol: Protocol) -> None:
        self.runtime = runtime
        self.request = request
        self.record = Record(guards.new_request_id(), protocol.name, request.path)
        self.client: ClientKey | None = None
        self.cors: str | None = None

    def admit(self) -> None:
        """Host, Origin, key. Raises RequestError."""
        settings, headers = self.runtime.settings, self.request.headers
        guards.check_host(self.request.host, settings)
        self.cors = guards.check_origin(headers.get("Origin"), settings)
        given = guards.client_key(headers, self.request.query)
        try:
            self.client = guards.check_key(given, self.runtime.find_key, settings)
        except BadClientKey:
            # A key made a moment ago by another process is not in memory yet.
            if given is None or not self.runtime.reload_keys():
                raise
            self.client = guards.check_key(given, self.runtime.find_key, settings)
        self.record.client_key = self.client.id if self.client is not None else None

    @property
    def pinned_account(self) -> str | None:
        return self.request.match_info.get("account") or self.request.headers.get("x-kiro-account")

    def headers(self, content_type: str) -> dict[str, str]:
        headers = {"Content-Type": content_type, "request-id": self.record.request_id, **_NO_CACHE}
        if self.cors is not None:
            headers["Access-Control-Allow-Origin"] = self.cors
            headers["Vary"] = "Origin"
        return headers

    def reply(self, body: bytes, status: int = 200, extra: Mapping[str, str] | None = None) -> web.Response:
        headers = self.headers("application/json")
        if extra:
            headers.update(extra)
        return web.Response(body=body, status=status, headers=headers)

    def refuse(self, protocol: Protocol, error: KiroError) -> web.Response:
        told: ErrorReply = protocol.error(error, self.record.request_id)
        return self.reply(told.body, told.status, told.headers)

    def log(self, status: int, error: BaseException | None, notes: tuple[str, ...] = ()) -> None:
        self.runtime.log.add(self.record.row(status, error, notes=notes))


def guarded(protocol: Protocol, work: Callable[[Visit], Awaitable[web.StreamResponse]]) -> Handler:
    """A handler that lets in, does `work`, and turns every KiroError into the dialect's shape."""

    async def handler(request: web.Request) -> web.StreamResponse:
        visit = Visit(request.app[RUNTIME], request, protocol)
        try:
            visit.admit()
            return await work(visit)
        except KiroError as error:
            response = visit.refuse(protocol, error)
            visit.log(response.status, error)
            return response
        except Exception as error:  # noqa: BLE001  the last resort: told to the client, and to the log with its traceback
            visit.runtime.report(visit.record.request_id, error)
            response = visit.refuse(protocol, _UNEXPECTED)
            visit.log(response.status, _UNEXPECTED)
            return response

    return handler


def conversing(protocol: Protocol, *, exact_usage: bool = False) -> Handler:
    """The handler of a dialect's main route. `exact_usage` holds the stream back until the prompt's tokens are known."""

    async def work(visit: Visit) -> web.StreamResponse:
        body = await guards.read_body(visit.request, visit.runtime.settings)
        ask = protocol.parse(body, visit.request.headers)
        visit.record.model = ask.conversation.model
        visit.record.stream = ask.stream
        answering = answer(visit.runtime.relay, ask.conversation, only=visit.pinned_account)
        visit.record.answering = answering
        exchange = _Exchange(visit, protocol, ask, answering)
        try:
            if not ask.stream:
                return await exchange.whole()
            return await (exchange.held_back() if exact_usage else exchange.streamed())
        finally:
            answering.close()

    return guarded(protocol, work)


class _Exchange:
    """One ask and its answer on one connection."""

    def __init__(self, visit: Visit, protocol: Protocol, ask: Ask, answering: Underway) -> None:
        settings = visit.runtime.settings.relay
        self._visit = visit
        self._protocol = protocol
        self._ask = ask
        self._answering = answering
        self._answer_id = visit.record.request_id[4:]
        self._renderer = protocol.renderer(ask, self._answer_id)
        content_type = self._renderer.content_type if ask.stream else "application/json"
        self._stream = ClientStream(
            visit.request,
            visit.headers(content_type),
            visit.request.app[PATIENCE],
            keepalive=self._renderer.keepalive if ask.stream else lambda: b" ",
            pause=answering.pause,
            resume=answering.resume,
            first_wait_s=settings.first_event_wait_s,
            ping_s=settings.ping_s,
        )

    async def streamed(self) -> web.StreamResponse:
        """Every batch of events as it comes."""
        stream, renderer = self._stream, self._renderer
        try:
            first = await self._answering.begin()
            if self._answering.finish is not None:
                response = await stream.whole(renderer.feed(first))
            else:
                await stream.begin(renderer.feed(first))
                await self._answering.deliver(self._write)
                response = await stream.end()
        except BaseException as error:  # noqa: BLE001  cancelled ones included; _failed raises again what is not ours
            return await self._failed(error)
        finally:
            stream.close()
        self._visit.log(200, None, self._ask.notes)
        return response

    async def whole(self) -> web.StreamResponse:
        """The folded answer."""
        collector = Collector()
        try:
            collector.add(await self._answering.begin())
            if self._answering.finish is None:
                await self._answering.deliver(collector.add)
            body = self._protocol.answer(self._ask, collector.answer(), self._answer_id)
            response: web.StreamResponse
            if self._stream.opened:
                response = await self._stream.whole(body)
            else:
                response = self._visit.reply(body)
        except BaseException as error:  # noqa: BLE001  cancelled ones included; _failed raises again what is not ours
            return await self._failed(error)
        finally:
            self._stream.close()
        self._visit.log(200, None, self._ask.notes)
        return response

    async def held_back(self) -> web.StreamResponse:
        """All events at the end, so that the first can carry the exact number of prompt tokens."""
        events: list[Event] = []
        try:
            events += await self._answering.begin()
            if self._answering.finish is None:
                await self._answering.deliver(events.extend)
            exact = Start(self._answering.used_model, self._answering.usage().prompt)
            events = [exact if isinstance(event, Start) else event for event in events]
            response = await self._stream.whole(self._renderer.feed(events))
        except BaseException as error:  # noqa: BLE001  cancelled ones included; _failed raises again what is not ours
            return await self._failed(error)
        finally:
            self._stream.close()
        self._visit.log(200, None, self._ask.notes)
        return response

    def _write(self, events: Sequence[Event]) -> None:
        data = self._renderer.feed(events)
        if data:
            self._stream.write(data)

    async def _failed(self, error: BaseException) -> web.StreamResponse:
        """Before the head: a status. After it: the dialect's error, then an abort. A client that left: nothing."""
        visit = self._visit
        if isinstance(error, asyncio.CancelledError | ConnectionError):
            visit.log(499, asyncio.CancelledError(), self._ask.notes)
            raise error
        told = error
        if not isinstance(told, KiroError):
            if not isinstance(told, Exception):
                raise error
            visit.runtime.report(visit.record.request_id, told)
            told = _UNEXPECTED
        if not self._stream.opened:
            response = visit.refuse(self._protocol, told)
            visit.log(response.status, told, self._ask.notes)
            return response
        visit.log(200, told, self._ask.notes)
        if self._ask.stream:
            return await self._stream.abort(self._renderer.failure(told))
        return await self._stream.abort(self._protocol.error(told, visit.record.request_id).body)


def counting(protocol: Protocol) -> Handler:
    """The handler of a dialect's token counting route."""

    async def work(visit: Visit) -> web.StreamResponse:
        body = await guards.read_body(visit.request, visit.runtime.settings)
        ask = protocol.parse_count(body, visit.request.headers)
        tokens = await visit.runtime.relay.count(ask.conversation)
        return visit.reply(protocol.count(tokens))

    return guarded(protocol, work)


RUNTIME: Final = web.AppKey("runtime", Runtime)
PATIENCE: Final = web.AppKey("patience", Patience)
