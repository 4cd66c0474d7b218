"""One connection to Kiro and the answers that come by it, one after the other. httptools parses their HTTP.

Everything happens in the network's callback, per read: decrypt, parse, hand the body over. What is
found in a read leaves together, however many chunks it came in. An answer that comes faster than anybody reads,
read upon read within half a millisecond, is read once in a millisecond: most of what a read costs does not depend
on its size, and otherwise those who are faster would pay more, for smaller reads.
"""

import asyncio
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Final, cast

import httptools

from kiro.errors import KiroError
from kiro.upstream.exchange import Exchange, cut
from kiro.upstream.tls import Tls

_NO_ANSWER: Final = (httptools.HttpParserError, httptools.HttpParserUpgrade)
_MOST_HEAD_BYTES: Final = 64 * 1024
_HASTE_S: Final = 0.0005
_HASTY_READS: Final = 16
"""So many in a row, and there are more to come: small answers are over before."""
_CALM_S: Final = 0.004
"""After a pause as long as this there is no haste any more."""
_REST_S: Final = 0.001


class Connection(asyncio.Protocol):
    """Made by `loop.create_connection`; then `await opened`. `on_idle` hears when it can be asked again, `on_lost` of its end."""

    def __init__(
        self, tls: Tls | None, *, on_idle: "Callable[[Connection], None]", on_lost: "Callable[[Connection], None]"
    ) -> None:
        self.tls = tls
        self._on_idle = on_idle
        self._on_lost = on_lost
        self._transport: asyncio.Transport | None = None
        self._reply: Reply | None = None
        self._paused = False
        self._resting: asyncio.TimerHandle | None = None
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @property
    def usable(self) -> bool:
        """A request may be sent, as far as is known here."""
        return self._reply is None and self._transport is not None and not self._transport.is_closing()

    def ask(self, request: bytes) -> "Reply":
        """Send a request, head and body. One at a time, on a `usable` connection. Raises OSError."""
        try:
            self._send(request)
        except OSError:
            self.abort()
            raise
        self._reply = Reply(self)
        return self._reply

    def release(self, reply: "Reply", *, reusable: bool) -> None:
        """The answer is over."""
        if self._reply is not reply:
            return
        self._reply = None
        if reusable and self.usable:
            if self._paused:
                self.resume()
            self._on_idle(self)
        else:
            self.abort()

    def abort(self) -> None:
        """Close at once."""
        if self._transport is not None:
            self._transport.abort()

    def pause(self) -> None:
        """Read nothing until `resume`."""
        self._paused = True
        self._choose_to_read()

    def resume(self) -> None:
        self._paused = False
        self._choose_to_read()

    def rest(self) -> None:
        """Read nothing for a moment."""
        self._resting = asyncio.get_running_loop().call_later(_REST_S, self._rested)
        self._choose_to_read()

    def _rested(self) -> None:
        self._resting = None
        self._choose_to_read()

    def _choose_to_read(self) -> None:
        if self._transport is None or self._transport.is_closing():
            return
        if self._paused or self._resting is not None:
            self._transport.pause_reading()
        else:
            self._transport.resume_reading()

    # -- called by the loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = self._transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        if self.tls is None:
            self.opened.set_result(None)
            return
        self.tls.shake_hands()
        stream.write(self.tls.to_send)

    def data_received(self, data: bytes) -> None:
        tls = self.tls
        if tls is not None:
            try:
                data = tls.receive(data)
            except OSError as error:
                self._break_off(error)
                return
            if tls.eventful:
                self._follow(tls)
            if not data:
                return
        if self._reply is not None:
            self._reply.feed(data)
        else:
            self.abort()  # nobody has asked: whatever this is, no later answer is to be taken from behind it

    def connection_lost(self, error: Exception | None) -> None:
        self._on_lost(self)
        self._transport = None
        if not self.opened.done():
            self.opened.set_exception(error or ConnectionResetError("closed during the TLS handshake"))
        if self._reply is not None:
            reply, self._reply = self._reply, None
            reply.lost(error)

    # -- TLS

    def _send(self, data: bytes) -> None:
        assert self._transport is not None  # noqa: S101  only usable connections are asked
        if self.tls is not None:
            self.tls.send(data)
            data = self.tls.to_send
        self._transport.write(data)

    def _follow(self, tls: Tls) -> None:
        """What TLS has to say besides data: steps of the handshake, answers to the peer, its end."""
        if self._transport is not None:
            self._transport.write(tls.to_send)
            if tls.ended:
                self._transport.close()
        if tls.established and not self.opened.done():
            self.opened.set_result(None)

    def _break_off(self, error: OSError) -> None:
        if not self.opened.done():
            self.opened.set_exception(error)
        if self._reply is not None:
            reply, self._reply = self._reply, None
            reply.lost(error)
        if self.tls is not None and self._transport is not None:
            self._transport.write(self.tls.to_send)  # the alert that tells the peer why
        self.abort()


class Reply(Exchange):
    """One answer. `begun` is done when its head is here; its exceptions are OSErrors."""

    def __init__(self, connection: Connection) -> None:
        super().__init__()
        self.status = 0
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._connection: Connection | None = connection
        self._fields: dict[bytes, bytes] = {}
        self._pieces: list[bytes] = []
        self._body_ends = sys.maxsize
        """How many of the pieces belong to this answer: others may have come behind it."""
        self._head_bytes = 0
        self._hasty = 0
        self._ended_by_eof = False
        self._inflate: Callable[[bytes], bytes] | None = None
        self._complete = False
        self._reusable = False
        self._failure: KiroError | None = None
        self.on_body = self._pieces.append
        # The parser holds this object's methods: a circle, which is cut when the answer is over.
        self._parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)

    @property
    def headers(self) -> Mapping[str, str]:
        """By names in lower case. Of a header that came twice, the last."""
        return {name.decode("latin-1"): value.decode("latin-1") for name, value in self._fields.items()}

    def pause(self) -> None:
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        if self._connection is not None:
            self._connection.resume()

    def give_up(self) -> None:
        """The head is not waited for any longer: whoever waits gets a TimeoutError."""
        if not self.begun.done():
            self.begun.set_exception(TimeoutError())

    # -- called by the connection

    def feed(self, data: bytes) -> None:
        """The next bytes of the connection."""
        parser = self._parser
        if parser is None:
            return
        try:
            parser.feed_data(data)
        except _NO_ANSWER as error:
            if not self._complete:
                self._break_off(ConnectionError(f"the answer is no HTTP ({error})"))
                return
            self._reusable = False
        now = time.monotonic()
        gap = now - self.last_heard
        self._hasty = self._hasty + 1 if gap < (_HASTE_S if self._hasty < _HASTY_READS else _CALM_S) else 0
        self.last_heard = now
        if self._on_data is not None:
            self._hand_over()
            if self._hasty >= _HASTY_READS and self._connection is not None:
                self._connection.rest()
        elif not self.status:
            self._head_bytes += len(data)
            if self._head_bytes > _MOST_HEAD_BYTES:
                self._break_off(ConnectionError("the head of the answer does not end"))

    def lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self._connection = None
        if self._complete:
            return
        if error is None and self._ended_by_eof:
            self._complete = True
            self._hand_over()
        else:
            self._break_off(error)

    # -- called by the parser

    def on_message_begin(self) -> None:
        if self._complete:
            self._reusable = False  # another answer behind this one, which nobody asked for

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._complete:
            return
        self._fields[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self._complete or self._parser is None:
            return
        status = self._parser.get_status_code()
        if status < 200:
            self._fields.clear()  # an interim answer
            return
        self.status = status
        self._ended_by_eof = b"content-length" not in self._fields and b"transfer-encoding" not in self._fields
        if encoding := self._fields.get(b"content-encoding"):
            self._inflate = _inflating(encoding)
        if not self.begun.done():
            self.begun.set_result(None)

    def on_message_complete(self) -> None:
        if self.status and self._parser is not None and not self._complete:
            self._reusable = self._parser.should_keep_alive()
            self._complete = True
            self._body_ends = len(self._pieces)

    # -- handing over

    def _start(self) -> None:
        self._hand_over()

    def _hand_over(self) -> None:
        """What has come since the last time, in one piece; then how it ended, if it has."""
        pieces, on_data = self._pieces, self._on_data
        if self._body_ends < len(pieces):
            del pieces[self._body_ends :]
        if pieces and on_data is not None:
            data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.clear()
            if self._inflate is not None:
                try:
                    data = self._inflate(data)
                except zlib.error as error:
                    self._end(cut(error))
                    return
            on_data(data)
        if self._complete or self._failure is not None:
            self._end(self._failure)

    def _break_off(self, error: Exception | None) -> None:
        if self.begun.done():
            self._failure = cut(error)
            self._hand_over()
        else:
            self.begun.set_exception(error or ConnectionResetError("the connection was closed without an answer"))
            self._let_go()

    def _end(self, error: KiroError | None) -> None:
        if self._on_end is not None:  # otherwise it is told as soon as somebody listens
            super()._end(error)

    def _let_go(self) -> None:
        super()._let_go()
        self._parser = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.release(self, reusable=self._complete and self._reusable)

    def _drop(self) -> None:
        """Done by `_let_go`: a connection whose answer is not complete is closed."""


def _inflating(encoding: bytes) -> Callable[[bytes], bytes] | None:
    """Inflates what comes piece by piece; None for an encoding that was not asked for."""
    if encoding.strip().lower() not in (b"gzip", b"x-gzip", b"deflate"):
        return None
    return zlib.decompressobj(wbits=32 + zlib.MAX_WBITS).decompress  # 32: the header tells which of the two it is
