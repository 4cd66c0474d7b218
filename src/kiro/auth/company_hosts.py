"""Which hosts a company's sign-in may live on: what is asked of the person before anything is sent there.

A refresh token goes to the token endpoint, and a password is typed at the sign-in page; so only https, no
bare IP address, no odd port. Microsoft's hosts and those of `auth.external_hosts` are known; any other
is shown to the person, who has to agree.
"""

import re
from collections.abc import Generator
from typing import Any, Final
from urllib.parse import urlsplit

from kiro.auth.refresh import endpoint_allowed
from kiro.auth.steps import SignInFailed, Step, Trust

_PLAIN: Final = re.compile(r"[!-\[\]-~]+")
"""Visible ASCII without the backslash: other readers of addresses see the same host as we do."""
_NAME: Final = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")
_NUMBER: Final = re.compile(r"\d+|0x[0-9a-f]*")
"""The last label of an IPv4 address, however it is written; no top-level domain looks like that."""


def host_of(url: str) -> str:
    """The host of an address that a company's sign-in can have. Raises SignInFailed for any other address."""
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        host, port, parts = "", None, urlsplit("")
    plain = _PLAIN.fullmatch(url) and _NAME.fullmatch(host) and not _NUMBER.fullmatch(host.rpartition(".")[2])
    if not plain or parts.scheme != "https" or parts.username is not None or port not in (None, 443):
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
