"""Which hosts a company's sign-in may live on: what is asked of the person before anything is sent there.

A refresh token goes to the token endpoint, and a password is typed at the sign-in page; so only https, no
bare IP address, no odd port. Microsoft's hosts and those of `auth.external_hosts` are known; any other
is shown to the person, who has to agree.
"""

import ipaddress
from collections.abc import Generator
from typing import Any
from urllib.parse import urlsplit

from kiro.auth.refresh import endpoint_allowed
from kiro.auth.steps import SignInFailed, Step, Trust


def host_of(url: str) -> str:
    """The host of an address that a company's sign-in can have. Raises SignInFailed for any other address."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    if parts.scheme != "https" or parts.username is not None or port not in (None, 443) or not _is_name(host):
        raise SignInFailed(
            "The company's sign-in has an address that kiro does not go to.",
            reason="address",
            hint="It has to be https, with the name of a host instead of a number.",
        )
    return host


def agree(urls: tuple[str, ...], extra_hosts: tuple[str, ...]) -> Generator[Step, Any, None]:
    """Has the person agree to each host that is not known. Raises SignInFailed when they do not."""
    asked: set[str] = set()
    for url in urls:
        host = host_of(url)
        if host in asked or endpoint_allowed(url, extra_hosts):
            continue
        asked.add(host)
        agreed: bool = yield Trust(host)
        if not agreed:
            raise SignInFailed(
                f"{host} was not confirmed as your company's sign-in.",
                reason="host",
                hint=f"If it is your company's, `kiro config set auth.external_hosts {host}` allows it.",
            )


def _is_name(host: str) -> bool:
    """A name of several labels; a number is none, however it is written, and its last label is never digits only."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        labels = host.rstrip(".").split(".")
        return len(labels) > 1 and all(labels) and not labels[-1].isdigit() and not labels[-1].startswith("0x")
    return False
