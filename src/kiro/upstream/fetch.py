"""Pictures and documents given by address, fetched for Kiro, which fetches nothing itself.

A client's text decides where we connect, so only public addresses are allowed. They are checked where
the connection is made (in the resolver), not before, so that a name cannot change its mind in between;
every redirect is a new request with the same checks. A failure is not an error of the request: the
model is told that the address could not be had.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urljoin, urlsplit

from kiro.upstream.media import Fetch, Fetched, NotFetched

if TYPE_CHECKING:
    import aiohttp

MAX_BYTES: Final = 10_000_000
MAX_SECONDS: Final = 15.0
MAX_REDIRECTS: Final = 3
MAX_LINKS: Final = 20
_NOT_PUBLIC: Final = "it is not a public address"

IpAddress = ipaddress.IPv4Address | ipaddress.IPv6Address


def is_public(address: IpAddress) -> bool:
    """Whether the address is on the public internet; the IPv4 address inside an IPv6 one counts."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else None)
        if inner is not None:
            return is_public(inner)
    return address.is_global and not address.is_multicast


async def fetch_all(
    urls: Sequence[str], *, is_allowed: Callable[[IpAddress], bool] = is_public, max_seconds: float = MAX_SECONDS
) -> dict[str, Fetch]:
    """What stands at each address, or why it could not be had. Never raises for what a server does."""
    if not urls:
        return {}
    import aiohttp

    connector = aiohttp.TCPConnector(resolver=_make_resolver(is_allowed), limit=8, force_close=True)
    timeout = aiohttp.ClientTimeout(total=max_seconds)
    found: dict[str, Fetch] = {url: NotFetched("too many addresses in one request") for url in urls}
    async with aiohttp.ClientSession(connector=connector, timeout=timeout, trust_env=False) as session:
        chosen = list(urls[:MAX_LINKS])
        answers = await asyncio.gather(*(_fetch(session, url, is_allowed, max_seconds) for url in chosen))
    return found | dict(zip(chosen, answers, strict=True))


async def _fetch(
    session: "aiohttp.ClientSession", url: str, is_allowed: Callable[[IpAddress], bool], max_seconds: float
) -> Fetch:
    import aiohttp

    try:
        async with asyncio.timeout(max_seconds):
            for _ in range(MAX_REDIRECTS + 1):
                refused = _refusal(url, is_allowed)
                if refused is not None:
                    return NotFetched(refused)
                async with session.get(url, allow_redirects=False, headers={"Accept": "*/*"}) as response:
                    if response.status in (301, 302, 303, 307, 308) and "Location" in response.headers:
                        url = urljoin(url, response.headers["Location"])
                        continue
                    return await _read(response)
    except TimeoutError:
        return NotFetched(f"no answer within {max_seconds:.0f} seconds")
    except aiohttp.ClientConnectorError as error:
        private = isinstance(error.os_error, _PrivateAddressError)
        return NotFetched(_NOT_PUBLIC if private else "the server cannot be reached")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return NotFetched(f"the exchange failed ({type(error).__name__})")
    return NotFetched(f"more than {MAX_REDIRECTS} redirects")


async def _read(response: "aiohttp.ClientResponse") -> Fetch:
    if response.status != 200:
        return NotFetched(f"status {response.status}")
    data = bytearray()
    async for chunk in response.content.iter_chunked(65_536):
        data += chunk
        if len(data) > MAX_BYTES:
            return NotFetched(f"more than {MAX_BYTES // 1_000_000} MB")
    return Fetched(bytes(data), response.content_type.lower())


def _refusal(url: str, is_allowed: Callable[[IpAddress], bool]) -> str | None:
    """Why an address is not even tried. Numeric hosts are judged here, because they never meet the resolver."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "only http and https addresses are fetched"
    try:
        address = ipaddress.ip_address(parts.hostname)
    except ValueError:
        return None
    return None if is_allowed(address) else _NOT_PUBLIC


class _PrivateAddressError(OSError):
    """The name stands for an address that is not public."""


def _make_resolver(is_allowed: Callable[[IpAddress], bool]) -> "aiohttp.abc.AbstractResolver":
    """The system's resolver, refusing names that have no allowed address. Made here to import aiohttp late."""
    import aiohttp.abc
    from aiohttp.resolver import ThreadedResolver

    class PublicResolver(aiohttp.abc.AbstractResolver):
        def __init__(self) -> None:
            self._system = ThreadedResolver()

        async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET) -> list[Any]:
            found = await self._system.resolve(host, port, family)
            allowed = [entry for entry in found if is_allowed(ipaddress.ip_address(entry["host"].partition("%")[0]))]
            if not allowed:
                raise _PrivateAddressError(host)
            return list(allowed)

        async def close(self) -> None:
            await self._system.close()

    return PublicResolver()
