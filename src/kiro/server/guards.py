"""Who may come in: Host and Origin, the client's key, the size of the body.

A web page in the user's own browser can reach loopback. It cannot set Host, and it cannot hide
Origin; so both are checked before anything else, and nothing is served to another site's page unless
`server.cors_origins` names it.
"""

import random
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from kiro.errors import BadClientKey, BodyTooLarge, ForbiddenOrigin, InvalidRequest
from kiro.storage.client_keys import ClientKey
from kiro.storage.settings import Settings

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
FindKey = Callable[[str], ClientKey | None]


def new_request_id() -> str:
    """Later ids sort behind earlier ones, so that the log's index grows at its end: that halves what a row costs."""
    return f"req_{time.time_ns() // 1_000_000:012x}{random.getrandbits(48):012x}"


def check_host(host: str | None, settings: Settings) -> None:
    """Refuses a Host that is not one of ours: the sign of DNS rebinding."""
    name = _host_name(host or "")
    if name in LOOPBACK_NAMES or name.startswith("127.") or name in settings.server.allowed_hosts:
        return
    raise ForbiddenOrigin(
        f"The host name {name!r} is not served here.", hint="`kiro config set server.allowed_hosts` adds a name."
    )


def check_origin(origin: str | None, settings: Settings) -> str | None:
    """Refuses pages of other sites. Returns the origin when it may read answers (CORS)."""
    if origin is None:
        return None
    if origin in settings.server.cors_origins:
        return origin
    if urlsplit(origin).scheme in ("http", "https") or origin == "null":
        raise ForbiddenOrigin(
            f"The page {origin!r} may not use this server.", hint="`kiro config set server.cors_origins` allows a page."
        )
    return None


def client_key(headers: Mapping[str, str], query: Mapping[str, str]) -> str | None:
    """The key a client gave: Bearer first, because some clients send a stale x-api-key beside it."""
    authorization = headers.get("Authorization", "")
    if authorization[:7].lower() == "bearer ":
        return authorization[7:].strip()
    return headers.get("x-api-key") or headers.get("x-goog-api-key") or query.get("key")


def check_key(given: str | None, find: FindKey, settings: Settings) -> ClientKey | None:
    """The client key in use; `None` when none is required."""
    known = find(given) if given else None
    if known is not None and known.enabled:
        return known
    if not settings.server.require_key:
        return None
    if not given:
        raise BadClientKey(
            "A client key is required.",
            hint="Send it as x-api-key or Authorization: Bearer; `kiro keys list` shows the keys.",
        )
    what = "is not known here" if known is None else f"({known.name}) is disabled"
    raise BadClientKey(
        f"This client key {what}.", hint="`kiro keys list` shows the keys, `kiro keys create` makes one."
    )


async def read_body(request: web.Request, settings: Settings) -> bytes:
    """The body, inflated. Both sizes are bound by `server.max_body_mb`.

    It is read piece by piece, because a few kilobytes can inflate to gigabytes; the connection inflates
    no more than was read.
    """
    too_large = BodyTooLarge(
        f"The request is larger than {settings.server.max_body_mb} MB.",
        hint="`kiro config set server.max_body_mb` allows more.",
    )
    limit = settings.server.max_body_mb * 1024 * 1024
    if request.content_length is not None and request.content_length > limit:
        raise too_large
    pieces: list[bytes] = []
    size = 0
    try:
        while piece := await request.content.readany():
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise too_large
    except (web.RequestPayloadError, ValueError) as error:
        raise InvalidRequest("The body ended early or its Content-Encoding does not fit.") from error
    return b"".join(pieces)


@lru_cache(64)
def _host_name(host: str) -> str:
    if host.startswith("["):
        return host[1:].split("]", 1)[0].lower()
    return host.rsplit(":", 1)[0].lower() if ":" in host else host.lower()
