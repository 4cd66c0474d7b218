"""A prepared request over aiohttp's pooled connections: the way a conversation is sent when no HTTP proxy is between.

`ClientSession.request` makes a request anew each time: headers, URL, cookies, redirects, a task for the
body, a hundred calls, which is a third of what a small answer costs. What is sent to Kiro differs from
the last time in three places only. So the head is bytes already, head and body leave in one write, and
aiohttp does what it is good at: connections, TLS, their pool, and parsing the answer.

This uses `connect` of aiohttp's connector and the protocol object that it gives, which are less public than
the session. `is_possible` looks whether they are as they are used here; if not, the session does it.
"""

import asyncio
import inspect
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.client_reqrep import ClientRequest
from aiohttp.connector import Connection
from aiohttp.http import HttpProcessingError, RawResponseMessage
from aiohttp.streams import StreamReader
from yarl import URL

from kiro.upstream.endpoints import Address

_CONNECT: Final = ["self", "req", "traces", "timeout"]


def is_possible() -> bool:
    """Whether this aiohttp has the parts that are used here."""
    try:
        answering = inspect.signature(ResponseHandler.set_response_params).parameters
        connecting = inspect.signature(aiohttp.BaseConnector.connect).parameters
    except (AttributeError, ValueError):
        return False
    return "read_until_eof" in answering and list(connecting) == _CONNECT


class Reply:
    """An answer whose head is here. The connection goes back to the pool when the body has ended."""

    __slots__ = ("connection", "content", "headers", "status")

    def __init__(self, status: int, headers: Any, content: StreamReader, connection: Connection) -> None:
        self.status = status
        self.headers = headers
        self.content = content
        self.connection: Connection | None = connection
        content.on_eof(self.release)

    def release(self) -> None:
        """Give the connection back; aiohttp closes one whose body has not ended."""
        if self.connection is not None:
            connection, self.connection = self.connection, None
            connection.release()

    def close(self) -> None:
        if self.connection is not None:
            connection, self.connection = self.connection, None
            connection.close()


class Lane:
    """Sends to one URL through `connector`. `connect_s` bounds the making of a connection.

    There is no timer per request: whoever owns the lane calls `give_up` now and then.
    """

    def __init__(self, url: str, connector: aiohttp.BaseConnector, *, connect_s: float) -> None:
        self._target = ClientRequest("POST", URL(url), loop=asyncio.get_running_loop())
        self._connector = connector
        self._timeout = aiohttp.ClientTimeout(total=None, connect=connect_s)
        self._waiting: dict[ResponseHandler, float] = {}

    async def send(self, address: Address, body: bytes, *, by: float) -> Reply:
        """The answer, once its head is here; that has to be `by` (monotonic seconds).

        Raises TimeoutError, aiohttp.ClientError and OSError.
        """
        try:
            connection = await self._connector.connect(self._target, traces=[], timeout=self._timeout)
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError(f"no connection within {self._timeout.connect:.0f} s") from error
        try:
            message, content = await self._exchange(connection.protocol, address.call_head(len(body)) + body, by)
        except HttpProcessingError as error:
            connection.close()
            raise aiohttp.ClientPayloadError(f"The answer is no HTTP: {error.message}") from error
        except BaseException:
            connection.close()
            raise
        return Reply(message.code, message.headers, content, connection)

    async def _exchange(
        self, protocol: ResponseHandler | None, request: bytes, by: float
    ) -> tuple[RawResponseMessage, StreamReader]:
        """The answer's head, as aiohttp parses it, and its body to come."""
        if protocol is None or protocol.transport is None:
            raise aiohttp.ServerDisconnectedError
        protocol.set_response_params(read_until_eof=True)
        protocol.transport.write(request)
        self._waiting[protocol] = by
        try:
            while True:
                message, content = await protocol.read()
                if message.code >= 200:
                    return message, content
        finally:
            del self._waiting[protocol]

    def give_up(self, now: float) -> None:
        """Wakes those who have waited for longer than they wanted to."""
        for protocol in [protocol for protocol, by in self._waiting.items() if by < now]:
            protocol.set_exception(TimeoutError())
