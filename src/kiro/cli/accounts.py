"""`kiro accounts`: list, show and change accounts."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from kiro.accounts.overage import left_within
from kiro.cli import account_words, adding, changing, exporting, importing, render, scanning, signing_out
from kiro.cli.opening import ago, opened_home, run_async
from kiro.cli.table import new_app
from kiro.errors import KiroError, UsageError

if TYPE_CHECKING:
    from kiro.accounts.account import Account
    from kiro.home import Home
    from kiro.upstream.queries import UsageLimits

app = new_app("List, import and change accounts.\n\nExample: `kiro accounts import kiro-auth-token.json`.")
app.command("import")(importing.import_)
app.command("scan")(scanning.scan)
app.command("export")(exporting.export)
app.command("add")(adding.add)
app.command("remove")(signing_out.remove)
app.command("restore")(changing.restore)
app.command("set")(changing.set_)

_JSON = typer.Option(False, "--json", help="Print JSON.")
_NAME = typer.Argument(..., metavar="NAME", help="Name or id of the account.")
_NAMES = typer.Argument(None, metavar="[NAME]...", help="Names or ids; all accounts when none is given.")


@app.callback(invoke_without_command=True)
def begin(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        list_(as_json=False)


@app.command("list")
def list_(as_json: bool = _JSON) -> None:
    """List the accounts by priority, with what each can do now.

    Example: `kiro accounts list --json`.
    """
    with opened_home() as home:
        told = account_words.told_all(home)
    if as_json:
        render.json_answer([account_words.as_json(one) for one in told])
    elif told:
        account_words.show_table(told)
    else:
        render.note(
            "There is no account yet. `kiro accounts add` asks step by step; `kiro accounts import FILE` reads one."
        )


@app.command()
def show(name: str = _NAME, as_json: bool = _JSON) -> None:
    """Show everything that is known about one account, except its secrets.

    Example: `kiro accounts show work`.
    """
    with opened_home() as home:
        told = account_words.told(home, home.accounts.get(name), home.accounts.health())
    if as_json:
        render.json_answer(account_words.as_json(told))
    else:
        render.fields(account_words.all_fields(told))


@app.command()
def rename(name: str = _NAME, new_name: str = typer.Argument(..., metavar="NEW", help="The new name.")) -> None:
    """Give an account another name.

    Example: `kiro accounts rename google private`.
    """
    with opened_home() as home:
        account = home.accounts.rename(name, new_name)
    render.note(f"{name} is now called {account.name}.")


@app.command()
def enable(name: str = _NAME) -> None:
    """Let an account be used again.

    An account that Kiro had locked or whose sign-in was dead gets another chance, too.
    Example: `kiro accounts enable work`.
    """
    with opened_home() as home:
        account = home.accounts.restore(home.accounts.enable(name, True).id)
    render.note(f"{account.name} is used again.")


@app.command()
def disable(name: str = _NAME) -> None:
    """Leave an account unused until it is enabled again.

    Example: `kiro accounts disable work`.
    """
    with opened_home() as home:
        account = home.accounts.enable(name, False)
    render.note(f"{account.name} is not used any more; `kiro accounts enable {account.name}` changes that.")


class _Refreshed:
    """What became of one account; `error` is the failure, if there was one."""

    def __init__(self, account: "Account", error: KiroError | None, limits: "UsageLimits | None" = None) -> None:
        self.account = account
        self.error = error
        self.limits = limits


@app.command()
def refresh(names: list[str] = _NAMES) -> None:
    """Renew the access tokens now. That also shows whether the sign-ins still live.

    Example: `kiro accounts refresh work`.
    """
    with opened_home() as home:
        done = run_async(_refresh(home, _chosen(home, names)))
    for one in done:
        if one.error is None:
            render.note(f"{one.account.name}: {_renewed(one.account)}")
    _fail_for(done)


def _renewed(account: "Account") -> str:
    if account.kind == "api_key":
        return "an API key is never renewed."
    if account.mode == "follow":
        return f"read again; the token ends {ago(account.expires_at)}."
    if account.mode == "shared":
        return f"up to date in both places; the token ends {ago(account.expires_at)}."
    return f"renewed; the token ends {ago(account.expires_at)}."


async def _refresh(home: "Home", accounts: "list[Account]") -> list[_Refreshed]:
    from kiro.runtime import open_runtime

    done: list[_Refreshed] = []
    async with open_runtime(home, background=False) as runtime:
        for account in accounts:
            try:
                if account.kind != "api_key":
                    await runtime.keeper.refresh_now(account.id)
            except KiroError as error:
                done.append(_Refreshed(account, error))
            else:
                done.append(_Refreshed(home.accounts.get(account.id), None))
    return done


@app.command()
def usage(names: list[str] = _NAMES, as_json: bool = _JSON) -> None:
    """Ask Kiro how many credits are used.

    Example: `kiro accounts usage --json`.
    """
    with opened_home() as home:
        done = run_async(_usage(home, _chosen(home, names)))
        health = home.accounts.health()
        told = [account_words.told(home, one.account, health) for one in done]
    if as_json:
        render.json_answer([account_words.as_json(one) for one in told])
    else:
        columns = ("NAME", "STATE", "PLAN", "USED", "LIMIT", "LEFT", "OVERAGE", "RENEWED", "ASKED")
        rows = [_usage_row(words, one.limits) for words, one in zip(told, done, strict=True) if one.limits]
        render.table(columns, rows, right=("USED", "LIMIT", "LEFT", "OVERAGE"))
        account_words.explain([words for words, one in zip(told, done, strict=True) if one.limits])
    _fail_for(done)


def _usage_row(told: account_words.Told, limits: "UsageLimits") -> tuple[render.Cell, ...]:
    account = told.account
    usage = account.usage
    resets = datetime.fromtimestamp(limits.resets_at, UTC) if limits.resets_at else None
    left = left_within(usage, told.budget) if usage is not None else limits.remaining
    used, limit, rest = ("" if value is None else f"{value:g}" for value in (limits.used, limits.limit, left))
    bar = render.Bar(account_words.used_share(usage) if usage is not None else None, used)
    overage = account_words.overage_words(told)
    asked = account_words.asked_words(account)
    return (account.name, told.how.state, limits.plan or "", bar, limit, rest, overage, ago(resets), asked)


async def _usage(home: "Home", accounts: "list[Account]") -> list[_Refreshed]:
    from kiro.runtime import open_runtime

    async with open_runtime(home, background=False) as runtime:
        done: list[_Refreshed] = []
        for account in accounts:
            try:
                limits = await runtime.questions.usage(account.id)
            except KiroError as error:
                done.append(_Refreshed(account, error))
            else:
                done.append(_Refreshed(home.accounts.get(account.id), None, limits))
    return done


def _chosen(home: "Home", names: list[str] | None) -> "list[Account]":
    if names:
        return [home.accounts.get(name) for name in names]
    accounts = home.accounts.list()
    if not accounts:
        raise UsageError("There is no account yet.", hint="`kiro accounts add` asks step by step for the first.")
    return accounts


def _fail_for(done: list[_Refreshed]) -> None:
    """Tells every failure; the last one decides the exit status."""
    failures = [(one.account.name, one.error) for one in done if one.error is not None]
    for name, error in failures:
        message = error.message if error.message.startswith(f"{name}: ") else f"{name}: {error.message}"
        render.problem(message, error.hint)
    if failures:
        raise typer.Exit(failures[-1][1].exit_code)
