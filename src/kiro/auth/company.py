"""Sign-in with a company's own identity provider (Microsoft Entra, Okta, …), after Kiro's portal has named it.

Nobody can guess issuer, client id and scopes: the portal tells them. Then: ask the issuer for its
addresses → browser with PKCE, back to another of the portal's ports → exchange, as a form and without a
client secret. The setting `auth.oidc_url` replaces the provider's hosts; their paths stay.
"""

from collections.abc import Generator, Mapping
from datetime import timedelta
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

import msgspec

from kiro.auth.claims import claimed_email
from kiro.auth.company_hosts import agree, host_of
from kiro.auth.credentials import ExternalIdpCredentials
from kiro.auth.http import HttpAsk, HttpReply
from kiro.auth.oidc import Clock, check
from kiro.auth.pkce import Pkce, code_of
from kiro.auth.records import ImportedAccount
from kiro.auth.refresh import USER_AGENT, TokenAnswer, decoded, endpoint_allowed, form_ask, life_s
from kiro.auth.steps import Browse, Callback, Flow, Listen, SignInFailed, Step
from kiro.errors import UpstreamBroken
from kiro.redaction import Secret

_OFFLINE: Final = "offline_access"
"""Without this scope there is no refresh token."""
_WELL_KNOWN: Final = "/.well-known/openid-configuration"


class Company(msgspec.Struct, frozen=True):
    """What the portal told. `scopes` are joined by spaces."""

    issuer: str
    client_id: str
    scopes: str
    login_hint: str = ""
    audience: str = ""


class _Endpoints(msgspec.Struct, frozen=True):
    authorize: str = msgspec.field(name="authorization_endpoint")
    token: str = msgspec.field(name="token_endpoint")


def told_by_portal(query: Mapping[str, str]) -> Company:
    """Raises SignInFailed when the portal left out what is needed."""
    issuer, client_id = query.get("issuer_url", "").strip().rstrip("/"), query.get("client_id", "").strip()
    if not issuer or not client_id:
        raise SignInFailed("The portal did not name your company's sign-in.", reason="issuer", hint="Begin again.")
    scopes = query.get("scopes", "").replace(",", " ").split()
    if _OFFLINE not in scopes:
        scopes.append(_OFFLINE)
    return Company(issuer, client_id, " ".join(scopes), query.get("login_hint", ""), query.get("audience", ""))


def company_flow(
    company: Company, ports: tuple[int, ...], now: Clock, *, base_url: str | None, extra_hosts: tuple[str, ...]
) -> Flow:
    """Sign in there. Raises SignInFailed, or an UpstreamError. `extra_hosts` is `auth.external_hosts`."""
    yield from agree((company.issuer,), extra_hosts)
    found = yield from _endpoints(company, base_url)
    known = (host_of(company.issuer), *extra_hosts)
    yield from agree((found.authorize, found.token), known)
    port: int = yield Listen(ports)
    redirect = f"http://localhost:{port}/oauth/callback"
    pkce = Pkce.make()
    query = {
        "response_type": "code",
        "response_mode": "query",
        "client_id": company.client_id,
        "redirect_uri": redirect,
        "scope": company.scopes,
        "state": pkce.state.reveal(),
        "code_challenge": pkce.challenge,
        "code_challenge_method": "S256",
    }
    query |= {"login_hint": company.login_hint} if company.login_hint else {}
    query |= {"audience": company.audience} if company.audience else {}
    joint = "&" if urlsplit(found.authorize).query else "?"
    url = _there(found.authorize, base_url) + joint + urlencode(query)
    callback: Callback = yield Browse(url, pkce.state)
    form = {
        "grant_type": "authorization_code",
        "code": code_of(callback),
        "client_id": company.client_id,
        "redirect_uri": redirect,
        "code_verifier": pkce.verifier.reveal(),
    }
    reply: HttpReply = yield form_ask(_there(found.token, base_url), form)
    check(reply, "The sign-in")
    return _signed_in(decoded(reply.body), company, found.token, now)


def _endpoints(company: Company, base_url: str | None) -> Generator[Step, Any, _Endpoints]:
    """Where the provider says it is; Microsoft's is known also when it does not say so."""
    headers = {"Accept": "application/json", "User-Agent": USER_AGENT}
    reply: HttpReply = yield HttpAsk("GET", _there(company.issuer + _WELL_KNOWN, base_url), headers, b"")
    try:
        if reply.status == 200:
            return msgspec.json.decode(reply.body, type=_Endpoints)
    except (msgspec.MsgspecError, UnicodeDecodeError):
        pass  # as good as no answer: judged below
    if endpoint_allowed(company.issuer):
        base = company.issuer.removesuffix("/v2.0") + "/oauth2/v2.0"
        return _Endpoints(f"{base}/authorize", f"{base}/token")
    raise SignInFailed(
        f"{host_of(company.issuer)} does not tell how to sign in there (HTTP {reply.status}).",
        reason="discovery",
        hint="Ask your company whether its sign-in works with Kiro.",
    )


def _signed_in(answer: TokenAnswer | None, company: Company, endpoint: str, now: Clock) -> ImportedAccount:
    if answer is None or not answer.access_snake or not answer.refresh_snake:
        raise UpstreamBroken("The company's sign-in gave an answer without tokens.")
    access = Secret(answer.access_snake)
    credentials = ExternalIdpCredentials(
        access_token=access,
        refresh_token=Secret(answer.refresh_snake),
        expires_at=now() + timedelta(seconds=life_s(answer.life_snake)),
        client_id=company.client_id,
        token_endpoint=endpoint,
        issuer_url=company.issuer,
        scopes=company.scopes,
        confirmed=True,
    )
    return ImportedAccount(index=0, credentials=credentials, provider="ExternalIdp", email=claimed_email(access))


def _there(url: str, base_url: str | None) -> str:
    """The same path at the setting's host, when that is set."""
    if base_url is None:
        return url
    parts = urlsplit(url)
    return base_url + parts.path + (f"?{parts.query}" if parts.query else "")
