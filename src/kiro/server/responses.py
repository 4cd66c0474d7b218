"""What the server adds for the Responses dialect: the store of responses, and the routes that read it.

A stored response belongs to the client key that made it; another key gets the same 404 as for one
that never was. Nothing is stored when the client says `store: false`, but for the ids of items, which
some clients refer to a moment later.
"""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar, cast

from aiohttp import web

from kiro.conversation.collect import Answer
from kiro.errors import KiroError, WrongMethod
from kiro.protocols import PROTOCOLS
from kiro.protocols.base import Ask, Renderer
from kiro.server.answer import Dialect, Visit
from kiro.storage import responses_store as store

if TYPE_CHECKING:
    from kiro.protocols import openai_responses as dialect
    from kiro.protocols.openai_responses.shapes import Outcome
else:
    dialect = PROTOCOLS["openai_responses"]  # to name it here is no reason to import it

T = TypeVar("T")

_UPGRADE_REQUIRED: Final = 426


class ResponsesDialect(Dialect):
    """Looks up what a request builds on; keeps what it made."""

    async def prepare(self, visit: Visit, ask: Ask) -> Ask:
        asked = cast("dialect.ResponsesAsk", ask)
        ids = dialect.needed(asked)
        if not ids:
            return ask
        await visit.runtime.settled()
        stored = await asyncio.to_thread(
            store.find, visit.runtime.home.database, ids, client_key=_owner(visit), now=time.time()
        )
        return dialect.with_history(asked, *stored)

    def whole(self, visit: Visit, ask: Ask, answer: Answer) -> bytes:
        outcome = dialect.finished(ask, answer, visit.answer_id)
        self._keep(visit, ask, outcome)
        return dialect.body_of(ask, outcome)

    def streamed(self, visit: Visit, ask: Ask, renderer: Renderer) -> None:
        outcome = getattr(renderer, "outcome", None)
        if outcome is not None:
            self._keep(visit, ask, outcome)

    def failed_stream(self, visit: Visit, ask: Ask, error: KiroError) -> bytes | None:
        return dialect.failed_stream(ask, error, visit.answer_id)

    def _keep(self, visit: Visit, ask: Ask, outcome: "Outcome") -> None:
        asked = cast("dialect.ResponsesAsk", ask)
        kept = dialect.to_store(asked, outcome, client_key=_owner(visit), now=time.time())
        visit.runtime.later(asyncio.to_thread(store.put, visit.runtime.home.database, kept))


async def show(visit: Visit) -> web.StreamResponse:
    """`GET /v1/responses/{id}`."""
    response_id = visit.request.match_info["id"]
    found = await _read(visit, store.get, response_id)
    if found is None or not found.kept:
        raise dialect.unknown_response(response_id)
    return visit.reply(found.response)


async def delete(visit: Visit) -> web.StreamResponse:
    """`DELETE /v1/responses/{id}`."""
    response_id = visit.request.match_info["id"]
    if not await _read(visit, store.delete, response_id):
        raise dialect.unknown_response(response_id)
    return visit.reply(dialect.deleted(response_id))


async def input_items(visit: Visit) -> web.StreamResponse:
    """`GET /v1/responses/{id}/input_items`, in pages."""
    response_id = visit.request.match_info["id"]
    items = await _read(visit, store.input_items, response_id)
    if items is None:
        raise dialect.unknown_response(response_id)
    query = visit.request.query
    limit = int(query["limit"]) if query.get("limit", "").isdecimal() else 20
    page = dialect.item_list(items, after=query.get("after"), limit=limit, newest_first=query.get("order") != "asc")
    return visit.reply(page)


async def no_websocket(visit: Visit) -> web.StreamResponse:
    """Codex asks for a WebSocket first; 426 sends it to HTTP at once, any other answer costs it seconds."""
    if visit.request.headers.get("Upgrade", "").lower() != "websocket":
        raise WrongMethod(
            f"{visit.request.path} does not take GET.", hint="It takes POST; GET needs an id of a response."
        )
    return web.Response(status=_UPGRADE_REQUIRED, headers={"Upgrade": "HTTP/1.1", "Connection": "Upgrade"})


async def _read(visit: Visit, question: Callable[..., T], response_id: str) -> T:
    await visit.runtime.settled()
    return await asyncio.to_thread(question, visit.runtime.home.database, response_id, client_key=_owner(visit))


def _owner(visit: Visit) -> str | None:
    return visit.client.id if visit.client is not None else None
