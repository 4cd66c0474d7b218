"""Where an account is answered, looked up anew after Kiro refused its profile.

Kiro binds token, profile and region, and says only that the call is not allowed. A company sign-in can be
asked for its profiles; a Google or GitHub one without a profile gets it with its next token; a sign-in that
has no profile may live in the other region. What is found is tried once, and kept only when Kiro answers.
"""

import asyncio
from typing import Final

import msgspec

from kiro.accounts.access import AccessKeeper
from kiro.accounts.account import Account
from kiro.accounts.acting import api_region
from kiro.accounts.directory import AccountDirectory
from kiro.accounts.joining import run
from kiro.auth.credentials import (
    BuilderIdCredentials,
    Credentials,
    ExternalIdpCredentials,
    IdcCredentials,
    SocialCredentials,
    arn_region,
    profile_arn,
)
from kiro.auth.http import Send
from kiro.auth.profiles import Profile, profiles_flow
from kiro.errors import AccountError, UpstreamError

_OTHER: Final = {"us-east-1": "eu-central-1", "eu-central-1": "us-east-1"}


class Found(msgspec.Struct, frozen=True):
    """What to try: a fresh Access (`region` None), or the same one in another region. `what` says it to a person."""

    what: str
    region: str | None = None


class Locator:
    """`send` asks Kiro. `base_url` and `region` are the settings of `upstream`."""

    def __init__(self, directory: AccountDirectory, keeper: AccessKeeper, send: Send) -> None:
        self._directory = directory
        self._keeper = keeper
        self._send = send

    async def locate(self, account: Account, base_url: str | None, region: str) -> Found | None:
        """Something to try that was not known before; None when there is nothing. Raises StorageError at most."""
        credentials = await asyncio.to_thread(self._directory.credentials, account.id)
        if credentials is None:
            return None
        try:
            found = await self._ask(account, credentials, base_url)
        except (AccountError, UpstreamError):
            found = None  # the refusal that brought us here says more than a list that cannot be had
        return found or _elsewhere(account, credentials, region)

    async def _ask(self, account: Account, credentials: Credentials, base_url: str | None) -> Found | None:
        if isinstance(credentials, IdcCredentials | ExternalIdpCredentials):
            profiles = await run(profiles_flow(credentials, base_url), self._send)
            if len(profiles) != 1 or profiles[0].arn == credentials.profile_arn:
                return None  # which one of several is for a person to say
            await asyncio.to_thread(self._take, account, profiles[0])
            return Found(f"uses the profile {profiles[0].name} from now on")
        if isinstance(credentials, SocialCredentials) and credentials.profile_arn is None:
            access = await self._keeper.refresh_now(account.id)
            return Found("has a profile now") if access.profile_arn is not None else None
        return None

    def _take(self, account: Account, profile: Profile) -> None:
        self._directory.set_profile(account.id, profile.arn)
        if account.region is not None:
            self._directory.change(account.id, region=profile.region)
        self._keeper.forget(account.id)


def _elsewhere(account: Account, credentials: Credentials, fallback: str) -> Found | None:
    """The region of the profile, where another one is set; without a profile the other region of the two."""
    if isinstance(credentials, BuilderIdCredentials):
        return None
    here = api_region(account, credentials, fallback)
    there = arn_region(profile_arn(credentials)) or _OTHER.get(here, here)
    return Found(f"tried in {there}", there) if there != here else None
