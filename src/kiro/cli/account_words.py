"""How accounts are told: rows for lists, JSON for programs, words for what happened to them."""

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from kiro.accounts.account import Account, Mode, UsageSnapshot
from kiro.accounts.health import FINE, Health
from kiro.accounts.overage import left_within, within_budget
from kiro.accounts.showing import Shown, shown
from kiro.cli import render
from kiro.cli.opening import ago

if TYPE_CHECKING:
    from kiro.home import Home

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

COLUMNS = ("NAME", "KIND", "STATE", "UNTIL", "CREDITS", "ASKED", "SIGN-IN ENDS", "EMAIL")


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


class Told(NamedTuple):
    """An account, how it fares, and how much overage it may use in a period."""

    account: Account
    how: Shown
    budget: float | None


def told(home: "Home", account: Account, health: Mapping[str, Health]) -> Told:
    """How the account fares now, by what the last requests and looks have taught."""
    default = home.loaded.settings.pool.overage_credits
    budget = account.overage_budget if account.overage_budget is not None else default
    now = time.time()
    known = within_budget(health.get(account.id, FINE), account.usage, budget, now=now)
    return Told(account, shown(account, known, now=now), budget)


def told_all(home: "Home") -> list[Told]:
    """Every account and how it fares."""
    health = home.accounts.health()
    return [told(home, account, health) for account in home.accounts.list()]


def show_table(all_told: list[Told]) -> None:
    """The table on stdout; below it, for each account that is not ready, why and what can be done."""
    render.table(COLUMNS, [row(one) for one in all_told])
    explain(all_told)


def explain(all_told: list[Told]) -> None:
    """Why accounts are not ready, until when, and what can be done: on stderr."""
    for account, how, _ in all_told:
        if how.state != "active":
            render.note(f"{account.name}: {why(how)}. {how.todo or ''}".rstrip())


def why(how: Shown) -> str:
    """How an account fares, for what reason, and until when; without a full stop."""
    reason = f" ({how.reason})" if how.reason else ""
    until = f"; again {ago(_until(how))}" if how.until is not None else ""
    return f"{how.meaning}{reason}{until}"


def as_json(one: Told) -> AccountJson:
    account, how, _ = one
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


def credits_bar(one: Told) -> render.Bar:
    """The credits of the plan, and the overage once it is used."""
    usage = one.account.usage
    words = credits_words(one.account)
    if usage is None:
        return render.Bar(None, words)
    if usage.overage and usage.overage_used:
        words = f"{words}, overage {overage_words(one)}"
    return render.Bar(used_share(usage), words)


def used_share(usage: UsageSnapshot) -> float:
    """How much of what the plan, trials and bonuses give is used."""
    included = left_within(usage, 0.0)
    whole = usage.used + included
    return usage.used / whole if whole > 0 else 1.0


def overage_words(one: Told) -> str:
    """`12.5 of 100` credits of overage: of the budget, or of what Kiro allows."""
    usage = one.account.usage
    if usage is None or not usage.overage:
        return ""
    limits = [limit for limit in (one.budget, usage.overage_cap) if limit is not None]
    return f"{usage.overage_used:g} of {min(limits):g}" if limits else f"{usage.overage_used:g}"


def ends_words(account: Account) -> str:
    """When the access token ends. It is renewed by itself, so this matters only where nothing can renew it."""
    return "never" if account.kind == "api_key" else ago(account.expires_at)


def _until(how: Shown) -> datetime | None:
    return datetime.fromtimestamp(how.until, UTC) if how.until is not None else None


def asked_words(account: Account) -> str:
    """When Kiro told the credits."""
    return ago(account.usage.taken_at) if account.usage is not None else ""


def row(one: Told) -> tuple[render.Cell, ...]:
    account, how, _ = one
    return (
        account.name,
        kind_words(account.kind, account.provider),
        how.state,
        ago(_until(how)),
        credits_bar(one),
        asked_words(account),
        ends_words(account),
        account.email or "",
    )


def all_fields(one: Told) -> list[tuple[str, render.Cell]]:
    """Everything that is known about an account, without the empty fields."""
    account, how, budget = one
    usage = account.usage
    pairs: list[tuple[str, render.Cell | None]] = [
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
        ("credits", credits_bar(one) if usage is not None else None),
        ("asked", asked_words(account)),
        ("overage", f"on; used {overage_words(one)}" if usage is not None and usage.overage else None),
        ("overage budget", None if budget is None else f"{budget:g} credits a period"),
        ("credits renewed", ago(usage.resets_at) if usage is not None else None),
        ("plan", usage.plan if usage is not None else None),
    ]
    return [(name, value) for name, value in pairs if value]
