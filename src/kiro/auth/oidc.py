"""AWS sign-in (SSO-OIDC), which Builder ID and Identity Center share: registration, tokens, what its errors mean.

Every sign-in registers a client of its own, under our own name: tokens can be refreshed only with the
client they were given to, so nobody else's is used. Plain JSON in camelCase, no signatures.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec

from kiro.auth.credentials import (
    BUILDER_ID_START_URL,
    BuilderIdCredentials,
    IdcCredentials,
    OidcClient,
    clean_start_url,
    is_region,
)
from kiro.auth.http import HttpAsk, HttpReply
from kiro.auth.records import ImportedAccount
from kiro.auth.refresh import TokenAnswer, decoded, error_code, json_ask, life_s, oidc_base
from kiro.auth.steps import SignInFailed
from kiro.errors import RateLimited, UpstreamBroken, UsageError
from kiro.redaction import Secret

CLIENT_NAME: Final = "kiro-proxy"
SCOPES: Final = tuple(
    f"codewhisperer:{name}" for name in ("completions", "analysis", "conversations", "transformations", "taskassist")
)
DEVICE_GRANT: Final = "urn:ietf:params:oauth:grant-type:device_code"
Clock = Callable[[], datetime]


class Place(msgspec.Struct, frozen=True):
    """Where somebody signs in: the start URL of a company, or that of Builder ID, and the region it lives in.

    `base_url` is the setting `auth.oidc_url`, which replaces the service.
    """

    start_url: str = BUILDER_ID_START_URL
    region: str = "us-east-1"
    base_url: str | None = None

    @property
    def is_builder_id(self) -> bool:
        return self.start_url == BUILDER_ID_START_URL

    @property
    def base(self) -> str:
        return self.base_url or oidc_base(self.region)


def place(start_url: str | None, region: str | None, base_url: str | None = None) -> Place:
    """The place of a company's start URL, or of Builder ID without one. Raises UsageError for what cannot be one."""
    if start_url is None:
        if region not in (None, "us-east-1"):
            raise UsageError("Builder ID lives in us-east-1.", hint="--region goes with the --start-url of a company.")
        return Place(base_url=base_url)
    url = clean_start_url(start_url)
    host = url.removeprefix("https://").partition("/")[0]
    if not url.startswith("https://") or "." not in host or "@" in host or any(char.isspace() for char in url):
        raise UsageError(
            "This start URL cannot be one.",
            hint="It looks like https://d-1234567890.awsapps.com/start; ask your company.",
        )
    if url == BUILDER_ID_START_URL:
        return Place(base_url=base_url)
    if region is None:
        raise UsageError(
            "--start-url needs --region.", hint="It is the region your company's Identity Center lives in."
        )
    if not is_region(region.lower()):
        raise UsageError(f"{region!r} is no region.", hint="Regions look like us-east-1 or eu-central-1.")
    return Place(url, region.lower(), base_url)


def register_ask(at: Place, *, redirect_uri: str | None = None) -> HttpAsk:
    """Registers a client: for the device grant, or for the browser that comes back to `redirect_uri`."""
    body: dict[str, Any] = {"clientName": CLIENT_NAME, "clientType": "public", "scopes": SCOPES}
    if redirect_uri is None:
        body["grantTypes"] = [DEVICE_GRANT, "refresh_token"]
    else:
        body["grantTypes"] = ["authorization_code", "refresh_token"]
        body["redirectUris"] = [redirect_uri]
        body["issuerUrl"] = at.start_url
    return json_ask(at.base + "/client/register", body)


class _Registration(msgspec.Struct, frozen=True):
    id: str = msgspec.field(name="clientId")
    secret: str = msgspec.field(name="clientSecret")
    expires_at: float = msgspec.field(name="clientSecretExpiresAt", default=0.0)


def read_registration(reply: HttpReply) -> OidcClient:
    """Raises SignInFailed, RateLimited or UpstreamBroken."""
    check(reply, "The registration")
    try:
        found = msgspec.json.decode(reply.body, type=_Registration)
        expires_at = datetime.fromtimestamp(found.expires_at, UTC) if found.expires_at > 0 else None
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError, OverflowError, OSError) as error:
        raise UpstreamBroken("The sign-in service gave a registration that cannot be read.") from error
    return OidcClient(id=found.id, secret=Secret(found.secret), expires_at=expires_at)


def token_ask(at: Place, client: OidcClient, grant: str, fields: dict[str, str]) -> HttpAsk:
    pair = {"clientId": client.id, "clientSecret": client.secret.reveal()}
    return json_ask(at.base + "/token", {**pair, "grantType": grant, **fields})


def signed_in(answer: TokenAnswer, at: Place, client: OidcClient, now: datetime) -> ImportedAccount:
    """The account of a token answer. Raises UpstreamBroken when it lacks a refresh token."""
    access, refresh = answer.access_camel or answer.access_snake, answer.refresh_camel or answer.refresh_snake
    if not access or not refresh:
        raise UpstreamBroken("The sign-in service gave an answer without tokens.")
    common: dict[str, Any] = {
        "access_token": Secret(access),
        "refresh_token": Secret(refresh),
        "expires_at": now + timedelta(seconds=life_s(answer.life_camel or answer.life_snake)),
        "client": client,
        "scopes": SCOPES,
    }
    if at.is_builder_id:
        credentials: BuilderIdCredentials | IdcCredentials = BuilderIdCredentials(**common)
    else:
        credentials = IdcCredentials(**common, auth_region=at.region, start_url=at.start_url)
    return ImportedAccount(
        index=0,
        credentials=credentials,
        auth_region=at.region,
        api_region="us-east-1" if at.is_builder_id else None,
        provider="BuilderId" if at.is_builder_id else "Enterprise",
        start_url=at.start_url,
    )


def check(reply: HttpReply, what: str) -> None:
    """Raises what a refused request means; `what` was asked for. Nothing of the service's own text is shown."""
    answer = decoded(reply.body)
    code = error_code(answer, reply)
    if reply.status < 300 and not (answer and answer.error):
        return
    raise refusal(reply.status, code, what, _text(reply))


def refusal(status: int, code: str, what: str, text: str = "") -> SignInFailed | RateLimited | UpstreamBroken:
    """The error of a status and a code. `text` is looked at for the one thing that only the text tells."""
    shown = f" ({code})" if code else f" (HTTP {status})"
    if status == 429 or code in ("slow_down", "throttling", "too_many_requests"):
        return RateLimited(
            "The sign-in service asks to slow down.", hint="Try again in a minute.", upstream_status=status
        )
    if status >= 500 or code in ("internal_server", "server_error"):
        return UpstreamBroken(f"The sign-in service has trouble{shown}.", hint="Try again.", upstream_status=status)
    if "start url" in text:
        return SignInFailed(
            "AWS does not know this start URL in this region.",
            reason="start_url",
            hint="Check both --start-url and --region with your company.",
        )
    message, hint = _WORDS.get(code, (f"{what} was refused{shown}.", _AGAIN))
    return SignInFailed(message, reason=code or str(status), hint=hint)


_AGAIN: Final = "Begin again; if it comes back, update kiro."
_WORDS: Final[dict[str, tuple[str, str]]] = {
    "access_denied": ("The sign-in was refused in the browser.", "Begin again and confirm it there."),
    "expired_token": ("The code has expired before it was confirmed.", "Begin again; a code is good for some minutes."),
    "invalid_grant": ("The sign-in service does not accept the code.", "Begin again; a code is good for one use."),
    "invalid_client": (
        "The sign-in service does not know this client any more.",
        "Begin again: each sign-in registers anew.",
    ),
    "unauthorized_client": (
        "The sign-in service does not let this client in.",
        "With a company's account, an administrator has to allow Kiro there.",
    ),
    "interaction_required": (
        "Your company's sign-in wants something that was not done in the browser.",
        "Begin again and go through all its pages.",
    ),
    "consent_required": (
        "Your company has not allowed Kiro yet.",
        "Begin again and give the consent it asks for, or ask an administrator for it.",
    ),
}


def _text(reply: HttpReply) -> str:
    """The service's description in lower case, to be searched, never to be shown."""
    try:
        document = msgspec.json.decode(reply.body)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return ""
    found = document.get("error_description") or document.get("message") if isinstance(document, dict) else None
    return found.lower() if isinstance(found, str) else ""
