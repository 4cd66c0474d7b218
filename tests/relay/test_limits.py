"""Stop sequences and small limits, enforced on the way out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro.conversation.events import (
    Finish,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallDelta,
    ToolCallEnd,
    ToolCallStart,
    Usage,
)
from kiro.relay.limits import Limits

END = Finish("end_turn", Usage())


def run(texts, stops=(), max_tokens=None):
    limits = Limits(stops, max_tokens)
    out = []
    for event in [*(TextDelta(text) for text in texts), END]:
        out += limits.feed([event], lambda: Usage(output=7))
        if limits.stopped:
            break
    text = "".join(event.text for event in out if isinstance(event, TextDelta))
    return text, out[-1], limits


@pytest.mark.parametrize(
    ("texts", "stops", "text", "matched"),
    [
        (["one STOP two"], ["STOP"], "one ", "STOP"),
        (["one ST", "OP two"], ["STOP"], "one ", "STOP"),
        (["S", "T", "O", "P"], ["STOP"], "", "STOP"),
        (["one STO"], ["STOP"], "one STO", None),
        (["a\n\nHuman:", " b"], ["\n\nHuman:"], "a", "\n\nHuman:"),
        (["abc"], ["c", "b"], "a", "b"),
        (["aab"], ["ab"], "a", "ab"),
        (["xaab"], ["aaab", "aab"], "x", "aab"),
        (["nothing"], ["STOP"], "nothing", None),
        (["nothing"], [""], "nothing", None),
    ],
    ids=[
        "in one delta",
        "over two deltas",
        "a letter at a time",
        "half of one at the end is text",
        "with line breaks",
        "the earliest of several",
        "after a false start",
        "the one that fits",
        "none",
        "an empty one is ignored",
    ],
)
def test_stop_sequences(texts, stops, text, matched):
    got, last, limits = run(texts, stops)
    assert got == text
    assert limits.stopped == (matched is not None)
    assert last.stop_sequence == matched
    assert last.reason == ("stop_sequence" if matched else "end_turn")


@given(
    st.lists(st.text(alphabet="abS T", max_size=5), max_size=10),
    st.lists(st.text(alphabet="abST", min_size=1, max_size=4), max_size=3),
)
def test_cutting_a_text_differently_stops_at_the_same_place(texts, stops):
    whole = "".join(texts)
    cut, _, limits = run(texts, stops)
    at_once, _, _ = run([whole] if whole else [], stops)
    assert cut == at_once
    if not limits.stopped:
        assert cut == whole
    assert not any(stop in cut for stop in stops)


def test_a_limit_of_one_token_still_answers():
    text, last, _ = run(["Hello there, this is long."], max_tokens=1)
    assert text
    assert len(text) <= 8
    assert last.reason == "max_tokens"
    assert last.usage.output == 7


def test_an_answer_within_the_limit_is_left_alone():
    text, last, _ = run(["short"], max_tokens=100)
    assert (text, last.reason) == ("short", "end_turn")


def test_a_tool_call_that_has_begun_is_never_cut():
    limits = Limits((), 1)
    events = [ToolCallStart("t", "f"), ToolCallDelta('{"a":"' + "x" * 500 + '"}'), ToolCallEnd(), END]
    assert limits.feed(events, Usage) == events


def test_thinking_counts_but_is_not_cut():
    limits = Limits((), 5)
    out = limits.feed([ThinkingDelta("t" * 400), ThinkingEnd(), TextDelta("answer"), END], Usage)
    assert [type(event) for event in out[:2]] == [ThinkingDelta, ThinkingEnd]
    assert out[-1].reason == "max_tokens"


def test_held_text_comes_before_what_follows_it():
    out = Limits(["STOP"], None).feed([TextDelta("a ST"), ToolCallStart("t", "f")], Usage)
    assert "".join(event.text for event in out if isinstance(event, TextDelta)) == "a ST"
    assert isinstance(out[-1], ToolCallStart)
