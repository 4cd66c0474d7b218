"""Which Kiro profiles a company sign-in may use: what to ask, how to read it.

Kiro answers in two regions (two others for the US government) and each knows its own profiles, so all
are asked and the lists joined; one that fails is left out. An expired token gets an empty list,
not an error. An external sign-in must name its kind in a header, or its list is empty, too.
"""

from collections.abc import Generator
from typing import Any, Final

import msgspec

from kiro.auth.credentials import Credentials, ExternalIdpCredentials, IdcCredentials, arn_region, bearer
from kiro.auth.http import HttpAsk, HttpReply
from kiro.auth.refresh import USER_AGENT
from kiro.errors import KiroError

_COMMERCIAL: Final = ("us-east-1", "eu-central-1")
_GOVERNMENT: Final = ("us-gov-east-1", "us-gov-west-1")
_MOST_PAGES: Final = 10


class Profile(msgspec.Struct, frozen=True):
    """One profile; its region is where Kiro answers for it."""

    arn: str
    name: str

    @property
    def region(self) -> str:
        return arn_region(self.arn) or "us-east-1"


class _Row(msgspec.Struct, frozen=True):
    arn: str = ""
    name: str | None = msgspec.field(name="profileName", default=None)


class _Page(msgspec.Struct, frozen=True):
    profiles: list[_Row] | None = None
    next_token: str | None = msgspec.field(name="nextToken", default=None)


def needs_profile(credentials: Credentials) -> bool:
    """Whether this sign-in works only with a profile that it does not have yet."""
    return isinstance(credentials, IdcCredentials | ExternalIdpCredentials) and credentials.profile_arn is None


def profiles_flow(credentials: Credentials, base_url: str | None) -> Generator[HttpAsk, HttpReply, tuple[Profile, ...]]:
    """Every profile of every region. Raises the last failure when no region answered.

    `base_url` is the setting `upstream.url`. Failures of sending are thrown in.
    """
    found: dict[str, Profile] = {}
    failure: KiroError | None = None
    answered = False
    for region in _regions(credentials) if base_url is None else ("us-east-1",):
        token: str | None = None
        for _ in range(_MOST_PAGES):
            try:
                page = _read((yield _ask(credentials, region, base_url, token)))
            except KiroError as error:
                failure = error
                break
            answered = True
            rows = [row for row in page.profiles or [] if arn_region(row.arn)]
            found |= {row.arn: Profile(row.arn, row.name or row.arn.rpartition("/")[2]) for row in rows}
            token = page.next_token
            if not token:
                break
    if not answered and failure is not None:
        raise failure
    return tuple(found.values())


def _regions(credentials: Credentials) -> tuple[str, ...]:
    if isinstance(credentials, IdcCredentials):
        return _GOVERNMENT if credentials.auth_region.startswith("us-gov-") else _COMMERCIAL
    return (*_COMMERCIAL, *_GOVERNMENT)


def _ask(credentials: Credentials, region: str, base_url: str | None, page: str | None) -> HttpAsk:
    token = bearer(credentials)
    headers = {
        "Content-Type": "application/x-amz-json-1.0",
        "X-Amz-Target": "AmazonCodeWhispererService.ListAvailableProfiles",
        "Authorization": f"Bearer {token.reveal() if token is not None else ''}",
        "User-Agent": USER_AGENT,
    }
    if isinstance(credentials, ExternalIdpCredentials):
        headers["TokenType"] = "EXTERNAL_IDP"
    body: dict[str, Any] = {"maxResults": 10} | ({"nextToken": page} if page else {})
    return HttpAsk("POST", f"{base_url or f'https://q.{region}.amazonaws.com'}/", headers, msgspec.json.encode(body))


def _read(reply: HttpReply) -> _Page:
    if reply.status != 200:
        raise KiroError(f"Kiro did not tell the profiles (HTTP {reply.status}).")
    try:
        return msgspec.json.decode(reply.body, type=_Page)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise KiroError("Kiro's list of profiles cannot be read.") from error
