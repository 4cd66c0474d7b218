"""Pure: what a request needs to act for an account, and what a person can do when it cannot.

Which profile and which kind-of-token header go along depends on the kind of sign-in; the service binds
profile and token, so a wrong profile looks like a bad token.
"""

from typing import assert_never

from kiro.accounts.account import Account
from kiro.auth.credentials import (
    BUILDER_ID_ARN,
    ApiKeyCredentials,
    BuilderIdCredentials,
    Credentials,
    ExternalIdpCredentials,
    IdcCredentials,
    SocialCredentials,
    arn_region,
    bearer,
    profile_arn,
)
from kiro.errors import SignInNeeded
from kiro.upstream.endpoints import API_REGIONS, Access


def make_access(
    account: Account, credentials: Credentials, fallback_region: str = "us-east-1", proxy: str | None = None
) -> Access:
    """What a request needs to act for the account: bearer, kind of token, profile, region, and its own way there."""
    token = bearer(credentials)
    if token is None:
        raise SignInNeeded(f"{account.name} has no access token yet.", hint=sign_in_hint(account))
    token_type: str | None = None
    arn: str | None = None
    match credentials:
        case BuilderIdCredentials():
            arn = BUILDER_ID_ARN
        case SocialCredentials() | IdcCredentials():
            arn = credentials.profile_arn
        case ExternalIdpCredentials():
            token_type, arn = "EXTERNAL_IDP", credentials.profile_arn
        case ApiKeyCredentials():
            token_type = "API_KEY"  # noqa: S105  # a header value, no password
        case _:
            assert_never(credentials)
    return Access(
        token=token.reveal(),
        token_type=token_type,
        profile_arn=arn,
        region=api_region(account, credentials, fallback_region),
        flavour=account.flavour,
        machine_id=account.machine_id,
        proxy=proxy,
    )


def api_region(account: Account, credentials: Credentials, fallback_region: str) -> str:
    """Where Kiro answers: as set, else as a real ARN says, else by kind. A sign-in region is never an answer by itself.

    Kiro answers in two regions (and two for the US government); Identity Center may live anywhere, so a
    European one without a profile yet is sent to the European region.
    """
    for region in (account.region, arn_region(profile_arn(credentials))):
        if region in API_REGIONS:
            return region
    match credentials:
        case BuilderIdCredentials() | SocialCredentials():
            return "us-east-1"
        case IdcCredentials(auth_region=auth_region) if auth_region.startswith("eu-"):
            return "eu-central-1"
        case _:
            return fallback_region


def sign_in_hint(account: Account) -> str:
    """What a person can do about a dead sign-in."""
    if account.mode != "own":
        return "Open the Kiro program it belongs to once, so that it renews its sign-in."
    match account.kind:
        case "social":
            command = "github" if account.provider == "Github" else "google"
        case "builder_id":
            command = "device"
        case "idc":
            where = f" --start-url {account.start_url}" if account.start_url else " --start-url URL"
            command = f"device{where} --region {account.auth_region or 'us-east-1'}"
        case "external_idp":
            command = "company"
        case "api_key":
            command = "key"
        case _:
            assert_never(account.kind)
    return f"`kiro login {command}` signs in again; importing the account anew does too."
