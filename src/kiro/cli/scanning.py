"""`kiro accounts scan`: the sign-ins that other programs keep on this computer, and what can be done with them.

Everything is only read. What is added is followed: the program it belongs to goes on refreshing it, so
that nobody is signed out, unless the person wants it otherwise (`--mode`).
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import msgspec
import typer

from kiro.cli import account_words, importing, modes, render, stores
from kiro.cli.opening import ago, opened_home, plural, run_async
from kiro.errors import KiroError, UsageError

if TYPE_CHECKING:
    from kiro.auth.discover import Candidate
    from kiro.auth.formats import ImportReport
    from kiro.auth.records import ImportedAccount
    from kiro.home import Home
    from kiro.redaction import Secret

_KIRO_FORMATS = frozenset({"kiro-ide-token", "aws-sso-cache-token"})
_NOT_FOR_KIRO = "a sign-in of AWS tools, which Kiro does not take"


class Found(msgspec.Struct, frozen=True):
    """One line of the result.

    `status`: `new` can be added, `known` is here as `account`, `added` just was, `same` is a copy of an earlier line.
    """

    store: str
    path: str
    status: Literal["new", "known", "added", "same", "unusable"]
    kind: str | None = None
    provider: str | None = None
    email: str | None = None
    expires_at: datetime | None = None
    expired: bool = False
    account: str | None = None
    problem: str | None = None


class _Work(msgspec.Struct, frozen=True):
    """What one scan does. `seen`: where each long-lived secret was found first."""

    home: "Home"
    add: bool
    seen: "dict[Secret, str]"


def scan(
    *,
    add: bool = typer.Option(False, "--add", help="Add what is new, following the program it belongs to."),
    mode: str | None = modes.OPTION,
    check: bool = typer.Option(False, "--check", help="Ask Kiro whether the added accounts work."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON."),
) -> None:
    """Look for the sign-ins of the Kiro IDE, the Kiro CLI and other programs on this computer.

    Nothing is changed in them. With --add kiro follows what is new: the other program goes on refreshing it,
    unless --mode says otherwise.
    Example: `kiro accounts scan --add`.
    """
    chosen = modes.read(mode) or "follow"
    if mode is not None and not add:
        raise UsageError("--mode says how sign-ins are added.", hint="`kiro accounts scan --add --mode MODE`.")
    with opened_home() as home:
        work = _Work(home, add, {})
        found = [line for candidate in stores.candidates_of(home) for line in _look(work, candidate)]
        added = [home.accounts.get(line.account or "") for line in found if line.status == "added"]
        modes.change(home, added, chosen)
        if check and add:
            _check(home, [line for line in found if line.status == "added"])
    if as_json:
        render.json_answer(found)
    elif found:
        render.table(("STORE", "KIND", "EMAIL", "TOKEN ENDS", "STATUS", "", "FILE"), [_row(line) for line in found])
    _close(home, found, chosen, add=add, as_json=as_json)


def _close(home: "Home", found: list[Found], mode: modes.Choice, *, add: bool, as_json: bool) -> None:
    """What to do next, in words."""
    if home.env.get("KIRO_API_KEY"):
        render.note("KIRO_API_KEY holds a Kiro API key; `kiro login key` adds it under a name.")
    if not found:
        render.note(
            f"No sign-in of another program was found in {stores.own_home()}. `kiro login device` makes one for kiro."
        )
    if as_json:
        return
    added, new = (sum(line.status == status for line in found) for status in ("added", "new"))
    if added:
        render.note(f"{plural(added, 'account')} added; {modes.ADDED[mode]}.")
    elif new:
        render.note(f"{plural(new, 'account')} can be added: `kiro accounts scan --add`.")
    if any(line.expired and line.status != "unusable" for line in found):
        render.note("Where the token has ended, open the program it belongs to once.")
    if add and found and all(line.status == "unusable" for line in found):
        raise KiroError("Nothing that was found can be used.")


def _look(work: _Work, candidate: "Candidate") -> list[Found]:
    if not candidate.folder:
        return _look_into(work, candidate, candidate.path)
    try:
        files = sorted(candidate.path.glob("*.json"))
    except OSError:  # a folder that may not be listed is one that is not ours
        return []
    others = [file for file in files if file.name != "kiro-auth-token.json"]
    return [line for file in others for line in _look_into(work, candidate, file)]


def _look_into(work: _Work, candidate: "Candidate", path: Path) -> list[Found]:
    from kiro.auth.codes import MEANINGS
    from kiro.storage.files import exposure

    try:
        report = _read(work, candidate, path)
    except (KiroError, OSError) as error:
        said = error.message if isinstance(error, KiroError) else f"It cannot be read: {error.strerror}."
        return [] if candidate.folder else [_unusable(candidate, path, said)]
    if report is None or (candidate.folder and report.format not in _KIRO_FORMATS):
        return []
    exposed = None if candidate.windows else exposure(path)
    if exposed is not None and report.accounts:
        render.warning(exposed)
    lines = [_unusable(candidate, path, MEANINGS[code]) for code in report.file_errors if code != "E_NO_ACCOUNTS"]
    lines += [_unusable(candidate, path, f"The sign-in {MEANINGS[one.code]}.") for one in report.rejected]
    return lines + [_judge(work, candidate, path, report, one) for one in report.accounts]


def _read(work: _Work, candidate: "Candidate", path: Path) -> "ImportReport | None":
    """What is in a file; None when there is nothing to look at. Raises KiroError, OSError."""
    from kiro.auth.files import read_sign_ins

    if not path.exists():
        if candidate.named is not None:
            raise KiroError(f"{candidate.named} names it, and there is no such file.")
        return None
    if not path.is_file():
        raise KiroError("It is not a file.")
    return read_sign_ins(path, now=datetime.now(UTC), extra_hosts=work.home.loaded.settings.auth.external_hosts)


def _judge(work: _Work, candidate: "Candidate", path: Path, report: "ImportReport", one: "ImportedAccount") -> Found:
    """What can be done with a sign-in; done, when it is to be added."""
    from kiro.auth.credentials import expiry, kind_of, long_lived

    ends = expiry(one.credentials)
    line = Found(
        store=candidate.store,
        path=str(path),
        status="new",
        kind=kind_of(one.credentials),
        provider=one.provider,
        email=one.email,
        expires_at=ends,
        expired=ends is not None and ends <= datetime.now(UTC),
    )
    accounts = work.home.accounts
    known = accounts.known(one, str(path))
    if known is not None:
        return msgspec.structs.replace(line, status="known", account=known.name)
    if report.format == "aws-sso-cache-token" and not _for_kiro(one):
        return msgspec.structs.replace(line, status="unusable", problem=_NOT_FOR_KIRO)
    earlier = work.seen.setdefault(long_lived(one.credentials), str(path))
    if earlier != str(path):
        return msgspec.structs.replace(line, status="same", problem=f"the sign-in of {earlier}")
    if not work.add:
        return line
    added = accounts.add(one, mode="follow", source=str(path))
    return msgspec.structs.replace(line, status="added", account=added.account.name)


def _for_kiro(one: "ImportedAccount") -> bool:
    """Tokens of AWS tools are good for AWS accounts only, unless they were asked for with Kiro's scopes."""
    return any(scope.startswith("codewhisperer:") for scope in getattr(one.credentials, "scopes", ()) or ())


def _unusable(candidate: "Candidate", path: Path, problem: str) -> Found:
    return Found(store=candidate.store, path=str(path), status="unusable", problem=problem)


def _row(line: Found) -> tuple[str, ...]:
    kind = account_words.kind_words(line.kind, line.provider) if line.kind else ""
    remark = line.problem or (f"as {line.account}" if line.account else "")
    return (line.store, kind, line.email or "", ago(line.expires_at), line.status, remark, line.path)


def _check(home: "Home", added: list[Found]) -> None:
    accounts = [home.accounts.get(line.account or "") for line in added]
    taken = [importing.Taken(0, "added", account.id, account.name, account.kind) for account in accounts]
    for one in run_async(importing.check_online(home, taken)):
        render.note(f"{one.name}: {one.checked}")
