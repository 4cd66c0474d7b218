"""Proof Key for Code Exchange (RFC 7636) and the state of one browser sign-in: made once, used once."""

import base64
import hashlib
import secrets
from typing import Self

import msgspec

from kiro.auth.steps import Callback, SignInFailed
from kiro.redaction import Secret


class Pkce(msgspec.Struct, frozen=True):
    """`verifier` stays here until the code is redeemed; `challenge` and `state` travel with the browser."""

    verifier: Secret
    challenge: str
    state: Secret

    @classmethod
    def make(cls) -> Self:
        verifier = secrets.token_urlsafe(32)
        digest = hashlib.sha256(verifier.encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
        return cls(Secret(verifier), challenge, Secret(secrets.token_urlsafe(24)))


def code_of(callback: Callback) -> str:
    """The code the browser brought. Raises SignInFailed for an error or for none."""
    error = callback.query.get("error")
    if error is not None:
        raise SignInFailed(*_words(error), reason=error if error in _ERRORS else "refused")
    code = callback.query.get("code")
    if not code:
        raise SignInFailed("The browser came back without a code.", reason="no_code", hint="Begin again.")
    return code


def _words(error: str) -> tuple[str]:
    if error == "access_denied":
        return ("The sign-in was refused in the browser.",)
    shown = f" ({error})" if error in _ERRORS else ""
    return (f"The sign-in page reported an error{shown}.",)


_ERRORS = frozenset(
    {
        "access_denied",
        "invalid_request",
        "unauthorized_client",
        "server_error",
        "invalid_scope",
        "temporarily_unavailable",
    }
)
