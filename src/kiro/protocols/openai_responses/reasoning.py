"""Reasoning items and back: thinking travels inside `encrypted_content`, together with its signature.

Kiro accepts a signature only with the very text it signs, and clients may show, shorten or leave out
the summary. So the envelope holds both, and the summary of an item that comes back is ignored. Foreign
content is handed on as a foreign signature, which is never sent to Kiro.
"""

import base64
import binascii
from typing import Final

import msgspec

from kiro.conversation.messages import RedactedThinking, Thinking

_ENVELOPE: Final = "kr1."


class _Sealed(msgspec.Struct, omit_defaults=True):
    """Either `text` with its `signature`, or `data` of redacted thinking."""

    text: str = ""
    signature: str | None = None
    data: str | None = None


_decode: Final = msgspec.json.Decoder(_Sealed).decode
_encode: Final = msgspec.json.Encoder().encode


def seal(text: str, signature: str | None) -> str:
    return _ENVELOPE + base64.b64encode(_encode(_Sealed(text, signature))).decode()


def seal_redacted(data: str) -> str:
    return _ENVELOPE + base64.b64encode(_encode(_Sealed(data=data))).decode()


def opened(content: str | None, summary: str) -> Thinking | RedactedThinking:
    """The thinking of a reasoning item that a client sent back."""
    if content is not None and content.startswith(_ENVELOPE):
        try:
            sealed = _decode(base64.b64decode(content.removeprefix(_ENVELOPE), validate=True))
        except (binascii.Error, msgspec.DecodeError):
            return Thinking(summary, None)
        return Thinking(sealed.text, sealed.signature) if sealed.data is None else RedactedThinking(sealed.data)
    return Thinking(summary, content)
