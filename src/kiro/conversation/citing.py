"""Which pages a text was written with: those whose address it names; where it names none, all that were found for it."""

from collections.abc import Sequence

import msgspec

from kiro.conversation.events import SearchHit


class Citation(msgspec.Struct, frozen=True):
    """A page, and the characters of the text that rest on it."""

    hit: SearchHit
    start: int
    end: int


def cited(text: str, hits: Sequence[SearchHit]) -> list[Citation]:
    """Each page once, in the order of the hits."""
    if not text:
        return []
    pages = {hit.url: hit for hit in hits if hit.url}
    named = [Citation(hit, at, at + len(url)) for url, hit in pages.items() if (at := text.find(url)) >= 0]
    return named or [Citation(hit, 0, len(text)) for hit in pages.values()]
