"""`kiro keys`: the keys that clients show to this proxy."""

import sys
from typing import TYPE_CHECKING

import msgspec
import typer

from kiro.cli import prompt, render
from kiro.cli.opening import ago, opened_home
from kiro.cli.table import new_app
from kiro.errors import UsageError

if TYPE_CHECKING:
    from kiro.redaction import Secret
    from kiro.storage.client_keys import ClientKey

app = new_app("Make and change the keys that clients show.\n\nExample: `kiro keys create laptop`.")

_JSON = typer.Option(False, "--json", help="Print JSON.")
_NAME = typer.Argument(..., metavar="NAME", help="Name or id of the key.")
_TEXT = typer.Option(None, "--key", metavar="VALUE", help="Your own text for it; - reads it from stdin.")


class KeyJson(msgspec.Struct, frozen=True):
    """A key with its text, as `create` and `rotate` print it."""

    id: str
    name: str
    key: str


@app.callback(invoke_without_command=True)
def begin(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        list_(as_json=False)


@app.command("list")
def list_(as_json: bool = _JSON) -> None:
    """List the keys, without their texts.

    Example: `kiro keys list`.
    """
    with opened_home() as home:
        keys = home.keys.list()
    if as_json:
        render.json_answer(keys)
    elif keys:
        rows = [
            (key.name, "enabled" if key.enabled else "disabled", f"…{key.last4}", ago(key.created_at)) for key in keys
        ]
        render.table(("NAME", "STATE", "ENDS WITH", "MADE"), rows)
    else:
        render.note("There is no client key yet; `kiro serve` makes the first, `kiro keys create NAME` another.")


@app.command()
def create(
    name: str = typer.Argument(..., metavar="NAME", help="Name of the new key."),
    text: str = _TEXT,
    as_json: bool = _JSON,
) -> None:
    """Make a key. It works at once, also with a running server.

    A text given with --key can be seen by other programs while the command runs; `--key -` reads it from stdin.
    Example: `kiro keys create laptop`.
    """
    with opened_home() as home:
        key, made = home.keys.create(name, _text(text))
    _print(key, made, as_json=as_json)


@app.command()
def show(name: str = _NAME, as_json: bool = _JSON) -> None:
    """Print the text of a key.

    Example: `export ANTHROPIC_API_KEY=$(kiro keys show default)`.
    """
    with opened_home() as home:
        _print(home.keys.get(name), home.keys.show(name), as_json=as_json)


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


def _print(key: "ClientKey", text: "Secret", *, as_json: bool) -> None:
    if as_json:
        render.json_answer(KeyJson(key.id, key.name, text.reveal()))
    else:
        render.answer(text.reveal())
    sys.stdout.flush()
