"""`kiro accounts remove`: the secrets here first, then the session at its service.

In this order, because a service that cannot be reached must not keep an account here.
"""

from typing import TYPE_CHECKING, Final

import msgspec
import typer

from kiro.cli import prompt, render
from kiro.cli.opening import opened_home, run_async
from kiro.cli.signing_in import opened_sender
from kiro.errors import KiroError

if TYPE_CHECKING:
    from kiro.accounts.directory import Removed
    from kiro.home import Home

_PATIENCE_S: Final = 10.0


def remove(
    name: str = typer.Argument(..., metavar="NAME", help="Name or id of the account."),
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
    no_revoke: bool = typer.Option(False, "--no-revoke", help="Do not end the sign-in at its service."),
) -> None:
    """Forget an account and its secrets. Its requests stay in the log.

    A sign-in with Google or GitHub that is kiro's own is ended at Kiro, too; one that follows another program goes on
    there. The Kiro account itself stays as it is.
    Example: `kiro accounts remove old`.
    """
    with opened_home() as home:
        account = home.accounts.get(name)
        if not yes:
            prompt.confirm(f"Forget the account {account.name} and its sign-in?", default=False)
        removed = home.accounts.remove(account.id)
        render.note(f"{account.name} is removed.")
        if not no_revoke and account.mode == "own":
            run_async(_revoke(home, removed))


async def _revoke(home: "Home", removed: "Removed") -> None:
    """Tells the service through the account's own proxy. A failure is a remark: the account is gone here."""
    from kiro.auth.logout import logout_request
    from kiro.auth.refresh import RefreshUrls

    urls = RefreshUrls(home.loaded.settings.auth.social_url)
    ask = logout_request(removed.credentials, urls) if removed.credentials is not None else None
    if ask is None:
        return
    try:
        async with opened_sender(home, timeout_s=_PATIENCE_S) as send:
            reply = await send(msgspec.structs.replace(ask, proxy=removed.proxy))
    except KiroError as error:
        said = error.message
    else:
        if reply.status < 300:
            render.note("The sign-in is ended at Kiro, too.")
            return
        said = f"it answered with HTTP {reply.status}."
    render.warning(f"The sign-in could not be ended at Kiro: {said} Nobody has its token any more; it runs out there.")
