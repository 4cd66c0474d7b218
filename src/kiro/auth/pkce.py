"""Proof Key for Code Exchange (RFC 7636) and the state of one browser sign-in: made once, used once."""

import base64
import hashlib
import secrets
from typing import Final, Self

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
        message, hint = _ERRORS.get(error, _UNKNOWN)
        raise SignInFailed(message, reason=error if error in _ERRORS else "refused", hint=hint)
    code = callback.query.get("code")
    if not code:
        raise SignInFailed("The browser came back without a code.", reason="no_code", hint="Begin again.")
    return code


_AGAIN: Final = "Begin again; if it comes back, update kiro or sign in by a code (`kiro login device`)."
_UNKNOWN: Final = ("The sign-in page reported an error.", _AGAIN)
_ERRORS: Final[dict[str, tuple[str, str]]] = {
    "access_denied": ("The sign-in was refused in the browser.", "Begin again and confirm it there."),
    "invalid_request": ("The sign-in page did not understand kiro (invalid_request).", _AGAIN),
    "unauthorized_client": (
        "The sign-in page does not let kiro sign anybody in (unauthorized_client).",
        "With a company's account, an administrator has to allow Kiro there.",
    ),
    "invalid_scope": (
        "The sign-in page does not give what Kiro needs (invalid_scope).",
        "With a company's account, an administrator has to allow Kiro there.",
    ),
    "server_error": ("The sign-in page had trouble of its own (server_error).", "Try again in a minute."),
    "temporarily_unavailable": ("The sign-in page is overloaded (temporarily_unavailable).", "Try again in a minute."),
    "interaction_required": (
        "Your company's sign-in wants something that was not done in the browser (interaction_required).",
        "Begin again and go through all its pages.",
    ),
    "login_required": (
        "Nobody is signed in at your company's sign-in (login_required).",
        "Begin again and sign in there.",
    ),
    "consent_required": (
        "Your company has not allowed Kiro yet (consent_required).",
        "Begin again and give the consent it asks for, or ask an administrator for it.",
    ),
}
"""The codes of RFC 6749 and OpenID Connect. A code that is not known here is never quoted: anybody can write it."""
