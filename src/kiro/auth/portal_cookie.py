"""Builder ID by the cookie of AWS's sign-in portal: the session behind it confirms our own device code.

No official client does this; it scripts the portal's page of consent. The cookie is used for two requests
and is in nothing that is kept.
"""

from typing import Final

import msgspec

from kiro.auth.device import device_code, poll, read_poll
from kiro.auth.http import HttpAsk, HttpReply
from kiro.auth.oidc import Clock, Place, check, signed_in
from kiro.auth.pasted import check_whole
from kiro.auth.refresh import USER_AGENT, json_ask
from kiro.auth.steps import Flow, SignInFailed
from kiro.errors import UpstreamBroken
from kiro.redaction import Secret

_PORTAL: Final = "https://portal.sso.us-east-1.amazonaws.com"
_REFERER: Final = "https://view.awsapps.com/"
_NAME: Final = "x-amz-sso_authn"
_PATIENCE_S: Final = 120.0


def checked_cookie(text: str) -> Secret:
    """The value, with or without its name before it. Raises UsageError for what cannot be one."""
    value = text.strip().removeprefix(f"{_NAME}=").rstrip(";")
    check_whole(Secret(value), "cookie")
    return Secret(value)


def cookie_flow(cookie: Secret, at: Place, now: Clock) -> Flow:
    """Sign in at `at`, which is Builder ID. Raises SignInFailed, or an UpstreamError."""
    portal = at.base_url or _PORTAL
    reply: HttpReply = yield _with_cookie("GET", f"{portal}/token/whoAmI", cookie)
    _check_cookie(reply)
    client, code, ask = yield from device_code(at)
    reply = yield _with_cookie("POST", f"{portal}/session/device", cookie)
    _check_cookie(reply)
    session = _text(reply, "token")
    body: dict[str, object] = {"userCode": code.shown.user_code, "userSessionId": session}
    reply = yield _from_the_page(f"{at.base}/device_authorization/accept_user_code", body)
    check(reply, "The portal's consent")
    body = {"deviceContext": _context(reply), "userSessionId": session}
    reply = yield _from_the_page(f"{at.base}/device_authorization/associate_token", body)
    check(reply, "The portal's consent")
    shown = msgspec.structs.replace(code.shown, expires_in_s=min(code.shown.expires_in_s, _PATIENCE_S))
    answer = yield from poll(msgspec.structs.replace(code, shown=shown), ask, read_poll, now, show=False)
    return signed_in(answer, at, client, now())


def _with_cookie(method: str, url: str, cookie: Secret) -> HttpAsk:
    headers = {
        "Authorization": f"Bearer {cookie.reveal()}",
        "Content-Type": "application/json",
        "Accept": "application/json",
        "User-Agent": USER_AGENT,
    }
    return HttpAsk(method, url, headers, b"{}" if method == "POST" else b"")


def _from_the_page(url: str, body: dict[str, object]) -> HttpAsk:
    ask = json_ask(url, body)
    return msgspec.structs.replace(ask, headers={**ask.headers, "Referer": _REFERER})


def _check_cookie(reply: HttpReply) -> None:
    if reply.status in (400, 401, 403):
        raise SignInFailed(
            "AWS's portal does not accept this cookie.",
            reason="cookie",
            hint="Sign in on view.awsapps.com/start and copy it anew, or use `kiro login device`.",
        )
    check(reply, "The portal's session")


def _text(reply: HttpReply, name: str) -> str:
    try:
        found = msgspec.json.decode(reply.body, type=dict[str, object]).get(name)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        found = None
    if not isinstance(found, str) or not found:
        raise _unreadable()
    return found


def _context(reply: HttpReply) -> dict[str, object]:
    try:
        found = msgspec.json.decode(reply.body, type=dict[str, dict[str, object]]).get("deviceContext")
    except (msgspec.MsgspecError, UnicodeDecodeError):
        found = None
    if not found:
        raise _unreadable()
    return found


def _unreadable() -> UpstreamBroken:
    return UpstreamBroken(
        "AWS's portal gave an answer that kiro cannot read.", hint="It may have changed; use `kiro login device`."
    )
