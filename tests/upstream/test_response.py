"""What becomes of every kind of answer Kiro sends."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro import errors
from kiro.conversation.collect import BrokenCall, collect
from kiro.conversation.events import Finish, ThinkingDelta, ThinkingEnd, illegal_step
from kiro.conversation.messages import RedactedThinking, Thinking, ToolCall
from kiro.upstream.eventstream import encode_frame
from kiro.upstream.response import ResponseReader
from kiro.upstream.thinking import unwrap

SEQUENCES = json.loads((Path(__file__).parent.parent / "cases" / "upstream-examples.json").read_text())["sequences"]
FAMILY = "claude-opus"
ERRORS = {
    "throttling": errors.RateLimited,
    "service_unavailable": errors.ModelOverloaded,
    "internal_server": errors.UpstreamBroken,
    "context_overflow": errors.ContextOverflow,
    "empty_response": errors.EmptyAnswer,
    "validation": errors.RequestRefused,
}


def frame_of(event) -> bytes:
    payload = json.dumps(event["payload"]).encode() if event.get("payload") is not None else b""
    if "exception_type" in event:
        headers = {":message-type": "exception", ":exception-type": event["exception_type"]}
    elif "error_code" in event:
        headers = {
            ":message-type": "error",
            ":error-code": event["error_code"],
            ":error-message": event["error_message"],
        }
    else:
        headers = {":event-type": event["event_type"], ":content-type": "application/json", ":message-type": "event"}
    return encode_frame(headers, payload)


def read(sequence, cut=None):
    stream = b"".join(frame_of(event) for event in sequence["events"])
    reader = ResponseReader(family=FAMILY, tags=sequence["mode"] == "thinking_tags", prompt_tokens=1200, window=200_000)
    events = []
    for at in range(0, len(stream), cut or len(stream) or 1):
        events += reader.feed(stream[at : at + (cut or len(stream))])
    events += reader.close()
    return reader, events


def finished(events):
    return (
        events if events and isinstance(events[-1], Finish) else [*events, Finish("end_turn", ResponseReader().usage())]
    )


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda sequence: sequence["name"])
class TestSequences:
    def test_the_content_is_what_kiro_sent(self, sequence):
        want = sequence["expect"]
        _, events = read(sequence)
        blocks = collect(finished(close_open(events))).blocks
        assert collect(finished(close_open(events))).text() == want["text"]
        assert "".join(block.text for block in blocks if isinstance(block, Thinking)) == want["reasoning"]
        calls = [block for block in blocks if isinstance(block, ToolCall)]
        assert [{"id": call.id, "name": call.name, "input": json.loads(bytes(call.input))} for call in calls] == want[
            "tools"
        ]
        broken = [block for block in blocks if isinstance(block, BrokenCall)]
        assert [{"id": call.id, "name": call.name, "raw_input": call.text} for call in broken] == (
            want.get("incomplete_tools", []) + want.get("invalid_tools", [])
        )

    def test_thinking_keeps_its_signature(self, sequence):
        want = sequence["expect"]
        _, events = read(sequence)
        blocks = collect(finished(close_open(events))).blocks
        thinking = [block for block in blocks if isinstance(block, Thinking)]
        signatures = [unwrap(block.signature, FAMILY) for block in thinking if block.signature]
        if "signature" in want:
            assert signatures == [want["signature"]]
        if "reasoning_blocks" in want:
            assert [{"text": block.text, "signature": unwrap(block.signature, FAMILY)} for block in thinking] == want[
                "reasoning_blocks"
            ]
        redacted = [unwrap(block.data, FAMILY) for block in blocks if isinstance(block, RedactedThinking)]
        assert redacted == want.get("redacted", [])

    def test_it_ends_as_it_should(self, sequence):
        want = sequence["expect"]
        reader, events = read(sequence)
        assert reader.tail_seen == want["tail_seen"]
        if want["error"] is None:
            assert reader.failure is None
            assert isinstance(events[-1], Finish)
            assert events[-1].reason == want["finish"]
            assert reader.empty == (want.get("empty", False) or not (want["text"] or want["tools"] or broken(want)))
        else:
            assert type(reader.failure) is ERRORS[want["error"]["class"]]
            assert not any(isinstance(event, Finish) for event in events)
            assert reader.empty != want["error"]["after_output"]
            delay = want["error"]["retry_after_ms"]
            if delay is not None:
                assert reader.failure.retry_after_s == delay / 1000

    def test_usage_is_counted_honestly(self, sequence):
        want = sequence["expect"].get("usage")
        reader, _ = read(sequence)
        usage = reader.usage()
        if want is not None:
            assert usage.source == "exact"
            assert (usage.input, usage.cache_read, usage.cache_write, usage.output) == (
                want["input_uncached"],
                want["cache_read"],
                want["cache_write"],
                want["output"],
            )
            assert usage.credits == pytest.approx(want["credits"])
            assert usage.context_percentage == pytest.approx(want["context_pct"])
        if sequence["expect"].get("usage_source") == "context_percentage":
            assert (usage.source, usage.input) == ("estimate", 1200)
            assert usage.context_percentage is not None

    def test_the_model_is_named(self, sequence):
        reader, _ = read(sequence)
        if "model" in sequence["expect"]:
            assert reader.model == sequence["expect"]["model"]
        if "model_tag" in sequence["expect"]:
            assert reader.model_tag == sequence["expect"]["model_tag"]

    def test_events_come_in_legal_order(self, sequence):
        _, events = read(sequence)
        assert illegal_step(events) is None

    @pytest.mark.parametrize("cut", [1, 3, 50])
    def test_cutting_changes_nothing(self, sequence, cut):
        whole_reader, whole = read(sequence)
        reader, events = read(sequence, cut)
        assert events == whole
        assert type(reader.failure) is type(whole_reader.failure)


def broken(want):
    return want.get("incomplete_tools") or want.get("invalid_tools")


def close_open(events):
    """A failed answer has no end; text that came is still to be counted."""
    return events or []


def text_event(content):
    return {"event_type": "assistantResponseEvent", "payload": {"content": content}}


def tool_event(call_id, **fields):
    return {"event_type": "toolUseEvent", "payload": {"toolUseId": call_id, "name": "run", **fields}}


TAIL = [{"event_type": "metadataEvent", "payload": {"stopReason": "END_TURN"}}]


def answer_to(*events):
    _, got = read({"events": [*events, *TAIL], "mode": "normal"})
    assert illegal_step(got) is None
    return collect(got)


def test_half_an_emoji_waits_for_its_other_half():
    frames = b"".join(
        encode_frame({":message-type": "event", ":event-type": "assistantResponseEvent"}, payload)
        for payload in (b'{"content":"a\\ud83d"}', b'{"content":"\\ude00b"}', b'{"content":"\\ud83d"}')
    )
    reader = ResponseReader()
    events = reader.feed(frames) + reader.close()
    assert collect(events).text() == "a😀b\N{REPLACEMENT CHARACTER}"


def test_arguments_cut_inside_a_character_are_joined():
    def piece(text, stop="false"):
        payload = b'{"toolUseId":"t","name":"run","input":"' + text + b'","stop":' + stop.encode() + b"}"
        return encode_frame({":message-type": "event", ":event-type": "toolUseEvent"}, payload)

    reader = ResponseReader()
    events = reader.feed(piece(b'{\\"a\\":\\"\\ud83d') + piece(b'\\ude00\\"}', "true")) + reader.close()
    (call,) = collect(events).blocks
    assert json.loads(bytes(call.input)) == {"a": "😀"}


def test_a_lone_brace_pair_before_arguments_is_dropped():
    answer = answer_to(tool_event("t", input="{}"), tool_event("t", input='{"a":1}', stop=True))
    assert json.loads(bytes(answer.blocks[0].input)) == {"a": 1}


def test_a_lone_brace_pair_alone_is_the_arguments():
    answer = answer_to(tool_event("t", input="{}"), tool_event("t", stop=True))
    assert json.loads(bytes(answer.blocks[0].input)) == {}


def test_arguments_as_an_object_replace_slices():
    answer = answer_to(tool_event("t", input={"a": [1]}), tool_event("t", stop=True))
    assert json.loads(bytes(answer.blocks[0].input)) == {"a": [1]}


def test_a_call_without_arguments_needs_no_stop():
    answer = answer_to(tool_event("t"))
    assert json.loads(bytes(answer.blocks[0].input)) == {}
    assert answer.finish.reason == "tool_use"


def test_text_after_a_whole_call_without_stop_closes_it():
    answer = answer_to(tool_event("t", input='{"a":1}'), text_event("done"))
    assert [type(block).__name__ for block in answer.blocks] == ["ToolCall", "Text"]


def test_text_inside_unfinished_arguments_waits():
    answer = answer_to(tool_event("t", input='{"a":'), text_event("hm"), tool_event("t", input="1}", stop=True))
    assert [type(block).__name__ for block in answer.blocks] == ["ToolCall", "Text"]
    assert json.loads(bytes(answer.blocks[0].input)) == {"a": 1}


def test_text_behind_a_cut_call_is_not_lost():
    answer = answer_to(tool_event("t", input='{"a":'), text_event("hm"))
    assert answer.text() == "hm"
    assert answer.finish.reason == "max_tokens"


def test_a_wrapped_argument_is_unwrapped():
    frames = b"".join(frame_of(event) for event in [tool_event("t", input='{"input": "x"}', stop=True), *TAIL])
    reader = ResponseReader(unwrap=frozenset({"run"}))
    (call,) = collect(reader.feed(frames) + reader.close()).blocks
    assert bytes(call.input) == b'"x"'


def test_null_members_are_read_as_absent():
    frames = encode_frame(
        {":message-type": "event", ":event-type": "assistantResponseEvent"},
        b'{"content":"x","modelId":null,"modelTag":3}',
    )
    reader = ResponseReader()
    reader.feed(frames)
    assert reader.failure is None


def test_a_payload_that_is_not_json_ends_the_stream():
    reader = ResponseReader()
    reader.feed(encode_frame({":message-type": "event", ":event-type": "assistantResponseEvent"}, b"{oops"))
    assert isinstance(reader.failure, errors.UpstreamBroken)


def test_damage_behind_text_keeps_the_text():
    good, bad = frame_of(text_event("keep")), bytearray(frame_of(text_event("lost")))
    bad[-1] ^= 1
    reader = ResponseReader()
    events = reader.feed(good + bytes(bad))
    assert [event.text for event in events if hasattr(event, "text")] == ["keep"]
    assert isinstance(reader.failure, errors.UpstreamBroken)


def test_a_body_cut_inside_a_frame_is_no_end():
    reader = ResponseReader()
    reader.feed(frame_of(text_event("one")) + frame_of(text_event("two"))[:-3])
    reader.close()
    assert isinstance(reader.failure, errors.StreamCut)


@pytest.mark.parametrize("inside", ["abc", "abc </th"], ids=["whole", "half a tag"])
def test_a_call_inside_of_thinking_ends_it_once(inside):
    events = [text_event(f"<thinking>{inside}"), tool_event("t", input="{}", stop=True), *TAIL]
    _, got = read({"events": events, "mode": "thinking_tags"})
    assert "".join(event.text for event in got if isinstance(event, ThinkingDelta)) == inside
    assert [type(event) for event in got].count(ThinkingEnd) == 1


pieces = st.one_of(
    st.text(max_size=8).map(text_event),
    st.tuples(st.sampled_from("abc"), st.sampled_from(["", "{}", '{"k":', '"v"}', '{"k":"v"}']), st.booleans()).map(
        lambda row: tool_event(row[0], input=row[1], stop=row[2])
    ),
    st.text(max_size=5).map(lambda text: {"event_type": "reasoningContentEvent", "payload": {"text": text}}),
    st.just({"event_type": "reasoningContentEvent", "payload": {"signature": "c2ln"}}),
    st.just({"event_type": "reasoningContentEvent", "payload": {"redactedContent": "cmVk"}}),
)


@settings(max_examples=300)
@given(st.lists(pieces, max_size=14), st.booleans(), st.integers(1, 400))
def test_whatever_kiro_sends_the_events_are_legal_and_no_text_is_lost(events, tags, cut):
    sequence = {"events": [*events, *TAIL], "mode": "thinking_tags" if tags else "normal"}
    _, got = read(sequence, cut)
    assert illegal_step(got) is None
    answer = collect(got)
    if not tags:
        sent = "".join(event["payload"].get("content", "") for event in events)
        assert sorted(answer.text()) == sorted(sent)
