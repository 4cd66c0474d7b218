"""Token estimates: not exact, but never far below."""

import base64
import struct

import msgspec
import pytest

from kiro.conversation.counting import estimate_conversation, estimate_image, estimate_json, estimate_text, tokens_of
from kiro.conversation.messages import Document, DocumentFile, Image, ImageLink, RedactedThinking
from support.conversations import ONE_PIXEL, assistant, call, result, said, tool, user


def png(width, height):
    return base64.b64encode(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", width, height) + b"\0" * 40).decode()


@pytest.mark.parametrize(
    ("plain", "wide", "tokens"), [(0, 0, 0), (1, 0, 1), (28, 0, 10), (29, 0, 11), (0, 15, 10), (28, 15, 20)]
)
def test_characters(plain, wide, tokens):
    assert tokens_of(plain, wide) == tokens


def test_other_scripts_cost_more_than_ascii():
    assert estimate_text("a" * 30) == 11
    assert estimate_text("日" * 30) == 20
    assert 11 <= estimate_text("ä" * 3 + "a" * 27) <= 13


@pytest.mark.parametrize("text", ["plain words " * 20_000, "日本語 and words " * 10_000], ids=["ascii", "mixed"])
def test_the_wire_is_estimated_like_the_text(text):
    assert estimate_json(msgspec.json.encode(text)) == pytest.approx(estimate_text(text), rel=0.03)


@pytest.mark.parametrize(
    ("size", "tokens"), [((10, 10), 256), ((1000, 900), 1200), ((8000, 8000), 1600)], ids=["small", "usual", "huge"]
)
def test_pictures_cost_by_area(size, tokens):
    assert estimate_image(png(*size)) == tokens


def test_a_picture_of_unknown_size_costs_something():
    assert estimate_image("AAAA") == 1000


def test_everything_in_a_conversation_counts():
    small = said(user("go"))
    for bigger in (
        said(user("go"), assistant("x")),
        said(user("go", Image(ONE_PIXEL, "image/png"))),
        said(user("go", ImageLink("u"))),
        said(user("go", Document("t", "words"))),
        said(user("go", DocumentFile("t", "application/pdf", "A" * 100))),
        said(user("go", result("1", "words"))),
        said(user("go"), assistant(call("1", given='{"a":1}'))),
        said(user("go"), system=("Base.",)),
        said(user("go"), tools=(tool(),)),
    ):
        assert estimate_conversation(bigger) > estimate_conversation(small)
    assert estimate_conversation(said(user("go", RedactedThinking("x")))) == estimate_conversation(small)
