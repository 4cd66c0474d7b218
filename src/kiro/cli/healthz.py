"""Is a kiro server up? Asked with the standard library, because a command should not load aiohttp for one request."""

import http.client
from urllib.parse import urlsplit

_WAIT_S = 2.0


def is_up(url: str) -> bool:
    """Whether `GET /healthz` is answered as a kiro server answers it."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_WAIT_S)
    try:
        connection.request("GET", "/healthz")
        response = connection.getresponse()
        return response.status == 200 and b'"ok"' in response.read(1000)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
