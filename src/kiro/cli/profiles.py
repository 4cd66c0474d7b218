"""`kiro accounts set NAME --profile`: the company profile an account works with, typed or chosen anew."""

from typing import TYPE_CHECKING, Final

from kiro.cli import prompt, render
from kiro.cli.opening import run_async
from kiro.cli.signing_in import choose_profile, opened_sender
from kiro.errors import KiroError, UsageError

if TYPE_CHECKING:
    from kiro.accounts.account import Account
    from kiro.auth.profiles import Profile
    from kiro.home import Home

CHOOSE: Final = "list"


def check(text: str | None) -> None:
    """Raises UsageError for a text that is neither an ARN of a profile nor `list`."""
    from kiro.auth.credentials import arn_region

    if text not in (None, CHOOSE) and arn_region(text) is None:
        raise UsageError(
            f"{text!r} is no ARN of a Kiro profile.",
            hint=f"It looks like arn:aws:codewhisperer:us-east-1:123456789012:profile/ABC; `{CHOOSE}` offers those there are.",
        )


def change(home: "Home", account: "Account", text: str) -> None:
    """Use the profile of this ARN, or one of those that Kiro has for the account; Kiro is asked where that one lives."""
    from kiro.auth.credentials import arn_region

    if account.kind not in ("idc", "external_idp"):
        raise UsageError(
            f"{account.name} has no profile to choose.", hint="Only company sign-ins have profiles of their own."
        )
    arn = text if text != CHOOSE else _chosen(home, account).arn
    home.accounts.set_profile(account.id, arn)
    home.accounts.change(account.id, region=arn_region(arn))
    render.note(f"{account.name} uses the profile {arn}.")


def _chosen(home: "Home", account: "Account") -> "Profile":
    found = run_async(_all(home, account))
    if not found:
        raise KiroError(
            f"Kiro has no profile for {account.name}.",
            hint="An administrator of your company has to give you a Kiro subscription.",
        )
    if len(found) == 1:
        return found[0]
    if not prompt.can_ask():
        for profile in found:
            render.answer(f"{profile.arn}\t{profile.name}")
        raise UsageError("Nobody can choose here.", hint="Give one of these: `--profile ARN`.")
    return choose_profile(found)


async def _all(home: "Home", account: "Account") -> "tuple[Profile, ...]":
    """With a fresh token: for an old one the list is empty, as if there were none."""
    from kiro.accounts.joining import run
    from kiro.auth.profiles import profiles_flow
    from kiro.runtime import open_runtime

    async with open_runtime(home, background=False) as runtime:
        await runtime.keeper.access(account.id)
    credentials = home.accounts.credentials(account.id)
    if credentials is None:
        raise KiroError(f"The sign-in of {account.name} is not stored.", hint="Sign in again.")
    async with opened_sender(home) as send:
        return await run(profiles_flow(credentials, home.loaded.settings.upstream.url), send)
