"""What `kiro serve` does: a home opened, its accounts offered, the banner, an explanation when the port is taken.

A server runs for weeks. `unparsed` reads its plain calls without Typer, which would stay in memory all the
time: a megabyte, and a sixth of the start. Everything else, help and mistakes included, is Typer's.
"""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Final

from kiro.cli import account_words, pasting, render
from kiro.cli.opening import SERVED_AT, hide_secrets_from_children, ignore_signals, opened_home, run_async
from kiro.errors import PortTaken

if TYPE_CHECKING:
    from kiro.home import Home

FIRST_KEY: Final = "default"
"""Name of the client key that is made when there is none."""

_LARGEST_PORT: Final = 65_535


def unparsed(arguments: Sequence[str]) -> Callable[[], None] | None:
    """What to do for the arguments of `kiro serve`, when they are plain; None when Typer should read them."""
    read = read_plainly(arguments)
    return None if read is None else functools.partial(serve, **read)


def read_plainly(arguments: Sequence[str]) -> dict[str, Any] | None:
    """The parameters of `serve`, from options that are written out; None for anything else."""
    read: dict[str, Any] = {"host": None, "port": None, "open_browser": False}
    rest = list(arguments)
    while rest:
        option = rest.pop(0)
        if option == "--open":
            read["open_browser"] = True
            continue
        value = rest.pop(0) if rest else ""
        if option == "--host" and value and not value.startswith("-"):
            read["host"] = value
        elif option in ("--port", "-p") and _is_port(value):
            read["port"] = int(value)
        else:
            return None
    return read


def _is_port(value: str) -> bool:
    return (
        value.isascii() and value.isdecimal() and len(value) <= len(str(_LARGEST_PORT)) and int(value) <= _LARGEST_PORT
    )


def serve(host: str | None, port: int | None, *, open_browser: bool) -> None:
    """Serves until a signal comes; None stands for what is set."""
    from kiro.home import log_to_file

    with opened_home({"server.host": host, "server.port": port}) as home:
        for text in home.loaded.warnings:
            render.warning(text)
        log_to_file(home)
        key = first_key(home)
        server = home.loaded.settings.server

        def ready(url: str) -> None:
            with home.database.change() as change:
                change.set_meta(SERVED_AT, url)  # for commands that have something for a running server
            _banner(url, key, home)
            if open_browser:
                _open(url)

        listen(home, server.host, server.port, ready)


def listen(home: "Home", host: str, port: int, ready: Callable[[str], None]) -> None:
    """Serves this home until a signal comes. Raises PortTaken with who has the port."""
    try:
        run_async(_serve(home, host, port, ready), fast=True)
    except PortTaken as error:
        raise explained(error) from error
    render.note("Stopped.")


async def _serve(home: "Home", host: str, port: int, ready: Callable[[str], None]) -> None:
    from kiro.runtime import open_runtime
    from kiro.server import serving

    async with open_runtime(home) as runtime:
        runtime.on_notice = render.note
        await serving.serve(runtime, host=host, port=port, on_ready=ready)
        ignore_signals()


def first_key(home: "Home") -> str | None:
    """The text of the key named `default`, which is made when there is no key at all; None when there are only others."""
    if not home.loaded.settings.server.require_key:
        return None
    from kiro.storage.files import FileLock

    keys = home.keys.list()
    if not keys:
        with FileLock(home.paths.locks_dir / "first-key.lock"):  # two servers may be started at once
            keys = home.keys.list()
            if not keys:
                return home.keys.create(FIRST_KEY)[1].reveal()
    mine = next((key for key in keys if key.name == FIRST_KEY and key.enabled), None)
    return None if mine is None else home.keys.show(mine.id).reveal()


def _banner(url: str, key: str | None, home: "Home") -> None:
    """The same lines on a terminal and in a file; only the paint differs."""
    from kiro.protocols import PROTOCOLS

    server = home.loaded.settings.server
    render.heading(f"kiro serves at {url}")
    key_words = key or (
        "one of `kiro keys list`" if server.require_key else "none is needed (server.require_key is false)"
    )
    accounts = account_words.told_all(home)
    pairs = [("base URL", url), ("client key", key_words), ("accounts", _accounts_words(accounts))]
    shown_key = key or "KEY"
    pairs += [row for row in pasting.lines(url, shown_key, "auto", set(PROTOCOLS)) if row[0] == "Claude Code"]
    render.fields(pairs)
    if not accounts:
        render.warning("There is no account yet: `kiro accounts add` in a second terminal asks for one.")
    if server.require_key and not _local(server.host):
        render.warning(
            f"Everybody who reaches {server.host} and has a client key can use your accounts; the way there is not encrypted."
        )
    render.note("Ctrl-C stops.")
    render.flush()


def _accounts_words(told: "list[account_words.Told]") -> str:
    lines = (f"{one.name}: {how.state}, {account_words.kind_words(one.kind, one.provider)}" for one, how, _ in told)
    return "\n".join(lines) or "none"


def _local(host: str) -> bool:
    from kiro.storage.setting_kinds import is_loopback

    return is_loopback(host)


def _open(url: str) -> None:
    import webbrowser

    hide_secrets_from_children()
    if not webbrowser.open(url):
        render.note(f"No browser could be opened; the address is {url}.")


def explained(error: PortTaken) -> PortTaken:
    """The same error with who has the port, and the next free one."""
    from kiro.cli import ports

    owner = ports.owner(error.port)
    if owner is None and error.port < 1024:
        return PortTaken(
            error.host, error.port, hint="Ports below 1024 are for the administrator. Take a higher one: --port 8080."
        )
    free = ports.free_port(error.host, error.port + 1)
    who = f"{owner.words()} listens there." if owner is not None else "Another program listens there."
    return PortTaken(error.host, error.port, hint=f"{who} `--port {free or 0}` takes a free one.")
