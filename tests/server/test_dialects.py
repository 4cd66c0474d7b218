"""What every client may rely on, in each of the four dialects, through the whole proxy."""

import asyncio
import json
from typing import NamedTuple

import aiohttp
import pytest

from kiro.emulator.faults import BadChecksum, EndEarly, ExceptionFrame, HalfFrame, Hang, HttpError, Reset, Shred
from support.asked import FUNCTION, lines, saying
from support.proxy import running_proxy

MODEL = "claude-sonnet-4.5"
LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
GEMINI = f"/v1beta/models/{MODEL}:"


class Spoken(NamedTuple):
    """A dialect as its clients speak it: where to, in which words, how a stream of it ends, what names an error."""

    path: str
    whole_path: str
    body: dict
    tools: dict
    ends: tuple[bytes, ...]
    error: str
    limit: dict

    def request(self, prompt, *, stream, tools=False, **more):
        body = json.loads(json.dumps(self.body).replace("PROMPT", json.dumps(prompt)[1:-1]))
        streamed = {} if "contents" in self.body else {"stream": stream}
        return body | streamed | (self.tools if tools else {}) | more


DIALECTS = {
    "anthropic": Spoken(
        "/v1/messages",
        "/v1/messages",
        {"model": MODEL, "max_tokens": 9000, "messages": [{"role": "user", "content": "PROMPT"}]},
        {
            "tools": [
                {
                    "name": "get_weather",
                    "description": FUNCTION["description"],
                    "input_schema": FUNCTION["parameters"],
                }
            ]
        },
        (b"event: message_stop", b"event: message_delta"),
        "type",
        {"max_tokens": 5},
    ),
    "openai_chat": Spoken(
        "/v1/chat/completions",
        "/v1/chat/completions",
        {"model": MODEL, "messages": [{"role": "user", "content": "PROMPT"}]},
        {"tools": [{"type": "function", "function": FUNCTION}]},
        (b"[DONE]", b'"finish_reason":"'),
        "code",
        {"max_completion_tokens": 5},
    ),
    "openai_responses": Spoken(
        "/v1/responses",
        "/v1/responses",
        {"model": MODEL, "input": "PROMPT"},
        {"tools": [{"type": "function", **FUNCTION}]},
        (b"event: response.completed", b"event: response.incomplete"),
        "code",
        {"max_output_tokens": 5},
    ),
    "gemini": Spoken(
        f"{GEMINI}streamGenerateContent?alt=sse",
        f"{GEMINI}generateContent",
        {"contents": [{"role": "user", "parts": [{"text": "PROMPT"}]}]},
        {"tools": [{"functionDeclarations": [FUNCTION]}]},
        (b'"finishReason"',),
        "status",
        {"generationConfig": {"maxOutputTokens": 5}},
    ),
}
each = pytest.mark.parametrize("spoken", DIALECTS.values(), ids=DIALECTS)


def bearer(proxy, **more):
    return {"headers": {"Authorization": f"Bearer {proxy.key}", **more}, "key": None}


async def streamed(proxy, spoken, prompt, path=None, headers=None, **more):
    """The bytes of a stream, and whether its connection ended properly."""
    sent = bearer(proxy, **(headers or {}))
    async with proxy.post(path or spoken.path, spoken.request(prompt, stream=True, **more), **sent) as response:
        assert response.status == 200, await response.read()
        assert response.headers["request-id"].startswith("req_")
        assert response.headers["Cache-Control"] == "no-cache"
        return await received(response)


async def received(response):
    data = b""
    try:
        async for chunk in response.content.iter_any():
            data += chunk
    except aiohttp.ClientPayloadError:
        return data, False
    return data, True


async def whole(proxy, spoken, prompt, **more):
    request = spoken.request(prompt, stream=False, **more)
    async with proxy.post(spoken.whole_path, request, **bearer(proxy)) as response:
        return response.status, await response.json(), response.headers


BREAKS = {
    "a reset": Reset(after=3),
    "an early end": EndEarly(after=3),
    "half a frame": HalfFrame(after=3),
    "a bad checksum": BadChecksum(after=3),
    "an exception": ExceptionFrame(after=3, name="throttlingError"),
}


class TestWhatBreaks:
    @each
    @pytest.mark.parametrize("fault", BREAKS.values(), ids=BREAKS)
    async def test_never_looks_finished(self, tmp_path, kiro, spoken, fault):
        """The dialect's error, none of its ends, and a connection that is cut: some clients look at nothing else."""
        async with running_proxy(tmp_path, kiro, flags={"relay.resume": False}) as proxy:
            kiro.faults.add(fault, times=None)
            data, ended = await streamed(proxy, spoken, lines(f"text={LONG}"))
        assert b"one" in data
        assert not ended
        assert not any(end in data for end in spoken.ends)
        assert b'"error":{' in data

    async def test_nor_does_an_array_of_gemini_s(self, tmp_path, kiro):
        async with running_proxy(tmp_path, kiro, flags={"relay.resume": False}) as proxy:
            kiro.faults.add(Reset(after=3), times=None)
            path = f"{GEMINI}streamGenerateContent"
            data, ended = await streamed(proxy, DIALECTS["gemini"], lines(f"text={LONG}"), path)
        assert not ended
        with pytest.raises(ValueError, match=r"delimiter|Expecting"):
            json.loads(data)

    @each
    async def test_a_cut_call_is_not_handed_out_as_whole(self, proxy, kiro, spoken):
        kiro.faults.add(Reset(inside_tool=True), times=None)
        prompt = lines('tool=get_weather input={"city": "Paris, the one in Texas, that is, and no other of them"}')
        request = spoken.request(prompt, stream=True, tools=True)
        async with proxy.post(spoken.path, request, **bearer(proxy)) as response:
            data, ended = await received(response)
        assert not ended or response.status >= 500
        assert not any(end in data for end in spoken.ends)

    @each
    async def test_an_answer_without_content_is_an_error(self, proxy, kiro, spoken):
        """Half of the clients end their run in silence over it."""
        kiro.faults.add(saying(""), times=None)
        status, document, _ = await whole(proxy, spoken, "hi")
        assert status in (500, 502)
        assert document["error"]["message"]
        async with proxy.post(spoken.path, spoken.request("hi", stream=True), **bearer(proxy)) as response:
            assert response.status in (500, 502)


LIMITS = {
    "without a delay": HttpError(status=429, reason="USER_REQUEST_RATE_EXCEEDED"),
    "with one": HttpError(status=429, reason="USER_REQUEST_RATE_EXCEEDED", retry_after_s=7),
    "out of credits": HttpError(status=402, reason="MONTHLY_REQUEST_COUNT"),
    "in a frame": ExceptionFrame(name="throttlingError", retry_after_ms=2500),
}
OVERFLOWS = {
    "anthropic": ("invalid_request_error", "prompt is too long: "),
    "openai_chat": ("context_length_exceeded", "This model's maximum context length is 200000 tokens."),
    "openai_responses": ("context_length_exceeded", "This model's maximum context length is 200000 tokens."),
    "gemini": ("INVALID_ARGUMENT", "exceeds the maximum number of tokens allowed (200000)."),
}
CODEX = {"originator": "codex_exec", "User-Agent": "codex_exec/0.169.0"}


class TestRefusals:
    @each
    @pytest.mark.parametrize("fault", LIMITS.values(), ids=LIMITS)
    async def test_a_limit_always_says_when_to_come_back(self, proxy, kiro, spoken, fault):
        kiro.faults.add(fault, times=None)
        status, _, headers = await whole(proxy, spoken, "hi")
        assert status == 429
        assert int(headers["retry-after"]) >= 1

    @pytest.mark.parametrize("name", DIALECTS)
    async def test_an_overflow_is_said_in_the_words_that_make_clients_compact(self, proxy, kiro, name):
        kiro.faults.add(HttpError(status=400, reason="CONTENT_LENGTH_EXCEEDS_THRESHOLD"), times=None)
        status, document, _ = await whole(proxy, DIALECTS[name], "hi")
        word, message = OVERFLOWS[name]
        assert status == 400
        assert document["error"][DIALECTS[name].error] == word
        assert message in document["error"]["message"]

    @pytest.mark.parametrize(
        ("fault", "code", "words"),
        [
            (HttpError(status=400, reason="CONTENT_LENGTH_EXCEEDS_THRESHOLD"), "context_length_exceeded", "200000"),
            (
                HttpError(status=429, reason="USER_REQUEST_RATE_EXCEEDED", retry_after_s=7),
                "rate_limit_exceeded",
                "try again in ",
            ),
            (HttpError(status=402, reason="MONTHLY_REQUEST_COUNT"), "insufficient_quota", ""),
        ],
        ids=["overflow", "rate limit", "quota"],
    )
    async def test_codex_hears_of_limits_inside_a_stream(self, proxy, kiro, fault, code, words):
        kiro.faults.add(fault, times=None)
        data, ended = await streamed(proxy, DIALECTS["openai_responses"], "hi", headers=CODEX)
        assert ended
        last = json.loads(data.split(b"data: ")[-1])
        assert (last["type"], last["response"]["error"]["code"]) == ("response.failed", code)
        assert words in last["response"]["error"]["message"]

    @pytest.mark.parametrize("path", ["/v1/responses", "/responses", "/v1/v1/responses", "/a/first/v1/responses"])
    async def test_a_websocket_is_answered_with_426(self, proxy, path):
        upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
        async with proxy.get(path, headers={**upgrade, "Sec-WebSocket-Key": "amwc4bGxnVgs04Ggfg8afA=="}) as response:
            assert response.status == 426

    async def test_a_thread_of_anthropic_s_is_refused_by_its_code(self, proxy):
        request = DIALECTS["anthropic"].request("hi", stream=False, thread={"type": "create"})
        async with proxy.post("/v1/messages?beta=true", request) as response:
            assert response.status == 400
            error = (await response.json())["error"]
        assert error["details"]["error_code"] == "thread_unsupported_request"


KEEPALIVES = {
    "anthropic": b"event: ping\n",
    "openai_chat": b": keepalive\n\n",
    "openai_responses": b"event: response.created\n",
    "gemini": b"\n",
}


class TestWaiting:
    @pytest.mark.parametrize("name", DIALECTS)
    async def test_who_waits_gets_the_head_and_something_that_means_nothing(self, tmp_path, kiro, name):
        spoken = DIALECTS[name]
        flags = {"relay.first_event_wait_s": 0.1, "relay.ping_s": 1.0}
        async with running_proxy(tmp_path, kiro, flags=flags) as proxy:
            kiro.faults.add(Hang(ms=700, before_head=True))
            data, ended = await streamed(proxy, spoken, lines("text=PONG"))
        assert ended
        assert data.startswith(KEEPALIVES[name])
        assert b"PON" in data
        assert all(end in data for end in spoken.ends[:1])

    @each
    async def test_without_a_stream_it_is_blanks(self, tmp_path, kiro, spoken):
        async with running_proxy(tmp_path, kiro, flags={"relay.first_event_wait_s": 0.1}) as proxy:
            kiro.faults.add(Hang(ms=500))
            request = spoken.request(lines("text=PONG"), stream=False)
            async with proxy.post(spoken.whole_path, request, **bearer(proxy)) as response:
                body = await response.read()
        assert body.startswith(b" ")
        assert "PONG" in json.dumps(json.loads(body))


PATHS = {
    "anthropic": ["/anthropic/v1/messages", "/v1/v1/messages", "/v1/messages?beta=true"],
    "openai_chat": ["/chat/completions", "/openai/v1/chat/completions", "/v1/v1/chat/completions"],
    "openai_responses": ["/responses", "/openai/v1/responses", "/v1/v1/responses"],
    "gemini": [
        f"/v1/models/{MODEL}:generateContent",
        f"/models/{MODEL}:generateContent",
        f"/a/first/v1beta/models/{MODEL}:generateContent",
    ],
}


class TestEdges:
    @each
    @pytest.mark.parametrize("shown", ["x-api-key", "x-goog-api-key", "bearer", "query"])
    async def test_the_key_may_be_shown_in_any_way(self, proxy, spoken, shown):
        headers = {"bearer": {"Authorization": f"Bearer {proxy.key}"}, "query": {}}.get(shown, {shown: proxy.key})
        path = spoken.whole_path + (f"?key={proxy.key}" if shown == "query" else "")
        async with proxy.post(path, spoken.request("hi", stream=False), headers=headers, key=None) as response:
            assert response.status == 200

    @each
    async def test_without_a_key_nothing_is_answered(self, proxy, kiro, spoken):
        async with proxy.post(spoken.whole_path, spoken.request("hi", stream=False), key=None) as response:
            assert response.status == 401
            assert "key" in (await response.json())["error"]["message"].lower()
        assert kiro.seen("generate") == []

    @pytest.mark.parametrize(("name", "path"), [(name, path) for name, paths in PATHS.items() for path in paths])
    async def test_bases_that_say_too_much_or_too_little_work(self, proxy, name, path):
        request = DIALECTS[name].request(lines("text=PONG"), stream=False)
        async with proxy.post(path, request, **bearer(proxy)) as response:
            assert response.status == 200
            assert "PONG" in await response.text()

    async def test_gemini_streams_an_array_to_those_who_do_not_ask_for_events(self, proxy, kiro):
        kiro.faults.add(Shred(seed=2))
        path = f"{GEMINI}streamGenerateContent"
        data, ended = await streamed(proxy, DIALECTS["gemini"], lines(f"text={LONG}"), path)
        assert ended
        chunks = json.loads(data)
        parts = [part["text"] for chunk in chunks for part in chunk["candidates"][0]["content"]["parts"]]
        assert "".join(parts) == LONG
        assert len(parts) > 3

    @each
    async def test_a_small_limit_is_kept(self, proxy, spoken):
        _, document, _ = await whole(proxy, spoken, lines(f"text={LONG}"), **spoken.limit)
        assert LONG not in json.dumps(document)
        said = json.dumps(document)
        assert any(word in said for word in ('"max_tokens"', '"length"', '"max_output_tokens"', '"MAX_TOKENS"'))

    async def test_stop_sequences_end_the_answer(self, proxy):
        for name, wish in (
            ("anthropic", {"stop_sequences": ["five"]}),
            ("openai_chat", {"stop": "five"}),
            ("gemini", {"generationConfig": {"stopSequences": ["five"]}}),
        ):
            _, document, _ = await whole(proxy, DIALECTS[name], lines(f"text={LONG}"), **wish)
            said = json.dumps(document)
            assert "four" in said
            assert "six" not in said

    async def test_counting_in_every_dialect(self, proxy, kiro):
        for name, path, member in (
            ("anthropic", "/v1/messages/count_tokens", "input_tokens"),
            ("openai_responses", "/v1/responses/input_tokens", "input_tokens"),
            ("gemini", f"{GEMINI}countTokens", "totalTokens"),
        ):
            request = DIALECTS[name].request(LONG, stream=False, tools=True)
            async with proxy.post(path, request, **bearer(proxy)) as response:
                assert response.status == 200
                assert (await response.json())[member] > 20
        assert kiro.seen("generate") == []

    async def test_requests_of_one_session_do_not_wait_for_each_other(self, proxy, kiro):
        """Agents ask for titles, and their helpers for everything, beside the main request."""
        kiro.faults.add(Hang(ms=20_000, after=3), times=1)
        session = {"x-claude-code-session-id": "11111111-2222-3333-4444-555555555555"}
        spoken = DIALECTS["anthropic"]
        request = spoken.request(lines(f"text={LONG}"), stream=True)
        async with asyncio.timeout(10), proxy.post(spoken.path, request, headers=session) as first:
            await first.content.readany()
            for other in DIALECTS.values():
                data, ended = await streamed(proxy, other, lines("text=PONG"), headers=session)
                assert ended
                assert b"PON" in data
            assert kiro.streaming == 1

    @each
    async def test_a_client_that_leaves_stops_kiro(self, proxy, kiro, spoken):
        kiro.faults.add(Hang(ms=20_000, after=2), times=None)
        response = await proxy.post(spoken.path, spoken.request(lines(f"text={LONG}"), stream=True), **bearer(proxy))
        await response.content.readany()
        response.close()
        async with asyncio.timeout(5):
            while not kiro.aborted:
                await asyncio.sleep(0.01)

    @each
    async def test_long_descriptions_and_many_tools_are_served(self, proxy, spoken):
        """As on the first turn of real agents: 127 kB of body, 18,780 characters on one tool."""
        tools = json.loads(json.dumps(spoken.tools).replace('"Weather for a city"', json.dumps("word " * 3756)))
        request = spoken.request(lines("text=PONG") + "\n" + "x" * 100_000, stream=False) | tools
        async with proxy.post(spoken.whole_path, request, **bearer(proxy)) as response:
            assert response.status == 200
