"""From a fresh sign-in to an account: which profile it uses, who it is, and what its plan is.

Who it is has to be known before the account is added: signing in again then renews the account that
is there instead of making a second one.
"""

import secrets
import time
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec

from kiro.accounts.account import Account, usage_snapshot
from kiro.accounts.acting import make_access
from kiro.accounts.directory import AccountDirectory, Added
from kiro.auth.credentials import kind_of
from kiro.auth.http import HttpAsk, HttpReply, Send
from kiro.auth.profiles import Profile, needs_profile, profiles_flow
from kiro.auth.records import ImportedAccount
from kiro.errors import KiroError
from kiro.upstream import queries
from kiro.upstream.queries import UsageLimits

T = TypeVar("T")


class Joined(msgspec.Struct, frozen=True):
    """A sign-in that is ready to be added. `trouble` kept Kiro from telling `limits`; the sign-in itself is good.

    `without_profile`: a company sign-in for which no profile was found, so that it cannot be used yet.
    """

    imported: ImportedAccount
    limits: UsageLimits | None
    trouble: KiroError | None
    without_profile: bool


async def join(
    imported: ImportedAccount,
    send: Send,
    choose: Callable[[tuple[Profile, ...]], Profile],
    *,
    base_url: str | None = None,
    region: str = "us-east-1",
) -> Joined:
    """Find the profile (`choose` is asked when there are several), the person and the plan.

    Raises the failure that kept the profiles from being listed. `base_url` and `region` are settings of `upstream`.
    """
    imported = msgspec.structs.replace(imported, machine_id=imported.machine_id or secrets.token_hex(32))
    if needs_profile(imported.credentials):
        profiles = await run(profiles_flow(imported.credentials, base_url), send)
        if not profiles:
            return Joined(imported, None, None, without_profile=True)
        imported = with_profile(imported, profiles[0] if len(profiles) == 1 else choose(profiles))
    try:
        limits = await _ask_limits(imported, send, base_url, region)
    except KiroError as error:
        return Joined(imported, None, error, without_profile=False)
    known = msgspec.structs.replace(
        imported, email=limits.email or imported.email, user_id=limits.user_id or imported.user_id
    )
    return Joined(known, limits, None, without_profile=False)


def add_joined(directory: AccountDirectory, joined: Joined, name: str | None = None) -> Added:
    """Add the account, or renew the one it is, with what is known of its plan and profile. Blocks."""
    added = directory.add(joined.imported, name=name)
    account = added.account
    if joined.without_profile:
        directory.set_state(account.id, "needs_profile")
    usage = usage_snapshot(joined.limits, time.time()) if joined.limits is not None else None
    if usage is not None:
        directory.set_usage(account.id, usage)
    return msgspec.structs.replace(added, account=directory.get(account.id))


def with_profile(imported: ImportedAccount, profile: Profile) -> ImportedAccount:
    """The same sign-in with a company profile; Kiro answers for it where the profile is."""
    credentials = msgspec.structs.replace(imported.credentials, profile_arn=profile.arn)
    return msgspec.structs.replace(imported, credentials=credentials, api_region=profile.region)


async def run(flow: Generator[HttpAsk, HttpReply, T], send: Send) -> T:
    """Does a flow that only asks."""
    answer: HttpReply | None = None
    failure: KiroError | None = None
    while True:
        try:
            ask = flow.throw(failure) if failure is not None else flow.send(answer)  # type: ignore[arg-type]  # a generator begins with None
        except StopIteration as end:
            result: T = end.value
            return result
        answer, failure = None, None
        try:
            answer = await send(ask)
        except KiroError as error:
            failure = error


async def _ask_limits(imported: ImportedAccount, send: Send, base_url: str | None, region: str) -> UsageLimits:
    """With the profile; a 400 is repeated without it, because the services disagree about it."""
    access = make_access(_stand_in(imported), imported.credentials, region)
    reply = await send(_http(queries.usage_ask(access, base_url)))
    if reply.status == 400 and access.profile_arn:
        reply = await send(_http(queries.usage_ask(access, base_url, with_profile=False)))
    return queries.read_usage(reply.status, reply.headers, reply.body, now=datetime.now(UTC).timestamp())


def _http(ask: queries.Ask) -> HttpAsk:
    return HttpAsk(ask.method, ask.url, ask.headers, ask.body or b"")


def _stand_in(imported: ImportedAccount) -> Account:
    """The account as it will be, for asking before it is added."""
    fields: dict[str, Any] = {"id": "", "name": "the sign-in", "created_at": datetime.now(UTC)}
    return Account(
        **fields,
        kind=kind_of(imported.credentials),
        machine_id=imported.machine_id or "",
        region=imported.api_region,
        auth_region=imported.auth_region,
        flavour=imported.flavour or "ide",
    )
