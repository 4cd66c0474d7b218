"""Sign-in with Google or GitHub: in this computer's browser through Kiro's portal, or by code in any browser.

The portal lets people choose how to sign in, so what comes back may be AWS after all, or a company's own
provider; then that sign-in goes on from there. It knows ten loopback ports and no others. The address is given once without
and once with the path and the choice: to the portal the bare origin, to the exchange the whole callback.

The code is Kiro's own device grant; it counts in milliseconds and tells by a word in a 200 how far it is.
"""

from collections.abc import Generator
from datetime import timedelta
from typing import Any, Final, Literal
from urllib.parse import urlencode

import msgspec

from kiro.auth.company import company_flow, told_by_portal
from kiro.auth.credentials import SocialCredentials, arn_region
from kiro.auth.device import Done, Pending, Polled, Unreadable, poll, read_code, same_origin
from kiro.auth.http import HttpAsk, HttpReply
from kiro.auth.oidc import Clock, Place, check, place, refusal
from kiro.auth.oidc_pkce import pkce_flow
from kiro.auth.pkce import Pkce, code_of
from kiro.auth.records import ImportedAccount
from kiro.auth.refresh import SOCIAL_URL, TokenAnswer, decoded, json_ask, life_s
from kiro.auth.steps import Browse, Callback, Flow, Listen, SignInFailed, Step
from kiro.errors import NetworkFailed, UpstreamBroken, UsageError
from kiro.redaction import Secret

Provider = Literal["Google", "Github"]

PORTAL_URL: Final = "https://app.kiro.dev"
PORTS: Final = (3128, 4649, 6588, 8008, 9091, 49153, 50153, 51153, 52153, 53153)
_CLIENT_ID: Final = "Kiro-CLI"
"""What Kiro's device grant calls this kind of client; it knows no registration."""
_EXCHANGE_TRIES: Final = 3


class SocialPlace(msgspec.Struct, frozen=True):
    """Where to sign in. The bases are the settings `auth.social_url` and `auth.oidc_url`, which replace the services.

    `external_hosts` is the setting of `auth`: hosts of companies' providers that need no question.
    """

    base_url: str | None = None
    oidc_url: str | None = None
    external_hosts: tuple[str, ...] = ()

    @property
    def service(self) -> str:
        return self.base_url or SOCIAL_URL

    @property
    def portal(self) -> str:
        return self.base_url or PORTAL_URL


def portal_flow(at: SocialPlace, now: Clock) -> Flow:
    """Sign in through the portal in this computer's browser. Raises SignInFailed, or an UpstreamError."""
    port: int = yield Listen(PORTS)
    origin = f"http://localhost:{port}"
    pkce = Pkce.make()
    query = {
        "state": pkce.state.reveal(),
        "code_challenge": pkce.challenge,
        "code_challenge_method": "S256",
        "redirect_uri": origin,
        "redirect_from": "kirocli",
    }
    end = {"redirect_from": "kirocli"}
    failed = {"auth_status": "error", **end, "error_message": "The sign-in was refused."}
    callback: Callback = yield Browse(
        f"{at.portal}/signin?{urlencode(query)}",
        pkce.state,
        done_url=f"{at.portal}/signin?{urlencode({'auth_status': 'success', **end})}",
        failed_url=f"{at.portal}/signin?{urlencode(failed)}",
    )
    option = callback.query.get("login_option", "").lower()
    if option in ("google", "github") or "error" in callback.query:
        code = code_of(callback)
        redirect = f"{origin}{callback.path}?{urlencode({'login_option': option})}"
        body = {"code": code, "code_verifier": pkce.verifier.reveal(), "redirect_uri": redirect}
        reply = yield from _exchange(json_ask(at.service + "/oauth/token", body))
        return _signed_in(_read_exchange(reply), "Github" if option == "github" else "Google", now)
    if option in ("builderid", "awsidc", "internal"):
        return (yield from pkce_flow(_aws(callback, option, at), now))
    if option == "external_idp":
        others = tuple(other for other in PORTS if other != port)
        company = told_by_portal(callback.query)
        return (yield from company_flow(company, others, now, base_url=at.oidc_url, extra_hosts=at.external_hosts))
    raise SignInFailed(
        "The portal came back with a kind of sign-in that kiro cannot finish.",
        reason="login_option",
        hint="Sign in with the Kiro IDE or CLI instead; `kiro accounts scan --add` takes that over.",
    )


def social_device_flow(provider: Provider, at: SocialPlace, now: Clock) -> Flow:
    """Sign in by a code. Raises SignInFailed, or an UpstreamError."""
    reply: HttpReply = yield json_ask(
        at.service + "/oauth/device/authorization", {"clientId": _CLIENT_ID, "loginProvider": provider}
    )
    check(reply, "The device code")
    code = read_code(reply, lambda link: _trusted(link, at))
    ask = json_ask(at.service + "/oauth/device/poll", {"deviceCode": code.code.reveal(), "clientId": _CLIENT_ID})
    answer = yield from poll(code, ask, read_social_poll, now)
    return _signed_in(answer, provider, now)


def _aws(callback: Callback, option: str, at: SocialPlace) -> Place:
    """The place the portal names; Builder ID is always the same one, whatever it says."""
    if option == "builderid":
        return place(None, None, at.oidc_url)
    try:
        return place(callback.query.get("issuer_url", ""), callback.query.get("idc_region", ""), at.oidc_url)
    except UsageError as error:
        raise SignInFailed(
            "The portal named a company's sign-in that cannot be one.",
            reason="issuer",
            hint="`kiro login sso` takes the start URL and the region from you.",
        ) from error


class _Status(msgspec.Struct, frozen=True):
    status: str | None = None


def read_social_poll(reply: HttpReply) -> Polled:
    """What a poll means: a token is success, whatever the word; a word that is not known is "not yet"."""
    answer = decoded(reply.body)
    try:
        word = (msgspec.json.decode(reply.body, type=_Status).status or "").lower()
    except (msgspec.MsgspecError, UnicodeDecodeError):
        word = ""
    if answer is not None and (answer.access_camel or answer.access_snake):
        return Done(answer)
    if word in ("expired_token", "invalid_token"):
        raise refusal(400, "expired_token", "The code")
    if word in ("access_denied", "denied"):
        raise refusal(400, "access_denied", "The sign-in")
    if word == "slow_down" or reply.status == 429:
        return Pending(slower=True)
    if word or reply.status < 400:
        return Pending()
    return Unreadable(UpstreamBroken(f"The sign-in service gave HTTP {reply.status}.", upstream_status=reply.status))


def _exchange(ask: HttpAsk) -> Generator[Step, Any, HttpReply]:
    """Sent again only when nothing came back at all, because a code can be redeemed once."""
    for _ in range(_EXCHANGE_TRIES - 1):
        try:
            reply: HttpReply = yield ask
        except NetworkFailed:
            continue
        return reply
    last: HttpReply = yield ask
    return last


def _read_exchange(reply: HttpReply) -> TokenAnswer:
    if reply.status >= 400 and b"signups are temporarily paused" in reply.body:
        raise SignInFailed(
            "Kiro takes no new accounts at the moment.",
            reason="signups_paused",
            hint="Accounts that exist can sign in; for a new one try again another day.",
        )
    check(reply, "The sign-in")
    answer = decoded(reply.body)
    if answer is None:
        raise UpstreamBroken("The sign-in service gave an answer without tokens.")
    return answer


def _signed_in(answer: TokenAnswer, provider: Provider, now: Clock) -> ImportedAccount:
    """A sign-in without a profile is none, say Kiro's own clients."""
    access, refresh = answer.access_camel or answer.access_snake, answer.refresh_camel or answer.refresh_snake
    if not access or not refresh:
        raise UpstreamBroken("The sign-in service gave an answer without tokens.")
    if arn_region(answer.profile_arn) is None:
        raise SignInFailed(
            "Kiro gave no profile for this account.",
            reason="no_profile",
            hint="Open https://app.kiro.dev once and finish signing up.",
        )
    credentials = SocialCredentials(
        access_token=Secret(access),
        refresh_token=Secret(refresh),
        expires_at=now() + timedelta(seconds=life_s(answer.life_camel or answer.life_snake)),
        profile_arn=answer.profile_arn,
        provider=provider,
    )
    return ImportedAccount(
        index=0, credentials=credentials, auth_region="us-east-1", api_region="us-east-1", provider=provider
    )


def _trusted(link: str, at: SocialPlace) -> bool:
    if at.base_url is not None:
        return same_origin(link, at.base_url)
    return link.startswith(PORTAL_URL + "/")
