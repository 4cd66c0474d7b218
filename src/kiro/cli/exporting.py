"""`kiro accounts export`: sign-ins for another computer or another program, under a passphrase unless told otherwise."""

import os
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kiro.cli import account_words, prompt, render
from kiro.cli.opening import one_of, opened_home, plural
from kiro.errors import Cancelled, KiroError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from kiro.accounts.account import Account
    from kiro.auth.exports import ExportFormat
    from kiro.auth.records import ImportedAccount
    from kiro.home import Home

PASSPHRASE_NAME = "KIRO_EXPORT_PASSPHRASE"  # noqa: S105  # the name of a variable
_SHORTEST = 8
_FORMATS: "tuple[ExportFormat, ...]" = ("kiro", "kiro-rs", "account-manager", "kiro-go", "kiro-gateway", "cliproxyapi")
_NAMES = typer.Argument(None, metavar="[NAME]...", help="Names or ids; all accounts when none is given.")


def export(
    names: list[str] = _NAMES,
    *,
    output: str = typer.Option("-", "--output", "-o", metavar="FILE", help="File to write; - for stdout."),
    form: str = typer.Option("kiro", "--format", metavar="FORMAT", help=f"{', '.join(_FORMATS)}."),
    plain: bool = typer.Option(False, "--plain", help="Without a passphrase: whoever has the file has the accounts."),
    yes: bool = typer.Option(False, "--yes", "-y", help="Replace a file that exists."),
) -> None:
    """Write accounts with their sign-ins into a file, for another computer or another program.

    Only kiro's own format can be sealed by a passphrase (asked for, or in KIRO_EXPORT_PASSPHRASE); the others need --plain.
    `kiro accounts import FILE` reads all of them. Example: `kiro accounts export work -o work.kiro`.
    """
    chosen = one_of(_FORMATS, form, "format")
    if chosen != "kiro" and not plain:
        raise UsageError(f"{chosen} files hold the sign-ins in the open.", hint="Add --plain if that is what you want.")
    target = None if output == "-" else Path(output).expanduser().absolute()
    if target is None and sys.stdout.isatty():
        raise UsageError("Sign-ins are not printed on a terminal.", hint="Name a file: -o FILE.")
    if target is not None and target.exists() and not yes:
        _may_replace(target)
    with opened_home() as home:
        accounts = [home.accounts.get(name) for name in names] if names else home.accounts.list()
        if not accounts:
            raise UsageError("There is no account to export.", hint="`kiro login device` adds the first.")
        read = [one for account in accounts if (one := _read(home, account)) is not None]
    exported = _carried(read, chosen)
    content = _content(exported, chosen, plain=plain)
    _write(target, content)
    _tell(target, exported, chosen, plain=plain)


def passphrase_for_import(check: "Callable[[], object]") -> str:
    """The passphrase of a file; `check` raises first when the file is broken, so that nobody types in vain."""
    check()
    given = os.environ.get(PASSPHRASE_NAME)
    if given is not None:
        return given
    if not prompt.can_ask():
        raise UsageError("The file is sealed by a passphrase.", hint=f"Set {PASSPHRASE_NAME}, or use a terminal.")
    return prompt.hidden("Passphrase of the file: ")


def _carried(read: "list[ImportedAccount]", form: "ExportFormat") -> "list[ImportedAccount]":
    """The accounts whose kind the format knows; the others are named."""
    from kiro.auth.credentials import kind_of
    from kiro.auth.exports import FORMATS

    if not read:
        raise KiroError("None of the accounts has a stored sign-in.")
    carried = [one for one in read if kind_of(one.credentials) in FORMATS[form].kinds]
    for one in read:
        if one not in carried:
            words = account_words.kind_words(kind_of(one.credentials), one.provider)
            render.warning(f"{one.name} is left out: {form} files do not know its kind of sign-in ({words}).")
    if not carried:
        raise KiroError(f"{form} files can hold none of these accounts.", hint="The format kiro holds every kind.")
    if FORMATS[form].single and len(carried) > 1:
        raise UsageError(f"A {form} file holds one account.", hint="Name it, and write one file for each.")
    return carried


def _may_replace(target: Path) -> None:
    if not prompt.can_ask():
        raise UsageError(f"{target} exists already.", hint="Name another file, or add --yes to replace it.")
    prompt.confirm(f"Replace {target}?", default=False)


def _read(home: "Home", account: "Account") -> "ImportedAccount | None":
    """An account as it would come in again."""
    from kiro.auth.records import ImportedAccount

    credentials = home.accounts.credentials(account.id)
    if credentials is None:
        render.warning(f"{account.name} has no stored sign-in and is left out.")
        return None
    return ImportedAccount(
        index=0,
        id=account.id,
        credentials=credentials,
        auth_region=account.auth_region,
        api_region=account.region,
        enabled=account.enabled,
        provider=account.provider,
        email=account.email,
        user_id=account.user_id,
        start_url=account.start_url,
        name=account.name,
        machine_id=account.machine_id,
        priority=account.priority,
        flavour=account.flavour,
        proxy=home.accounts.proxy(account.id),
    )


def _content(exported: "list[ImportedAccount]", form: "ExportFormat", *, plain: bool) -> bytes:
    from kiro.auth import exports, sealed

    content = exports.write(exported, form, datetime.now(UTC))
    return content if plain else sealed.seal(content, _new_passphrase())


def _new_passphrase() -> str:
    given = os.environ.get(PASSPHRASE_NAME)
    if given is not None:
        if len(given) < _SHORTEST:
            raise UsageError(
                f"The passphrase in {PASSPHRASE_NAME} is too short.", hint=f"At least {_SHORTEST} characters."
            )
        return given
    if not prompt.can_ask():
        raise UsageError(
            "A passphrase is needed.", hint=f"Set {PASSPHRASE_NAME}, or use a terminal; --plain needs none."
        )
    while True:
        first = prompt.hidden("New passphrase for the file: ")
        if not first:
            raise Cancelled("Nothing was written.")
        if len(first) < _SHORTEST:
            render.note(f"At least {_SHORTEST} characters.")
        elif prompt.hidden("The same again: ") == first:
            return first
        else:
            render.note("The two differ. Once more.")


def _write(target: Path | None, content: bytes) -> None:
    from kiro.storage.files import write_private

    if target is not None:
        write_private(target, content)
        return
    try:
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise KiroError(f"The export cannot be written: {error.strerror}.") from error


def _tell(target: Path | None, exported: "list[ImportedAccount]", form: "ExportFormat", *, plain: bool) -> None:
    """How many were written, what stayed behind, and what the person should know now."""
    from kiro.auth.credentials import kind_of
    from kiro.auth.exports import losses

    render.note(f"{plural(len(exported), 'account')} written to {target or 'stdout'}.")
    for one in exported:
        lost = losses(one, form, plain=plain)
        if lost:
            render.warning(f"{form} files cannot tell of {one.name}: {', '.join(lost)}.")
    if plain:
        render.warning("The file holds the sign-ins in the open: whoever reads it has the accounts.")
    if any(kind_of(one.credentials) != "api_key" for one in exported):
        render.warning(
            "A sign-in that is refreshed in two places ends in one of them. Use it in one place, or sign in there anew."
        )
