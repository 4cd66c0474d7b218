"""`kiro logs`: the requests that were served, and what became of each."""

import re
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec
import typer

from kiro.cli import render
from kiro.cli.opening import local, opened_home
from kiro.cli.table import new_app
from kiro.errors import UsageError

if TYPE_CHECKING:
    from kiro.home import Home
    from kiro.storage.request_log import Filters, RequestRow

app = new_app()

_POLL_S = 0.5
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_COLUMNS = ("TIME", "OUTCOME", "STATUS", "MODEL", "ACCOUNT", "KEY", "TOKENS", "TIME TAKEN", "ID", "")
_RIGHT = ("STATUS", "TOKENS", "TIME TAKEN")
_WIDTHS = (19, 7, 6, 24, 12, 12, 15, 10, 28, 0)
"""Columns of `--follow`, where the widest cell is not known beforehand."""


@app.callback(invoke_without_command=True)
def list_(
    ctx: typer.Context,
    *,
    follow: bool = typer.Option(False, "--follow", "-f", help="Go on with new requests as they end, until Ctrl-C."),
    failed: bool = typer.Option(False, "--failed", help="Only requests that failed or were refused."),
    account: str = typer.Option(None, "--account", help="Only this account."),
    key: str = typer.Option(None, "--key", help="Only this client key."),
    model: str = typer.Option(None, "--model", help="Only this model, as asked or as used."),
    since: str = typer.Option(None, "--since", help="Only later ones: 90s, 30m, 2h, 7d, or a date and time."),
    limit: int = typer.Option(50, "--limit", "-n", min=1, help="How many of the newest."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON; with --follow one object a line."),
) -> None:
    """Look at the requests that were served.

    The oldest is first. Nothing of what was said is stored, only counts and names.
    Example: `kiro logs --failed --since 2h`, `kiro logs --follow`, `kiro logs show req_…`.
    """
    if ctx.invoked_subcommand is not None:
        return
    from kiro.storage.request_log import Filters, query

    with opened_home() as home:
        filters = Filters(
            since=_moment(since, time.time()) if since else None,
            failed=failed,
            account=_account_id(home, account),
            client_key=_key_id(home, key),
            model=model,
            limit=limit,
        )
        rows = query(home.database, filters)[::-1]
        if follow:
            _follow(home, filters, rows, as_json=as_json)
        elif as_json:
            render.json_answer(rows)
        elif rows:
            names = _names(home)
            render.table(_COLUMNS, [_cells(row, names) for row in rows], right=_RIGHT)
        else:
            render.note("No request fits.")


@app.command()
def show(
    request: str = typer.Argument(..., metavar="ID", help="The request-id of an answer, or from the list."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Show one request with every try.

    Example: `kiro logs show req_1f0c2a`.
    """
    from kiro.storage.request_log import get

    with opened_home() as home:
        row = get(home.database, request)
        names = _names(home)
    if row is None:
        raise UsageError(f"There is no request {request!r}.", hint="`kiro logs` lists them; old ones are deleted.")
    if as_json:
        render.json_answer(row)
        return
    render.fields(_fields(row, names))
    if row.attempts:
        render.answer("")
        columns = ("TRY", "ACCOUNT", "STATUS", "ERROR", "REASON", "TIME TAKEN", "KIRO'S REQUEST ID")
        render.table(
            columns,
            [
                (
                    str(one.n),
                    names.get(one.account or "", one.account or ""),
                    str(one.status or ""),
                    one.error or "",
                    one.reason or "",
                    _duration(one.duration_ms),
                    one.upstream_id or "",
                )
                for one in row.attempts
            ],
            right=("TRY", "STATUS", "TIME TAKEN"),
        )


def _follow(home: "Home", filters: "Filters", rows: "list[RequestRow]", *, as_json: bool) -> None:
    if not as_json:
        render.answer(_line(_COLUMNS))
    try:
        _poll(home, filters, rows, as_json=as_json)
    except KeyboardInterrupt:  # the way it ends
        return


def _poll(home: "Home", filters: "Filters", rows: "list[RequestRow]", *, as_json: bool) -> None:
    from kiro.storage.request_log import query

    names = _names(home)
    after = rows[-1].seq if rows else 0
    while True:
        for row in rows:
            if as_json:
                render.json_line(row)
            else:
                render.answer(_line(_cells(row, names)))
        render.flush()
        time.sleep(_POLL_S)
        rows = query(home.database, msgspec.structs.replace(filters, after=after, limit=1000))
        if rows:
            after, names = rows[-1].seq, _names(home)


def _line(cells: tuple[str, ...]) -> str:
    aligned = (
        cell.rjust(width) if column in _RIGHT else cell.ljust(width)
        for column, cell, width in zip(_COLUMNS, cells, _WIDTHS, strict=True)
    )
    return "  ".join(aligned).rstrip()


def _cells(row: "RequestRow", names: Mapping[str, str]) -> tuple[str, ...]:
    return (
        local(row.started_at),
        row.outcome,
        str(row.status),
        row.model_used or row.model_asked or "",
        names.get(row.account or "", row.account or ""),
        names.get(row.client_key or "", row.client_key or ""),
        f"{_prompt(row)} → {row.output_tokens}" if row.output_tokens or _prompt(row) else "",
        _duration(row.duration_ms),
        row.id,
        row.message or "",
    )


def _fields(row: "RequestRow", names: Mapping[str, str]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str | None]] = [
        ("id", row.id),
        ("time", local(row.started_at)),
        ("outcome", row.outcome),
        ("status", str(row.status)),
        ("protocol", row.protocol),
        ("path", row.path),
        ("streamed", "yes" if row.stream else "no"),
        ("client key", names.get(row.client_key or "", row.client_key)),
        ("model asked", row.model_asked),
        ("model used", row.model_used),
        ("account", names.get(row.account or "", row.account)),
        ("prompt tokens", str(_prompt(row)) if _prompt(row) else None),
        (
            "of these cached",
            f"{row.cache_read_tokens} read, {row.cache_write_tokens} written" if _cached(row) else None,
        ),
        ("answer tokens", str(row.output_tokens) if row.output_tokens else None),
        ("credits", f"{row.credits:g}" if row.credits is not None else None),
        ("first event", _duration(row.first_event_ms) if row.first_event_ms is not None else None),
        ("time taken", _duration(row.duration_ms)),
        ("stop reason", row.stop_reason),
        ("error", row.error),
        ("message", row.message),
        ("notes", "\n".join(row.notes)),
    ]
    return [(name, value) for name, value in pairs if value]


def _prompt(row: "RequestRow") -> int:
    return row.input_tokens + _cached(row)


def _cached(row: "RequestRow") -> int:
    return row.cache_read_tokens + row.cache_write_tokens


def _duration(milliseconds: float) -> str:
    return f"{milliseconds / 1000:.1f} s" if milliseconds >= 1000 else f"{milliseconds:.0f} ms"


def _names(home: "Home") -> dict[str, str]:
    """The names behind the ids of accounts and client keys."""
    accounts = {account.id: account.name for account in home.accounts.list()}
    return accounts | {key.id: key.name for key in home.keys.list()}


def _account_id(home: "Home", name: str | None) -> str | None:
    """The id of an account. One that was removed can still be asked for by its id."""
    if name is None:
        return None
    found = home.accounts.find(name)
    if found is None and not _is_id(name):
        return home.accounts.get(name).id
    return name if found is None else found.id


def _key_id(home: "Home", name: str | None) -> str | None:
    if name is None or (_is_id(name) and all(key.name != name for key in home.keys.list())):
        return name
    return home.keys.get(name).id


def _is_id(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{12}", text) is not None


def _moment(text: str, now: float) -> float:
    """Seconds since 1970 of `2h` before now, or of a date and time, local when it names no zone."""
    span = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smhdw])", text.strip().lower())
    if span:
        return now - float(span.group(1)) * _UNITS[span.group(2)]
    try:
        return datetime.fromisoformat(text.strip()).timestamp()
    except ValueError:
        raise UsageError(
            f"{text!r} is no time.", hint="Write 90s, 30m, 2h or 7d, or a date such as 2026-05-01 or 2026-05-01T14:00."
        ) from None
