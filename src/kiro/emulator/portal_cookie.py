"""AWS's sign-in portal, as far as its cookie goes: the session behind it confirms a device code without a page."""

from collections.abc import Mapping
from typing import Any

from kiro.emulator.signin import Reply, SignIn


class PortalCookie:
    """`cookie` is the one value that is accepted; a session is good for one code."""

    def __init__(self, sign_in: SignIn) -> None:
        self._sign_in = sign_in
        self._sessions: set[str] = set()
        self._contexts: dict[str, str] = {}
        self.cookie = "emulated-portal-cookie"

    def who_am_i(self, bearer: str) -> Reply:
        """`GET /token/whoAmI`."""
        if bearer != self.cookie:
            return 401, {"message": "Session token not found or invalid"}
        return 200, {"userId": "emulated"}

    def session(self, bearer: str) -> Reply:
        """`POST /session/device`."""
        if bearer != self.cookie:
            return 401, {"message": "Session token not found or invalid"}
        token = f"session-{len(self._sessions) + 1}"
        self._sessions.add(token)
        return 200, {"token": token}

    def accept(self, posted: Mapping[str, Any]) -> Reply:
        """`POST /device_authorization/accept_user_code`."""
        code = str(posted.get("userCode", ""))
        if posted.get("userSessionId") not in self._sessions:
            return 400, {"error": "invalid_request", "error_description": "Invalid session"}
        context = f"context-{len(self._contexts) + 1}"
        self._contexts[context] = code
        return 200, {"deviceContext": {"deviceContextId": context, "clientId": "client", "clientType": "public"}}

    def associate(self, posted: Mapping[str, Any]) -> Reply:
        """`POST /device_authorization/associate_token`: the person's yes."""
        context = posted.get("deviceContext")
        found = context.get("deviceContextId", "") if isinstance(context, dict) else ""
        if posted.get("userSessionId") not in self._sessions or found not in self._contexts:
            return 400, {"error": "invalid_request", "error_description": "Invalid context"}
        self._sign_in.approve(self._contexts.pop(found))
        return 200, {}
