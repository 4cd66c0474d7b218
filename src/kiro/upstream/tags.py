"""Lifts `<thinking>…</thinking>` out of text: a push parser for models that think only because we asked by tags.

The tag counts at the very start of the answer (white space may stand before it) and nowhere else, so
text that quotes it stays text. The end tag counts unless it is quoted by a backtick or a quotation
mark; up to two line breaks after it belong to it. A partial tag is held back only while it can still
become one. Without an end tag everything was thinking.

    white space or "<thinking>" cut short → waiting
    waiting  -- "<thinking>"  → thinking -- "</thinking>" → text
    waiting  -- anything else → text
"""

from typing import Final, Literal

_OPEN: Final = "<thinking>"
_CLOSE: Final = "</thinking>"
_QUOTES: Final = "`\"'"

Piece = tuple[Literal["text", "thinking", "end"], str]


class TagParser:
    """`feed` text deltas, get `(kind, text)` pieces; `end` closes the thinking block."""

    __slots__ = ("_breaks", "_held", "_last", "_state")

    def __init__(self) -> None:
        self._state: Literal["waiting", "thinking", "after", "text"] = "waiting"
        self._held = ""
        self._last = ""
        self._breaks = 0

    def feed(self, delta: str) -> list[Piece]:
        pieces: list[Piece] = []
        text = self._held + delta
        self._held = ""
        while text:
            if self._state == "waiting":
                text = self._wait(text, pieces)
            elif self._state == "thinking":
                text = self._think(text, pieces)
            elif self._state == "after":
                text = self._skip_breaks(text)
            else:
                pieces.append(("text", text))
                break
        return pieces

    def close(self) -> list[Piece]:
        """What was still held back, now that no more text comes."""
        held, self._held = self._held, ""
        if self._state == "thinking":
            self._state = "text"
            return [("thinking", held), ("end", "")] if held else [("end", "")]
        if self._state == "waiting":
            self._state = "text"
            return [("text", held)] if held else []
        return []

    def _wait(self, text: str, pieces: list[Piece]) -> str:
        rest = text.lstrip()
        if rest.startswith(_OPEN):
            self._state = "thinking"
            return rest[len(_OPEN) :]
        if _OPEN.startswith(rest):
            self._held = text
            return ""
        self._state = "text"
        pieces.append(("text", text))
        return ""

    def _think(self, text: str, pieces: list[Piece]) -> str:
        end = self._find_close(text)
        if end < 0:
            keep = _possible_start(text, _CLOSE)
            self._held = text[len(text) - keep :] if keep else ""
            self._give_thinking(text[: len(text) - keep], pieces)
            return ""
        self._give_thinking(text[:end], pieces)
        pieces.append(("end", ""))
        self._state = "after"
        return text[end + len(_CLOSE) :]

    def _give_thinking(self, text: str, pieces: list[Piece]) -> None:
        if text:
            self._last = text[-1]
            pieces.append(("thinking", text))

    def _find_close(self, text: str) -> int:
        at = text.find(_CLOSE)
        while at >= 0:
            before = text[at - 1] if at else self._last
            if not before or before not in _QUOTES:
                return at
            at = text.find(_CLOSE, at + 1)
        return -1

    def _skip_breaks(self, text: str) -> str:
        while self._breaks < 2 and text.startswith("\n"):
            self._breaks += 1
            text = text[1:]
        if text or self._breaks == 2:
            self._state = "text"
        return text


def _possible_start(text: str, tag: str) -> int:
    """Length of the longest end of `text` that is a proper beginning of `tag`."""
    for length in range(min(len(tag) - 1, len(text)), 0, -1):
        if tag.startswith(text[-length:]):
            return length
    return 0
