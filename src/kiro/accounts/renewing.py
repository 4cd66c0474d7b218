"""New tokens from the sign-in service, and how long tokens are used."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Final

import msgspec

from kiro.auth.credentials import ApiKeyCredentials, Credentials, ExternalIdpCredentials, TokenCredentials
from kiro.auth.http import Send
from kiro.auth.refresh import RefreshRefused, RefreshUrls, parse_refresh, refresh_request
from kiro.errors import AccessRefused, NetworkFailed
from kiro.redaction import Secret

MARGIN: Final = timedelta(minutes=5)
_FOR_EVER: Final = datetime.max.replace(tzinfo=UTC)


async def renew(
    credentials: Credentials, send: Send, urls: RefreshUrls, proxy: Secret | None, clock: Callable[[], datetime]
) -> TokenCredentials:
    """Ask for new tokens, by the account's own `proxy`. Raises RefreshRefused, or the UpstreamError that came.

    A company's provider is asked with the scopes that were granted; one that finds them invalid, once without.
    """
    if isinstance(credentials, ApiKeyCredentials):
        raise RefreshRefused("An API key is never refreshed.", reason="api_key")
    try:
        return await _ask(credentials, send, urls, proxy, clock, with_scope=True)
    except AccessRefused as refusal:
        scoped = isinstance(credentials, ExternalIdpCredentials) and credentials.scopes
        if not scoped or refusal.reason != "invalid_scope":
            raise
    return await _ask(credentials, send, urls, proxy, clock, with_scope=False)


async def _ask(
    credentials: TokenCredentials,
    send: Send,
    urls: RefreshUrls,
    proxy: Secret | None,
    clock: Callable[[], datetime],
    *,
    with_scope: bool,
) -> TokenCredentials:
    ask = refresh_request(credentials, urls, with_scope=with_scope)
    if ask is None:
        raise RefreshRefused("The sign-in has no client registration.", reason="no_client")
    try:
        reply = await send(msgspec.structs.replace(ask, proxy=proxy))
    except OSError as error:
        raise NetworkFailed(f"The sign-in service cannot be reached: {type(error).__name__}.") from error
    return parse_refresh(credentials, reply, clock())


def ends(credentials: Credentials) -> datetime | None:
    return _FOR_EVER if isinstance(credentials, ApiKeyCredentials) else credentials.expires_at


def good_until(credentials: Credentials) -> datetime | None:
    """Until when a token is used without a thought; an unknown end means "refresh first"."""
    end = ends(credentials)
    return end - MARGIN if end is not None and end != _FOR_EVER else end


def until_next_refresh(renewed: Credentials, now: datetime) -> datetime:
    """A token that lives for less than ten minutes is used for half of its life, or every request would refresh."""
    end = ends(renewed) or now
    return max(end - MARGIN, now + (end - now) / 2)
