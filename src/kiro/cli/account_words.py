"""How accounts are told: rows for lists, JSON for programs, words for what happened to them."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from kiro.accounts.account import Account, Mode
from kiro.accounts.health import FINE, Health
from kiro.accounts.showing import Shown, shown
from kiro.cli import render
from kiro.cli.opening import ago

if TYPE_CHECKING:
    from kiro.accounts.directory import AccountDirectory

_KINDS = {
    "social": "social",
    "builder_id": "AWS Builder ID",
    "idc": "Identity Center",
    "external_idp": "company sign-in",
    "api_key": "API key",
}

_REFRESHED_BY: Final[dict[Mode, str]] = {
    "own": "kiro",
    "follow": "the program it belongs to",
    "shared": "kiro and the program it is shared with",
}

COLUMNS = ("NAME", "KIND", "STATE", "UNTIL", "CREDITS", "SIGN-IN ENDS", "EMAIL")


class UsageJson(msgspec.Struct, frozen=True):
    used: float | None = None
    limit: float | None = None
    resets_at: datetime | None = None


class AccountJson(msgspec.Struct, frozen=True):
    """An account as `kiro accounts list --json` tells it; scripts rely on the names."""

    id: str
    name: str
    kind: str
    provider: str | None
    state: str
    reason: str | None
    region: str | None
    profile_arn: str | None
    priority: int
    expires_at: datetime | None
    email: str | None
    usage: UsageJson


Told = tuple[Account, Shown]


def fares(account: Account, health: Mapping[str, Health]) -> Shown:
    """How the account fares now, by what the last requests have taught."""
    return shown(account, health.get(account.id, FINE), now=time.time())


def told_all(directory: "AccountDirectory") -> list[Told]:
    """Every account and how it fares."""
    health = directory.health()
    return [(account, fares(account, health)) for account in directory.list()]


def show_table(told: list[Told]) -> None:
    """The table on stdout; below it, for each account that is not ready, why and what can be done."""
    render.table(COLUMNS, [row(*one) for one in told])
    for account, how in told:
        if how.state != "active":
            why = f" ({how.reason})" if how.reason else ""
            render.note(f"{account.name}: {how.meaning}{why}. {how.todo or ''}".rstrip())


def as_json(account: Account, how: Shown) -> AccountJson:
    usage = account.usage
    return AccountJson(
        id=account.id,
        name=account.name,
        kind=account.kind,
        provider=account.provider,
        state=how.state,
        reason=how.reason,
        region=account.region,
        profile_arn=account.profile_arn,
        priority=account.priority,
        expires_at=account.expires_at,
        email=account.email,
        usage=UsageJson(usage.used, usage.limit, usage.resets_at) if usage is not None else UsageJson(),
    )


def kind_words(kind: str, provider: str | None) -> str:
    return provider if kind == "social" and provider else _KINDS[kind]


def credits_words(account: Account) -> str:
    usage = account.usage
    return "" if usage is None else f"{usage.used:g} of {usage.limit:g}"


def ends_words(account: Account) -> str:
    """When the access token ends. It is renewed by itself, so this matters only where nothing can renew it."""
    return "never" if account.kind == "api_key" else ago(account.expires_at)


def _until(how: Shown) -> datetime | None:
    return datetime.fromtimestamp(how.until, UTC) if how.until is not None else None


def row(account: Account, how: Shown) -> tuple[str, ...]:
    return (
        account.name,
        kind_words(account.kind, account.provider),
        how.state,
        ago(_until(how)),
        credits_words(account),
        ends_words(account),
        account.email or "",
    )


def all_fields(account: Account, how: Shown) -> list[tuple[str, str]]:
    """Everything that is known about an account, without the empty fields."""
    usage = account.usage
    pairs: list[tuple[str, str | None]] = [
        ("name", account.name),
        ("id", account.id),
        ("kind", kind_words(account.kind, account.provider)),
        ("state", how.state),
        ("", how.meaning),
        ("reason", how.reason),
        ("until", ago(_until(how))),
        ("what to do", how.todo),
        ("email", account.email),
        ("priority", str(account.priority)),
        ("region", account.region),
        ("API flavour", account.flavour),
        ("sign-in region", account.auth_region),
        ("start URL", account.start_url),
        ("profile", account.profile_arn),
        ("access token ends", ends_words(account)),
        ("refreshed by", _REFRESHED_BY[account.mode]),
        ("read from", account.source),
        ("proxy", account.proxy),
        ("added", ago(account.created_at)),
        ("credits", credits_words(account)),
        ("overage", "on" if usage is not None and usage.overage else None),
        ("overage budget", None if account.overage_budget is None else f"{account.overage_budget:g} credits a period"),
        ("credits renewed", ago(usage.resets_at) if usage is not None else None),
        ("plan", usage.plan if usage is not None else None),
    ]
    return [(name, value) for name, value in pairs if value]
