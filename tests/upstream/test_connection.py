"""The parsing of answers, however their bytes are cut."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro.upstream.connection import Connection


class Wire:
    """What a connection writes to: it forgets."""

    def __init__(self):
        self.closed = False
        self.reading = True
        self.stops = 0

    def pause_reading(self):
        self.reading = False
        self.stops += 1

    def resume_reading(self):
        self.reading = True

    def write(self, data):
        pass

    def is_closing(self):
        return self.closed

    def abort(self):
        self.closed = True


def chunked(pieces):
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"


def sized(body):
    return b"HTTP/1.1 200 OK\r\nX-Amzn-RequestId: abc\r\nContent-Length: %d\r\n\r\n" % len(body) + body


def received(data, cuts):
    """Body, how it ended, and whether the connection can be used again, when `data` comes cut at `cuts`."""

    async def receive():
        kept, body, ends, listening = [], [], [], False
        connection = Connection(None, on_idle=kept.append, on_lost=lambda _: None)
        connection.connection_made(Wire())
        reply = connection.ask(b"request")
        places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
        for start, end in itertools.pairwise(places):
            connection.data_received(data[start:end])
            if reply.begun.done() and not listening:
                listening = True
                reply.listen(body.append, ends.append)
        assert reply.status == 200
        assert reply.upstream_id == "abc"
        return b"".join(body), ends, len(kept)

    return asyncio.run(receive())


CUTS = st.lists(st.integers(0, 10_000), max_size=12)


@given(pieces=st.lists(st.binary(min_size=1, max_size=300), max_size=8), cuts=CUTS)
def test_a_chunked_body_comes_whole_however_it_is_cut(pieces, cuts):
    head = b"HTTP/1.1 200 OK\r\nX-Amzn-RequestId: abc\r\nTransfer-Encoding: chunked\r\n\r\n"
    assert received(head + chunked(pieces), cuts) == (b"".join(pieces), [None], 1)


@given(body=st.binary(max_size=500), cuts=CUTS)
def test_a_sized_body_comes_whole_however_it_is_cut(body, cuts):
    assert received(sized(body), cuts) == (body, [None], 1)


@given(body=st.binary(max_size=500), cuts=CUTS)
def test_interim_answers_change_nothing(body, cuts):
    assert received(b"HTTP/1.1 100 Continue\r\n\r\n" + sized(body), cuts) == (body, [None], 1)


@pytest.mark.parametrize("listening", [True, False], ids=["listening", "not yet"])
async def test_a_body_that_ends_with_the_connection_is_whole_whenever_somebody_listens(listening):
    body, ends = [], []
    connection = Connection(None, on_idle=lambda _: None, on_lost=lambda _: None)
    connection.connection_made(Wire())
    reply = connection.ask(b"request")
    connection.data_received(b"HTTP/1.1 200 OK\r\n\r\nhel")
    if listening:
        reply.listen(body.append, ends.append)
    connection.data_received(b"lo")
    connection.connection_lost(None)
    if not listening:
        reply.listen(body.append, ends.append)
    assert (b"".join(body), ends) == (b"hello", [None])


class Flowing:
    """An answer without end, of which any number of reads can be had at once."""

    def __init__(self):
        self.wire, self.body, self.ends = Wire(), [], []
        self.connection = Connection(None, on_idle=lambda _: None, on_lost=lambda _: None)
        self.connection.connection_made(self.wire)
        self.reply = self.connection.ask(b"request")
        self.connection.data_received(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        self.reply.listen(self.body.append, self.ends.append)

    def reads(self, count):
        for _ in range(count):
            self.connection.data_received(b"1\r\nx\r\n")


async def test_an_answer_that_rushes_in_is_read_once_in_a_while():
    flowing = Flowing()
    flowing.reads(5000)
    assert not flowing.wire.reading
    while not flowing.wire.reading:
        await asyncio.sleep(0.001)
    assert b"".join(flowing.body) == b"x" * 5000


async def test_a_small_answer_is_not_held_up():
    flowing = Flowing()
    flowing.reads(14)
    flowing.connection.data_received(b"0\r\n\r\n")
    assert flowing.ends == [None]
    assert flowing.wire.stops == 0


async def test_who_paused_an_answer_that_rushes_in_resumes_it():
    flowing = Flowing()
    flowing.reads(5000)
    flowing.reply.pause()
    await asyncio.sleep(0.02)
    assert not flowing.wire.reading
    flowing.reply.resume()
    assert flowing.wire.reading


async def test_an_answer_that_was_closed_in_its_rest_is_left_alone():
    flowing = Flowing()
    flowing.reads(5000)
    flowing.reply.close()
    assert flowing.wire.closed
    await asyncio.sleep(0.02)
    assert not flowing.wire.reading


async def test_data_that_nobody_asked_for_closes_the_connection():
    wire = Wire()
    connection = Connection(None, on_idle=lambda _: None, on_lost=lambda _: None)
    connection.connection_made(wire)
    connection.data_received(sized(b"hello"))
    assert wire.closed


@pytest.mark.parametrize(
    "keeps",
    [
        b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
    ],
    ids=["1.0", "close"],
)
async def test_a_connection_that_kiro_will_close_is_not_kept(keeps):
    wire, kept = Wire(), []
    connection = Connection(None, on_idle=kept.append, on_lost=lambda _: None)
    connection.connection_made(wire)
    reply = connection.ask(b"request")
    connection.data_received(keeps)
    ends = []
    reply.listen(lambda _: None, ends.append)
    assert (ends, kept, wire.closed) == ([None], [], True)
