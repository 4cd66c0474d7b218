"""One handler for every dialect: parse, answer, stream or collect, log.

The dialect's row says how to parse and how to write; the relay gives events; this file owns only the
order of things and what happens when they go wrong: before the head a true status in the dialect's
own shape, after it the dialect's error event and an aborted connection.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec
from aiohttp import web

from kiro.accounts.pool import Reach
from kiro.conversation.collect import Answer, Collector
from kiro.conversation.events import Event, Start
from kiro.errors import BadClientKey, KiroError
from kiro.protocols import PROTOCOLS
from kiro.protocols.base import Ask, ErrorReply, Protocol, Renderer
from kiro.relay.answers import Underway, answer
from kiro.relay.models import with_model_tags
from kiro.relay.recorder import Record
from kiro.runtime import Runtime
from kiro.server import guards
from kiro.server.compacting import on_overflow
from kiro.server.stream import ClientStream, Patience
from kiro.storage.client_keys import ClientKey

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
_NO_CACHE: Final = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
_UNEXPECTED: Final = KiroError("Something unexpected went wrong in the proxy.", hint="`kiro logs` has the details.")


class Visit:
    """One HTTP request that was let in."""

    __slots__ = ("client", "cors", "model", "protocol", "record", "request", "runtime")

    def __init__(self, runtime: Runtime, request: web.Request, protocol: Protocol) -> None:
        self.runtime = runtime
        self.request = request
        self.protocol = protocol
        self.record = Record(guards.new_request_id(), protocol.name, request.path)
        self.client: ClientKey | None = None
        self.cors: str | None = None
        self.model: str | None = None
        """Kiro's model for what the client asked for, once that is settled."""

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
    def reach(self) -> Reach:
        """The account that path or header names; else whichever the client key may use, its default first."""
        named = self.request.match_info.get("account") or self.request.headers.get("x-kiro-account")
        if self.client is None:
            return Reach(named)
        return Reach(named, self.client.accounts, self.client.account)

    @property
    def answer_id(self) -> str:
        """The part of the request's id that ids of answers are made from."""
        return self.record.request_id[4:]

    def path(self, verb: str | None = None) -> dict[str, str]:
        """What the route matched, as dialects read it."""
        found = dict(self.request.match_info)
        if verb is not None:
            found["verb"] = verb
        if self.request.query_string and (alt := self.request.query.get("alt")) is not None:
            found["alt"] = alt
        return found

    def headers(self, content_type: str) -> dict[str, str]:
        headers = {"Content-Type": content_type, "request-id": self.record.request_id, **_NO_CACHE}
        if self.model is not None:
            headers["x-kiro-model"] = self.model
        if self.record.answering is not None and self.record.answering.trimmed:
            headers["x-kiro-trimmed"] = str(self.record.answering.trimmed)
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


class Dialect:
    """A protocol, and what the server does for it beside the common way. Subclasses override what they need."""

    def __init__(self, protocol: Protocol) -> None:
        self.protocol = protocol

    async def prepare(self, visit: Visit, ask: Ask) -> Ask:
        """The ask with what has to be looked up for it."""
        return ask

    def whole(self, visit: Visit, ask: Ask, answer: Answer) -> bytes:
        """The body of an answer that is not streamed."""
        return self.protocol.answer(ask, answer, visit.answer_id)

    def streamed(self, visit: Visit, ask: Ask, renderer: Renderer) -> None:
        """A stream has ended well."""

    def failed_stream(self, visit: Visit, ask: Ask, error: KiroError) -> bytes | None:
        """A failure before the head, told in a stream of status 200; None to tell it by its own status."""
        return None


def guarded(protocol: Protocol | None, work: Callable[[Visit], Awaitable[web.StreamResponse]]) -> Handler:
    """A handler that lets in, does `work`, and turns every KiroError into the dialect's shape.

    Without a `protocol` the request itself tells whose shape its client reads.
    """
    fixed = protocol

    async def handler(request: web.Request) -> web.StreamResponse:
        protocol = fixed or protocol_of(request)
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


def protocol_of(request: web.Request) -> Protocol:
    """The dialect a client of a shared route speaks, by its path and headers."""
    path, headers = request.path, request.headers
    if "/v1beta/" in path or "x-goog-api-key" in headers or "x-goog-api-client" in headers:
        return PROTOCOLS["gemini"]
    if "anthropic-version" in headers or "x-api-key" in headers or "/messages" in path:
        return PROTOCOLS["anthropic"]
    return PROTOCOLS["openai_responses" if "/responses" in path else "openai_chat"]


def conversing(dialect: Dialect, *, exact_usage: bool = False, verb: str | None = None) -> Handler:
    """The handler of a dialect's main route.

    `exact_usage` holds the stream back until the prompt's tokens are known. `verb` is what the route
    means where the path does not say it.
    """
    protocol = dialect.protocol

    async def work(visit: Visit) -> web.StreamResponse:
        body = await guards.read_body(visit.request, visit.runtime.settings)
        ask = protocol.parse(body, visit.request.headers, visit.path(verb))
        visit.record.model = ask.conversation.model
        visit.record.stream = ask.stream
        model, resolved = visit.runtime.relay.models.resolve(ask.conversation.model)
        visit.model = model.id
        ask = await dialect.prepare(visit, ask)
        if resolved.thinking or resolved.effort is not None:
            # The answer shows the thinking that the model's name asked for.
            wished = with_model_tags(ask.conversation, resolved)
            ask = msgspec.structs.replace(ask, conversation=wished)
        policy = on_overflow(
            visit.request.headers.get("User-Agent", ""),
            visit.runtime.settings.context.on_overflow,
            may_trim=ask.may_trim,
        )
        answering = answer(visit.runtime.relay, ask.conversation, reach=visit.reach, on_overflow=policy)
        visit.record.answering = answering
        exchange = _Exchange(visit, dialect, ask, answering)
        try:
            if not ask.stream:
                return await exchange.whole()
            return await (exchange.held_back() if exact_usage else exchange.streamed())
        finally:
            answering.close()

    return guarded(protocol, work)


class _Exchange:
    """One ask and its answer on one connection."""

    def __init__(self, visit: Visit, dialect: Dialect, ask: Ask, answering: Underway) -> None:
        settings = visit.runtime.settings.relay
        self._visit = visit
        self._dialect = dialect
        self._protocol = dialect.protocol
        self._ask = ask
        self._answering = answering
        self._rendering = renderer = self._protocol.renderer(ask, visit.answer_id) if ask.stream else None
        content_type = renderer.content_type if renderer is not None else "application/json"
        self._stream = ClientStream(
            visit.request,
            lambda: visit.headers(content_type),
            visit.request.app[PATIENCE],
            keepalive=renderer.keepalive if renderer is not None else lambda: b" ",
            pause=answering.pause,
            resume=answering.resume,
            first_wait_s=settings.first_event_wait_s,
            ping_s=settings.ping_s,
        )

    @property
    def _renderer(self) -> Renderer:
        assert self._rendering is not None  # noqa: S101  made for answers that are streamed
        return self._rendering

    async def streamed(self) -> web.StreamResponse:
        """Every batch of events as it comes."""
        stream, renderer = self._stream, self._renderer

        def write(events: Sequence[Event]) -> None:
            data = renderer.feed(events)
            if data:
                stream.write(data)

        try:
            first = await self._answering.begin()
            if self._answering.finish is not None:
                response = stream.whole(renderer.feed(first))
            else:
                stream.begin(renderer.feed(first))
                await self._answering.deliver(write)
                response = stream.end()
            self._dialect.streamed(self._visit, self._ask, renderer)
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
            body = self._dialect.whole(self._visit, self._ask, collector.answer())
            response: web.StreamResponse
            response = self._stream.whole(body) if self._stream.opened else self._visit.reply(body)
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
            response = self._stream.whole(self._renderer.feed(events))
        except BaseException as error:  # noqa: BLE001  cancelled ones included; _failed raises again what is not ours
            return await self._failed(error)
        finally:
            self._stream.close()
        self._visit.log(200, None, self._ask.notes)
        return response

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
            failed = self._dialect.failed_stream(visit, self._ask, told) if self._ask.stream else None
            if failed is not None:
                visit.log(200, told, self._ask.notes)
                return web.Response(body=failed, headers=visit.headers(self._renderer.content_type))
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
        ask = protocol.parse_count(body, visit.request.headers, visit.path())
        tokens = await visit.runtime.relay.count(ask.conversation)
        return visit.reply(protocol.count(tokens))

    return guarded(protocol, work)


RUNTIME: Final = web.AppKey("runtime", Runtime)
PATIENCE: Final = web.AppKey("patience", Patience)
