"""`kiro config`: read and change settings."""

import os
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import typer

from kiro.cli import prompt, render
from kiro.cli.opening import hide_secrets_from_children, opened_home
from kiro.cli.table import new_app
from kiro.errors import KiroError, UsageError
from kiro.redaction import without_password
from kiro.storage import proxy_password
from kiro.storage.setting_rows import SETTINGS, Setting
from kiro.storage.settings import Loaded, known, load, parse_text
from kiro.storage.settings_file import set_value, unset_value

if TYPE_CHECKING:
    from kiro.home import Home

app = new_app("Read and change settings.\n\nExample: `kiro config set server.port 9000`.")

_JSON = typer.Option(False, "--json", help="Print JSON.")
_KEY = typer.Argument(..., metavar="KEY", help="Such as server.port.")
_FIRST_LINES = "# Settings of kiro. `kiro config list` shows every setting and its default.\n"


class SettingJson(msgspec.Struct, frozen=True):
    """A setting as `--json` tells it. `source` is flag, environment, file or default."""

    key: str
    value: Any
    default: Any
    source: str
    unit: str
    help: str
    restart: bool


@app.callback(invoke_without_command=True)
def begin(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        list_(as_json=False)


@app.command("list")
def list_(as_json: bool = _JSON) -> None:
    """List every setting: its value, its default, where the value comes from, what it means.

    Example: `kiro config list`.
    """
    with opened_home() as home:
        loaded = home.loaded
    if as_json:
        render.json_answer([_as_json(setting, loaded) for setting in SETTINGS])
    else:
        rows = [
            (
                setting.key,
                _with_unit(setting, setting.shown(loaded.values[setting.key])),
                _with_unit(setting, setting.shown(setting.default)),
                loaded.origins[setting.key].source,
                setting.help,
            )
            for setting in SETTINGS
        ]
        render.table(("SETTING", "VALUE", "DEFAULT", "SOURCE", "MEANING"), rows)
    _warn(loaded)


@app.command()
def get(key: str = _KEY, as_json: bool = _JSON) -> None:
    """Print the value of one setting.

    Example: `kiro config get server.port`.
    """
    setting = known(key)
    with opened_home() as home:
        loaded = home.loaded
    if as_json:
        render.json_answer(_as_json(setting, loaded))
    else:
        render.answer(setting.shown(loaded.values[key]))


@app.command("set")
def set_(
    key: str = _KEY, value: str = typer.Argument(..., metavar="VALUE", help="Lists are written with commas.")
) -> None:
    """Change one setting in config.toml. Comments and everything else in the file stay as they are.

    The password of upstream.proxy goes into the vault; `kiro config set upstream.proxy -` reads the address from stdin.
    Example: `kiro config set pool.strategy round-robin`.
    """
    setting = known(key)
    if key == proxy_password.KEY and value == "-":
        value = prompt.secret("Address of the proxy: ")
    parsed = parse_text(setting, value, "on the command line")
    with opened_home() as home:
        if key == proxy_password.KEY and isinstance(parsed, str):
            parsed = proxy_password.keep(home.vault, parsed)
        paths = home.paths
        load(paths, {}, {key: parsed})  # refuses what contradicts the rest of the file before anything is written
        set_value(paths.config_file, key, parsed)
        render.note(f"{key} is now {_with_unit(setting, setting.shown(parsed)) or 'empty'}; {_when(setting)}.")
        _after_change(home, setting)


@app.command()
def unset(key: str = _KEY) -> None:
    """Remove one setting from config.toml, so that its default rules again.

    Example: `kiro config unset server.port`.
    """
    setting = known(key)
    with opened_home() as home:
        if key == proxy_password.KEY:
            proxy_password.forget(home.vault)
        if not unset_value(home.paths.config_file, key):
            render.note(f"{key} was not set in {home.paths.config_file}.")
            return
        default = _with_unit(setting, setting.shown(setting.default))
        render.note(f"{key} is back at its default, {default or 'empty'}; {_when(setting)}.")
        _after_change(home, setting)


@app.command()
def edit() -> None:
    """Open config.toml in your editor (VISUAL, EDITOR) and check it afterwards.

    Example: `EDITOR=nano kiro config edit`.
    """
    with opened_home() as home:
        path = home.paths.config_file
        home.paths.make_folders()
        if not path.exists():
            path.write_text(_FIRST_LINES, "utf-8")
        _run_editor(path)
        _warn(home.load_again())
        render.note(f"{path} is in order.")


@app.command()
def path() -> None:
    """Print where config.toml is, whether or not it exists.

    Example: `cat "$(kiro config path)"`.
    """
    with opened_home() as home:
        render.answer(str(home.paths.config_file))


def _run_editor(path: Path) -> None:
    words = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "")
    command = words or ["notepad" if sys.platform == "win32" else "vi"]
    hide_secrets_from_children()
    try:
        ended = subprocess.run([*command, str(path)], check=False)  # noqa: S603  # the person's own editor
    except OSError as error:
        raise UsageError(f"The editor {command[0]} cannot be started.", hint="Name yours in EDITOR.") from error
    if ended.returncode:
        raise KiroError(f"The editor ended with status {ended.returncode}.")


def _when(setting: Setting) -> str:
    return (
        "takes effect at once, also in a running server" if setting.hot else "takes effect when the server is restarted"
    )


def _after_change(home: "Home", setting: Setting) -> None:
    """What the person should know beside the change: a variable that goes first, a password in the open."""
    loaded = load(home.paths, home.env)
    if loaded.origins[setting.key].source == "environment":
        render.warning(f"{setting.variable} is set in the environment and goes before the file.")
    _warn(loaded)


def _warn(loaded: Loaded) -> None:
    for text in loaded.warnings:
        render.warning(text)


def _with_unit(setting: Setting, shown: str) -> str:
    return f"{shown} {setting.unit}" if shown and setting.unit else shown


def _as_json(setting: Setting, loaded: Loaded) -> SettingJson:
    return SettingJson(
        key=setting.key,
        value=_without_secret(loaded.values[setting.key]),
        default=setting.default,
        source=loaded.origins[setting.key].source,
        unit=setting.unit,
        help=setting.help,
        restart=not setting.hot,
    )


def _without_secret(value: Any) -> Any:
    return without_password(value) if isinstance(value, str) else value
