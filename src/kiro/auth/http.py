"""An HTTP exchange as two values, so that signing in and refreshing have no network in them.

Somebody else sends an `HttpAsk` and brings the `HttpReply`. Both may hold tokens, so neither shows
its headers or its body.
"""

from collections.abc import Awaitable, Callable, Mapping

import msgspec

from kiro.redaction import Secret


class HttpAsk(msgspec.Struct, frozen=True):
    """A request to send. No redirects are followed, certificates are verified, the answer is at most 1 MiB.

    `proxy` is the account's own proxy, `None` for the general setting, `direct` for none at all: the
    token service has to see the same address as the chat service.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    proxy: Secret | None = None

    def __repr__(self) -> str:
        return f"HttpAsk({self.method} {self.url.partition('?')[0]})"


class HttpReply(msgspec.Struct, frozen=True):
    """What came back. Header names are lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def __repr__(self) -> str:
        return f"HttpReply({self.status}, {len(self.body)} bytes)"


Send = Callable[[HttpAsk], Awaitable[HttpReply]]
"""Sends an ask and brings the reply, whatever its status. Raises UpstreamError when there is none."""
