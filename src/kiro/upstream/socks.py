"""SOCKS5 on the way to Kiro. Imported when the first such proxy is used."""

from typing import Final
from urllib.parse import urlsplit

import aiohttp
from aiohttp_socks import ProxyConnectionError, ProxyConnector, ProxyError, ProxyTimeoutError

FAILURES: Final = (ProxyConnectionError, ProxyError, ProxyTimeoutError)
"""What goes wrong on the way through the proxy; none of them is an OSError."""

_USUAL_PORT: Final = 1080


def connector(proxy: str) -> aiohttp.TCPConnector:
    """Connections by this proxy. Names are always resolved by the proxy; others ask for that by `socks5h`."""
    address = proxy.replace("socks5h://", "socks5://", 1)
    if urlsplit(address).port is None:
        address = f"{address.rstrip('/')}:{_USUAL_PORT}"
    made: aiohttp.TCPConnector = ProxyConnector.from_url(address, limit=0)
    return made
