"""Signatures of reasoning: bound to the text and the model family, and recognised again without any memory.

The secret is a constant on purpose: signatures must stay valid across emulators, so that a test may
replay a conversation to a second one. They protect nothing.
"""

import base64
import hashlib

_SECRET = b"kiro emulator"


def sign(family: str, text: str) -> str:
    """What a model of `family` sends after the reasoning `text`; base64, as the real ones look."""
    return "Emu" + _digest(family, text)


def is_genuine(signature: str, family: str, text: str) -> bool:
    """GPT reasoning is opaque: the text beside its signature is a placeholder and may be left out."""
    return signature == sign(family, "" if family == "gpt" else text)


def redact(family: str) -> str:
    """A redacted reasoning block of that family: base64 that nobody can look into."""
    return base64.b64encode(b"redacted:" + _digest(family, "").encode()).decode()


def is_genuine_redaction(data: str, family: str) -> bool:
    return data == redact(family)


def _digest(family: str, text: str) -> str:
    return base64.b64encode(hashlib.sha256(_SECRET + family.encode() + b"\0" + text.encode()).digest()).decode()
