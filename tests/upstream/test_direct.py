"""Conversations as prepared bytes: what a raw server receives, and what its odd answers become."""

import asyncio
import contextlib
import ssl
import sys
import time
import zlib

import pytest

from kiro.errors import NetworkFailed, StreamCut, UpstreamTimeout
from kiro.upstream.client import KiroClient
from kiro.upstream.direct import Lane
from kiro.upstream.endpoints import Access, inference_address, new_call
from support.certificates import server_context

ACCESS = Access("a-token%d", None, None, "us-east-1", "ide", "0" * 64)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class RawServer:
    """Answers each request with the next of `replies`; keeps what it was sent, and counts connections."""

    def __init__(self, *replies, tls=None):
        self.replies = list(replies)
        self.tls = tls
        self.received = []
        self.connections = 0
        self.resumed = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self.tls)
        self.url = f"http{'s' if self.tls else ''}://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        self.connections += 1
        if self.tls:
            self.resumed += writer.get_extra_info("ssl_object").session_reused
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
                self.received.append((head, await reader.readexactly(length)))
                reply = self.replies.pop(0)
                if reply is None:
                    await asyncio.sleep(30)
                writer.write(reply)
                await writer.drain()
                if b"\r\n" not in reply or b"close" in reply:
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            return
        finally:
            writer.close()


async def converse(client, server, body=b"{}", access=ACCESS):
    """The whole answer, read to its end."""
    exchange = await client.converse(new_call(inference_address(access, server.url)), body)
    data, ended = [], asyncio.get_running_loop().create_future()
    exchange.listen(data.append, ended.set_result)
    error = await asyncio.wait_for(ended, 5)
    return b"".join(data), error


@contextlib.asynccontextmanager
async def talking(*replies, served_with=None, **options):
    async with RawServer(*replies, tls=served_with) as server, KiroClient(**options) as client:
        yield client, server


async def test_head_and_body_are_what_a_session_would_send():
    async with talking(OK, OK) as (client, server):
        assert await converse(client, server, b'{"x":1}') == (b"hello", None)
        client.direct = False
        await converse(client, server, b'{"x":1}')
    direct, by_session = [_fields(head) for head, _ in server.received]
    for fields in (direct, by_session):
        assert len(fields.pop("amz-sdk-invocation-id")) == 36
        fields.pop("accept-encoding")
    assert direct == by_session
    assert direct["authorization"] == "Bearer a-token%d"
    assert [body for _, body in server.received] == [b'{"x":1}', b'{"x":1}']


def _fields(head):
    lines = head.decode().split("\r\n")
    fields = dict(line.split(": ", 1) for line in lines[1:] if line)
    return {"": lines[0], **{name.lower(): value for name, value in fields.items()}}


async def test_every_call_has_an_id_of_its_own():
    async with talking(OK, OK) as (client, server):
        await converse(client, server)
        await converse(client, server)
    first, second = [_fields(head)["amz-sdk-invocation-id"] for head, _ in server.received]
    assert first != second


async def test_one_connection_serves_one_answer_after_the_other():
    async with talking(OK, OK, OK) as (client, server):
        for _ in range(3):
            await converse(client, server)
        assert server.connections == 1


async def test_a_body_of_5_mb_arrives_whole():
    body = b"x" * 5_000_000
    async with talking(OK) as (client, server):
        await converse(client, server, body)
    assert server.received[0][1] == body


async def test_interim_answers_are_passed_over():
    async with talking(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK) as (client, server):
        assert await converse(client, server) == (b"hello", None)


async def test_a_chunked_body_is_put_together():
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"
    async with talking(chunked, OK) as (client, server):
        assert await converse(client, server) == (b"hello", None)
        assert await converse(client, server) == (b"hello", None)
        assert server.connections == 1


async def test_a_body_that_is_cut_is_an_error_and_its_connection_is_not_used_again():
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\nhel"
    async with talking(cut, OK) as (client, server):
        data, error = await converse(client, server)
        assert data == b"hel"
        assert error is not None
        assert await converse(client, server) == (b"hello", None)
        assert server.connections == 2


async def test_a_body_without_a_length_ends_with_its_connection():
    async with talking(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nhello", OK) as (client, server):
        assert await converse(client, server) == (b"hello", None)
        assert await converse(client, server) == (b"hello", None)
        assert server.connections == 2


@pytest.mark.parametrize("wbits", [31, 15], ids=["gzip", "deflate"])
async def test_a_compressed_body_is_inflated(wbits):
    packer = zlib.compressobj(wbits=wbits)
    body = packer.compress(b"hello" * 1000) + packer.flush()
    encoding = b"gzip" if wbits == 31 else b"deflate"
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (encoding, len(body))
    async with talking(head + body) as (client, server):
        assert await converse(client, server) == (b"hello" * 1000, None)


async def test_a_body_that_does_not_inflate_is_a_cut_answer():
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello"
    async with talking(head, OK) as (client, server):
        data, error = await converse(client, server)
        assert data == b""
        assert isinstance(error, StreamCut)


@pytest.mark.parametrize("extra", [OK, OK[:9], b"hello?"], ids=["another answer", "the beginning of one", "something"])
async def test_what_nobody_asked_for_is_not_taken_for_the_next_answer(extra):
    async with talking(OK + extra, OK.replace(b"hello", b"world")) as (client, server):
        assert await converse(client, server) == (b"hello", None)
        assert await converse(client, server) == (b"world", None)
        assert server.connections == 2


async def test_a_connection_that_kiro_closed_meanwhile_is_not_used_again():
    async with talking(OK.replace(b"\r\n\r\n", b"\r\nX: close\r\n\r\n"), OK) as (client, server):
        assert await converse(client, server) == (b"hello", None)
        await asyncio.sleep(0.05)
        assert await converse(client, server) == (b"hello", None)
        assert server.connections == 2


async def test_a_connection_that_was_idle_for_a_minute_is_closed():
    async with RawServer(OK, OK) as server:
        lane = Lane(server.url, connect_s=5)
        for _ in range(2):
            address = new_call(inference_address(ACCESS, server.url))
            reply = await lane.send(address.call_head(2) + b"{}", by=time.monotonic() + 5)
            ended = asyncio.get_running_loop().create_future()
            reply.listen(lambda _: None, ended.set_result)
            assert await asyncio.wait_for(ended, 5) is None
            lane.sweep(time.monotonic() + 61)
        assert server.connections == 2


async def test_an_answer_that_breaks_before_anybody_listens_is_cut_all_the_same():
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\nhel"
    async with talking(cut) as (client, server):
        exchange = await client.converse(new_call(inference_address(ACCESS, server.url)), b"{}")
        await asyncio.sleep(0.05)
        data, ended = [], asyncio.get_running_loop().create_future()
        exchange.listen(data.append, ended.set_result)
        assert isinstance(await asyncio.wait_for(ended, 5), StreamCut)
        assert data == [b"hel"]


async def test_a_paused_answer_waits_in_the_network_and_comes_whole_later():
    size = 30_000_000
    async with talking(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size, OK) as (client, server):
        exchange = await client.converse(new_call(inference_address(ACCESS, server.url)), b"{}")
        seen, ended = 0, asyncio.get_running_loop().create_future()

        def take(data):
            nonlocal seen
            seen += len(data)
            exchange.pause()

        exchange.listen(take, ended.set_result)
        await asyncio.sleep(0.05)
        assert 0 < seen < 1_000_000
        while not ended.done():
            exchange.resume()
            await asyncio.sleep(0)
        assert ended.result() is None
        assert seen == size
        assert await converse(client, server) == (b"hello", None)
        assert server.connections == 1


async def test_a_head_without_end_is_a_network_failure():
    async with talking(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 100_000 + b"\r\n") as (client, server):
        with pytest.raises(NetworkFailed, match="does not end"):
            await converse(client, server)


SWITCH = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n"


@pytest.mark.parametrize("reply", [b"this is no HTTP", b"", SWITCH], ids=["no HTTP", "nothing", "another protocol"])
async def test_what_is_no_answer_is_a_network_failure(reply):
    async with talking(reply) as (client, server):
        with pytest.raises(NetworkFailed):
            await converse(client, server)


async def test_silence_before_the_head_is_given_up():
    async with talking(None, idle_timeout_s=1) as (client, server):
        with pytest.raises(UpstreamTimeout, match="did not begin to answer"):
            await converse(client, server)


async def test_a_caller_that_goes_away_frees_its_connection():
    async with talking(None, OK) as (client, server):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await converse(client, server)
        assert await converse(client, server) == (b"hello", None)
        assert server.connections == 2


async def test_nobody_there_is_a_network_failure():
    async with RawServer() as server:
        pass
    async with KiroClient() as client:
        with pytest.raises(NetworkFailed, match="cannot be reached"):
            await converse(client, server)


@pytest.mark.parametrize("url", ["https://kiro.example:99999", "https://:443", f"https://{'x' * 70}.example"])
async def test_an_address_that_is_none_is_told(url):
    async with RawServer(OK) as server, KiroClient() as client:
        server.url = url
        with pytest.raises(NetworkFailed, match="cannot be used"):
            await converse(client, server)


async def test_a_host_is_reached_at_whichever_of_its_addresses_answers():
    async with talking(OK) as (client, server):
        server.url = server.url.replace("127.0.0.1", "localhost")
        assert await converse(client, server) == (b"hello", None)


# -- small questions


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "session"])
async def test_a_small_question_is_answered_with_status_headers_and_body(direct):
    reply = b"HTTP/1.1 404 Not Found\r\nX-Amzn-RequestId: abc\r\nContent-Length: 4\r\n\r\nnone"
    async with talking(reply, direct=direct) as (client, server):
        status, headers, body = await client.fetch("POST", f"{server.url}/ask?x=1&y=%20", {"X-Said": "ö"}, b"what?")
    assert (status, headers["x-amzn-requestid"], body) == (404, "abc", b"none")
    head, sent = server.received[0]
    assert head.startswith(b"POST /ask?x=1&y=%20 HTTP/1.1\r\n")
    assert sent == b"what?"


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "session"])
@pytest.mark.parametrize(("method", "length"), [("GET", None), ("POST", "0")])
async def test_a_question_without_a_body_has_a_length_where_one_is_due(method, length, direct):
    heads = []

    async def serve(reader, writer):
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(OK)
        writer.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server, KiroClient(direct=direct) as client:
        port = server.sockets[0].getsockname()[1]
        assert (await client.fetch(method, f"http://127.0.0.1:{port}", {}))[2] == b"hello"
    fields = _fields(heads[0])
    assert fields[""] == f"{method} / HTTP/1.1"
    assert fields.get("content-length") == length


async def test_the_first_conversation_finds_the_connection_of_the_question_before_it():
    async with talking(OK, OK) as (client, server):
        await client.fetch("POST", f"{server.url}/models", {}, b"{}")
        assert await converse(client, server) == (b"hello", None)
        assert server.connections == 1


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "session"])
async def test_of_a_long_answer_to_a_small_question_a_mebibyte_is_read(direct):
    async with talking(b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\n\r\n" + b"x" * 9_000_000, direct=direct) as (
        client,
        server,
    ):
        _, _, body = await client.fetch("POST", server.url, {}, b"{}")
    assert 1024 * 1024 <= len(body) < 2 * 1024 * 1024


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "session"])
async def test_a_small_answer_that_is_cut_is_a_network_failure(direct):
    cut = b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\nConnection: close\r\n\r\nhel"
    async with talking(cut, direct=direct) as (client, server):
        with pytest.raises(NetworkFailed):
            await client.fetch("POST", server.url, {}, b"{}")


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "session"])
async def test_a_small_question_is_not_waited_for_without_end(direct):
    async with talking(None, direct=direct) as (client, server):
        with pytest.raises(UpstreamTimeout, match="within 0 s"):
            await client.fetch("POST", server.url, {}, b"{}", timeout_s=0.1)


async def test_a_header_that_would_break_the_head_of_a_question_is_refused():
    async with talking(OK) as (client, server):
        with pytest.raises(NetworkFailed, match="cannot be sent"):
            await client.fetch("POST", server.url, {"Authorization": "Bearer a\r\nX-Evil: 1"}, b"{}")
        assert server.received == []


# -- encrypted


def loops():
    yield pytest.param(asyncio.new_event_loop, id="asyncio")
    if sys.platform != "win32":
        import uvloop

        yield pytest.param(uvloop.new_event_loop, id="uvloop")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3], ids=["TLS 1.2", "TLS 1.3"])
@pytest.mark.parametrize("new_loop", list(loops()))
def test_an_encrypted_connection_is_kept_and_new_ones_take_up_its_session(certificate, trusting, new_loop, version):
    served_with = server_context(certificate)
    served_with.minimum_version = served_with.maximum_version = version

    async def ask():
        async with talking(*[OK] * 8, served_with=served_with, tls=trusting) as (client, server):
            body = b"x" * 1_000_000
            for _ in range(3):
                assert await converse(client, server, body) == (b"hello", None)
            assert (server.connections, server.resumed) == (1, 0)
            answers = await asyncio.gather(*(converse(client, server, body) for _ in range(5)))
            assert answers == [(b"hello", None)] * 5
            assert (server.connections, server.resumed) == (5, 4)
            assert [sent for _, sent in server.received] == [body] * 8

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(ask())


@pytest.mark.parametrize("direct", [True, False], ids=["direct", "session"])
async def test_a_certificate_that_nobody_vouches_for_is_a_network_failure(certificate, direct):
    async with talking(OK, served_with=server_context(certificate), direct=direct) as (client, server):
        with pytest.raises(NetworkFailed, match=r"self.signed certificate"):
            await converse(client, server)
        assert server.received == []


async def test_a_server_that_speaks_no_tls_is_a_network_failure():
    async def refuse(_, writer):
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(refuse, "127.0.0.1", 0) as server, KiroClient() as client:
        server.url = f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        with pytest.raises(NetworkFailed, match="cannot be reached"):
            await asyncio.wait_for(converse(client, server), 5)


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a\nb", "ключ"], ids=["a header", "a line", "letters"])
def test_a_token_that_would_break_the_head_is_refused(token):
    with pytest.raises(NetworkFailed, match="cannot be sent") as refused:
        inference_address(Access(token, None, None, "us-east-1", "ide", "0" * 64), None)
    assert token not in str(refused.value)
