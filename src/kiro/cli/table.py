"""COMMANDS: every command, its one line of help, and the module that is imported when it is called.

The help of `kiro` itself is written from this table, so that it imports no command.
"""

import importlib
from typing import Any, Final, NamedTuple

import typer
from typer.core import TyperGroup

from kiro.errors import Cancelled, UsageError


class Row(NamedTuple):
    """`module` has an `app`: a Typer with the command, or with the group's commands."""

    module: str
    help: str


COMMANDS: Final[dict[str, Row]] = {
    "serve": Row("serve", "Offer your accounts to every agent and SDK, until Ctrl-C."),
    "demo": Row("demo", "Try it all without an account: an emulated Kiro, a throw-away home."),
    "status": Row("status", "Is the server up, and how do the accounts fare?"),
    "ask": Row("ask", "Ask one question and read the answer."),
    "models": Row("models", "List the models your accounts offer."),
    "accounts": Row("accounts", "List, import and change accounts."),
    "login": Row("login", "Sign in with a Kiro account."),
    "keys": Row("keys", "Make and change the keys that clients show."),
    "logs": Row("logs", "Look at the requests that were served."),
    "config": Row("config", "Read and change settings."),
    "doctor": Row("doctor", "Check this installation and say how to mend what is wrong."),
}


_PLAIN: Final[dict[str, Any]] = {
    "rich_markup_mode": None,
    "add_completion": False,
    "pretty_exceptions_enable": False,
    "context_settings": {"help_option_names": ["-h", "--help"]},
}


class CommandTable(TyperGroup):
    """The group `kiro`, whose commands are loaded when they are called."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        row = COMMANDS.get(cmd_name)
        if row is None:
            return None
        module = importlib.import_module(f"kiro.cli.{row.module}")
        command = typer.main.get_command(module.app)
        command.name = cmd_name
        return command

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if not args[0].startswith("-") and args[0] not in COMMANDS:
            raise _no_such_command(args[0])
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, row.help) for name, row in COMMANDS.items()])

    def invoke(self, ctx: Any) -> Any:
        """Typer has its own words for Ctrl-C and the end of input; ours are the same everywhere."""
        try:
            return super().invoke(ctx)
        except (KeyboardInterrupt, EOFError) as error:
            raise Cancelled("Stopped.") from error


def new_app(help_text: str | None = None) -> typer.Typer:
    """A Typer as all commands use it: plain help, no completion of its own, our own errors.

    Without `help_text` the docstring of its one command, or of its callback, is the help.
    """
    told: dict[str, Any] = {} if help_text is None else {"help": help_text}
    return typer.Typer(**_PLAIN, **told)


def root() -> Any:
    """The command `kiro`."""
    app = typer.Typer(cls=CommandTable, **_PLAIN)
    app.callback(invoke_without_command=True)(_begin)
    return typer.main.get_command(app)


def _version(wanted: bool) -> None:
    if wanted:
        from kiro import __version__
        from kiro.cli import render

        render.answer(f"kiro {__version__}")
        raise typer.Exit


def _install(wanted: bool) -> None:
    if wanted:
        from kiro.cli import completions, render

        render.answer(completions.install())
        raise typer.Exit


def _show(shell: str | None) -> None:
    if shell is not None:
        from kiro.cli import completions, render

        render.raw(completions.script(shell))
        raise typer.Exit


def _begin(
    ctx: typer.Context,
    _version_wanted: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
    _install_wanted: bool = typer.Option(
        False, "--install-completion", callback=_install, is_eager=True, help="Install completion for your shell."
    ),
    _show_for: str = typer.Option(
        None, "--show-completion", callback=_show, is_eager=True, metavar="SHELL", help="Print it: bash, zsh or fish."
    ),
) -> None:
    """Offers your own Kiro accounts to every coding agent and SDK, on this computer.

    First steps: `kiro demo` shows it without an account; `kiro accounts add` brings yours; `kiro serve` starts.
    """
    if ctx.invoked_subcommand is None:
        from kiro.cli import render

        render.answer(ctx.get_help())


def _no_such_command(name: str) -> UsageError:
    import difflib

    near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.5)
    return UsageError(
        f"There is no command {name!r}.",
        hint=f"Did you mean `kiro {near[0]}`?" if near else "`kiro --help` lists the commands.",
    )
