"""`kiro accounts restore` and `kiro accounts set`: what a person changes about accounts."""

import typer

from kiro.cli import modes, profiles, prompt, render
from kiro.cli.opening import check_api_region, one_of, opened_home
from kiro.errors import UsageError
from kiro.upstream.endpoints import Flavour

_NAMES = typer.Argument(..., metavar="NAME...", help="Names or ids of accounts.")
_MOST_CREDITS = 1e9
_FLAVOURS: tuple[Flavour, ...] = ("ide", "cli", "runtime")


def restore(names: list[str] = _NAMES) -> None:
    """Clear rests and set-asides: the next request tries the account again.

    For when you know better: credits were added, Kiro has unlocked the account, its sign-in was mended.
    Example: `kiro accounts restore work`.
    """
    with opened_home() as home:
        accounts = [home.accounts.get(name) for name in names]
        for account in accounts:
            home.accounts.restore(account.id)
    for account in accounts:
        switched_off = "" if account.enabled else f" It is disabled; `kiro accounts enable {account.name}` uses it."
        render.note(f"{account.name} has nothing against it any more.{switched_off}")


def set_(
    name: str = typer.Argument(..., metavar="NAME", help="Name or id of the account."),
    *,
    priority: int | None = typer.Option(None, "--priority", help="The smaller number goes first."),
    proxy: str | None = typer.Option(
        None, "--proxy", help="Its own way to Kiro: an address, `direct`, `none` for upstream.proxy, `-` for stdin."
    ),
    region: str | None = typer.Option(None, "--region", help="Where Kiro answers for it; `none` finds out by itself."),
    flavour: str | None = typer.Option(None, "--flavour", help="API of Kiro's that it asks: ide, cli or runtime."),
    profile: str | None = typer.Option(
        None, "--profile", metavar="ARN", help="Company profile it works with; `list` offers those there are."
    ),
    overage_budget: str | None = typer.Option(
        None, "--overage-budget", metavar="N", help="Credits of overage it may use per period; `none`: as set for all."
    ),
    mode: str | None = modes.OPTION,
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
) -> None:
    """Change how an account is used. A running server takes it over within a second.

    A proxy with a password belongs on stdin: other programs can see arguments. --mode is for sign-ins that were
    read from another program's file.
    Example: `kiro accounts set work --priority 1 --proxy direct`.
    """
    if all(given is None for given in (priority, proxy, region, flavour, profile, overage_budget, mode)):
        raise UsageError("Nothing to set was given.", hint="For example: `kiro accounts set work --priority 1`.")
    if region not in (None, "none"):
        check_api_region(region)
    chosen = None if flavour is None else one_of(_FLAVOURS, flavour, "API flavour")
    wanted = modes.read(mode)
    budget = _credits(overage_budget)
    profiles.check(profile)
    with opened_home() as home:
        account = home.accounts.get(name)
        if profile is not None:
            profiles.change(home, account, profile)
        if overage_budget is not None:
            home.accounts.set_overage_budget(account.id, budget)
        if wanted is not None:
            modes.change_one(home, account, wanted, yes=yes)
        if proxy is not None:
            address = prompt.secret("Address of the proxy: ") if proxy == "-" else proxy
            home.accounts.set_proxy(account.id, None if address == "none" else address)
        home.accounts.change(account.id, priority=priority, region="" if region == "none" else region, flavour=chosen)
    render.note(f"{account.name} is changed.")


def _credits(text: str | None) -> float | None:
    """A budget in credits; None for `none`, or when nothing was said."""
    if text is None or text == "none":
        return None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= _MOST_CREDITS:
        raise UsageError(
            f"{text!r} is no number of credits.", hint="0 uses no overage at all; `none` lifts the budget."
        )
    return value
