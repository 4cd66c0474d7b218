"""Sign-in by a code that is confirmed in any browser, on this computer or another: AWS Builder ID, Identity Center.

Ask for a code → show it → poll. One interval passes before each poll. `slow_down` widens the
interval by 5 s for good (RFC 8628). A poll without a readable answer counts as pending, but five in
a row end the sign-in; the code's own expiry bounds everything.
"""

from collections.abc import Callable, Generator
from typing import Any, Final, TypeVar, assert_never
from urllib.parse import urlsplit

import msgspec

from kiro.auth.credentials import OidcClient
from kiro.auth.http import HttpAsk, HttpReply
from kiro.auth.oidc import (
    DEVICE_GRANT,
    Clock,
    Place,
    check,
    read_registration,
    refusal,
    register_ask,
    signed_in,
    token_ask,
)
from kiro.auth.refresh import TokenAnswer, decoded, error_code, json_ask
from kiro.auth.steps import Flow, ShowCode, SignInFailed, Step, Wait
from kiro.errors import NetworkFailed, UpstreamBroken, UpstreamError, UpstreamTimeout
from kiro.redaction import Secret

T = TypeVar("T")

SLOWER_S: Final = 5.0
_FAILURES: Final = 5
_INTERVAL_S: Final = (1.0, 60.0)
_EXPIRES_S: Final = (30.0, 1800.0)
_AWS_HOSTS: Final = (".amazonaws.com", ".amazonaws.com.cn", ".awsapps.com", ".awsapps.cn", ".aws")


class DeviceCode(msgspec.Struct, frozen=True):
    """`code` stays here and is polled with; the rest is for the person."""

    code: Secret
    shown: ShowCode
    interval_s: float


class Pending(msgspec.Struct, frozen=True):
    """Not yet confirmed. `slower`: and polled too fast."""

    slower: bool = False


class Unreadable(msgspec.Struct, frozen=True):
    """No answer, or one that says nothing: as good as pending, for a while."""

    error: UpstreamError


class Done(msgspec.Struct, frozen=True):
    answer: TokenAnswer


Polled = Pending | Unreadable | Done


def device_flow(at: Place, now: Clock) -> Flow:
    """Sign in at `at`. Ends with the account; raises SignInFailed, or the UpstreamError that kept it from working."""
    client, code, ask = yield from device_code(at)
    answer = yield from poll(code, ask, read_poll, now)
    return signed_in(answer, at, client, now())


def device_code(at: Place) -> Generator[Step, Any, tuple[OidcClient, DeviceCode, HttpAsk]]:
    """A fresh client of ours, a code, and the request to poll with."""
    reply: HttpReply = yield register_ask(at)
    client = read_registration(reply)
    pair = {"clientId": client.id, "clientSecret": client.secret.reveal()}
    reply = yield json_ask(at.base + "/device_authorization", {**pair, "startUrl": at.start_url})
    check(reply, "The device code")
    code = read_code(reply, lambda link: _trusted(link, at))
    return client, code, token_ask(at, client, DEVICE_GRANT, {"deviceCode": code.code.reveal()})


def poll(
    code: DeviceCode, ask: HttpAsk, read: Callable[[HttpReply], Polled], now: Clock, *, show: bool = True
) -> Generator[Step, Any, TokenAnswer]:
    """Show the code and poll until it is confirmed. Raises SignInFailed when it expires or is refused.

    `show` False leaves the person out of it, for a code that is confirmed in another way.
    """
    ends = now().timestamp() + code.shown.expires_in_s
    if show:
        yield code.shown
    interval_s, failures = code.interval_s, 0
    while ends - now().timestamp() > interval_s:
        yield Wait(interval_s)
        polled: Polled
        try:
            polled = read((yield ask))
        except (NetworkFailed, UpstreamTimeout) as error:
            polled = Unreadable(error)
        match polled:
            case Done():
                return polled.answer
            case Pending():
                failures = 0
                interval_s += SLOWER_S if polled.slower else 0.0
            case Unreadable():
                failures += 1
                if failures >= _FAILURES:
                    raise polled.error
            case _:
                assert_never(polled)
    raise refusal(400, "expired_token", "The code")


def read_poll(reply: HttpReply) -> Polled:
    """What a poll of AWS's token service means. The body decides before the status."""
    answer = decoded(reply.body)
    code = error_code(answer, reply)
    if code == "authorization_pending":
        return Pending()
    if code == "slow_down":
        return Pending(slower=True)
    if answer is not None and not code and (answer.access_camel or answer.access_snake):
        return Done(answer)
    if reply.status == 429:
        return Pending(slower=True)
    if not code and 400 <= reply.status < 500 and answer is None:
        return Unreadable(UpstreamBroken("The sign-in service gives no readable answer.", upstream_status=reply.status))
    found = refusal(reply.status, code, "The sign-in")
    if isinstance(found, SignInFailed) and (code or reply.status >= 400):
        raise found
    if isinstance(found, UpstreamError):
        return Unreadable(found)
    return Unreadable(UpstreamBroken("The sign-in service gives no readable answer.", upstream_status=reply.status))


class _Code(msgspec.Struct, frozen=True):
    """A code answer: AWS counts in seconds, Kiro's own service in milliseconds."""

    code: str = msgspec.field(name="deviceCode")
    user_code: str = msgspec.field(name="userCode")
    page: str = msgspec.field(name="verificationUri", default="")
    link: str = msgspec.field(name="verificationUriComplete", default="")
    expires_s: float = msgspec.field(name="expiresIn", default=0.0)
    interval_s: float = msgspec.field(name="interval", default=0.0)
    expires_ms: float = msgspec.field(name="expiresInMilliseconds", default=0.0)
    interval_ms: float = msgspec.field(name="intervalInMilliseconds", default=0.0)


def read_code(reply: HttpReply, trusted: Callable[[str], bool]) -> DeviceCode:
    """The code of an answer. A link that is not `trusted` ends the sign-in: a person would type a password there."""
    try:
        found = msgspec.json.decode(reply.body, type=_Code)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise UpstreamBroken("The sign-in service gave a code that cannot be read.") from error
    link, page = found.link or found.page, found.page or found.link
    if not trusted(link) or not trusted(page):
        raise SignInFailed(
            "The sign-in service sent an address that is not one of its own.",
            reason="link",
            hint="Do not sign in there. Begin again; if it comes back, something stands between you and the service.",
        )
    expires_s = found.expires_s or found.expires_ms / 1000 or 600.0
    interval_s = found.interval_s or found.interval_ms / 1000 or 5.0
    shown = ShowCode(found.user_code, link, page, _between(_EXPIRES_S, expires_s))
    return DeviceCode(Secret(found.code), shown, _between(_INTERVAL_S, interval_s))


def same_origin(link: str, base_url: str) -> bool:
    """Whether a link leads to the service that a setting put in the place of the real one."""
    one, other = urlsplit(link), urlsplit(base_url)
    return (one.scheme, one.netloc) == (other.scheme, other.netloc)


def _trusted(link: str, at: Place) -> bool:
    if at.base_url is not None and same_origin(link, at.base_url):
        return True
    try:
        parts = urlsplit(link)
        host = (parts.hostname or "").lower()
    except ValueError:
        return False
    own = urlsplit(at.start_url).hostname
    return parts.scheme == "https" and parts.username is None and (host.endswith(_AWS_HOSTS) or host == own)


def _between(limits: tuple[float, float], value: float) -> float:
    low, high = limits
    return min(max(value, low), high)
