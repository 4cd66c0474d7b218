"""`kiro models`: what the accounts offer."""

from typing import TYPE_CHECKING

import typer

from kiro.cli import render
from kiro.cli.opening import opened_home, run_async
from kiro.cli.table import new_app
from kiro.errors import KiroError

if TYPE_CHECKING:
    from kiro.home import Home
    from kiro.upstream.catalogue import Model

app = new_app()


@app.command()
def models(
    refresh: bool = typer.Option(False, "--refresh", help="Ask Kiro even if the list is not old."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """List the models your accounts offer.

    Kiro is asked at most once an hour. PRICE counts in credits, relative to `auto`.
    Example: `kiro models --json`.
    """
    with opened_home() as home:
        found, note = run_async(_ask(home, refresh=refresh))
    if as_json:
        render.json_answer(found)
    else:
        rows = [_row(model) for model in found]
        render.table(
            ("MODEL", "WINDOW", "MAX OUTPUT", "PRICE", "ABILITIES"), rows, right=("WINDOW", "MAX OUTPUT", "PRICE")
        )
    if note:
        render.note(note)


async def _ask(home: "Home", *, refresh: bool) -> "tuple[list[Model], str | None]":
    """The models, and a remark when Kiro did not give the list itself."""
    from kiro.runtime import open_runtime

    async with open_runtime(home, background=False) as runtime:
        failure: KiroError | None = None
        for account in runtime.accounts:
            if account.enabled:
                try:
                    await runtime.models.refresh(account.id, force=refresh or not runtime.models.live)
                except KiroError as error:
                    failure = error
        found = runtime.models.shown()
        if runtime.models.live:
            return found, None
        if not runtime.accounts:
            return found, "There is no account yet; this is what kiro knows by itself."
        return found, f"Kiro could not be asked; the list may be old. {failure.full_text() if failure else ''}".rstrip()


def _row(model: "Model") -> tuple[str, ...]:
    return (
        model.id,
        _tokens(model.window),
        _tokens(model.max_output) if model.max_output else "",
        f"{model.multiplier:g}",
        ", ".join(_abilities(model)),
    )


def _abilities(model: "Model") -> list[str]:
    abilities = ["pictures"] if model.images else []
    if model.thinking_types or model.efforts:
        abilities.append("thinking")
    if model.efforts:
        abilities.append(f"effort {'/'.join(model.efforts)}")
    return abilities


def _tokens(count: int) -> str:
    return f"{count / 1_000_000:g} M" if count >= 1_000_000 else f"{count / 1000:g} k"
