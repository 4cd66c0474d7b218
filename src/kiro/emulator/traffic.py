"""One request as it came: which operation it is, whose token it carries, and what became of it."""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import parse_qsl

import msgspec

from kiro.emulator.faults import Operation
from kiro.emulator.refusal import Refusal
from kiro.emulator.wire import UserMessage, decode_request

DISCOVERY: Final = "/.well-known/openid-configuration"
TOKEN_ENDPOINTS: Final = ("/oauth2/token", "/oauth2/v2.0/token")
"""How the path of a company's token service ends."""

_PATHS: Final[dict[str, Operation]] = {
    "/generateAssistantResponse": "generate",
    "/ListAvailableModels": "models",
    "/getUsageLimits": "usage",
    "/ListAvailableProfiles": "profiles",
    "/List-Available-Profiles": "profiles",
    "/mcp": "mcp",
    "/refreshToken": "refresh",
    "/token": "refresh",
    "/client/register": "register",
    "/device_authorization": "register",
    "/device_authorization/accept_user_code": "register",
    "/device_authorization/associate_token": "register",
    "/token/whoAmI": "register",
    "/session/device": "register",
    "/oauth/device/authorization": "register",
    "/oauth/device/poll": "refresh",
    "/oauth/token": "refresh",
    "/logout": "logout",
}
_TARGETS: Final[dict[str, Operation]] = {
    "AmazonCodeWhispererStreamingService.GenerateAssistantResponse": "generate",
    "KiroRuntimeService.GenerateAssistantResponse": "generate",
    "KiroRuntimeService.InvokeMCP": "mcp",
    "AmazonCodeWhispererService.ListAvailableModels": "models",
    "KiroControlPlaneBearerService.ListAvailableModels": "models",
    "AmazonCodeWhispererService.GetUsageLimits": "usage",
    "KiroControlPlaneBearerService.GetUsageLimits": "usage",
    "AmazonCodeWhispererService.ListAvailableProfiles": "profiles",
    "KiroControlPlaneBearerService.ListAvailableProfiles": "profiles",
}


class Recorded(msgspec.Struct, kw_only=True):
    """One request as it arrived, and what became of it. Header names are in lower case."""

    method: str
    path: str
    query: dict[str, str]
    operation: Operation | None
    headers: dict[str, str]
    body: bytes
    account: str | None = None
    status: int = 0
    refusal: Refusal | None = None
    number: int = 0
    """Counts from 1; the last part of the request id Kiro answers with."""
    aborted: bool = False
    """The client went away before the answer was complete."""

    def document(self) -> Any:
        """The body as JSON."""
        return msgspec.json.decode(self.body)

    @property
    def bearer(self) -> str:
        """The access token, `""` when there is none."""
        kind, _, token = self.headers.get("authorization", "").partition(" ")
        return token.strip() if kind.lower() == "bearer" else ""

    def posted(self) -> dict[str, Any] | None:
        """What was posted: a form on a company's token service, a JSON object elsewhere; `None` when it is neither.

        An empty body is an empty object.
        """
        if self.path.endswith(TOKEN_ENDPOINTS):
            return dict(parse_qsl(self.body.decode(errors="replace")))
        try:
            value = msgspec.json.decode(self.body or b"{}")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return None
        return value if isinstance(value, dict) else None

    def refresh_token(self) -> str:
        """The refresh token a sign-in service was given, `""` in every other request."""
        posted = self.posted() if self.operation == "refresh" else None
        return str((posted or {}).get("refreshToken") or (posted or {}).get("refresh_token") or "")

    def fault_lines(self) -> str:
        """The user text whose EMULATE-FAULT lines count: the last one that has any."""
        if self.operation != "generate" or b"EMULATE-FAULT" not in self.body:
            return ""
        try:
            turns = decode_request(self.body).turns
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return ""
        texts = [turn.content for turn in turns if isinstance(turn, UserMessage) and "EMULATE-FAULT" in turn.content]
        return texts[-1] if texts else ""


def operation_of(path: str, headers: Mapping[str, str]) -> Operation | None:
    """The operation of a path, or of the target on `/`. `headers` in lower case."""
    if path == "/":
        return _TARGETS.get(headers.get("x-amz-target", ""))
    if path.endswith(TOKEN_ENDPOINTS):
        return "refresh"
    if path.endswith(DISCOVERY):
        return "register"
    return _PATHS.get(path)
