"""A server that says what it was told to say: for the official SDKs, which want a real socket."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web
from aiohttp.test_utils import TestServer


class Canned:
    """`say` sets the answer to whatever is asked next. `url` has no slash at its end."""

    def __init__(self) -> None:
        self.url = ""
        self.say(b"", "text/plain")

    def say(self, body: bytes, content_type: str = "application/json", status: int = 200) -> None:
        self._said = body, content_type, status

    async def reply(self, _: web.Request) -> web.Response:
        body, content_type, status = self._said
        return web.Response(body=body, status=status, headers={"Content-Type": content_type})


@asynccontextmanager
async def canned() -> AsyncIterator[Canned]:
    saying = Canned()
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", saying.reply)
    async with TestServer(app) as server:
        saying.url = str(server.make_url("")).rstrip("/")
        yield saying
