"""`kiro serve`: offers the accounts until Ctrl-C."""

import typer

from kiro.cli import serving
from kiro.cli.table import new_app

app = new_app()


@app.command()
def serve(
    host: str = typer.Option(None, "--host", help="Address to listen on (server.host)."),
    port: int = typer.Option(None, "--port", "-p", min=0, max=65535, help="Port (server.port); 0 takes any free one."),
    open_browser: bool = typer.Option(False, "--open", help="Open the address in the browser."),
) -> None:
    """Offer your accounts to every agent and SDK, until Ctrl-C.

    The first start makes a client key named `default`; each start shows it. Running answers get up to
    10 seconds after Ctrl-C; a second Ctrl-C ends at once.
    Example: `kiro serve --port 9000`.
    """
    serving.serve(host, port, open_browser=open_browser)
