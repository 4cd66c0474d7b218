"""Gemini's stream and response, from every answer Kiro was seen to give."""

import base64
import json

import pytest

from kiro import errors
from kiro.conversation.collect import collect
from kiro.conversation.events import (
    RedactedThinkingBlock,
    SearchCall,
    SearchHit,
    SearchResult,
    Start,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
)
from kiro.conversation.messages import Conversation, RedactedThinking, Thinking
from kiro.protocols import gemini as dialect
from kiro.protocols.base import Ask, ModelCard
from kiro.protocols.gemini import response as gemini
from kiro.protocols.gemini.pieces import FINISH_REASONS
from kiro.protocols.gemini.request import GeminiAsk
from kiro.protocols.gemini.signatures import pack, unpack
from support.answers import WHOLE, WHOLE_IDS, every_error, finish
from support.gemini import add, folded, records


def ask(*, sse=True, thoughts=True):
    return GeminiAsk(Conversation("claude-test", ()), stream=True, sse=sse, thoughts=thoughts)


def rendered(events, asked=None, at_once=True):
    stream = gemini.renderer(asked or ask(), "0123")
    if at_once:
        return stream.feed(events)
    return b"".join(stream.feed([event]) for event in events)


def whole(events, asked=None):
    """The response, with texts in a row as one."""
    response = json.loads(gemini.answer(asked or ask(), collect(events), "0123"))
    content = response["candidates"][0]["content"]
    if "parts" in content:
        parts, content["parts"] = content["parts"], []
        for part in parts:
            add(content["parts"], part)
    return response


def texts(response, *, thought=False):
    parts = response["candidates"][0]["content"].get("parts", [])
    return "".join(part["text"] for part in parts if "text" in part and part.get("thought", False) == thought)


def calls(response):
    parts = response["candidates"][0]["content"].get("parts", [])
    return [part["functionCall"] for part in parts if "functionCall" in part]


@pytest.mark.parametrize(("sequence", "events"), WHOLE, ids=WHOLE_IDS)
class TestEveryAnswer:
    def test_a_strict_client_reads_what_kiro_sent(self, sequence, events):
        want = sequence["expect"]
        response = folded(records(rendered(events)))
        broken = want.get("incomplete_tools", []) + want.get("invalid_tools", [])
        assert texts(response).startswith(want["text"])
        assert texts(response).count("was not complete") == len(broken)
        assert texts(response, thought=True) == want["reasoning"]
        assert response["candidates"][0]["finishReason"] == FINISH_REASONS[want["finish"]]
        assert [(call["id"], call["name"], call["args"]) for call in calls(response)] == [
            (tool["id"], tool["name"], tool["input"]) for tool in want["tools"]
        ]
        usage = response["usageMetadata"]
        counted = ("promptTokenCount", "candidatesTokenCount", "thoughtsTokenCount")
        assert usage["totalTokenCount"] == sum(usage.get(name, 0) for name in counted)

    def test_batches_change_nothing(self, sequence, events):
        """But for where the texts are cut."""
        assert folded(records(rendered(events))) == folded(records(rendered(events, at_once=False)))

    @pytest.mark.parametrize("thoughts", [True, False], ids=["with thoughts", "without"])
    def test_the_response_says_the_same_as_the_stream(self, sequence, events, thoughts):
        asked = ask(thoughts=thoughts)
        assert whole(events, asked) == folded(records(rendered(events, asked)))

    def test_an_array_says_the_same_as_the_events(self, sequence, events):
        array = rendered(events, ask(sse=False))
        assert json.loads(array) == records(rendered(events))
        assert json.loads(rendered(events, ask(sse=False), at_once=False)) == records(rendered(events, at_once=False))

    def test_thoughts_nobody_asked_for_are_not_shown(self, sequence, events):
        response = folded(records(rendered(events, ask(thoughts=False))))
        assert texts(response, thought=True) == ""


def both(events, asked=None):
    """The parts of the stream, which have to be those of the response as well."""
    response = folded(records(rendered(events, asked)))
    assert whole(events, asked) == response
    return response["candidates"][0]["content"].get("parts", [])


CALL = [ToolCallStart("t1", "f"), ToolCallDelta('{"a":'), ToolCallDelta("1}"), ToolCallEnd()]
CALLED = {"id": "t1", "name": "f", "args": {"a": 1}}
THINKING = [ThinkingDelta("h"), ThinkingDelta("m"), ThinkingEnd("kp1.f.s")]
USAGE = (
    '{"promptTokenCount":15,"candidatesTokenCount":4,"thoughtsTokenCount":1,"cachedContentTokenCount":3,'
    '"totalTokenCount":20}'
)
CALL_CHUNK = (
    '{"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"id":"t1","name":"f","args":{"a":1}}}]}'
)
GOLDEN = [
    '{"candidates":[{"content":{"role":"model","parts":[{"text":"H"}]},"index":0}]',
    '{"candidates":[{"content":{"role":"model","parts":[{"text":"é yo"}]},"index":0}]',
    '{"candidates":[{"content":{"role":"model","parts":[{"text":"u"}]},"index":0}]',
    CALL_CHUNK + ',"finishReason":"STOP","index":0}],"usageMetadata":' + USAGE,
]
TAIL = ',"modelVersion":"claude-test","responseId":"0123"}'


def test_the_golden_stream():
    """Byte for byte: texts a character late, and the finish reason with the whole call and the usage."""
    events = [Start("real", 7), TextDelta("Hé"), TextDelta(" you"), *CALL, finish("tool_use")]
    assert rendered(events).decode() == "".join(f"data: {chunk}{TAIL}\n\n" for chunk in GOLDEN)
    assert rendered(events, ask(sse=False)).decode() == "[" + ",\n".join(chunk + TAIL for chunk in GOLDEN) + "]\n"


def test_a_call_waits_only_for_the_next_event():
    stream = gemini.renderer(ask(), "0123")
    assert stream.feed([Start(), *CALL]) == b""
    assert b"functionCall" in stream.feed([ToolCallStart("t2", "g")])


def test_a_text_of_one_character_keeps_its_signature():
    for more in ([], [TextDelta("y")], [TextDelta("y"), TextDelta("z")], CALL):
        first = both([Start(), *THINKING, TextDelta("x"), *more, finish()], ask(thoughts=False))[0]
        assert unpack(first["thoughtSignature"], "") == Thinking("hm", "kp1.f.s")


def test_thinking_between_two_texts_signs_the_second():
    first, second = both([Start(), TextDelta("x"), ThinkingEnd("kp1.f.s"), TextDelta("y"), finish()])
    assert (first, second["text"]) == ({"text": "x"}, "y")
    assert unpack(second["thoughtSignature"], "") == Thinking("", "kp1.f.s")


def test_arguments_that_are_no_object_are_wrapped():
    events = [Start(), ToolCallStart("t", "f"), ToolCallDelta("[1]"), ToolCallEnd(), finish("tool_use")]
    assert both(events) == [{"functionCall": {"id": "t", "name": "f", "args": {"input": [1]}}}]


def test_a_signature_goes_with_the_next_part_and_brings_its_text():
    text, called = both([Start(), *THINKING, TextDelta("x"), *THINKING, *CALL, finish("tool_use")], ask(thoughts=False))
    for part in (text, called):
        assert unpack(part["thoughtSignature"], "") == Thinking("hm", "kp1.f.s")
    assert called["functionCall"] == CALLED


@pytest.mark.parametrize(
    ("late", "wanted"),
    [
        (RedactedThinkingBlock("kp1.g.d"), RedactedThinking("kp1.g.d")),
        (ThinkingEnd("kp1.g.d"), Thinking("", "kp1.g.d")),
    ],
    ids=["redacted", "a signature without words"],
)
def test_thinking_that_comes_after_the_calls_goes_with_the_last(late, wanted):
    (called,) = both([Start(), *CALL, late, finish("tool_use")])
    assert unpack(called["thoughtSignature"], "") == wanted


def test_a_signature_that_no_part_follows_stays_with_its_thought():
    assert both([Start(), *THINKING, finish()], ask(thoughts=False)) == []
    (thought,) = both([Start(), *THINKING, finish()])
    assert thought == {"text": "hm", "thought": True, "thoughtSignature": pack("kp1.f.s", "hm")}


LATE = {"thinking": THINKING, "redacted": [RedactedThinkingBlock("d")], "a signature alone": [ThinkingEnd("s")]}
BEFORE = {
    "after a call": CALL,
    "after a text": [TextDelta("xyz")],
    "after a character": [TextDelta("x")],
    "after a signed character": [*THINKING, TextDelta("x")],
}
AFTER = {
    "at the end": [],
    "before a call": CALL,
    "before a text": [TextDelta("xyz")],
    "before a character": [TextDelta("x")],
    "before more thinking": THINKING,
}


@pytest.mark.parametrize("thoughts", [True, False], ids=["with thoughts", "without"])
@pytest.mark.parametrize("late", LATE.values(), ids=LATE)
@pytest.mark.parametrize("before", BEFORE.values(), ids=BEFORE)
@pytest.mark.parametrize("after", AFTER.values(), ids=AFTER)
def test_whatever_comes_around_thinking_stream_and_response_agree(before, late, after, thoughts):
    both([Start(), *before, *late, *after, finish()], ask(thoughts=thoughts))


def test_a_search_is_told_at_the_end():
    hit = SearchHit("T", "https://example.com", "snip")
    response = folded(
        records(rendered([Start(), SearchCall("s", "q"), SearchResult("s", (hit,)), TextDelta("x"), finish()]))
    )
    assert response["candidates"][0]["groundingMetadata"] == {
        "webSearchQueries": ["q"],
        "groundingChunks": [{"web": {"uri": "https://example.com", "title": "T"}}],
    }


def test_a_refusal_is_explained():
    response = folded(records(rendered([Start(), finish("refusal", refusal="CYBER")])))
    assert response["candidates"][0]["finishReason"] == "SAFETY"
    assert response["candidates"][0]["finishMessage"] == "CYBER"


def test_a_call_that_must_not_run_is_said_in_words():
    broken = [ToolCallStart("t", "f"), ToolCallDelta('{"a":'), ToolCallEnd(complete=False)]
    (part,) = both([Start(), *broken, finish("max_tokens")])
    assert '{"a":' in part["text"]


def test_the_content_type_tells_the_form():
    assert gemini.renderer(ask(), "1").content_type.startswith("text/event-stream")
    assert gemini.renderer(ask(sse=False), "1").content_type.startswith("application/json")


def test_keepalives_are_white_space_anywhere():
    for sse in (True, False):
        stream = gemini.renderer(ask(sse=sse), "0123")
        said = stream.keepalive()
        for event in [Start(), TextDelta("a"), TextDelta("b"), *CALL, finish("tool_use")]:
            said += stream.feed([event]) + stream.keepalive()
        if sse:
            lines = [line for line in said.decode().split("\n") if line]
            assert all(line.startswith("data: {") for line in lines)
            assert len(lines) == 3
        else:
            assert len(json.loads(said)) == 3


def test_a_plain_ask_will_do():
    assert dialect.renderer(Ask(Conversation("m", ()), stream=True), "1").feed([Start(), TextDelta("xy")])


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
class TestErrors:
    def test_every_error_has_google_s_shape(self, error):
        reply = dialect.error(error, "req_1")
        detail = json.loads(reply.body)["error"]
        assert detail["code"] == reply.status
        assert 400 <= reply.status < 600
        assert detail["status"] == detail["status"].upper()
        assert {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "req_1"} in detail["details"]
        if isinstance(error, errors.UpstreamError):
            assert "Do this." in detail["message"]

    def test_in_a_stream_it_is_one_more_record(self, error):
        (document,) = records(gemini.renderer(ask(), "1").failure(error))
        assert document["error"]["code"] == dialect.error(error, "req_1").status

    def test_in_an_array_it_is_one_more_element_of_an_array_left_open(self, error):
        stream = gemini.renderer(ask(sse=False), "1")
        assert json.loads(stream.failure(error) + b"]")[0]["error"]
        said = stream.feed([Start(), TextDelta("xy")]) + stream.failure(error)
        assert json.loads(said + b"]")[1]["error"]
        with pytest.raises(ValueError, match="Expecting"):
            json.loads(said)


@pytest.mark.parametrize(
    ("error", "status", "word", "message"),
    [
        (
            errors.ContextOverflow(210_000, 200_000), 400, "INVALID_ARGUMENT",
            "The input token count (210000) exceeds the maximum number of tokens allowed (200000).",
        ),
        (errors.UnknownModel("x"), 404, "NOT_FOUND", "models/x is not found, or is not supported here."),
        (errors.BadClientKey("No."), 401, "UNAUTHENTICATED", "No."),
        (errors.AccountSuspended("No."), 403, "PERMISSION_DENIED", "No."),
        (errors.ModelOverloaded("Busy."), 503, "UNAVAILABLE", "Busy."),
        (errors.UpstreamBroken("Odd."), 500, "INTERNAL", "Odd."),
        (errors.UpstreamTimeout("Late."), 504, "DEADLINE_EXCEEDED", "Late."),
        (errors.RateLimited("Slow."), 429, "RESOURCE_EXHAUSTED", "Slow."),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, errors.KiroError) else str(value)[:20],
)  # fmt: skip
def test_words_clients_look_for(error, status, word, message):
    detail = json.loads(dialect.error(error, "r").body)["error"]
    assert (detail["code"], detail["status"], detail["message"]) == (status, word, message)


def detail_of(error):
    return json.loads(dialect.error(error, "r").body)["error"]["details"][0]


def test_when_to_come_back():
    assert detail_of(errors.RateLimited("Slow.", retry_after_s=6.2)) == {
        "@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "7s",
    }  # fmt: skip
    assert detail_of(errors.RateLimited("Slow."))["retryDelay"] == "10s"
    assert detail_of(errors.NoAccountReady("Resting.", retry_after_s=40))["retryDelay"] == "40s"


def test_a_spent_quota_is_final():
    detail = detail_of(errors.QuotaExhausted("Gone.", retry_after_s=5))
    assert detail["@type"].endswith("QuotaFailure")
    assert "PerDay" in detail["violations"][0]["quotaId"]


def test_the_bad_field_is_named():
    assert detail_of(errors.InvalidRequest("Bad.", param="contents"))["fieldViolations"][0]["field"] == "contents"


def test_model_lists():
    card = ModelCard("claude-x", "Claude X", 200_000, 64_000, thinking=True)
    (listed,) = json.loads(dialect.models([card]))["models"]
    assert listed == json.loads(dialect.model(card))
    assert (listed["name"], listed["inputTokenLimit"], listed["outputTokenLimit"]) == (
        "models/claude-x",
        200_000,
        64_000,
    )
    assert listed["supportedGenerationMethods"] == ["generateContent", "streamGenerateContent", "countTokens"]
    assert json.loads(dialect.count(7)) == {"totalTokens": 7}


def test_a_signature_is_base64_of_our_envelope():
    assert base64.b64decode(pack("kp1.f.s", "hm")).startswith(b"kp1.f.s")
