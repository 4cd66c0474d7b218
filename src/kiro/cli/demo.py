"""`kiro demo`: everything as it is, except that Kiro is emulated and the home is thrown away."""

import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from kiro.cli import pasting, ports, render
from kiro.cli.opening import ignore_signals, run_async
from kiro.cli.serving import explained, first_key
from kiro.cli.table import new_app
from kiro.errors import PortTaken

if TYPE_CHECKING:
    from kiro.emulator.server import Emulator
    from kiro.home import Home

app = new_app()

_HOST = "127.0.0.1"
_PORT = 8080
_PACE_MS = 20
_MODEL = "claude-sonnet-4.5"
_PEOPLE = ("demo", "spare")


@app.command()
def demo(
    port: int = typer.Option(None, "--port", "-p", min=0, max=65535, help="Port; without it 8080, or any free one."),
) -> None:
    """Try it all without an account: an emulated Kiro, a throw-away home.

    Nothing leaves this computer, and your own settings and accounts are not touched. The answers are canned.
    Example: `kiro demo --port 9000`.
    """
    chosen = port if port is not None else (_PORT if ports.can_bind(_HOST, _PORT) else 0)
    try:
        with tempfile.TemporaryDirectory(prefix="kiro-demo-", ignore_cleanup_errors=True) as folder:
            run_async(_demo(Path(folder), chosen), fast=True)
    except PortTaken as error:
        raise explained(error) from error
    render.note("Stopped; the demo's home is deleted.")


async def _demo(folder: Path, port: int) -> None:
    from kiro.emulator.server import Emulator
    from kiro.home import Home, log_to_file
    from kiro.runtime import open_runtime
    from kiro.server import serving

    async with Emulator(pace_ms=_PACE_MS) as emulator:
        addresses = dict.fromkeys(("upstream.url", "auth.social_url", "auth.oidc_url"), emulator.url)
        home = Home(
            {"KIRO_HOME": str(folder)}, {**addresses, "server.host": _HOST, "server.port": port}, use_keyring=False
        )
        try:
            log_to_file(home)
            _sign_in(home, emulator)
            key = first_key(home) or ""
            async with open_runtime(home) as runtime:
                runtime.on_notice = render.note
                await serving.serve(runtime, host=_HOST, port=port, on_ready=_banner(key))
                ignore_signals()
        finally:
            home.close()


def _sign_in(home: "Home", emulator: "Emulator") -> None:
    """Two emulated people, so that failing over can be seen."""
    import msgspec

    from kiro.auth.formats import read_import
    from kiro.emulator.seed import demo_credentials

    for name in _PEOPLE:
        data = msgspec.json.encode(demo_credentials(emulator, name))
        report = read_import(data, name="kiro-auth-token.json", siblings=lambda _: None, now=datetime.now(UTC))
        for imported in report.accounts:
            home.accounts.add(imported, name=name)


def _banner(key: str) -> Callable[[str], None]:
    def ready(url: str) -> None:
        from kiro.protocols import PROTOCOLS

        render.heading("This is a demo: Kiro is emulated, the answers are canned, and nothing leaves this computer.")
        render.fields([("base URL", url), ("client key", key)])
        for name, line in pasting.lines(url, key, _MODEL, set(PROTOCOLS)):
            render.answer(f"\n{name}:\n  {line}")
        render.answer("")
        render.note("Ctrl-C stops and deletes everything.")
        render.flush()

    return ready
