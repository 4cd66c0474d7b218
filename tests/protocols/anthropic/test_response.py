"""Anthropic's stream and message, from every answer Kiro was seen to give."""

import json

import msgspec
import pytest

from kiro import errors
from kiro.conversation.collect import collect
from kiro.conversation.events import (
    Finish,
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
    Usage,
)
from kiro.conversation.messages import Conversation, ThinkingWish
from kiro.protocols.anthropic import response as anthropic
from kiro.protocols.base import Ask, ModelCard
from support.answers import WHOLE, WHOLE_IDS
from support.anthropic import folded, records

ASKED = ThinkingWish(mode="on")


def ask(thinking=ThinkingWish()):
    return Ask(Conversation("claude-test", (), thinking=thinking), stream=True)


def rendered(events, thinking=ASKED, at_once=True):
    stream = anthropic.renderer(ask(thinking), "0123")
    if at_once:
        return stream.feed(events)
    return b"".join(stream.feed([event]) for event in events)


@pytest.mark.parametrize(("sequence", "events"), WHOLE, ids=WHOLE_IDS)
class TestEveryAnswer:
    def test_a_strict_client_reads_what_kiro_sent(self, sequence, events):
        want = sequence["expect"]
        message = folded(records(rendered(events)))
        texts = [block["text"] for block in message["content"] if block["type"] == "text"]
        thoughts = [block["thinking"] for block in message["content"] if block["type"] == "thinking"]
        assert "".join(texts) == want["text"]
        assert "".join(thoughts) == want["reasoning"]
        assert message["stop_reason"] == want["finish"]
        assert message["done"]
        assert message["content"]
        calls = [block for block in message["content"] if block["type"] == "tool_use"]
        broken = want.get("incomplete_tools", []) + want.get("invalid_tools", [])
        assert [(call["id"], call["name"]) for call in calls] == [
            (tool["id"], tool["name"]) for tool in [*want["tools"], *broken]
        ]
        for call, tool in zip(calls, want["tools"], strict=False):
            assert json.loads(call["_text"]) == tool["input"]

    def test_batches_change_nothing(self, sequence, events):
        assert rendered(events) == rendered(events, at_once=False)

    def test_the_message_says_the_same_as_the_stream(self, sequence, events):
        streamed = folded(records(rendered(events)))
        whole = json.loads(anthropic.answer(ask(ASKED), collect(events), "0123"))
        assert whole["usage"] == streamed["usage"]
        assert whole["stop_reason"] == streamed["stop_reason"]
        assert whole["id"] == streamed["id"]
        if not sequence["expect"].get("incomplete_tools") and not sequence["expect"].get("invalid_tools"):
            for block in streamed["content"]:
                if "_text" in block:
                    block["input"] = json.loads(block.pop("_text"))
            assert whole["content"] == streamed["content"]

    def test_thinking_nobody_asked_for_is_not_shown(self, sequence, events):
        message = folded(records(rendered(events, ThinkingWish())))
        assert not any("thinking" in block["type"] for block in message["content"])
        assert message["content"]
        whole = json.loads(anthropic.answer(ask(), collect(events), "0123"))
        assert not any("thinking" in block["type"] for block in whole["content"])


def finish(reason="end_turn", **more):
    return Finish(reason, Usage(input=10, output=5, cache_read=3, cache_write=2, source="exact"), **more)


def test_the_start_carries_the_estimate_and_the_end_all_four_numbers():
    found = records(rendered([Start("m", 77), TextDelta("x"), finish()]))
    assert found[0][1]["message"]["usage"] == {
        "input_tokens": 77,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": 1,
    }
    assert found[-2][1]["usage"] == {
        "input_tokens": 10,
        "cache_creation_input_tokens": 2,
        "cache_read_input_tokens": 3,
        "output_tokens": 5,
    }


def test_the_model_is_the_one_the_client_asked_for():
    assert records(rendered([Start("claude-real", 1)]))[0][1]["message"]["model"] == "claude-test"


def test_omitted_thinking_keeps_its_signature():
    wish = ThinkingWish(mode="adaptive", show=False)
    events = [Start(), ThinkingDelta("secret"), ThinkingEnd("sig"), TextDelta("x"), finish()]
    block = folded(records(rendered(events, wish)))["content"][0]
    assert (block["thinking"], block["signature"]) == ("", "sig")
    whole = json.loads(anthropic.answer(ask(wish), collect(events), "1"))
    assert whole["content"][0] == {"type": "thinking", "thinking": "", "signature": "sig"}


def test_a_missing_signature_is_replaced_by_a_marker():
    events = [Start(), ThinkingDelta("a"), ThinkingEnd(None), TextDelta("x"), finish()]
    assert folded(records(rendered(events)))["content"][0]["signature"] == anthropic.NO_SIGNATURE


def test_redacted_thinking_is_a_whole_block():
    events = [Start(), RedactedThinkingBlock("blob"), TextDelta("x"), finish()]
    assert folded(records(rendered(events)))["content"][0]["data"] == "blob"


def test_a_search_is_a_server_tool_use_and_its_result():
    hit = SearchHit("T", "https://example.com", "snip", 1_746_000_000_000)
    events = [Start(), SearchCall("srvtoolu_1", "q"), SearchResult("srvtoolu_1", (hit,)), TextDelta("x"), finish()]
    call, result, text = folded(records(rendered(events)))["content"]
    assert (call["type"], json.loads(call["_text"])) == ("server_tool_use", {"query": "q"})
    assert result["tool_use_id"] == call["id"]
    assert result["content"][0]["url"] == "https://example.com"
    assert result["content"][0]["page_age"] == "April 30, 2025"
    assert text["text"] == "x"
    assert [citation["url"] for citation in text["citations"]] == ["https://example.com"]
    whole = json.loads(anthropic.answer(ask(), collect(events), "1"))
    assert [block["type"] for block in whole["content"]] == ["server_tool_use", "web_search_tool_result", "text"]


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("See https://b.example/2.", ["https://b.example/2"]),
        ("So it is.", ["https://a.example/1", "https://b.example/2"]),
    ],
    ids=["the pages a text names", "all, when it names none"],
)
def test_a_text_cites_what_was_found_for_it(text, urls):
    hits = (SearchHit("A", "https://a.example/1", "snip " * 100), SearchHit("B", "https://b.example/2", "snap"))
    before, after = TextDelta("I search."), [TextDelta(text[:4]), TextDelta(text[4:])]
    events = [Start(), before, SearchCall("s", "q"), SearchResult("s", hits), *after, finish()]
    first, *_, last = folded(records(rendered(events)))["content"]
    assert "citations" not in first
    assert [citation["url"] for citation in last["citations"]] == urls
    for citation in last["citations"]:
        assert set(citation) == {"type", "url", "title", "encrypted_index", "cited_text"}
        assert citation["type"] == "web_search_result_location"
        assert len(citation["cited_text"]) <= 150
    whole = json.loads(anthropic.answer(ask(), collect(events), "1"))
    assert whole["content"][-1] == last
    assert "citations" not in whole["content"][0]


def test_a_failed_search_says_so():
    events = [Start(), SearchCall("s", "q"), SearchResult("s", error="unavailable"), finish()]
    _, result = folded(records(rendered(events)))["content"]
    assert result["content"] == {"type": "web_search_tool_result_error", "error_code": "unavailable"}


def test_a_matched_stop_sequence_is_named():
    message = folded(records(rendered([Start(), TextDelta("x"), finish("stop_sequence", stop_sequence="END")])))
    assert (message["stop_reason"], message["stop_sequence"]) == ("stop_sequence", "END")


def test_a_refusal_is_explained():
    found = records(rendered([Start(), finish("refusal", refusal="CYBER")]))
    assert found[-2][1]["delta"]["stop_details"] == {"type": "refusal", "explanation": "CYBER"}


def test_a_call_that_must_not_run_is_said_in_words_when_not_streaming():
    events = [
        Start(),
        ToolCallStart("t", "write"),
        ToolCallDelta('{"a":'),
        ToolCallEnd(complete=False),
        finish("max_tokens"),
    ]
    (block,) = json.loads(anthropic.answer(ask(), collect(events), "1"))["content"]
    assert block["type"] == "text"
    assert '{"a":' in block["text"]


def test_the_keepalive_is_a_ping():
    assert records(anthropic.renderer(ask(), "1").keepalive()) == [("ping", {"type": "ping"})]


def every_error():
    def below(kind):
        yield kind
        for child in kind.__subclasses__():
            if child.__module__ == "kiro.errors":
                yield from below(child)

    made = {
        errors.ContextOverflow: lambda: errors.ContextOverflow(210_000, 200_000),
        errors.UnknownModel: lambda: errors.UnknownModel("x"),
        errors.PortTaken: lambda: errors.PortTaken("h", 1),
    }
    return [made.get(kind, lambda kind=kind: kind("It failed.", hint="Do this."))() for kind in below(errors.KiroError)]


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
class TestErrors:
    def test_every_error_has_anthropic_s_shape(self, error):
        reply = anthropic.error(error, "req_1")
        document = json.loads(reply.body)
        assert document["type"] == "error"
        assert set(document["error"]) >= {"type", "message"}
        assert document["request_id"] == "req_1"
        assert 400 <= reply.status < 600
        if reply.status == 429:
            assert int(reply.headers["retry-after"]) >= 1

    def test_in_a_stream_it_is_an_error_event(self, error):
        ((name, document),) = records(anthropic.renderer(ask(), "1").failure(error))
        assert name == "error"
        assert document["error"]["type"].endswith("_error") or document["error"]["type"] == "request_too_large"


@pytest.mark.parametrize(
    ("error", "status", "kind", "message"),
    [
        (
            errors.ContextOverflow(210_000, 200_000),
            400,
            "invalid_request_error",
            "prompt is too long: 210000 tokens > 200000 maximum",
        ),
        (errors.UnknownModel("no-such"), 404, "not_found_error", "model: no-such"),
        (errors.ModelOverloaded("Busy."), 529, "overloaded_error", "Busy."),
        (errors.RateLimited("Slow.", retry_after_s=3.2), 429, "rate_limit_error", "Slow."),
        (errors.UpstreamTimeout("Late."), 504, "timeout_error", "Late."),
        (errors.BodyTooLarge("Big."), 413, "request_too_large", "Big."),
        (errors.SignInNeeded("No."), 401, "authentication_error", "No."),
        (errors.AccountSuspended("No."), 403, "permission_error", "No."),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, errors.KiroError) else str(value)[:20],
)
def test_words_clients_look_for(error, status, kind, message):
    reply = anthropic.error(error, "req_1")
    detail = json.loads(reply.body)["error"]
    assert (reply.status, detail["type"], detail["message"]) == (status, kind, message)


def test_a_futile_retry_is_forbidden():
    limited = errors.RateLimited("No.")
    limited.suspicious = True
    assert anthropic.error(limited, "r").headers["x-should-retry"] == "false"
    assert anthropic.error(errors.QuotaExhausted("No."), "r").headers["x-should-retry"] == "false"
    assert anthropic.error(errors.AnswerUnfit("No."), "r").headers == {"x-should-retry": "false"}
    assert anthropic.error(errors.RateLimited("No.", retry_after_s=3.2), "r").headers == {"retry-after": "4"}


def test_an_error_code_travels_in_the_details():
    error = errors.InvalidRequest("No threads.", code="thread_unsupported_request")
    assert json.loads(anthropic.error(error, "r").body)["error"]["details"] == {
        "error_code": "thread_unsupported_request"
    }


def test_model_lists():
    card = ModelCard("claude-x", "Claude X", 200_000, 64_000)
    listed = json.loads(anthropic.models([card]))
    assert (listed["first_id"], listed["last_id"], listed["has_more"]) == ("claude-x", "claude-x", False)
    assert listed["data"] == [json.loads(anthropic.model(card))]
    assert listed["data"][0]["max_input_tokens"] == 200_000
    assert json.loads(anthropic.models([]))["first_id"] is None


def test_raw_arguments_are_sent_as_they_came():
    raw = '{"n": 12345678901234567890, "s": "é"}'
    events = [Start(), ToolCallStart("t", "f"), ToolCallDelta(raw), ToolCallEnd(), finish("tool_use")]
    assert raw.encode() in anthropic.answer(ask(), collect(events), "1")
    assert msgspec.json.decode(anthropic.count(7)) == {"input_tokens": 7}
