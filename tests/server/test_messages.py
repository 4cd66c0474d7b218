"""Anthropic Messages through the whole proxy: real sockets on both sides."""

import asyncio
import gzip
import json
import sys
import tracemalloc
import zlib

import aiohttp
import pytest

from kiro.emulator.answers import RawEvent
from kiro.emulator.faults import (
    BadChecksum,
    Empty,
    EndEarly,
    ErrorFrame,
    ExceptionFrame,
    ExpireToken,
    HalfFrame,
    Hang,
    HttpError,
    Replay,
    Reset,
    Shred,
    Slow,
)
from support.proxy import running_proxy
from support.sse import records, text_of

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PACKERS = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstd.compress}
LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"


def ask(text="hi", **more):
    return {"model": "claude-sonnet-4-5", "max_tokens": 1000, "messages": [{"role": "user", "content": text}], **more}


def said(answer=LONG):
    return ask(f"Test.\nEMULATE: text={answer}\nEMULATE: end")


async def read_stream(proxy, document):
    """What came, and whether the body ended properly."""
    data = b""
    async with proxy.post("/v1/messages", {**document, "stream": True}) as response:
        assert response.status == 200, await response.read()
        assert response.headers["request-id"].startswith("req_")
        try:
            async for chunk in response.content.iter_any():
                data += chunk
        except aiohttp.ClientPayloadError:
            return records(data), False
    return records(data), True


async def read_error(proxy, document, **more):
    async with proxy.post("/v1/messages", document, **more) as response:
        return response.status, (await response.json())["error"], response.headers


async def test_a_stream(proxy):
    found, whole = await read_stream(proxy, said())
    assert whole
    assert text_of(found) == LONG
    assert [name for name, _ in found][:3] == ["message_start", "ping", "content_block_start"]
    assert [name for name, _ in found][-3:] == ["content_block_stop", "message_delta", "message_stop"]


async def test_a_message(proxy):
    async with proxy.post("/v1/messages", said()) as response:
        message = await response.json()
    assert message["content"] == [{"type": "text", "text": LONG}]
    assert message["stop_reason"] == "end_turn"
    assert message["usage"]["output_tokens"] > 0


async def test_the_plain_read_loop_gives_the_same(tmp_path, kiro):
    async with running_proxy(tmp_path, kiro, direct=False) as proxy:
        kiro.faults.add(Shred(seed=3), times=None)
        found, whole = await read_stream(proxy, said())
        assert (whole, text_of(found)) == (True, LONG)
        kiro.faults.clear()
        kiro.faults.add(Reset(after=4), times=None)
        found, whole = await read_stream(proxy, said())
        assert not whole
        assert found[-1][0] == "error"


@pytest.mark.parametrize("seed", range(8))
async def test_cutting_the_bytes_changes_nothing(proxy, kiro, seed):
    kiro.faults.add(Shred(seed=seed))
    answer = "Naïve 日本語 😀 family 👨‍👩‍👧 “quotes” \\ back\tslash " * 5
    found, whole = await read_stream(proxy, said(answer.strip()))
    assert whole
    assert text_of(found) == answer.strip()


async def test_the_first_event_reaches_the_client_before_kiro_sends_its_second(proxy, kiro):
    kiro.faults.add(Slow(ms=150))
    async with proxy.post("/v1/messages", {**said(), "stream": True}) as response:
        data = b""
        while b"text_delta" not in data:
            data += await response.content.readany()
        assert text_of(records(data)) != LONG
        assert kiro.streaming == 1
        async for chunk in response.content.iter_any():
            data += chunk
    assert text_of(records(data)) == LONG


class TestBeforeTheFirstEvent:
    """Failures that another try can mend are not seen; the others keep their status."""

    @pytest.mark.parametrize(
        "fault",
        [
            HttpError(status=500),
            HttpError(status=503, reason="MODEL_TEMPORARILY_UNAVAILABLE"),
            ExceptionFrame(name="serviceUnavailableError"),
            Reset(),
            EndEarly(),
            HalfFrame(),
            BadChecksum(),
            Empty(),
            ExpireToken(),
            HttpError(
                status=400, reason="THINKING_SIGNATURE_INVALID", message="Invalid `signature` in `thinking` block"
            ),
            HttpError(status=400, message="additionalModelRequestFields is not supported for this model"),
            HttpError(status=400, reason="REQUEST_BODY_INVALID", message="Invalid tool use format."),
        ],
        ids=lambda fault: f"{type(fault).__name__} {getattr(fault, 'reason', None) or getattr(fault, 'status', '')}",
    )
    async def test_one_failure_is_hidden(self, proxy, kiro, fault):
        kiro.faults.add(fault)
        found, whole = await read_stream(proxy, said())
        assert whole
        assert text_of(found) == LONG
        row = await proxy.last_row()
        assert row.outcome == "done"
        assert len(row.attempts) == 2
        assert row.attempts[0].error is not None

    @pytest.mark.parametrize(
        ("fault", "status", "kind"),
        [
            (HttpError(status=429, reason="USER_REQUEST_RATE_EXCEEDED", retry_after_s=7), 429, "rate_limit_error"),
            (HttpError(status=402, reason="MONTHLY_REQUEST_COUNT"), 429, "rate_limit_error"),
            (HttpError(status=403, reason="FEATURE_NOT_SUPPORTED"), 403, "permission_error"),
            (HttpError(status=503, reason="INSUFFICIENT_MODEL_CAPACITY"), 529, "overloaded_error"),
            (HttpError(status=500), 502, "api_error"),
            (HttpError(status=502, raw="<html><h1>Bad gateway</h1></html>"), 502, "api_error"),
            (HttpError(status=504), 504, "timeout_error"),
            (HttpError(status=400, reason="CONTENT_LENGTH_EXCEEDS_THRESHOLD"), 400, "invalid_request_error"),
            (HttpError(status=400, message="Improperly formed request."), 400, "invalid_request_error"),
            (HttpError(status=400, reason="INVALID_MODEL_ID"), 404, "not_found_error"),
            (ExceptionFrame(name="throttlingError", retry_after_ms=2500), 429, "rate_limit_error"),
            (ExceptionFrame(name="validationError", reason="PROMPT_TOO_LONG"), 400, "invalid_request_error"),
            (ErrorFrame(), 502, "api_error"),
            (Reset(), 502, "api_error"),
            (Empty(), 502, "api_error"),
            (BadChecksum(), 502, "api_error"),
        ],
        ids=lambda value: (
            f"{type(value).__name__} {getattr(value, 'status', '')} {getattr(value, 'reason', '')}"
            if not isinstance(value, (int, str))
            else str(value)
        ),
    )
    @pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
    async def test_a_lasting_failure_keeps_its_status(self, proxy, kiro, fault, status, kind, stream):
        kiro.faults.add(fault, times=None)
        got, error, headers = await read_error(proxy, {**said(), "stream": stream})
        assert (got, error["type"]) == (status, kind)
        assert error["message"]
        if status == 429:
            assert int(headers["retry-after"]) >= 1
        if isinstance(fault, HttpError) and fault.retry_after_s:
            assert headers["retry-after"] == "7"

    async def test_an_overflow_is_said_in_the_words_clients_look_for(self, proxy, kiro):
        kiro.faults.add(HttpError(status=400, reason="CONTENT_LENGTH_EXCEEDS_THRESHOLD"))
        _, error, _ = await read_error(proxy, said())
        assert error["message"].startswith("prompt is too long: ")
        assert error["message"].endswith(" tokens > 200000 maximum")

    async def test_a_suspended_account_is_set_aside_with_the_reason(self, proxy, kiro):
        kiro.faults.add(HttpError(status=403, reason="TEMPORARILY_SUSPENDED", message="Suspended."))
        status, error, _ = await read_error(proxy, said())
        assert (status, error["type"]) == (403, "permission_error")
        await asyncio.gather(*proxy.runtime._background)
        account = proxy.home.accounts.get("first")
        assert account.state == "suspended"

    async def test_our_own_mistakes_are_not_repeated(self, proxy, kiro):
        kiro.faults.add(HttpError(status=400, message="Improperly formed request."), times=None)
        await read_error(proxy, said())
        assert len(kiro.seen("generate")) == 1


class TestAfterTheFirstEvent:
    """Nothing that breaks ever looks finished."""

    @pytest.mark.parametrize(
        ("fault", "kind"),
        [
            (ExceptionFrame(after=3, name="throttlingError"), "rate_limit_error"),
            (ExceptionFrame(after=3, name="internalServerError"), "api_error"),
            (ExceptionFrame(after=3, name="serviceUnavailableError"), "overloaded_error"),
            (ErrorFrame(after=3), "api_error"),
            (Reset(after=3), "api_error"),
            (EndEarly(after=3), "api_error"),
            (HalfFrame(after=3), "api_error"),
            (BadChecksum(after=3), "api_error"),
        ],
        ids=lambda value: (
            f"{type(value).__name__} {getattr(value, 'name', '')}" if not isinstance(value, str) else value
        ),
    )
    async def test_the_stream_ends_with_an_error_and_an_aborted_connection(self, tmp_path, kiro, fault, kind):
        async with running_proxy(tmp_path, kiro, flags={"relay.resume": False}) as proxy:
            kiro.faults.add(fault, times=None)
            found, whole = await read_stream(proxy, said())
            assert not whole
            assert found[-1][0] == "error"
            assert found[-1][1]["error"]["type"] == kind
            assert LONG.startswith(text_of(found))
            assert text_of(found)
            assert not {"message_delta", "message_stop"} & {name for name, _ in found}
            row = await proxy.last_row()
            assert row.outcome == "failed"

    @pytest.mark.parametrize("fault", [Reset(after=3), EndEarly(after=3)], ids=["reset", "early end"])
    async def test_without_a_stream_it_is_an_error(self, tmp_path, kiro, fault):
        async with running_proxy(tmp_path, kiro, flags={"relay.resume": False}) as proxy:
            kiro.faults.add(fault, times=None)
            status, error, _ = await read_error(proxy, said())
            assert (status, error["type"]) == (502, "api_error")

    @pytest.mark.parametrize(
        "fault", [Reset(after=3), EndEarly(after=3), HalfFrame(after=3)], ids=["reset", "early end", "half a frame"]
    )
    async def test_a_cut_text_is_continued_once(self, tmp_path, kiro, fault):
        async with running_proxy(tmp_path, kiro, people=("first", "second")) as proxy:
            kiro.faults.add(fault, times=1)
            found, whole = await read_stream(proxy, said())
            assert whole
            assert text_of(found) == LONG
            assert [name for name, _ in found].count("message_start") == 1
            assert [name for name, _ in found].count("content_block_start") == 1
            row = await proxy.last_row()
            assert [attempt.error for attempt in row.attempts][1] is None
            assert len({attempt.account for attempt in row.attempts}) == 2
            assert any("continued after" in note for note in row.notes)

    async def test_a_second_cut_is_told(self, tmp_path, kiro):
        async with running_proxy(tmp_path, kiro, people=("first", "second")) as proxy:
            kiro.faults.add(Reset(after=3), times=2)
            found, whole = await read_stream(proxy, said())
            assert not whole
            assert found[-1][0] == "error"

    async def test_a_cut_tool_call_is_never_continued(self, tmp_path, kiro):
        async with running_proxy(tmp_path, kiro, people=("first", "second")) as proxy:
            kiro.faults.add(Reset(inside_tool=True))
            document = ask(
                'Test.\nEMULATE: tool=run input={"cmd": "rm -rf everything that is here and there"}\nEMULATE: end',
                tools=[
                    {
                        "name": "run",
                        "description": "Runs",
                        "input_schema": {"type": "object", "properties": {"cmd": {"type": "string"}}},
                    }
                ],
            )
            found, whole = await read_stream(proxy, document)
            assert not whole
            assert found[-1][0] == "error"
            assert len(kiro.seen("generate")) == 1


async def test_a_client_that_leaves_stops_kiro(proxy, kiro):
    kiro.faults.add(Slow(ms=100), times=None)
    response = await proxy.post("/v1/messages", {**said(), "stream": True})
    await response.content.readany()
    assert kiro.streaming == 1
    response.close()
    async with asyncio.timeout(5):
        while kiro.streaming:
            await asyncio.sleep(0.02)
    assert kiro.aborted == 1
    async with asyncio.timeout(5):
        while (await proxy.last_row()).outcome != "left":
            await asyncio.sleep(0.02)


async def test_a_client_that_leaves_before_the_first_event_stops_kiro(proxy, kiro):
    kiro.faults.add(Hang(ms=5000), times=None)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            async with proxy.post("/v1/messages", {**said(), "stream": True}) as response:
                await response.read()
    async with asyncio.timeout(5):
        while kiro.streaming:
            await asyncio.sleep(0.02)
    assert kiro.aborted == 1


async def test_who_waits_long_gets_the_head_and_pings(tmp_path, kiro):
    flags = {"relay.first_event_wait_s": 0.1, "relay.ping_s": 1.0}
    async with running_proxy(tmp_path, kiro, flags=flags) as proxy:
        kiro.faults.add(Hang(ms=1600, before_head=True))
        found, whole = await read_stream(proxy, said())
        assert whole
        names = [name for name, _ in found]
        assert names[0] == "ping"
        assert names.index("message_start") >= 2
        assert text_of(found) == LONG


async def test_a_failure_after_a_long_wait_is_told_in_the_stream(tmp_path, kiro):
    flags = {"relay.first_event_wait_s": 0.1, "relay.max_attempts": 1}
    async with running_proxy(tmp_path, kiro, flags=flags) as proxy:
        kiro.faults.add(Hang(ms=400, before_head=True), HttpError(status=500), times=None)
        found, whole = await read_stream(proxy, said())
        assert not whole
        assert [name for name, _ in found] == ["ping", "error"]


async def test_without_a_stream_waiting_is_filled_with_blanks(tmp_path, kiro):
    async with running_proxy(tmp_path, kiro, flags={"relay.first_event_wait_s": 0.1}) as proxy:
        kiro.faults.add(Hang(ms=500))
        async with proxy.post("/v1/messages", said()) as response:
            body = await response.read()
        assert body.startswith(b" ")
        assert json.loads(body)["content"][0]["text"] == LONG


async def test_silence_is_given_up(tmp_path, kiro):
    flags = {"relay.idle_timeout_s": 1.0, "relay.max_attempts": 1, "relay.resume": False}
    async with running_proxy(tmp_path, kiro, flags=flags) as proxy:
        kiro.faults.add(Hang(ms=20_000, after=3))
        found, whole = await read_stream(proxy, said())
        assert not whole
        assert found[-1][1]["error"]["type"] == "timeout_error"


async def test_a_slow_client_makes_kiro_wait_and_loses_nothing(proxy, kiro):
    pieces = [f"{number:05d}" + "x" * 20_000 for number in range(1500)]
    events = [RawEvent(event_type="assistantResponseEvent", payload={"content": piece}) for piece in pieces]
    events.append(RawEvent(event_type="metadataEvent", payload={"stopReason": "END_TURN"}))
    kiro.faults.add(Replay(events=events))
    response = await proxy.post("/v1/messages", {**ask(), "stream": True, "max_tokens": 64_000})
    await asyncio.sleep(1)
    assert kiro.streaming == 1
    data = await response.read()
    assert text_of(records(data)) == "".join(pieces)


class TestLimits:
    async def test_a_stop_sequence_ends_the_answer_and_kiro(self, proxy, kiro):
        kiro.faults.add(Slow(ms=30))
        document = {**said(), "stop_sequences": ["four five"]}
        found, whole = await read_stream(proxy, document)
        assert whole
        assert text_of(found) == "one two three "
        assert found[-2][1]["delta"] == {"stop_reason": "stop_sequence", "stop_sequence": "four five"}
        async with asyncio.timeout(5):
            while not kiro.aborted:
                await asyncio.sleep(0.02)

    async def test_a_small_limit_is_kept(self, proxy):
        found, whole = await read_stream(proxy, {**said(), "max_tokens": 5})
        assert whole
        assert 0 < len(text_of(found)) < 30
        assert found[-2][1]["delta"]["stop_reason"] == "max_tokens"

    async def test_a_large_limit_is_kiro_s_affair(self, proxy):
        found, _ = await read_stream(proxy, {**said(LONG * 50), "max_tokens": 4096})
        assert text_of(found) == LONG * 50


class TestBodies:
    @pytest.mark.parametrize(("encoding", "pack"), PACKERS.items(), ids=PACKERS)
    async def test_compressed_bodies_are_read(self, proxy, encoding, pack):
        body = pack(json.dumps(said()).encode())
        async with proxy.post("/v1/messages", body, headers={"Content-Encoding": encoding}) as response:
            assert (await response.json())["content"][0]["text"] == LONG

    @pytest.mark.parametrize(("encoding", "pack"), PACKERS.items(), ids=PACKERS)
    async def test_inflation_stops_at_the_limit(self, tmp_path, kiro, encoding, pack):
        """A few kilobytes must not fill the memory: what is over the limit is not even inflated."""
        bomb = pack(b" " * 100_000_000)
        async with running_proxy(tmp_path, kiro, flags={"server.max_body_mb": 1}) as proxy:
            tracemalloc.start()
            status, error, _ = await read_error(proxy, bomb, headers={"Content-Encoding": encoding})
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert (status, error["type"]) == (413, "request_too_large")
        assert peak < 20_000_000

    @pytest.mark.parametrize("encoding", [*PACKERS, "rot13"])
    async def test_a_body_that_is_not_what_it_says_is_refused(self, proxy, encoding):
        status, error, _ = await read_error(proxy, b"\x01 not packed", headers={"Content-Encoding": encoding})
        assert (status, error["type"]) == (400, "invalid_request_error")

    async def test_a_large_body_is_refused(self, tmp_path, kiro):
        async with running_proxy(tmp_path, kiro, flags={"server.max_body_mb": 1}) as proxy:
            status, error, _ = await read_error(proxy, ask("x" * 2_000_000))
            assert (status, error["type"]) == (413, "request_too_large")

    async def test_five_megabytes_are_served(self, proxy):
        document = said()
        document["messages"] = [
            {"role": "user", "content": "x" * 600_000},
            {"role": "assistant", "content": "y"},
            *document["messages"],
        ]
        async with proxy.post("/v1/messages", document) as response:
            assert response.status == 200

    @pytest.mark.parametrize(
        ("body", "complaint"),
        [
            (b"", "JSON"),
            (b"{", "JSON"),
            (b"[]", "object"),
            (b'{"model": 3}', "model"),
            (b'{"model":"claude-sonnet-4-5","max_tokens":5,"messages":[]}', "messages"),
            (b'{"model":"claude-sonnet-4-5","messages":[{"role":"user","content":"x"}]}', "max_tokens"),
            (
                b'{"model":"claude-sonnet-4-5","max_tokens":5,"messages":[{"role":"user","content":7}]}',
                "messages[0].content",
            ),
            (b'{"model":"m","max_tokens":5,"tools":[{"name":"t","input_schema":' + b"[" * 100_000, "nested"),
        ],
        ids=["empty", "cut off", "a list", "wrong type", "no messages", "no limit", "a bad content", "too deep"],
    )
    async def test_bad_json_is_explained(self, proxy, kiro, body, complaint):
        status, error, _ = await read_error(proxy, body)
        assert (status, error["type"]) == (400, "invalid_request_error")
        assert complaint in error["message"]
        assert kiro.seen("generate") == []

    async def test_half_an_emoji_is_not_fatal(self, proxy):
        body = json.dumps(ask("cut \ud83d here\nEMULATE: text=fine\nEMULATE: end")).encode()
        async with proxy.post("/v1/messages", body) as response:
            assert (await response.json())["content"][0]["text"] == "fine"


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_model_s_name_cannot_break_out_of_the_head(proxy, stream):
    asked = {**said(), "model": "claude-sonnet-4-5\r\nX-Evil: 1", "stream": stream}
    async with proxy.post("/v1/messages", asked) as response:
        assert response.status == 404
        assert "X-Evil" not in response.headers
        assert (await response.json())["error"]["type"] == "not_found_error"


async def test_counting_tokens(proxy, kiro):
    async with proxy.post(
        "/v1/messages/count_tokens", {"model": "claude-sonnet-4-5", "messages": [{"role": "user", "content": LONG}]}
    ) as response:
        assert response.status == 200
        assert (await response.json())["input_tokens"] > 20
    assert kiro.seen("generate") == []


async def test_the_buffered_route_knows_the_exact_prompt_at_the_start(proxy):
    async with proxy.post("/cc/v1/messages", {**said(), "stream": True}) as response:
        found = records(await response.read())
    usage = found[-2][1]["usage"]
    prompt = usage["input_tokens"] + usage["cache_read_input_tokens"] + usage["cache_creation_input_tokens"]
    assert found[0][1]["message"]["usage"]["input_tokens"] == prompt
    assert text_of(found) == LONG


async def test_an_unknown_model_is_named_once_kiro_was_asked(proxy):
    await proxy.runtime.models.refresh(proxy.runtime.accounts[0].id, force=True)
    status, error, _ = await read_error(proxy, {**said(), "model": "claude-sonet-4.5"})
    assert (status, error["type"]) == (404, "not_found_error")
    assert error["message"].startswith("model: claude-sonet-4.5")
    assert "claude-sonnet-4.5" in error["message"]


async def test_an_account_can_be_pinned(tmp_path, kiro):
    async with running_proxy(tmp_path, kiro, people=("first", "second")) as proxy:
        async with proxy.post("/a/second/v1/messages", said()) as response:
            assert response.status == 200
        assert (await proxy.last_row()).account == proxy.home.accounts.get("second").id
        async with proxy.post("/v1/messages", said(), headers={"x-kiro-account": "second"}) as response:
            assert response.status == 200
        assert (await proxy.last_row()).account == proxy.home.accounts.get("second").id
        status, error, _ = await read_error(proxy, said(), headers={"x-kiro-account": "nobody"})
        assert status == 401
        assert "first, second" in error["message"]


async def test_the_log_tells_the_story(proxy, kiro):
    kiro.faults.add(HttpError(status=500, message="Oops."))
    async with proxy.post("/v1/messages", {**said(), "stream": True}) as response:
        await response.read()
        request_id = response.headers["request-id"]
    row = await proxy.last_row()
    assert row.id == request_id
    assert (row.outcome, row.status, row.stream, row.protocol) == ("done", 200, True, "anthropic")
    assert (row.model_asked, row.stop_reason) == ("claude-sonnet-4-5", "end_turn")
    assert row.input_tokens > 0
    assert row.first_event_ms > 0
    assert [(attempt.status, attempt.error) for attempt in row.attempts] == [(500, "UpstreamBroken"), (200, None)]
    assert row.attempts[1].upstream_id
