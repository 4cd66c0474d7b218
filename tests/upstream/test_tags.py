"""Thinking inside tags, lifted out of text."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kiro.upstream.tags import TagParser


def parse(text, size=None):
    parser, pieces = TagParser(), []
    for at in range(0, len(text), size or len(text) or 1):
        pieces += parser.feed(text[at : at + (size or len(text))])
    pieces += parser.close()
    joined = {"text": "", "thinking": "", "end": 0}
    for kind, piece in pieces:
        if kind == "end":
            joined["end"] += 1
        else:
            joined[kind] += piece
    return joined


@pytest.mark.parametrize("size", [1, 2, 7, None])
@pytest.mark.parametrize(
    ("said", "thinking", "text"),
    [
        ("<thinking>a</thinking>b", "a", "b"),
        ("\n  <thinking>a</thinking>\n\n\nb", "a", "\nb"),
        ("<thinking>x < y</thinking>b", "x < y", "b"),
        ("<thinking>say `</thinking>` now</thinking>b", "say `</thinking>` now", "b"),
        ("<thinking>never closed", "never closed", ""),
        ("<thinking>cut </thin", "cut </thin", ""),
        ("<think", "", "<think"),
        ("text <thinking>a</thinking>", "", "text <thinking>a</thinking>"),
        ("  plain", "", "  plain"),
        ("<thinking></thinking>b", "", "b"),
        ("", "", ""),
    ],
    ids=[
        "a thought and an answer",
        "white space before, two line breaks after",
        "a less-than sign inside",
        "a quoted end tag is not the end",
        "without an end tag everything was thinking",
        "half an end tag is thinking too",
        "half a start tag is text",
        "a tag in the middle is text",
        "leading spaces without a tag are text",
        "an empty thought",
        "nothing",
    ],
)
def test_tags(said, thinking, text, size):
    got = parse(said, size)
    assert (got["thinking"], got["text"]) == (thinking, text)


@given(st.text(alphabet="<>/thinkg `a\n", max_size=60), st.integers(1, 9))
def test_cutting_changes_nothing_and_text_without_a_start_tag_is_untouched(said, size):
    assert parse(said, size) == parse(said)
    if not said.lstrip().startswith("<thinking>"):
        assert parse(said)["text"] == said


@given(st.text(alphabet="abc \n<", max_size=20), st.text(alphabet="abc <", max_size=20))
def test_thinking_and_text_together_are_what_came_in(thought, answer):
    got = parse(f"<thinking>{thought}</thinking>\n\n{answer}", 3)
    assert (got["thinking"], got["text"], got["end"]) == (thought, answer, 1)
