"""The Responses stream and object, from every answer Kiro was seen to give."""

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
from kiro.conversation.messages import RedactedThinking, Thinking
from kiro.protocols import openai_responses as dialect
from kiro.protocols.base import ModelCard
from kiro.protocols.openai_responses.compaction import unwrap_summary
from kiro.protocols.openai_responses.reasoning import opened
from support.answers import WHOLE, WHOLE_IDS, every_error, finish
from support.responses import StrictClient, records

NOW_S = 1_700_000_000
CODEX = {"originator": "codex_exec", "user-agent": "codex_exec/0.169.0"}
SHOWN = {"reasoning": {"effort": "high", "summary": "auto"}, "include": ["reasoning.encrypted_content"]}
FUNCTION = {"type": "function", "name": "f", "parameters": {"type": "object"}}


def ask(headers=None, path=None, **members):
    body = {"model": "claude-test", "input": "hi", "stream": True, **members}
    return dialect.parse(json.dumps(body).encode(), headers or {}, path or {})


def rendered(events, asked=None, at_once=True):
    stream = dialect.renderer(asked or ask(**SHOWN), "0123", created_s=NOW_S)
    if at_once:
        return stream.feed(events)
    return b"".join(stream.feed([event]) for event in events)


def streamed(events, asked=None):
    return StrictClient().read(rendered(events, asked))


def whole(events, asked=None):
    return json.loads(dialect.answer(asked or ask(**SHOWN), collect(events), "0123", created_s=NOW_S))


def call(name, *fragments, complete=True, call_id="call_1"):
    return [ToolCallStart(call_id, name), *map(ToolCallDelta, fragments), ToolCallEnd(complete)]


def answered(*events, reason="end_turn", **more):
    return [Start("m", 77), *events, finish(reason, **more)]


@pytest.mark.parametrize(("sequence", "events"), WHOLE, ids=WHOLE_IDS)
class TestEveryAnswer:
    def test_a_strict_client_reads_what_kiro_sent(self, sequence, events):
        want = sequence["expect"]
        client = streamed(events)
        texts = [
            part["text"]
            for item in client.items
            if item["type"] == "message"
            for part in item["content"]
            if "text" in part
        ]
        thoughts = [part["text"] for item in client.items if item["type"] == "reasoning" for part in item["summary"]]
        assert "".join(texts) == want["text"]
        assert "".join(thoughts) == want["reasoning"]
        calls = [item for item in client.items if item["type"] == "function_call"]
        broken = want.get("incomplete_tools", []) + want.get("invalid_tools", [])
        assert [(made["call_id"], made["name"]) for made in calls] == [
            (tool["id"], tool["name"]) for tool in [*want["tools"], *broken]
        ]
        for made, tool in zip(calls, want["tools"], strict=False):
            assert json.loads(made["arguments"]) == tool["input"]
        assert [made["arguments"] for made in calls if made["status"] == "incomplete"] == [
            tool["raw_input"] for tool in broken
        ]

    def test_batches_change_nothing_but_the_number_of_deltas(self, sequence, events):
        one_by_one = rendered(events, at_once=False)
        assert StrictClient().read(one_by_one).response == streamed(events).response
        assert len(records(rendered(events))) <= len(records(one_by_one))

    def test_the_whole_response_is_the_one_the_stream_ends_with(self, sequence, events):
        assert whole(events) == streamed(events).response
        assert whole(events, ask()) == streamed(events, ask()).response

    def test_thinking_nobody_asked_for_is_not_shown(self, sequence, events):
        assert "reasoning" not in {item["type"] for item in streamed(events, ask()).items}

    def test_codex_never_gets_an_incomplete_response(self, sequence, events):
        response = streamed(events, ask(CODEX, **SHOWN)).response
        refused = sequence["expect"]["finish"] == "refusal"
        assert response["status"] == ("failed" if refused else "completed")


@pytest.mark.parametrize(
    ("reason", "status", "details"),
    [
        ("end_turn", "completed", None),
        ("tool_use", "completed", None),
        ("stop_sequence", "completed", None),
        ("pause_turn", "completed", None),
        ("max_tokens", "incomplete", {"reason": "max_output_tokens"}),
        ("model_context_window_exceeded", "incomplete", {"reason": "max_output_tokens"}),
        ("refusal", "incomplete", {"reason": "content_filter"}),
    ],
)
def test_how_an_answer_ends(reason, status, details):
    response = streamed(answered(TextDelta("x"), reason=reason)).response
    assert (response["status"], response["incomplete_details"]) == (status, details)


def test_usage_counts_the_whole_prompt():
    assert streamed(answered(TextDelta("x"))).response["usage"] == {
        "input_tokens": 15,
        "input_tokens_details": {"cached_tokens": 3},
        "output_tokens": 5,
        "output_tokens_details": {"reasoning_tokens": 1},
        "total_tokens": 20,
    }


def test_the_response_repeats_the_request():
    members = {
        "instructions": "Be kind.",
        "tools": [FUNCTION],
        "tool_choice": "required",
        "metadata": {"a": "b"},
        "temperature": 0.5,
        "text": {"format": {"type": "json_object"}},
        "max_output_tokens": 99,
        "parallel_tool_calls": False,
        "store": False,
    }
    response = streamed(answered(TextDelta("x")), ask(**members)).response
    assert {name: response[name] for name in members} == members
    assert (response["id"], response["created_at"], response["model"]) == ("resp_0123", NOW_S, "claude-test")


def test_codex_is_spared_its_own_request():
    response = streamed(answered(TextDelta("x")), ask(CODEX, tools=[FUNCTION], instructions="long")).response
    assert (response["tools"], response["instructions"]) == ([], None)


class TestThinking:
    EVENTS = answered(ThinkingDelta("hm"), ThinkingDelta("m"), ThinkingEnd("kp1.claude.sig"), TextDelta("x"))

    def test_a_summary_and_the_sealed_text(self):
        item = streamed(self.EVENTS).items[0]
        assert item["summary"] == [{"type": "summary_text", "text": "hmm"}]
        assert opened(item["encrypted_content"], "") == Thinking("hmm", "kp1.claude.sig")

    def test_only_a_summary_for_a_client_that_keeps_nothing(self):
        item = streamed(self.EVENTS, ask(reasoning={"summary": "auto"})).items[0]
        assert item["summary"]
        assert "encrypted_content" not in item

    def test_only_the_seal_for_a_client_that_wants_no_summary(self):
        item = streamed(self.EVENTS, ask(include=["reasoning.encrypted_content"])).items[0]
        assert item["summary"] == []
        assert opened(item["encrypted_content"], "") == Thinking("hmm", "kp1.claude.sig")

    def test_redacted_thinking_is_sealed(self):
        item = streamed(answered(RedactedThinkingBlock("kp1.gpt.blob"), TextDelta("x"))).items[0]
        assert opened(item["encrypted_content"], "") == RedactedThinking("kp1.gpt.blob")

    def test_a_signature_without_text_is_sealed(self):
        item = streamed(answered(ThinkingEnd("kp1.claude.sig"), TextDelta("x"))).items[0]
        assert opened(item["encrypted_content"], "") == Thinking("", "kp1.claude.sig")

    def test_a_store_keeps_it_though_the_client_sees_none(self):
        outcome = dialect.finished(ask(), collect(self.EVENTS), "0123")
        assert [item["type"] for item in outcome.response["output"]] == ["message"]
        assert [item["type"] for item in outcome.items] == ["reasoning", "message"]
        assert len({item["id"] for item in outcome.items}) == 2


KINDS = {
    "a function": (FUNCTION, "f", '{"a":1}', {"type": "function_call", "name": "f", "arguments": '{"a":1}'}),
    "a function without arguments": (FUNCTION, "f", "", {"type": "function_call", "arguments": "{}"}),
    "free text": (
        {"type": "custom", "name": "apply_patch", "format": {"type": "grammar", "syntax": "lark", "definition": "s"}},
        "apply_patch",
        '{"input":"*** Begin\\n\\"é\\""}',
        {"type": "custom_tool_call", "name": "apply_patch", "input": '*** Begin\n"é"'},
    ),
    "free text under another name": (
        {"type": "custom", "name": "exec"},
        "exec",
        '{"code":"text(1)"}',
        {"type": "custom_tool_call", "input": "text(1)"},
    ),
    "a tool of a namespace": (
        {"type": "namespace", "name": "mcp__m", "tools": [{"type": "function", "name": "read"}]},
        "mcp__m__read",
        "{}",
        {"type": "function_call", "name": "read", "namespace": "mcp__m"},
    ),
    "free text of a namespace": (
        {"type": "namespace", "name": "functions", "tools": [{"type": "custom", "name": "exec"}]},
        "exec",
        '{"input":"x"}',
        {"type": "custom_tool_call", "name": "exec", "namespace": "functions", "input": "x"},
    ),
    "the local shell": (
        {"type": "local_shell"},
        "local_shell",
        '{"command":["ls","-la"],"working_directory":"/w"}',
        {
            "type": "local_shell_call",
            "action": {"type": "exec", "command": ["ls", "-la"], "env": {}, "working_directory": "/w"},
        },
    ),
    "the local shell with a line": (
        {"type": "local_shell"},
        "local_shell",
        '{"command":"ls | wc","timeout_ms":5}',
        {
            "type": "local_shell_call",
            "action": {"type": "exec", "command": ["bash", "-lc", "ls | wc"], "env": {}, "timeout_ms": 5},
        },
    ),
    "the shell": (
        {"type": "shell", "environment": {"type": "local"}},
        "shell",
        '{"commands":["ls"]}',
        {"type": "shell_call", "action": {"commands": ["ls"], "timeout_ms": None, "max_output_length": None}},
    ),
    "a patch": (
        {"type": "apply_patch"},
        "apply_patch",
        '{"type":"create_file","path":"a","diff":"+x"}',
        {"type": "apply_patch_call", "operation": {"type": "create_file", "path": "a", "diff": "+x"}},
    ),
    "a deletion": (
        {"type": "apply_patch"},
        "apply_patch",
        '{"type":"delete_file","path":"a"}',
        {"type": "apply_patch_call", "operation": {"type": "delete_file", "path": "a"}},
    ),
    "a search for tools": (
        {"type": "tool_search", "execution": "client"},
        "tool_search",
        '{"query":"mail"}',
        {"type": "tool_search_call", "execution": "client", "arguments": {"query": "mail"}},
    ),
}


@pytest.mark.parametrize(("tool", "name", "arguments", "wanted"), KINDS.values(), ids=KINDS)
def test_a_call_comes_back_as_the_kind_that_was_declared(tool, name, arguments, wanted):
    asked = ask(tools=[tool])
    pieces = [piece for piece in (arguments[:5], arguments[5:]) if piece]
    events = answered(*call(name, *pieces), reason="tool_use")
    (item,) = streamed(events, asked).items
    assert {member: item[member] for member in wanted} == wanted
    assert (item["call_id"], item["status"]) == ("call_1", "completed")
    assert ("namespace" in item) == ("namespace" in wanted)
    assert whole(events, asked)["output"] == [item]


BROKEN = {
    "half a program": ({"type": "custom", "name": "exec"}, "exec", '{"input":"rm -r', False),
    "half a shell call": ({"type": "local_shell"}, "local_shell", '{"command":["rm"', False),
    "a shell call without a command": ({"type": "local_shell"}, "local_shell", '{"timeout_ms":1}', True),
    "an unknown operation": ({"type": "apply_patch"}, "apply_patch", '{"type":"chmod","path":"a"}', True),
}


@pytest.mark.parametrize(("tool", "name", "arguments", "complete"), BROKEN.values(), ids=BROKEN)
def test_a_call_that_must_not_run_is_said_in_words(tool, name, arguments, complete):
    asked = ask(tools=[tool])
    events = answered(*call(name, arguments, complete=complete), reason="tool_use")
    (item,) = streamed(events, asked).items
    assert item["type"] == "message"
    assert arguments in item["content"][0]["text"]
    assert whole(events, asked)["output"] == [item]


def test_a_tool_nobody_declared_is_a_function():
    (item,) = streamed(answered(*call("made_up", "{}"))).items
    assert (item["type"], item["name"]) == ("function_call", "made_up")


def test_a_client_that_takes_one_call_gets_the_first():
    events = answered(TextDelta("a"), *call("f", "{}"), *call("f", "{}", call_id="call_2"), TextDelta("b"))
    items = streamed(events, ask(tools=[FUNCTION], parallel_tool_calls=False)).items
    assert [item["type"] for item in items] == ["message", "function_call", "message"]
    assert items[1]["call_id"] == "call_1"


class TestSearches:
    HIT = SearchHit("T", "https://example.com/a", "snip")
    EVENTS = answered(
        SearchCall("srvtoolu_1", "q"), SearchResult("srvtoolu_1", (HIT,)), TextDelta("See https://example.com/a .")
    )

    def test_a_search_is_an_item_and_what_it_found_is_cited(self):
        search, said = streamed(self.EVENTS).items
        assert (search["type"], search["status"]) == ("web_search_call", "completed")
        assert search["action"] == {"type": "search", "query": "q"}
        (annotation,) = said["content"][0]["annotations"]
        text = said["content"][0]["text"]
        assert text[annotation["start_index"] : annotation["end_index"]] == annotation["url"] == self.HIT.url

    def test_sources_are_listed_for_who_asks(self):
        search = streamed(self.EVENTS, ask(include=["web_search_call.action.sources"])).items[0]
        assert search["action"]["sources"] == [{"type": "url", "url": self.HIT.url}]

    def test_a_failed_search_says_so(self):
        events = answered(SearchCall("s", "q"), SearchResult("s", error="unavailable"), TextDelta("x"))
        assert streamed(events).items[0]["status"] == "failed"


class TestRefusals:
    EVENTS = answered(reason="refusal", refusal="CYBER")

    def test_the_reason_is_a_refusal(self):
        (item,) = streamed(self.EVENTS).items
        assert item["content"] == [{"type": "refusal", "refusal": "CYBER"}]

    def test_codex_is_told_as_a_failure_that_it_does_not_repeat(self):
        error = streamed(self.EVENTS, ask(CODEX)).response["error"]
        assert error["code"] == "invalid_prompt"
        assert "CYBER" in error["message"]


class TestCompaction:
    TRIGGER = ({"role": "user", "content": "hi"}, {"type": "compaction_trigger"})
    EVENTS = answered(ThinkingDelta("hm"), ThinkingEnd("s"), TextDelta("We built "), TextDelta("X."))

    @pytest.mark.parametrize("reason", ["end_turn", "max_tokens"])
    def test_exactly_one_item_that_holds_the_summary(self, reason):
        asked = ask(CODEX, input=self.TRIGGER)
        events = [*self.EVENTS[:-1], finish(reason)]
        client = streamed(events, asked)
        (item,) = client.items
        assert (item["type"], client.response["status"]) == ("compaction", "completed")
        assert unwrap_summary(item["encrypted_content"]) == "We built X."
        assert whole(events, asked) == client.response

    def test_its_own_route_has_its_own_shape(self):
        asked = ask(path={"verb": "compact"})
        assert not asked.stream
        compacted = whole(self.EVENTS, asked)
        assert compacted["object"] == "response.compaction"
        assert [item["type"] for item in compacted["output"]] == ["compaction"]
        assert compacted["usage"]["total_tokens"] == 20

    @pytest.mark.parametrize(
        "events",
        [
            answered(TextDelta(" \n")),
            answered(TextDelta("Let me see."), *call("f", "{}"), reason="tool_use"),
            answered(TextDelta("No."), reason="refusal", refusal="CYBER"),
        ],
        ids=["nothing said", "a tool called", "declined"],
    )
    def test_what_is_no_summary_fails(self, events):
        asked = ask(CODEX, input=self.TRIGGER)
        client = streamed(events, asked)
        assert (client.response["status"], client.items) == ("failed", [])
        with pytest.raises(errors.KiroError):
            whole(events, asked)


class TestKeepalive:
    def test_before_the_beginning_it_is_the_beginning(self):
        stream = dialect.renderer(ask(), "0123", created_s=NOW_S)
        data = stream.keepalive() + stream.keepalive() + stream.feed(answered(TextDelta("x")))
        found = records(data)
        assert [one["type"] for one in found[:4]] == [
            "response.created",
            "response.in_progress",
            "response.keepalive",
            "response.output_item.added",
        ]
        StrictClient().read(data)

    def test_amid_the_text_it_changes_nothing(self):
        stream = dialect.renderer(ask(), "0123", created_s=NOW_S)
        events = answered(TextDelta("a"), TextDelta("b"))
        data = b"".join(stream.feed([event]) + stream.keepalive() for event in events[:-1]) + stream.feed(events[-1:])
        assert StrictClient().read(data).items[0]["content"][0]["text"] == "ab"


@pytest.mark.parametrize("error", every_error(), ids=lambda error: type(error).__name__)
class TestErrors:
    def test_every_error_has_openai_s_shape(self, error):
        reply = dialect.error(error, "req_1")
        detail = json.loads(reply.body)["error"]
        assert set(detail) == {"message", "type", "param", "code"}
        assert detail["message"]
        assert 400 <= reply.status < 600
        assert reply.headers["x-request-id"] == "req_1"
        if reply.status == 429:
            assert int(reply.headers["retry-after"]) >= 1

    @pytest.mark.parametrize("before", [[], [Start()], [Start(), TextDelta("x")]], ids=["alone", "begun", "amid"])
    def test_in_a_stream_it_is_a_failed_response(self, error, before):
        stream = dialect.renderer(ask(), "0123", created_s=NOW_S)
        response = StrictClient().read(stream.feed(before) + stream.failure(error)).response
        assert set(response["error"]) == {"code", "message"}
        assert stream.outcome is None

    def test_only_codex_and_only_overflow_and_limits_fail_inside_a_stream(self, error):
        limits = (
            errors.ContextOverflow,
            errors.RateLimited,
            errors.QuotaExhausted,
            errors.NoAccountReady,
            errors.ModelOverloaded,
        )
        assert dialect.failed_stream(ask(), error) is None
        assert dialect.failed_stream(ask(CODEX, stream=False), error) is None
        failed = dialect.failed_stream(ask(CODEX), error, "0123")
        assert (failed is not None) == isinstance(error, limits)
        if failed is not None:
            assert StrictClient().read(failed).response["id"] == "resp_0123"


def suspicious():
    error = errors.RateLimited("Suspicious.", retry_after_s=7200)
    error.suspicious = True
    return error


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (
            errors.ContextOverflow(210_000, 200_000),
            "context_length_exceeded",
            "maximum context length is 200000 tokens",
        ),
        (errors.RateLimited("Slow.", retry_after_s=2.42), "rate_limit_exceeded", "try again in 2.5s"),
        (errors.RateLimited("Slow."), "rate_limit_exceeded", "try again in 10.0s"),
        (errors.NoAccountReady("Resting.", retry_after_s=40), "rate_limit_exceeded", "try again in 40.0s"),
        (errors.QuotaExhausted("Spent."), "insufficient_quota", "Spent."),
        (suspicious(), "invalid_prompt", "Suspicious."),
        (errors.ModelOverloaded("Busy."), "slow_down", "Busy."),
        (errors.SignInNeeded("Sign in."), "invalid_prompt", "Sign in."),
        (errors.StreamCut("Cut."), "server_error", "Cut."),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, errors.KiroError) else str(value)[:20],
)
def test_codes_and_words_codex_looks_for(error, code, words):
    told = records(dialect.renderer(ask(CODEX), "1").failure(error))[-1]["response"]["error"]
    assert told["code"] == code
    assert words in told["message"]


def test_token_counts():
    assert json.loads(dialect.count(7)) == {"object": "response.input_tokens", "input_tokens": 7}


def test_the_manifest_of_codex_has_every_member_it_insists_on():
    card = ModelCard("claude-x", "Claude X", 1_000_000, 64_000, thinking=True)
    blind = ModelCard("glm-5", "GLM 5", 200_000, 64_000, images=False)
    first, second = json.loads(dialect.codex_models([card, blind]))["models"]
    insisted = (
        "slug display_name description supported_reasoning_levels shell_type visibility supported_in_api priority upgrade "
        "base_instructions supports_reasoning_summaries support_verbosity default_verbosity apply_patch_tool_type "
        "truncation_policy supports_parallel_tool_calls context_window experimental_supported_tools input_modalities"
    )
    assert set(first) >= set(insisted.split())
    assert (first["context_window"], first["auto_compact_token_limit"]) == (1_000_000, 900_000)
    assert second["input_modalities"] == ["text"]
    assert (second["supported_reasoning_levels"], second["supports_reasoning_summaries"]) == ([], False)
