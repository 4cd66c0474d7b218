"""What the access token of a company's provider says about its owner: for showing, never for a decision."""

import base64
import binascii
from typing import Any, Final

import msgspec

from kiro.redaction import Secret

_NAMES: Final = ("email", "preferred_username", "upn")


def claimed_email(token: Secret | None) -> str | None:
    """The email address in a JSON Web Token, whose signature is not looked at; `None` for anything else."""
    parts = token.reveal().split(".") if token is not None else []
    if len(parts) != 3:
        return None
    try:
        claims: Any = msgspec.json.decode(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
    except (binascii.Error, msgspec.MsgspecError, UnicodeDecodeError, ValueError):
        return None
    found = (claims.get(name) for name in _NAMES) if isinstance(claims, dict) else ()
    return next((text for text in found if isinstance(text, str) and "@" in text and len(text) < 255), None)
