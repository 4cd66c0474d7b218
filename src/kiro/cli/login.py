"""`kiro login`: sign in with a Kiro account."""

from typing import TYPE_CHECKING

import typer

from kiro.cli import importing, prompt, render
from kiro.cli.opening import opened_home, run_async
from kiro.cli.table import new_app
from kiro.errors import KiroError, UsageError

if TYPE_CHECKING:
    from kiro.auth.records import ImportedAccount

app = new_app("Sign in with a Kiro account.\n\nExample: `kiro login key`.")


@app.callback()
def begin() -> None:
    """A group, although there is one way so far."""


@app.command()
def key(
    name: str = typer.Option(None, "--name", help="Name of the account."),
    region: str = typer.Option(None, "--region", help="Region in which Kiro answers for it."),
    check: bool = typer.Option(False, "--check", help="Ask Kiro whether the key works."),
) -> None:
    """Add an account by a Kiro API key, made on the web page of your Kiro account.

    The key is read from a hidden prompt or from stdin, never from the command line, where other programs could see it.
    Example: `kiro login key < key.txt`.
    """
    imported = _imported(prompt.secret("Kiro API key: "), region)
    with opened_home() as home:
        added = home.accounts.add(imported, name=name)
        render.note(f"{added.account.name} is {'updated' if added.merged else 'added'}.")
        if check:
            taken = importing.Taken(0, "added", added.account.id, added.account.name, added.account.kind)
            said = run_async(importing.check_online(home, [taken]))[0].checked
            if said != "works":
                raise KiroError(f"Kiro does not take the key: {said}")
            render.note("Kiro takes the key.")


def _imported(text: str, region: str | None) -> "ImportedAccount":
    from kiro.auth.credentials import ApiKeyCredentials
    from kiro.auth.records import API_REGIONS, ImportedAccount
    from kiro.redaction import Secret

    if not text:
        raise UsageError("No key was given.", hint="Type it at the prompt, or send it: `kiro login key < key.txt`.")
    if not text.startswith("ksk_") or not text.isascii() or not text.isprintable() or " " in text:
        raise UsageError("This is not a Kiro API key.", hint="They begin with ksk_ and are made on app.kiro.dev.")
    if region is not None and region not in API_REGIONS:
        raise UsageError(f"Kiro does not answer in {region!r}.", hint=f"It does in {', '.join(sorted(API_REGIONS))}.")
    return ImportedAccount(index=0, credentials=ApiKeyCredentials(api_key=Secret(text)), api_region=region)
