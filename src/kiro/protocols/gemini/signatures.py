"""Thinking inside a `thoughtSignature`: base64 bytes that a client keeps and sends back unread.

Clients of this dialect drop thought parts from their history, but keep the signature on the part
that followed. Kiro takes a signature only with the very text it signs; so the text travels with it.

    signature NUL text      thinking
    data SOH                thinking that only its maker can read
"""

import base64
import binascii

from kiro.conversation.messages import RedactedThinking, Thinking

_TEXT = "\0"
_REDACTED = "\1"


def pack(signature: str, text: str) -> str:
    return _encoded(signature + _TEXT + text)


def pack_redacted(data: str) -> str:
    return _encoded(data + _REDACTED)


def unpack(given: str | None, thought: str) -> Thinking | RedactedThinking | None:
    """What a signature stands for; None for words of others, such as `skip_thought_signature_validator`.

    `thought` is the text of the thought parts before it, for a signature that came without its text.
    """
    if not given:
        return None
    padded = given.translate(_TO_STANDARD).rstrip("=")
    try:
        plain = base64.b64decode(padded + "=" * (-len(padded) % 4), validate=True).decode()
    except (binascii.Error, ValueError):
        return None
    if plain.endswith(_REDACTED):
        return RedactedThinking(plain[:-1])
    signature, separator, text = plain.partition(_TEXT)
    return Thinking(text if separator else thought, signature)


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


_TO_STANDARD = str.maketrans("-_", "+/")
