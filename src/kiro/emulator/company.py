"""A company's own identity provider: discovery, the sign-in page, and codes for tokens.

Its addresses in documents name the issuer's host; whoever was told to ask the emulator instead keeps the
paths. What goes wrong is set by a test: `authorize_error`, `token_error`, `discovery_status`.
"""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from kiro.emulator.accounts import TOKEN_LIFETIME_S, People, Person, challenge_of, grant_code

Reply = tuple[int, dict[str, Any]]


class Company:
    """`sign_in_as` gives the person who signs in."""

    def __init__(self, people: People, sign_in_as: Callable[[], Person]) -> None:
        self._people = people
        self._sign_in_as = sign_in_as
        self._codes: dict[str, tuple[str, str, str]] = {}
        self.issuer = "https://login.company.example/tenant/v2.0"
        self.client_id = "company-client"
        self.scopes = "api://kiro/codewhisperer:conversations,openid"
        self.discovery_status = 200
        self.authorize_error: str | None = None
        """The error its page comes back with instead of a code."""
        self.token_error: str | None = None
        """The error a code is answered with."""

    def for_portal(self) -> dict[str, str]:
        """What Kiro's portal tells of it."""
        return {
            "issuer_url": self.issuer,
            "client_id": self.client_id,
            "scopes": self.scopes,
            "login_hint": "sue@company.example",
            "audience": "kiro",
        }

    def discovery(self) -> Reply:
        """`GET …/.well-known/openid-configuration`."""
        if self.discovery_status != 200:
            return self.discovery_status, {"error": "not_found"}
        base = self.issuer.removesuffix("/v2.0") + "/oauth2/v2.0"
        return 200, {
            "issuer": self.issuer,
            "authorization_endpoint": f"{base}/authorize",
            "token_endpoint": f"{base}/token",
        }

    def authorize(self, query: Mapping[str, str]) -> str:
        """`GET …/authorize`: where the browser is sent back to."""
        back, state = query.get("redirect_uri", ""), query.get("state", "")
        if self.authorize_error is not None:
            return f"{back}?{urlencode({'error': self.authorize_error, 'state': state})}"
        if query.get("client_id") != self.client_id or "offline_access" not in query.get("scope", "").split():
            return f"{back}?{urlencode({'error': 'invalid_request', 'state': state})}"
        code = grant_code("company", len(self._codes) + 1)
        self._codes[code] = (query.get("code_challenge", ""), back, self.client_id)
        return f"{back}?{urlencode({'code': code, 'state': state})}"

    def redeem(self, posted: Mapping[str, Any]) -> Reply:
        """`POST …/token` with a code, once; a form, answered in snake_case, the lifetime as a text."""
        if self.token_error is not None:
            return 400, {"error": self.token_error, "error_description": "The company says no."}
        known = self._codes.pop(str(posted.get("code", "")), None)
        if known != (challenge_of(posted.get("code_verifier")), posted.get("redirect_uri"), posted.get("client_id")):
            return 400, {"error": "invalid_grant", "error_description": "The code is not valid."}
        if "client_secret" in posted:
            return 401, {"error": "invalid_client", "error_description": "A public client has no secret."}
        tokens = self._people.issue(self._sign_in_as())
        return 200, {
            "access_token": tokens.access,
            "refresh_token": tokens.refresh,
            "expires_in": str(TOKEN_LIFETIME_S),
            "token_type": "Bearer",
        }
