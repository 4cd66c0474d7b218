"""How accounts are told: rows for lists, JSON for programs, words for what happened to them. Pure."""

from datetime import datetime

import msgspec

from kiro.accounts.account import STATES, Account
from kiro.cli.opening import ago

_KINDS = {
    "social": "social",
    "builder_id": "AWS Builder ID",
    "idc": "Identity Center",
    "external_idp": "company sign-in",
    "api_key": "API key",
}

COLUMNS = ("NAME", "KIND", "STATE", "CREDITS", "SIGN-IN ENDS", "EMAIL")


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


def as_json(account: Account) -> AccountJson:
    usage = account.usage
    return AccountJson(
        id=account.id,
        name=account.name,
        kind=account.kind,
        provider=account.provider,
        state=account.shown_state,
        reason=account.reason,
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


def row(account: Account) -> tuple[str, ...]:
    return (
        account.name,
        kind_words(account.kind, account.provider),
        account.shown_state,
        credits_words(account),
        ends_words(account),
        account.email or "",
    )


def all_fields(account: Account) -> list[tuple[str, str]]:
    """Everything that is known about an account, without the empty fields."""
    usage = account.usage
    pairs: list[tuple[str, str | None]] = [
        ("name", account.name),
        ("id", account.id),
        ("kind", kind_words(account.kind, account.provider)),
        ("state", account.shown_state),
        ("", STATES[account.state] if account.enabled else "switched off by hand"),
        ("reason", account.reason),
        ("email", account.email),
        ("priority", str(account.priority)),
        ("region", account.region),
        ("sign-in region", account.auth_region),
        ("start URL", account.start_url),
        ("profile", account.profile_arn),
        ("access token ends", ends_words(account)),
        ("refreshed by", "the program it belongs to" if account.mode == "follow" else "kiro"),
        ("read from", account.source),
        ("proxy", account.proxy),
        ("added", ago(account.created_at)),
        ("credits", credits_words(account)),
        ("credits renewed", ago(usage.resets_at) if usage is not None else None),
        ("plan", usage.plan if usage is not None else None),
    ]
    return [(name, value) for name, value in pairs if value]
