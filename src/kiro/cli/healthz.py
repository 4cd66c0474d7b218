"""Is a kiro server up? Asked with the standard library, because a command should not load aiohttp for one request."""

import http.client
import json
from urllib.parse import urlsplit

_WAIT_S = 2.0


def is_up(url: str) -> bool:
    """Whether `GET /healthz` is answered as a kiro server answers it."""
    status, body = _get(url, "/healthz")
    return status == 200 and b'"ok"' in body


def busy(url: str) -> tuple[int, int] | None:
    """How many requests are being answered and how many wait for a free place; None when that is not told."""
    _, body = _get(url, "/readyz")
    try:
        told = json.loads(body)
        in_flight, waiting = told["in_flight"], told["waiting"]
    except (ValueError, LookupError, TypeError):
        return None
    return (in_flight, waiting) if isinstance(in_flight, int) and isinstance(waiting, int) else None


def shows(url: str, path: str, text: str) -> bool:
    """Whether a page of the server is there and holds this text."""
    status, body = _get(url, path)
    return status == 200 and text.encode() in body


def _get(url: str, path: str) -> tuple[int, bytes]:
    """Status and the beginning of the body; status 0 when nobody answers."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_WAIT_S)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        return response.status, response.read(4000)
    except (OSError, http.client.HTTPException):
        return 0, b""
    finally:
        connection.close()
