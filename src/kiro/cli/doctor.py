"""`kiro doctor`: checks this installation and says how to mend it."""

import typer

from kiro.cli import checks, render
from kiro.cli.opening import opened_home, plural, run_async
from kiro.cli.table import new_app
from kiro.errors import KiroError

app = new_app()


@app.command()
def doctor(
    online: bool = typer.Option(False, "--online", help="Ask Kiro with every account, too."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Check this installation and say how to mend what is wrong.

    Tells no secrets, changes nothing. Ends with status 1 when something has to be mended.
    Example: `kiro doctor --online`.
    """
    with opened_home(may_ask=False) as home:
        found = checks.look(home)
        if online:
            try:
                found += run_async(checks.ask_kiro(home))
            except KiroError as error:
                found.append(checks.Finding("Kiro", "failed", error.message, error.hint))
    if as_json:
        render.json_answer(found)
    else:
        render.table(
            ("CHECK", "RESULT", "", "TO MEND IT"), [(one.what, one.level, one.says, one.mend or "") for one in found]
        )
    failed = sum(one.level == "failed" for one in found)
    if failed:
        raise KiroError(f"{plural(failed, 'thing')} {'has' if failed == 1 else 'have'} to be mended.")
