"""`--mode`: whose a sign-in is that was read from another program's file, and who refreshes it."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import typer

from kiro.cli import prompt, render
from kiro.cli.opening import one_of, run_async
from kiro.errors import KiroError, UsageError

if TYPE_CHECKING:
    from kiro.accounts.account import Account
    from kiro.home import Home

Choice = Literal["own", "follow", "shared", "take-over"]

_CHOICES: Final[tuple[Choice, ...]] = ("own", "follow", "shared", "take-over")
ADDED: Final[dict[Choice, str]] = {
    "own": "kiro refreshes it from now on",
    "follow": "the program it belongs to goes on refreshing it",
    "shared": "kiro refreshes it when the program it belongs to does not, and writes the new tokens back",
    "take-over": "it is kiro's own now; the program it came from has to sign in again",
}
"""What is true of an account with this mode."""

OPTION: Final[Any] = typer.Option(
    None,
    "--mode",
    metavar="MODE",
    help="Who refreshes it: `follow` the program it belongs to, `shared` both, `own` kiro, `take-over` kiro from now on.",
)


def read(text: str | None) -> Choice | None:
    """The mode a person named."""
    return None if text is None else one_of(_CHOICES, text, "mode")


def warn(choice: Choice, source: Path | None) -> None:
    """Before something happens that another program will notice."""
    if choice == "take-over":
        render.warning(f"The program that owns {source} will be signed out: its tokens are replaced.")


def change_one(home: "Home", account: "Account", choice: Choice, *, yes: bool) -> None:
    """Change an account that is there already, after a question where another program loses its sign-in."""
    if account.mode == "own":
        if choice == "own":
            return
        raise UsageError(
            f"{account.name} is kiro's own; there is no file to read it from.",
            hint=f"`kiro accounts import FILE --mode {choice}` reads it from the file of another program.",
        )
    if choice in ("own", "take-over"):
        warn("take-over", Path(account.source or ""))
        if not yes:
            prompt.confirm(f"Take over the sign-in of {account.name}?", default=False)
    change(home, [account], choice)


def change(home: "Home", accounts: "Sequence[Account]", choice: Choice) -> None:
    """Give accounts that follow a file another mode."""
    if choice == "shared":
        for account in accounts:
            refuse_unshareable(Path(account.source or ""))
    if choice == "take-over":
        run_async(_take_over(home, accounts))
        return
    for account in accounts:
        if account.mode != choice:
            home.accounts.set_mode(account.id, choice, None if choice == "own" else account.source)


async def _take_over(home: "Home", accounts: "Sequence[Account]") -> None:
    from kiro.runtime import open_runtime

    async with open_runtime(home, background=False) as runtime:
        for account in accounts:
            await runtime.keeper.take_over(account.id)


def refuse_unshareable(source: Path) -> None:
    """Raises UsageError when new tokens could not be written back into this file."""
    from kiro.auth.write_back import refuse_unknown

    try:
        refuse_unknown(source)
    except KiroError as error:
        raise UsageError(error.message, hint=error.hint or "`--mode follow` only reads it.") from error
