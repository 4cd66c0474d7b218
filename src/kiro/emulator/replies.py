"""What goes out besides event streams: JSON, refusals, emulated failures, and the end of a connection.

Imports aiohttp; so it is itself imported only when a server runs.
"""

import asyncio
import logging
import socket
import struct
import sys
from typing import Any

import msgspec
from aiohttp import web

from kiro.emulator.faults import HttpError
from kiro.emulator.refusal import Refusal, shape_of
from kiro.emulator.traffic import Recorded

_log = logging.getLogger(__name__)


def json_reply(recorded: Recorded, reply: tuple[int, dict[str, Any] | None]) -> web.Response:
    recorded.status, document = reply
    body = b"" if document is None else msgspec.json.encode(document)
    return web.Response(status=recorded.status, body=body, content_type="application/json")


def refused(recorded: Recorded, refusal: Refusal) -> web.Response:
    recorded.status, recorded.refusal = refusal.status, refusal
    _log.debug("refused: %s %s (%s)", refusal.status, refusal.message, refusal.why)
    headers = {"x-amzn-errortype": refusal.shape, "x-amzn-requestid": request_id(recorded.number)}
    return web.Response(status=refusal.status, body=refusal.body(), headers=headers, content_type="application/json")


def failed(recorded: Recorded, fault: HttpError) -> web.Response:
    """The answer of an `HttpError`."""
    recorded.status = fault.status
    headers = {} if fault.retry_after_s is None else {"Retry-After": str(fault.retry_after_s)}
    if fault.raw is not None:
        return web.Response(status=fault.status, text=fault.raw, headers=headers, content_type="text/html")
    extra = {} if fault.retry_after_ms is None else {"retryAfterMilliseconds": fault.retry_after_ms}
    shape = fault.shape or shape_of(fault.status)
    document: dict[str, object] = {"__type": f"com.amazon.kiro.runtimeservice#{shape}", "message": fault.message}
    if fault.reason is not None:
        document["reason"] = fault.reason
    headers["x-amzn-requestid"] = request_id(recorded.number)
    body = msgspec.json.encode(document | extra)
    return web.Response(status=fault.status, body=body, headers=headers, content_type="application/json")


def request_id(number: int) -> str:
    """The `x-amzn-requestid` of the emulator's request `number`."""
    return f"00000000-0000-4000-8000-{number:012d}"


async def reset(request: web.Request) -> None:
    """A TCP reset, once what was written before has had time to arrive."""
    transport = request.transport
    if transport is None:
        return
    await asyncio.sleep(0.02)
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(
            socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)
        )
    transport.abort()
