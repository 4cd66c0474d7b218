"""Compaction: a long history becomes a summary that only this proxy can read back.

A client that runs out of window sends its whole history and wants one opaque item in its place. The
model is asked for a summary without tools; the summary travels in an envelope of our own, and comes
back in the next request as the words of a user turn.
"""

import base64
import binascii
from typing import Final

import msgspec

_ENVELOPE: Final = "kc1."
INSTRUCTION: Final = """\
The conversation has become too long and will be replaced by a summary of it. Write that summary now; \
it is all that will be known afterwards. Tell: what the user wants, in their own words where they matter; \
decisions made and why; what was done, with the names of files, functions, commands and their outcomes; \
problems met and how they were solved; what is unfinished, and the next step. Keep exact names, paths, \
numbers and error messages. Do not call tools, do not continue the work, do not address the user: \
answer with the summary alone."""
_PREFACE: Final = "Summary of the conversation so far:\n\n"
UNREADABLE: Final = "[An earlier part of this conversation was compacted elsewhere and cannot be read here.]"


class _Compacted(msgspec.Struct):
    summary: str


_decode: Final = msgspec.json.Decoder(_Compacted).decode
_encode: Final = msgspec.json.Encoder().encode


def wrap_summary(text: str) -> str:
    """The summary as clients get it: opaque text."""
    return _ENVELOPE + base64.b64encode(_encode(_Compacted(text))).decode()


def unwrap_summary(content: str | None) -> str | None:
    """The summary of our own envelope, or None when somebody else made it."""
    if content is None or not content.startswith(_ENVELOPE):
        return None
    try:
        return _decode(base64.b64decode(content.removeprefix(_ENVELOPE), validate=True)).summary
    except (binascii.Error, msgspec.DecodeError):
        return None


def told(content: str | None) -> str:
    """What a user turn says in the place of a compaction item."""
    summary = unwrap_summary(content)
    return UNREADABLE if summary is None else _PREFACE + summary
