"""Chat's stream and completion, from every answer Kiro was seen to give."""

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
from kiro.conversation.messages import Conversation, ThinkingWish, WebSearch
from kiro.protocols import openai_chat as dialect
from kiro.protocols.base import Ask, ModelCard
from kiro.protocols.openai_chat import response as chat
from kiro.protocols.openai_chat.pieces import FINISH_REASONS
from kiro.protocols.openai_chat.request import ChatAsk
from support.answers import WHOLE, WHOLE_IDS, every_error, finish, has_broken_call
from support.chat import NOW_S, folded, records


def ask(*, custom=(), legacy=False, usage=True, **members):
    conversation = Conversation("claude-test", (), **members)
    return ChatAsk(conversation, True, (), usage, frozenset(custom), legacy)


def rendered(events, asked=None, at_once=True):
    stream = chat.renderer(asked or ask(), "0123", created_s=NOW_S)
    if at_once:
        return stream.feed(events)
    return b"".join(stream.feed([event]) for event in events)


def whole(events, asked=None):
    return json.loads(chat.answer(asked or ask(), collect(events), "0123", created_s=NOW_S))


@pytest.mark.parametrize(("sequence", "events"), WHOLE, ids=WHOLE_IDS)
class TestEveryAnswer:
    def test_a_strict_client_reads_what_kiro_sent(self, sequence, events):
        want = sequence["expect"]
        completion = folded(records(rendered(events)))
        message = completion["message"]
        assert (message["content"] or "") == want["text"]
        assert message.get("reasoning_content", "") == want["reasoning"]
        assert completion["finish_reason"] == FINISH_REASONS[want["finish"]]
        calls = message.get("tool_calls", [])
        broken = want.get("incomplete_tools", []) + want.get("invalid_tools", [])
        assert [(call["id"], call["function"]["name"]) for call in calls] == [
            (tool["id"], tool["name"]) for tool in [*want["tools"], *broken]
        ]
        for call, tool in zip(calls, want["tools"], strict=False):
            assert json.loads(call["function"]["arguments"]) == tool["input"]

    def test_batches_change_nothing(self, sequence, events):
        assert rendered(events) == rendered(events, at_once=False)

    def test_the_completion_says_the_same_as_the_stream(self, sequence, events):
        streamed, completion = folded(records(rendered(events))), whole(events)
        assert completion["usage"] == streamed["usage"]
        assert completion["id"] == streamed["id"]
        assert completion["choices"][0]["finish_reason"] == streamed["finish_reason"]
        if not has_broken_call(sequence):
            assert completion["choices"][0]["message"] == streamed["message"]

    def test_thinking_switched_off_is_not_shown(self, sequence, events):
        asked = ask(thinking=ThinkingWish("off"))
        message = folded(records(rendered(events, asked)))["message"]
        assert not any(key.startswith("reasoning") for key in message)
        assert not any(key.startswith("reasoning") for key in whole(events, asked)["choices"][0]["message"])


CALL = [ToolCallStart("t1", "f"), ToolCallDelta('{"a":'), ToolCallDelta("1}"), ToolCallEnd()]
SECOND = [ToolCallStart("t2", "g"), ToolCallDelta("{}"), ToolCallEnd()]


def both(events, asked=None):
    """The message of the stream, which has to be that of the completion as well."""
    streamed = folded(records(rendered(events, asked)))
    completion = whole(events, asked)["choices"][0]
    assert completion["message"] == streamed["message"]
    assert completion["finish_reason"] == streamed["finish_reason"]
    return streamed["message"], streamed["finish_reason"]


def test_the_golden_stream():
    """Byte for byte: role, text, call, finish, usage, end."""
    events = [Start("real", 7), TextDelta("Hé"), *CALL, finish("tool_use")]
    head = (
        'data: {"id":"chatcmpl-0123","object":"chat.completion.chunk","created":1700000000,"model":"claude-test",'
        '"choices":['
    )
    deltas = [
        '{"role":"assistant","content":""}',
        '{"content":"Hé"}',
        '{"tool_calls":[{"index":0,"id":"t1","type":"function","function":{"name":"f","arguments":""}}]}',
        '{"tool_calls":[{"index":0,"function":{"arguments":"{\\"a\\":"}}]}',
        '{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}',
    ]
    lines = [f'{head}{{"index":0,"delta":{delta},"finish_reason":null}}]}}' for delta in deltas]
    lines.append(f'{head}{{"index":0,"delta":{{}},"finish_reason":"tool_calls"}}]}}')
    lines.append(
        f'{head}],"usage":{{"prompt_tokens":15,"completion_tokens":5,"total_tokens":20,'
        '"prompt_tokens_details":{"cached_tokens":3,"audio_tokens":0},'
        '"completion_tokens_details":{"reasoning_tokens":1,"audio_tokens":0}}}'
    )
    lines.append("data: [DONE]")
    assert rendered(events).decode() == "".join(f"{line}\n\n" for line in lines)


def test_usage_comes_only_when_asked_for():
    found = records(rendered([Start(), TextDelta("x"), finish()], ask(usage=False)))
    assert all(chunk["choices"] for chunk in found[:-1])
    assert not any("usage" in chunk for chunk in found[:-1])


def test_calls_are_numbered():
    message, reason = both([Start(), *CALL, *SECOND, finish("tool_use")])
    assert [call["id"] for call in message["tool_calls"]] == ["t1", "t2"]
    assert (message["content"], reason) == (None, "tool_calls")


def test_a_call_without_arguments_has_an_empty_object():
    message = folded(records(rendered([Start(), ToolCallStart("t", "f"), ToolCallEnd(), finish("tool_use")])))[
        "message"
    ]
    assert message["tool_calls"][0]["function"]["arguments"] == "{}"


def test_one_call_at_a_time_for_clients_that_want_it_so():
    message, _ = both([Start(), *CALL, *SECOND, finish("tool_use")], ask(parallel_calls=False))
    assert [call["id"] for call in message["tool_calls"]] == ["t1"]


def test_an_old_client_gets_a_function_call():
    message, reason = both([Start(), *CALL, *SECOND, finish("tool_use")], ask(legacy=True, parallel_calls=False))
    assert message["function_call"] == {"name": "f", "arguments": '{"a":1}'}
    assert "tool_calls" not in message
    assert reason == "function_call"


def test_a_custom_tool_is_called_with_free_text():
    fragments = [ToolCallDelta('{"input":"select'), ToolCallDelta(' \\"é\\""}')]
    events = [Start(), ToolCallStart("t", "sql"), *fragments, ToolCallEnd(), *SECOND, finish("tool_use")]
    message, _ = both(events, ask(custom=["sql"]))
    assert message["tool_calls"][0] == {"id": "t", "type": "custom", "custom": {"name": "sql", "input": 'select "é"'}}
    assert message["tool_calls"][1]["function"]["name"] == "g"


@pytest.mark.parametrize("custom", [[], ["f"]], ids=["a function", "a custom tool"])
def test_a_call_that_must_not_run_is_said_in_words_when_not_streaming(custom):
    events = [
        Start(),
        ToolCallStart("t", "f"),
        ToolCallDelta('{"a":'),
        ToolCallEnd(complete=False),
        finish("max_tokens"),
    ]
    choice = whole(events, ask(custom=custom))["choices"][0]
    assert choice["finish_reason"] == "length"
    assert '{"a":' in choice["message"]["content"]
    assert "tool_calls" not in choice["message"]


def test_free_text_that_broke_off_is_no_call_in_a_stream_either():
    events = [
        Start(),
        ToolCallStart("t", "f"),
        ToolCallDelta('{"a":'),
        ToolCallEnd(complete=False),
        finish("max_tokens"),
    ]
    message, _ = both(events, ask(custom=["f"]))
    assert "tool_calls" not in message


def test_a_signature_comes_with_the_text_it_signs():
    thinking = [ThinkingDelta("h"), ThinkingDelta("m"), ThinkingEnd("kp1.f.s"), RedactedThinkingBlock("kp1.f.d")]
    message, _ = both([Start(), *thinking, TextDelta("x"), finish()])
    assert message["reasoning_content"] == "hm"
    assert message["reasoning_details"] == [
        {"type": "reasoning.text", "text": "hm", "signature": "kp1.f.s", "index": 0},
        {"type": "reasoning.encrypted", "data": "kp1.f.d", "index": 1},
    ]


def test_a_search_is_cited_over_the_text_after_it():
    hit = SearchHit("T", "https://example.com", "snip")
    search = [SearchCall("s", "q"), SearchResult("s", (hit,))]
    message, _ = both(
        [Start(), TextDelta("Wait."), *search, TextDelta("Found."), finish()], ask(web_search=WebSearch())
    )
    (citation,) = message["annotations"]
    assert citation["type"] == "url_citation"
    assert citation["url_citation"] == {"url": "https://example.com", "title": "T", "start_index": 5, "end_index": 11}


def test_a_refusal_is_explained():
    message, reason = both([Start(), finish("refusal", refusal="CYBER")])
    assert (message["refusal"], reason) == ("CYBER", "content_filter")


def test_an_empty_answer_is_an_empty_text():
    assert both([Start(), finish()]) == (
        {"role": "assistant", "content": "", "refusal": None, "annotations": []},
        "stop",
    )


def test_the_keepalive_is_a_comment():
    assert chat.renderer(ask(), "1").keepalive() == b": keepalive\n\n"


def test_a_plain_ask_will_do():
    assert dialect.renderer(Ask(Conversation("m", ()), stream=True), "1").feed([Start()])


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
class TestErrors:
    def test_every_error_has_openai_s_shape(self, error):
        reply = dialect.error(error, "req_1")
        detail = json.loads(reply.body)["error"]
        assert set(detail) == {"message", "type", "param", "code"}
        assert isinstance(detail["message"], str)
        assert 400 <= reply.status < 600
        if reply.status == 429:
            assert int(reply.headers["retry-after"]) >= 1
        if isinstance(error, errors.UpstreamError | errors.UnknownModel):
            assert "Do this." in detail["message"]

    def test_in_a_stream_it_is_a_record_and_no_end(self, error):
        (document,) = records(chat.renderer(ask(), "1").failure(error))
        assert document == json.loads(dialect.error(error, "req_1").body)


@pytest.mark.parametrize(
    ("error", "status", "kind", "code", "param"),
    [
        (errors.ContextOverflow(210_000, 200_000), 400, "invalid_request_error", "context_length_exceeded", "messages"),
        (errors.UnknownModel("no-such"), 404, "invalid_request_error", "model_not_found", "model"),
        (errors.BadClientKey("No."), 401, "invalid_request_error", "invalid_api_key", None),
        (errors.SignInNeeded("No."), 401, "authentication_error", "account_unavailable", None),
        (errors.ModelOverloaded("Busy."), 503, "server_error", "server_is_overloaded", None),
        (errors.RateLimited("Slow."), 429, "rate_limit_error", "rate_limit_exceeded", None),
        (errors.QuotaExhausted("Gone."), 429, "insufficient_quota", "insufficient_quota", None),
        (errors.UpstreamTimeout("Late."), 504, "server_error", "timeout", None),
        (errors.AccountSuspended("No."), 403, "permission_error", None, None),
        (errors.InvalidRequest("Bad.", param="n", code="c"), 400, "invalid_request_error", "c", "n"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, errors.KiroError) else str(value)[:24],
)
def test_words_clients_look_for(error, status, kind, code, param):
    reply = dialect.error(error, "req_1")
    detail = json.loads(reply.body)["error"]
    assert (reply.status, detail["type"], detail["code"], detail["param"]) == (status, kind, code, param)


def test_too_long_is_said_in_the_words_that_make_clients_compact():
    reply = dialect.error(errors.ContextOverflow(210_000, 200_000), "r")
    assert "maximum context length is 200000 tokens" in json.loads(reply.body)["error"]["message"]


def test_model_lists():
    card = ModelCard("claude-x", "Claude X", 200_000, 64_000, created="2025-09-29")
    listed = json.loads(dialect.models([card]))
    assert listed["object"] == "list"
    assert listed["data"] == [json.loads(dialect.model(card))]
    assert listed["data"][0]["id"] == "claude-x"
    assert listed["data"][0]["created"] == 1_759_104_000
    assert json.loads(dialect.count(7))["input_tokens"] == 7
