"""Sign-in by a refresh token that a person copied from somewhere: proved by one refresh, whose result is kept.

What comes with the token tells whose it is: nothing, then it is Google's or GitHub's; a client id and secret,
then AWS's (Builder ID, or Identity Center with a start URL); a token endpoint and a client id, then a
company's own provider.
"""

from collections.abc import Generator
from typing import Any

import msgspec

from kiro.auth.claims import claimed_email
from kiro.auth.company_hosts import agree
from kiro.auth.credentials import (
    BuilderIdCredentials,
    ExternalIdpCredentials,
    IdcCredentials,
    OidcClient,
    SocialCredentials,
    TokenCredentials,
)
from kiro.auth.http import HttpReply
from kiro.auth.oidc import SCOPES, Clock, place
from kiro.auth.records import ImportedAccount
from kiro.auth.refresh import RefreshRefused, RefreshUrls, parse_refresh, refresh_request
from kiro.auth.steps import Flow, SignInFailed, Step
from kiro.errors import AccessRefused, UsageError
from kiro.redaction import Secret


class Pasted(msgspec.Struct, frozen=True):
    """What the person gave. `client_secret` without `client_id` cannot be; the other way round is a company's provider."""

    token: Secret
    client_id: str | None = None
    client_secret: Secret | None = None
    start_url: str | None = None
    region: str | None = None
    token_endpoint: str | None = None


def pasted_credentials(given: Pasted) -> TokenCredentials:
    """The credentials these are, not yet proved. Raises UsageError for what fits nothing."""
    token = given.token
    check_whole(token, "refresh token")
    if given.token_endpoint is not None:
        if given.client_id is None:
            raise UsageError("--token-endpoint needs --client-id.", hint="A company's provider knows kiro by it.")
        return ExternalIdpCredentials(
            refresh_token=token, client_id=given.client_id, token_endpoint=given.token_endpoint, confirmed=True
        )
    if given.client_id is None:
        if given.start_url is not None or given.region is not None:
            raise UsageError(
                "--start-url and --region need --client-id.", hint="Tokens of AWS are refreshed with their client only."
            )
        return SocialCredentials(refresh_token=token)
    if given.client_secret is None or not given.client_secret.reveal():
        raise UsageError("No client secret was given.", hint="It is the second line: first the token, then the secret.")
    check_whole(given.client_secret, "client secret")
    client = OidcClient(id=given.client_id, secret=given.client_secret)
    at = place(given.start_url, given.region)
    if at.is_builder_id:
        return BuilderIdCredentials(refresh_token=token, client=client, scopes=SCOPES)
    return IdcCredentials(
        refresh_token=token, client=client, auth_region=at.region, start_url=at.start_url, scopes=SCOPES
    )


def check_whole(secret: Secret, what: str) -> None:
    """Raises UsageError for a text that a screen has shortened, or that cannot be one."""
    text = secret.reveal()
    if not text:
        raise UsageError(f"No {what} was given.", hint="Paste it at the prompt, or send it on stdin.")
    if "..." in text or "…" in text:
        raise UsageError(
            f"This {what} is shortened: it has dots in its middle.", hint="Copy the whole value, not what a list shows."
        )
    if not text.isascii() or not text.isprintable() or " " in text:
        raise UsageError(f"This is no {what}.", hint="It is one long word of letters, digits and signs.")


def pasted_flow(credentials: TokenCredentials, urls: RefreshUrls, now: Clock) -> Flow:
    """Refresh once. Raises SignInFailed when the service does not accept it, or the UpstreamError that kept it from working."""
    if isinstance(credentials, ExternalIdpCredentials):
        yield from agree((credentials.token_endpoint,), urls.external_hosts)
    try:
        renewed = yield from _refreshed(credentials, urls, now)
    except (RefreshRefused, AccessRefused) as refused:
        shown = f" ({refused.reason})" if refused.reason and not refused.reason.isdigit() else ""
        raise SignInFailed(
            f"The sign-in service does not accept this refresh token{shown}.",
            reason=refused.reason or "refused",
            hint=_hint(credentials),
        ) from refused
    return _account(renewed)


def _refreshed(credentials: TokenCredentials, urls: RefreshUrls, now: Clock) -> Generator[Step, Any, TokenCredentials]:
    ask = refresh_request(credentials, urls)
    if ask is None:
        raise RefreshRefused("There is no client registration.", reason="no_client")
    reply: HttpReply = yield ask
    return parse_refresh(credentials, reply, now())


def _hint(credentials: TokenCredentials) -> str:
    used = "Each use replaces it: another program may have refreshed since it was copied."
    if isinstance(credentials, SocialCredentials):
        return f"{used} A token of AWS or of a company needs --client-id, too."
    return f"{used} It works only with the client id and secret it was given to."


def _account(credentials: TokenCredentials) -> ImportedAccount:
    match credentials:
        case IdcCredentials():
            return ImportedAccount(
                index=0,
                credentials=credentials,
                auth_region=credentials.auth_region,
                provider="Enterprise",
                start_url=credentials.start_url,
            )
        case ExternalIdpCredentials():
            email = claimed_email(credentials.access_token)
            return ImportedAccount(index=0, credentials=credentials, provider="ExternalIdp", email=email)
        case BuilderIdCredentials():
            provider: str | None = "BuilderId"
        case _:
            provider = credentials.provider
    return ImportedAccount(
        index=0, credentials=credentials, auth_region="us-east-1", api_region="us-east-1", provider=provider
    )
