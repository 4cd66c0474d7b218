"""Ending a sign-in at its service, where the service has a way to: Google and GitHub do, AWS and companies do not.

This ends one session. Kiro's auth service also deletes whole accounts (DELETE on another path); nothing
here ever asks for that.
"""

from kiro.auth.credentials import Credentials, SocialCredentials
from kiro.auth.http import HttpAsk
from kiro.auth.refresh import SOCIAL_URL, RefreshUrls, json_ask


def logout_request(credentials: Credentials, urls: RefreshUrls) -> HttpAsk | None:
    """The request that makes the refresh token worthless; `None` for kinds whose tokens only run out."""
    if not isinstance(credentials, SocialCredentials):
        return None
    body = {"refreshToken": credentials.refresh_token.reveal()}
    return json_ask((urls.social_url or SOCIAL_URL) + "/logout", body)
