"""`kiro status`: the server and the accounts at a glance."""

from typing import TYPE_CHECKING

import msgspec
import typer

from kiro import __version__
from kiro.cli import account_words, healthz, render
from kiro.cli.opening import opened_home, server_url
from kiro.cli.table import new_app

if TYPE_CHECKING:
    from kiro.home import Home

app = new_app()


class ServerJson(msgspec.Struct, frozen=True):
    """`in_flight` requests are being answered, `waiting` ones wait for a free place with an account.

    None when the server does not tell.
    """

    url: str
    up: bool
    in_flight: int | None = None
    waiting: int | None = None


class StatusJson(msgspec.Struct, frozen=True):
    """What `--json` prints. `key_source` is who keeps the key of the stored sign-ins."""

    version: str
    server: ServerJson
    key_source: str | None
    accounts: list[account_words.AccountJson]


@app.command()
def status(as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
    """Is the server up, and how do the accounts fare?

    Asks the running server, never Kiro.
    Example: `kiro status --json`.
    """
    with opened_home(may_ask=False) as home:
        url = server_url(home)
        told = account_words.told_all(home)
        source = key_source(home)
    up = healthz.is_up(url)
    busy = healthz.busy(url) if up else None
    in_flight, waiting = busy or (None, None)
    if as_json:
        accounts = [account_words.as_json(one) for one in told]
        render.json_answer(StatusJson(__version__, ServerJson(url, up, in_flight, waiting), source, accounts))
        return
    ready = sum(one.how.state == "active" for one in told)
    render.fields(
        [
            ("version", __version__),
            ("server", f"up at {url}" if up else f"down; `kiro serve` starts it at {url}"),
            *([("requests", f"{in_flight} being answered, {waiting} waiting for a free place")] if busy else []),
            ("accounts", f"{len(told)}, of these ready: {ready}"),
            ("key kept by", source or "nobody yet; nothing is stored"),
        ]
    )
    if told:
        render.answer("")
        account_words.show_table(told)


def key_source(home: "Home") -> str | None:
    """Who keeps the key of the vault, in words; None while there is no vault."""
    from kiro.storage.secrets import describe

    keeper = home.vault.keeper
    return None if keeper is None else describe(keeper)
