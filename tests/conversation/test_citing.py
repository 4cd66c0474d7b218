"""Which pages a text is said to rest on."""

import pytest

from kiro.conversation.citing import Citation, cited
from kiro.conversation.events import SearchHit

ONE, TWO, NOWHERE = SearchHit("One", "https://a.example/1"), SearchHit("Two", "https://b.example/2"), SearchHit("?", "")

CASES = {
    "the pages it names, where it names them": (
        "See https://b.example/2 now.",
        [ONE, TWO],
        [Citation(TWO, 4, 23)],
    ),
    "in the order of the hits": (
        "https://b.example/2 https://a.example/1",
        [ONE, TWO],
        [Citation(ONE, 20, 39), Citation(TWO, 0, 19)],
    ),
    "all of it on all, when it names none": ("Yes.", [ONE, TWO], [Citation(ONE, 0, 4), Citation(TWO, 0, 4)]),
    "each page once": ("Yes.", [ONE, ONE], [Citation(ONE, 0, 4)]),
    "no page without an address": ("Yes.", [NOWHERE], []),
    "nothing, when nothing was found": ("Yes.", [], []),
    "nothing, when nothing was said": ("", [ONE], []),
}


@pytest.mark.parametrize(("text", "hits", "citations"), CASES.values(), ids=CASES)
def test_a_text_rests_on(text, hits, citations):
    assert cited(text, hits) == citations
