"""Old credentials → a request → new credentials. No clock and no network in here.

Which service is asked depends on the kind: AWS sign-in (JSON, camelCase) for Builder ID and Identity
Center, the Kiro desktop auth service for Google and GitHub, the company's own token endpoint (form,
snake_case) for external providers. API keys are never refreshed.

The body decides before the status, because a proxy on the way may answer 200 with a page. A new
refresh token replaces the old one; when none comes, the old one stays. No text of the service is
shown: only its error code, because bodies of token services have been seen to hold tokens.
"""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final, assert_never
from urllib.parse import urlencode, urlsplit

import msgspec

from kiro.auth.credentials import (
    ApiKeyCredentials,
    BuilderIdCredentials,
    Credentials,
    ExternalIdpCredentials,
    IdcCredentials,
    SocialCredentials,
    TokenCredentials,
    arn_region,
)
from kiro.auth.http import HttpAsk, HttpReply
from kiro.errors import AccessRefused, RateLimited, SignInNeeded, UpstreamBroken, UpstreamError, UpstreamTimeout
from kiro.redaction import Secret

SOCIAL_URL: Final = "https://prod.us-east-1.auth.desktop.kiro.dev"
_DEFAULT_LIFE_S: Final = 3600
_LIFE_S: Final = (60, 86400)
_EXTERNAL_HOSTS: Final = ("microsoftonline.com", "microsoftonline.us", "microsoftonline.cn")
USER_AGENT: Final = "kiro-proxy"

_DEAD: Final = frozenset(
    {
        "invalid_grant",
        "invalid_request",
        "invalid_client",
        "unauthorized_client",
        "expired_token",
        "access_denied",
        "interaction_required",
        "login_required",
        "consent_required",
        "bad_credentials",
    }
)
"""Codes after which only a new sign-in helps."""
_THROTTLED: Final = frozenset({"slow_down", "throttling", "too_many_requests", "temporarily_unavailable"})
_LATER: Final = "The sign-in is kept; try again in a minute."
_BROKEN: Final = frozenset({"internal_server", "internal_server_error", "server_error", "service_unavailable"})


class RefreshUrls(msgspec.Struct, frozen=True):
    """The settings `auth.social_url` and `auth.oidc_url` (bases that replace the services; paths stay) and
    `auth.external_hosts`.
    """

    social_url: str | None = None
    oidc_url: str | None = None
    external_hosts: tuple[str, ...] = ()


class RefreshRefused(SignInNeeded):
    """The service will not accept this sign-in again. `reason` is its error code."""

    def __init__(self, message: str, *, reason: str, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason


class TokenAnswer(msgspec.Struct, frozen=True):
    """A token answer or an error, in either spelling; everything else is skipped."""

    access_camel: str | None = msgspec.field(name="accessToken", default=None)
    access_snake: str | None = msgspec.field(name="access_token", default=None)
    refresh_camel: str | None = msgspec.field(name="refreshToken", default=None)
    refresh_snake: str | None = msgspec.field(name="refresh_token", default=None)
    life_camel: int | float | str | None = msgspec.field(name="expiresIn", default=None)
    life_snake: int | float | str | None = msgspec.field(name="expires_in", default=None)
    profile_arn: str | None = msgspec.field(name="profileArn", default=None)
    error: str | None = None
    kind: str | None = msgspec.field(name="__type", default=None)
    message: str | None = None


def refresh_request(credentials: Credentials, urls: RefreshUrls, *, with_scope: bool = True) -> HttpAsk | None:
    """The request that refreshes, `None` when there is no way to (an API key, or no client registration).

    `with_scope` False repeats an external refresh without its stored scopes, after `invalid_scope`.
    Raises RefreshRefused when the token endpoint is one that must not be asked.
    """
    match credentials:
        case SocialCredentials():
            url = (urls.social_url or SOCIAL_URL) + "/refreshToken"
            return json_ask(url, {"refreshToken": credentials.refresh_token.reveal()})
        case BuilderIdCredentials() | IdcCredentials():
            if credentials.client is None:
                return None
            body = {
                "clientId": credentials.client.id,
                "clientSecret": credentials.client.secret.reveal(),
                "refreshToken": credentials.refresh_token.reveal(),
                "grantType": "refresh_token",
            }
            return json_ask((urls.oidc_url or oidc_base(credentials.auth_region)) + "/token", body)
        case ExternalIdpCredentials():
            return _external_ask(credentials, urls, with_scope)
        case ApiKeyCredentials():
            return None
        case _:
            assert_never(credentials)


def parse_refresh(credentials: TokenCredentials, reply: HttpReply, now: datetime) -> TokenCredentials:
    """The credentials with their new tokens.

    Raises RefreshRefused (a new sign-in is needed), RateLimited (asked too often: says nothing about the
    sign-in), UpstreamBroken or UpstreamTimeout (passing trouble), AccessRefused (refused without a clear
    reason; several in a row count as a dead sign-in). `AccessRefused.reason` is `invalid_scope` when an
    external provider did not like the scopes.
    """
    answer = decoded(reply.body)
    access = answer and (answer.access_camel or answer.access_snake)
    if answer and access and reply.status < 300 and not answer.error:
        return _renewed(credentials, answer, access, now)
    code = error_code(answer, reply)
    raise _refusal(credentials, reply, code)


def endpoint_allowed(url: str, extra_hosts: tuple[str, ...] = ()) -> bool:
    """True for an https address of Microsoft's sign-in, or of a host the person allowed.

    No user info, no odd port, no bare IP address.
    """
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").lower(), parts.port
    except ValueError:
        return False
    if parts.scheme != "https" or parts.username is not None or port not in (None, 443):
        return False
    if ":" in host or host.rpartition(".")[2].isdigit():
        return False
    suffix = any(host == name or host.endswith("." + name) for name in _EXTERNAL_HOSTS)
    return suffix or host in {name.lower() for name in extra_hosts}


def oidc_base(region: str) -> str:
    """AWS sign-in of a region, which has been checked to be one."""
    return f"https://oidc.{region}.amazonaws.com" + (".cn" if region.startswith("cn-") else "")


def error_code(answer: TokenAnswer | None, reply: HttpReply) -> str:
    """The service's error code in snake_case, from the body, the exception name or the header; empty if none."""
    raw = reply.headers.get("x-amzn-errortype", "")
    if answer is not None:
        raw = answer.error or answer.kind or raw
        if not raw and (answer.message or "").lower() == "bad credentials":
            raw = "bad_credentials"
    name = raw.rpartition("#")[2].partition(":")[0].strip().removesuffix("Exception")
    snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()
    return snake if re.fullmatch(r"[a-z0-9_.-]{1,64}", snake) else ""


def decoded(body: bytes) -> TokenAnswer | None:
    """What a sign-in service said; `None` when it is no such JSON."""
    try:
        return msgspec.json.decode(body, type=TokenAnswer)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None


def _renewed(credentials: TokenCredentials, answer: TokenAnswer, access: str, now: datetime) -> TokenCredentials:
    refresh = answer.refresh_camel or answer.refresh_snake
    renewed = msgspec.structs.replace(
        credentials,
        access_token=Secret(access),
        refresh_token=Secret(refresh) if refresh else credentials.refresh_token,
        expires_at=now + timedelta(seconds=life_s(answer.life_camel or answer.life_snake)),
    )
    if isinstance(renewed, SocialCredentials) and renewed.profile_arn is None and arn_region(answer.profile_arn):
        renewed = msgspec.structs.replace(renewed, profile_arn=answer.profile_arn)
    return renewed


def life_s(value: float | str | None) -> float:
    """Seconds the access token lives; the services' usual hour when they do not say."""
    try:
        seconds = float(value) if value else 0.0
    except ValueError:
        seconds = 0.0
    if not seconds > 0:
        return _DEFAULT_LIFE_S
    low, high = _LIFE_S
    return min(max(seconds, low), high)


def _refusal(credentials: TokenCredentials, reply: HttpReply, code: str) -> RefreshRefused | UpstreamError:
    status = reply.status
    shown = f" ({code})" if code else ""
    if status == 429 or code in _THROTTLED:
        return RateLimited(
            "The sign-in service asks to slow down.",
            hint="That says nothing about the account; try again in a minute.",
            reason=code or None,
            retry_after_s=retry_after_s(reply.headers),
            upstream_status=status,
        )
    if _is_dead(credentials, status, code):
        return RefreshRefused(
            f"The sign-in service does not accept this sign-in any more{shown}.",
            reason=code or "401",
        )
    if status in (408, 504):
        return UpstreamTimeout("The sign-in service did not answer in time.", hint=_LATER, upstream_status=status)
    if status == 403 and _is_page(reply):
        return UpstreamBroken(
            "Something on the way to the sign-in service blocks it (HTTP 403 with a page).",
            hint="A VPN, a company's proxy or too many requests can be why; the sign-in itself is not refused.",
            upstream_status=status,
        )
    if status >= 500 or status < 400 or code in _BROKEN:
        what = "an answer without a token" if status < 300 else f"HTTP {status}{shown}"
        return UpstreamBroken(
            f"The sign-in service gave {what}.", hint=_LATER, reason=code or None, upstream_status=status
        )
    return AccessRefused(
        f"The sign-in service refused the refresh with HTTP {status}{shown}.",
        hint="Try again in a minute; if it stays so, sign in again.",
        reason=code or None,
        upstream_status=status,
    )


def _is_page(reply: HttpReply) -> bool:
    """The services speak JSON: a page is by somebody in between."""
    return reply.body.lstrip()[:1] == b"<" or "text/html" in reply.headers.get("content-type", "").lower()


def _is_dead(credentials: TokenCredentials, status: int, code: str) -> bool:
    """Whether only a new sign-in helps. What a 403 of Google's and GitHub's service means is not known: it counts."""
    if isinstance(credentials, SocialCredentials) and status in (401, 403):
        return status == 401
    return code in _DEAD


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """The Retry-After header in seconds, when it is a number of them."""
    text = headers.get("retry-after", "").strip()
    return float(text) if text.isdigit() else None


def json_ask(url: str, body: Mapping[str, object]) -> HttpAsk:
    """A POST of JSON, as every sign-in service but a company's own takes it."""
    headers = {"Content-Type": "application/json", "Accept": "application/json", "User-Agent": USER_AGENT}
    return HttpAsk("POST", url, headers, msgspec.json.encode(body))


def form_ask(url: str, form: Mapping[str, str]) -> HttpAsk:
    """A POST of a form, as a company's own sign-in service takes it."""
    headers = {
        "Content-Type": "application/x-www-form-urlencoded",
        "Accept": "application/json",
        "User-Agent": USER_AGENT,
    }
    return HttpAsk("POST", url, headers, urlencode(form).encode())


def _external_ask(credentials: ExternalIdpCredentials, urls: RefreshUrls, with_scope: bool) -> HttpAsk:
    endpoint = credentials.token_endpoint
    if urls.oidc_url:
        endpoint = urls.oidc_url + (urlsplit(endpoint).path or "/")
    elif not credentials.confirmed and not endpoint_allowed(endpoint, urls.external_hosts):
        host = urlsplit(endpoint).hostname
        raise RefreshRefused(
            f"The token service {host} is not one that kiro may send this sign-in to.",
            reason="endpoint_not_allowed",
            hint=f"If it is your company's, `kiro config set auth.external_hosts {host}` allows it.",
        )
    form = {
        "grant_type": "refresh_token",
        "refresh_token": credentials.refresh_token.reveal(),
        "client_id": credentials.client_id,
    }
    if with_scope and credentials.scopes:
        form["scope"] = credentials.scopes
    return form_ask(endpoint, form)
