"""Conversations as prepared bytes: what a raw server receives, and what its odd answers become."""

import asyncio
import contextlib

import pytest

from kiro.errors import NetworkFailed, UpstreamTimeout
from kiro.upstream.client import KiroClient
from kiro.upstream.endpoints import Access, inference_address, new_call

ACCESS = Access("a-token%d", None, None, "us-east-1", "ide", "0" * 64)
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"


class RawServer:
    """Answers each request with the next of `replies`; keeps what it was sent, and counts connections."""

    def __init__(self, *replies):
        self.replies = list(replies)
        self.received = []
        self.connections = 0

    async def __aenter__(self):
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_):
        self._server.close()

    async def _serve(self, reader, writer):
        self.connections += 1
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
async def talking(*replies, **options):
    async with RawServer(*replies) as server, KiroClient(**options) as client:
        yield client, server


async def test_head_and_body_are_what_a_session_would_send():
    async with talking(OK, OK) as (client, server):
        assert await converse(client, server, b'{"x":1}') == (b"hello", None)
        client.push = False
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


@pytest.mark.parametrize("reply", [b"this is no HTTP", b""], ids=["no HTTP", "nothing"])
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


async def test_an_address_that_is_none_is_told():
    async with RawServer(OK) as server, KiroClient() as client:
        server.url = "https://kiro.example:99999"
        with pytest.raises(NetworkFailed, match="cannot be used"):
            await converse(client, server)


@pytest.mark.parametrize("token", ["a\r\nX-Evil: 1", "a\nb", "ключ"], ids=["a header", "a line", "letters"])
def test_a_token_that_would_break_the_head_is_refused(token):
    with pytest.raises(NetworkFailed, match="cannot be sent") as refused:
        inference_address(Access(token, None, None, "us-east-1", "ide", "0" * 64), None)
    assert token not in str(refused.value)
