"""`kiro accounts import`: whatever file of sign-ins somebody has; what was found is shown before it is taken."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import typer

from kiro.cli import account_words, modes, prompt, render, stores
from kiro.cli.opening import ago, opened_home, plural, run_async
from kiro.errors import KiroError, UsageError

if TYPE_CHECKING:
    from kiro.auth.formats import ImportReport
    from kiro.auth.records import ImportedAccount
    from kiro.home import Home


_KEPT = {"kept": "The sign-in here is newer than the file's."}


class Taken(msgspec.Struct, frozen=True):
    """One account that was imported. `checked` is None when Kiro was not asked, else what it said.

    `kept`: it is here already, with a sign-in that is newer than the file's.
    """

    index: int
    result: Literal["added", "updated", "kept"]
    id: str
    name: str
    kind: str
    checked: str | None = None


class Said(msgspec.Struct, frozen=True):
    """A code and its words."""

    code: str
    message: str


class RefusedEntry(msgspec.Struct, frozen=True):
    index: int
    code: str
    message: str


class ImportJson(msgspec.Struct, frozen=True):
    """What `--json` prints. `index` counts the entries of the input from 0."""

    format: str
    accounts: list[Taken]
    refused: list[RefusedEntry]
    warnings: list[Said]


def import_(
    file: str = typer.Argument(..., metavar="FILE", help="File with sign-ins, or - for stdin."),
    *,
    name: str | None = typer.Option(None, "--name", help="Name of the account, when there is one in the file."),
    follow: bool = typer.Option(False, "--follow", help="The same as `--mode follow`."),
    mode: str | None = modes.OPTION,
    check: bool = typer.Option(False, "--check", help="Ask Kiro whether the imported accounts work."),
    yes: bool = typer.Option(False, "--yes", "-y", help="Do not ask."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON; asks nothing."),
) -> None:
    """Take over sign-ins from a file of another program, whatever its format.

    Token files of the Kiro IDE, databases of the Kiro CLI, exports of other proxies, API keys line by line.
    Files that belong to it (client registrations) are found beside it. Nothing goes over the network without --check
    or `--mode take-over`. A file in the place where the Kiro IDE or CLI keeps its sign-in is followed by default:
    that program goes on refreshing it. Any other file is taken over as kiro's own.
    Example: `kiro accounts import ~/.aws/sso/cache/kiro-auth-token.json --follow`.
    """
    source = None if file == "-" else Path(file).expanduser().absolute()
    wanted = modes.read(mode)
    if follow and wanted not in (None, "follow"):
        raise UsageError(f"--follow and --mode {wanted} contradict each other.", hint="Give one of them.")
    wanted = "follow" if follow else wanted
    if wanted not in (None, "own") and source is None:
        raise UsageError("Stdin cannot be followed.", hint="Name the file, or leave --follow and --mode out.")
    with opened_home() as home:
        chosen = wanted or ("follow" if source is not None and stores.is_live(home, source) else "own")
        report = _read(source, home.loaded.settings.auth.external_hosts)
        _refuse_whole(report, source)
        _warn_about_exposure(source)
        if chosen != "own":
            _refuse_ambiguous(report)
        if name is not None and len(report.accounts) != 1:
            raise UsageError(
                f"--name fits one account, and there are {len(report.accounts)}.",
                hint="`kiro accounts rename` names them later.",
            )
        if not as_json:
            _preview(report)
            modes.warn(chosen, source)
            if not yes and report.accounts and source is not None:
                prompt.confirm(f"Import {plural(len(report.accounts), 'account')}?", default=True)
        if chosen == "shared" and source is not None:
            modes.refuse_unshareable(source)
        taken = [_take(home, one, name, None if chosen == "own" else source) for one in report.accounts]
        modes.change(home, [home.accounts.get(one.id) for one in taken], chosen)
        if check:
            taken = run_async(check_online(home, taken))
    _tell(report, taken, as_json=as_json)
    if chosen == "own" and source is not None and not as_json:
        _warn_about_sharing(source)
    elif taken and chosen != "own" and not as_json:
        render.note(f"{plural(len(taken), 'account')}: {modes.ADDED[chosen]}.")
    if not taken:
        raise KiroError("No account was imported.")
    if any(one.checked not in (None, "works") for one in taken):
        raise KiroError("Not every imported account works.", hint="`kiro accounts list` shows their states.")


def _read(source: Path | None, extra_hosts: tuple[str, ...]) -> "ImportReport":
    from kiro.auth.files import MAX_BYTES, beside
    from kiro.auth.formats import read_import

    data, store = (sys.stdin.buffer.read(MAX_BYTES), None) if source is None else _load(source)
    opened = _unsealed(data)
    try:
        return read_import(
            data if opened is None else opened,
            name="-" if source is None else source.name,
            siblings=(lambda _: None) if source is None else beside(source),
            now=datetime.now(UTC),
            extra_hosts=extra_hosts,
            trusted=opened is not None,
            store=store,
        )
    except OSError as error:
        raise KiroError(f"{source or 'The input'} cannot be read: {error.strerror}.") from error


def _unsealed(data: bytes) -> bytes | None:
    """The content of a file of `kiro accounts export`; `None` for any other."""
    from kiro.auth import sealed
    from kiro.cli.exporting import passphrase_for_import

    if not sealed.is_sealed(data):
        return None
    return sealed.unseal(data, passphrase_for_import(lambda: sealed.check(data)))


def _load(path: Path) -> tuple[bytes, Path | None]:
    """A file of sign-ins, as `files.load` gives it. Raises UsageError or KiroError in words."""
    from kiro.auth.files import load

    try:
        if path.is_dir():
            raise UsageError(f"{path} is a folder.", hint="Name the file in it.")
        return load(path)
    except FileNotFoundError:
        raise UsageError(f"There is no file {path}.") from None
    except OSError as error:
        raise KiroError(f"{path} cannot be read: {error.strerror}.") from error


def _refuse_whole(report: "ImportReport", source: Path | None) -> None:
    from kiro.auth.codes import MEANINGS

    if report.file_errors:
        what = " ".join(MEANINGS[code] for code in report.file_errors)
        where = f" ({report.position})" if report.position else ""
        raise KiroError(f"{source or 'The input'} cannot be imported{where}.", hint=what)


def _refuse_ambiguous(report: "ImportReport") -> None:
    """A followed file is read again later, and then only the kind tells whose sign-in is whose."""
    from kiro.auth.credentials import kind_of

    kinds = [kind_of(one.credentials) for one in report.accounts]
    if len(kinds) != len(set(kinds)):
        raise UsageError(
            "Several accounts of one kind are in the file, so it cannot be followed.", hint="Leave --follow out."
        )


def _preview(report: "ImportReport") -> None:
    """What was found, without secrets."""
    from kiro.auth.credentials import expiry, kind_of

    columns = ("ENTRY", "KIND", "NAME", "EMAIL", "REGION", "TOKEN ENDS")
    rows = []
    for one in report.accounts:
        kind, ends = kind_of(one.credentials), expiry(one.credentials)
        words = account_words.kind_words(kind, one.provider)
        rows.append((str(one.index + 1), words, one.name or "", one.email or "", one.api_region or "", ago(ends)))
    render.note(f"Format: {report.format}. {plural(len(report.accounts), 'account')} found.")
    if rows:
        render.note(render.plain_table(columns, rows), end="")


def _take(home: "Home", imported: "ImportedAccount", name: str | None, followed: Path | None) -> Taken:
    if followed is None:
        added = home.accounts.add(imported, name=name, keep_newer=True)
    else:
        added = home.accounts.add(imported, name=name, mode="follow", source=str(followed))
    account = added.account
    result: Literal["updated", "added", "kept"] = "kept" if added.kept else "updated" if added.merged else "added"
    return Taken(imported.index, result, account.id, account.name, account.kind)


async def check_online(home: "Home", taken: list[Taken]) -> list[Taken]:
    from kiro.runtime import open_runtime

    checked: list[Taken] = []
    async with open_runtime(home, background=False) as runtime:
        for one in taken:
            try:
                await runtime.questions.usage(one.id)
            except KiroError as error:
                said = error.full_text()
            else:
                said = "works"
            checked.append(msgspec.structs.replace(one, checked=said))
    return checked


def _tell(report: "ImportReport", taken: list[Taken], *, as_json: bool) -> None:
    from kiro.auth.codes import MEANINGS

    if as_json:
        refused = [RefusedEntry(one.index, one.code, MEANINGS[one.code]) for one in report.rejected]
        warnings = [Said(code, MEANINGS[code]) for code in sorted(report.warnings)]
        render.json_answer(ImportJson(report.format, taken, refused, warnings))
        return
    rows: list[tuple[str, str, str, str]] = [
        (str(one.index + 1), one.result, one.name, one.checked or _KEPT.get(one.result, "")) for one in taken
    ]
    rows += [
        (str(one.index + 1), "refused", "", f"Entry {one.index + 1} {MEANINGS[one.code]}.") for one in report.rejected
    ]
    if rows:
        rows.sort(key=lambda row: int(row[0]))
        render.table(("ENTRY", "RESULT", "NAME", ""), rows)
    for code in sorted(report.warnings):
        render.note(f"note: {MEANINGS[code]}")


def _warn_about_exposure(source: Path | None) -> None:
    from kiro.storage.files import exposure

    exposed = exposure(source) if source is not None and source.is_file() else None
    if exposed is not None:
        render.warning(exposed)


def _warn_about_sharing(source: Path) -> None:
    """A refresh token that rotates has one owner: whoever refreshes first signs the other out."""
    parts = {part.lower() for part in source.parts}
    if {"sso", "cache"} <= parts or source.suffix in (".sqlite3", ".db") or "kiro-cli" in parts:
        render.warning(
            "This file belongs to another program, which will lose its sign-in when kiro refreshes it."
            " With --follow the other program goes on refreshing."
        )
