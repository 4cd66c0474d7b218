"""`kiro keys`: the keys that clients show to this proxy."""

import sys
from collections.abc import Collection, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import typer

from kiro.cli import prompt, render
from kiro.cli.opening import ago, opened_home
from kiro.cli.table import new_app
from kiro.errors import UsageError

if TYPE_CHECKING:
    from kiro.home import Home
    from kiro.redaction import Secret
    from kiro.storage.client_keys import ClientKey

app = new_app("Make and change the keys that clients show.\n\nExample: `kiro keys create laptop`.")

_JSON = typer.Option(False, "--json", help="Print JSON.")
_NAME = typer.Argument(..., metavar="NAME", help="Name or id of the key.")
_TEXT = typer.Option(None, "--key", metavar="VALUE", help="Your own text for it; - reads it from stdin.")
_ACCOUNTS = typer.Option(
    None, "--accounts", metavar="A,B", help="The only accounts it may use, with commas between; `none`: all of them."
)
_ACCOUNT = typer.Option(
    None,
    "--account",
    metavar="NAME",
    help="The account it asks first; others help out while that one cannot serve. `none`: whose turn it is.",
)


class KeyJson(msgspec.Struct, frozen=True):
    """A key with its text, as `create` and `rotate` print it."""

    id: str
    name: str
    key: str


class ListedKey(msgspec.Struct, frozen=True):
    """A key without its text. `accounts` are names, null for all; `account` is the one it asks first."""

    id: str
    name: str
    enabled: bool
    last4: str
    created_at: datetime
    accounts: list[str] | None
    account: str | None


class ShownKey(msgspec.Struct, frozen=True):
    """Everything about a key, its text included."""

    id: str
    name: str
    key: str
    enabled: bool
    created_at: datetime
    accounts: list[str] | None
    account: str | None


@app.callback(invoke_without_command=True)
def begin(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        list_(as_json=False)


@app.command("list")
def list_(as_json: bool = _JSON) -> None:
    """List the keys, without their texts: which accounts each may use, and which one first.

    Example: `kiro keys list`.
    """
    with opened_home() as home:
        keys, names = home.keys.list(), _account_names(home)
    listed = [ListedKey(key.id, key.name, key.enabled, key.last4, key.created_at, *_bound(key, names)) for key in keys]
    if as_json:
        render.json_answer(listed)
    elif listed:
        rows = [
            (
                key.name,
                "enabled" if key.enabled else "disabled",
                f"…{key.last4}",
                _accounts_words(key.accounts),
                key.account or "",
                ago(key.created_at),
            )
            for key in listed
        ]
        render.table(("NAME", "STATE", "ENDS WITH", "ACCOUNTS", "FIRST", "MADE"), rows)
    else:
        render.note("There is no client key yet; `kiro serve` makes the first, `kiro keys create NAME` another.")


@app.command()
def create(
    name: str = typer.Argument(..., metavar="NAME", help="Name of the new key."),
    text: str | None = _TEXT,
    accounts: str | None = _ACCOUNTS,
    account: str | None = _ACCOUNT,
    as_json: bool = _JSON,
) -> None:
    """Make a key. It works at once, also with a running server.

    A text given with --key can be seen by other programs while the command runs; `--key -` reads it from stdin.
    Example: `kiro keys create laptop`.
    """
    with opened_home() as home:
        allowed, default = _allowed(home, accounts), _default(home, account)
        key, made = home.keys.create(name, _text(text), accounts=allowed or None, account=default or None)
    _print(key, made, as_json=as_json)


@app.command()
def show(name: str = _NAME, as_json: bool = _JSON) -> None:
    """Print the text of a key; with --json also which accounts it may use.

    Example: `export ANTHROPIC_API_KEY=$(kiro keys show default)`.
    """
    with opened_home() as home:
        key, text = home.keys.get(name), home.keys.show(name)
        bound = _bound(key, _account_names(home))
    if as_json:
        render.json_answer(ShownKey(key.id, key.name, text.reveal(), key.enabled, key.created_at, *bound))
    else:
        _print(key, text, as_json=False)


@app.command("set")
def set_(
    name: str = _NAME,
    accounts: str | None = _ACCOUNTS,
    account: str | None = _ACCOUNT,
    new_name: str | None = typer.Option(None, "--name", metavar="NEW", help="Another name."),
) -> None:
    """Change which accounts a key may use. A running server takes it over within a second.

    A request can still name one of them, by the path /a/ACCOUNT/… or the header x-kiro-account.
    Example: `kiro keys set laptop --accounts work,home --account work`.
    """
    if accounts is None and account is None and new_name is None:
        raise UsageError("Nothing to set was given.", hint="For example: `kiro keys set laptop --accounts work`.")
    with opened_home() as home:
        allowed, default = _allowed(home, accounts), _default(home, account)
        key = home.keys.bind(name, accounts=allowed, account=default)
        if new_name is not None:
            key = home.keys.rename(key.id, new_name)
        names, default_name = _bound(key, _account_names(home))
    by_itself = f"asks {default_name} first" if default_name else "asks whose turn it is"
    render.note(f"{key.name} may use {_accounts_words(names)}; it {by_itself}.")


@app.command()
def rotate(name: str = _NAME, text: str = _TEXT, as_json: bool = _JSON) -> None:
    """Give a key a new text; the old one stops working at once.

    Example: `kiro keys rotate laptop`.
    """
    with opened_home() as home:
        key, made = home.keys.rotate(name, _text(text))
    _print(key, made, as_json=as_json)


@app.command()
def enable(name: str = _NAME) -> None:
    """Let a key in again.

    Example: `kiro keys enable laptop`.
    """
    with opened_home() as home:
        key = home.keys.enable(name, True)
    render.note(f"{key.name} is let in again.")


@app.command()
def disable(name: str = _NAME) -> None:
    """Keep a key out until it is enabled again.

    Example: `kiro keys disable laptop`.
    """
    with opened_home() as home:
        key = home.keys.enable(name, False)
    render.note(f"{key.name} is kept out; `kiro keys enable {key.name}` changes that.")


@app.command()
def remove(name: str = _NAME, yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask.")) -> None:
    """Delete a key. Clients that use it are kept out at once.

    Example: `kiro keys remove laptop`.
    """
    with opened_home() as home:
        key = home.keys.get(name)
        if not yes:
            prompt.confirm(f"Delete the client key {key.name}?", default=False)
        home.keys.remove(key.id)
    render.note(f"{key.name} is deleted.")


def _text(given: str | None) -> str | None:
    if given != "-":
        return given
    text = prompt.secret("Text of the key: ")
    if not text:
        raise UsageError("No text was given for the key.")
    return text


def _allowed(home: "Home", given: str | None) -> "Collection[str] | msgspec.UnsetType | None":
    """The ids of the accounts that were named; None for all, UNSET when nothing was said."""
    if given is None:
        return msgspec.UNSET
    names = [name for name in (part.strip() for part in given.split(",")) if name]
    if names == ["none"]:
        return None
    if not names:
        raise UsageError("--accounts names no account.", hint="`--accounts none` lets the key use all of them.")
    return frozenset(home.accounts.get(name).id for name in names)


def _default(home: "Home", given: str | None) -> "str | msgspec.UnsetType | None":
    if given is None:
        return msgspec.UNSET
    return None if given == "none" else home.accounts.get(given).id


def _account_names(home: "Home") -> dict[str, str]:
    """Names by id, in the order of the list of accounts."""
    return {account.id: account.name for account in home.accounts.list()}


def _bound(key: "ClientKey", names: Mapping[str, str]) -> tuple[list[str] | None, str | None]:
    """Which accounts the key may use and which one it asks first, by their names."""
    allowed = key.accounts
    among = None if allowed is None else [name for account_id, name in names.items() if account_id in allowed]
    return among, names.get(key.account or "")


def _accounts_words(names: list[str] | None) -> str:
    if names is None:
        return "all"
    return ", ".join(names) or "none: those it had are removed"


def _print(key: "ClientKey", text: "Secret", *, as_json: bool) -> None:
    if as_json:
        render.json_answer(KeyJson(key.id, key.name, text.reveal()))
    else:
        render.answer(text.reveal())
    sys.stdout.flush()
