"""The client's side of TLS without I/O: the network's bytes in, the peer's bytes out, and back.

asyncio's own TLS cannot take up the session of an earlier connection, which saves half of a handshake and
the memory of a certificate chain per connection, and it asks for one more record than there is after every read.
Checking certificates and names is the context's business, here as there.
"""

import ssl
from typing import Final

import aiohttp.connector

_RECORD: Final = 16 * 1024
"""The most that one record can hold: a read of this size leaves nothing of it behind."""


def default_context() -> ssl.SSLContext:
    """What verifies Kiro's certificates. aiohttp's own, if it is where it was: a second bundle costs 2 MB and 20 ms."""
    context = getattr(aiohttp.connector, "_SSL_CONTEXT_VERIFIED", None)
    return context if isinstance(context, ssl.SSLContext) else ssl.create_default_context()


class Tls:
    """One connection's TLS. After each call, `to_send` is for the network.

    All methods raise ssl.SSLError, an OSError, for what the peer does wrong.
    """

    __slots__ = ("_incoming", "_object", "_outgoing", "_read", "ended", "established", "eventful")

    def __init__(self, context: ssl.SSLContext, host: str, session: ssl.SSLSession | None) -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._object = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host, session=session)
        self._read = self._object.read
        self.established = False
        self.ended = False
        """The peer has said that nothing more will come."""
        self.eventful = True
        """There was something besides data since `to_send` was asked for last: a step of the handshake, an answer, the end."""

    @property
    def to_send(self) -> bytes:
        """What has become ready for the network since it was asked for last."""
        self.eventful = False
        return self._outgoing.read()

    def session(self) -> ssl.SSLSession | None:
        """What a later connection can take up, once the peer has said anything. A copy, which costs 0.2 ms."""
        return self._object.session

    def shake_hands(self) -> None:
        """The next step of the handshake, as far as what was received allows."""
        self.eventful = True
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.established = True

    def receive(self, data: bytes) -> bytes:
        """What the peer says with this data; empty while records are incomplete or the handshake goes on."""
        incoming = self._incoming
        incoming.write(data)
        if not self.established:
            self.shake_hands()
            if not self.established:
                return b""
        pieces: list[bytes] = []
        try:
            while incoming.pending:
                piece = self._read(_RECORD)
                if not piece:
                    self.ended = self.eventful = True
                    break
                pieces.append(piece)
        except ssl.SSLWantReadError:
            pass
        if self._outgoing.pending:
            self.eventful = True
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def send(self, data: bytes) -> None:
        """Encrypts. One write takes one record's worth."""
        rest = memoryview(data)
        while rest:
            rest = rest[self._object.write(rest) :]
