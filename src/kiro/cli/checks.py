"""What `kiro doctor` looks at. Each check gives findings; none changes anything, and none tells a secret."""

import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

import msgspec

from kiro import __version__
from kiro.accounts.account import SET_ASIDE, Account
from kiro.accounts.sharing import unwritable
from kiro.accounts.showing import Shown
from kiro.cli import account_words, healthz, ports
from kiro.cli.opening import ago, plural, server_url
from kiro.errors import KiroError
from kiro.home import Home

Level = Literal["ok", "warning", "failed"]

_LOW_DISK_MB: Final = 200


class Finding(msgspec.Struct, frozen=True):
    """`what` was looked at, what it `says`, and how to `mend` it when it is not ok."""

    what: str
    level: Level
    says: str
    mend: str | None = None


Check = Callable[[Home], Iterator[Finding]]


def look(home: Home) -> list[Finding]:
    """All findings. A check that cannot do its work says so and does not stop the others."""
    found: list[Finding] = []
    for what, check in CHECKS.items():
        try:
            found += check(home)
        except KiroError as error:
            found.append(Finding(what, "failed", error.message, error.hint))
        except OSError as error:
            found.append(Finding(what, "failed", f"{error.filename or what}: {error.strerror}."))
    return found


def _program(_: Home) -> Iterator[Finding]:
    yield Finding("kiro", "ok", f"version {__version__}")
    yield Finding("python", "ok", f"{platform.python_version()} on {platform.platform()}, {sys.executable}")


def _paths(home: Home) -> Iterator[Finding]:
    paths = home.paths
    for what, path in (
        ("settings file", paths.config_file),
        ("database file", paths.database_file),
        ("vault file", paths.vault_file),
        ("log file", paths.log_file),
    ):
        yield Finding(what, "ok", str(path) if path.exists() else f"{path} (not made yet)")
    folder = next(folder for folder in (paths.data_dir, *paths.data_dir.parents) if folder.exists())
    free_mb = shutil.disk_usage(folder).free // (1024 * 1024)
    low = free_mb < _LOW_DISK_MB
    yield Finding(
        "disk", "warning" if low else "ok", f"{free_mb} MB are free", "Make room; the log needs some." if low else None
    )


def _modes(home: Home) -> Iterator[Finding]:
    from kiro.storage.files import exposure

    paths = home.paths
    wrong = [text for path in (paths.vault_file, paths.key_file, paths.database_file) if (text := exposure(path))]
    for text in wrong:
        yield Finding("file rights", "failed", text, "`chmod 600` on the file.")
    if not wrong:
        yield Finding("file rights", "ok", "the files with secrets are yours alone")


def _settings(home: Home) -> Iterator[Finding]:
    loaded = home.loaded
    changed = sum(origin.source != "default" for origin in loaded.origins.values())
    if not loaded.warnings:
        yield Finding(
            "settings", "ok", f"{plural(changed, 'setting')} differ{'s' if changed == 1 else ''} from the default"
        )
    for text in loaded.warnings:
        yield Finding("settings", "warning", text, "`kiro config edit` opens the file.")


def _vault(home: Home) -> Iterator[Finding]:
    from kiro.storage.secrets import OwnFileKeeper, describe

    keeper = home.vault.keeper if home.paths.vault_file.exists() else None
    if keeper is None:
        yield Finding("secrets", "ok", "nothing is stored yet")
        return
    for group in ("credentials", "client-key"):
        for owner in home.vault.owners(group)[:1]:
            home.vault.get(owner, group)
    yield Finding("secrets", "ok", f"encrypted; the key is kept by {describe(keeper)}, and fits")
    if isinstance(keeper, OwnFileKeeper):
        yield Finding(
            "secrets",
            "warning",
            "the key file protects against backups and glances, not against programs that run as you",
            "On a computer with a keyring the next new home uses it; KIRO_VAULT_PASSPHRASE is the other way.",
        )


def _database(home: Home) -> Iterator[Finding]:
    path = home.paths.database_file
    if not path.exists():
        yield Finding("database", "ok", "not made yet")
        return
    said = home.database.rows("PRAGMA quick_check(1)")[0][0]
    if said != "ok":
        yield Finding("database", "failed", f"{path} is damaged: {said}", "Put it back from a backup, or move it away.")
        return
    count = home.database.rows("SELECT count(*) FROM requests")[0][0]
    yield Finding("database", "ok", f"{plural(count, 'request')} in the log, {path.stat().st_size // 1024} kB")


def _accounts(home: Home) -> Iterator[Finding]:
    told = account_words.told_all(home) if home.paths.database_file.exists() else []
    if not told:
        yield Finding("accounts", "warning", "there is none", "`kiro accounts add` asks for one.")
    for one in told:
        yield _account(one.account, one.how, datetime.now(UTC))


def _account(account: Account, how: Shown, now: datetime) -> Finding:
    what = f"account {account.name}"
    if not account.enabled:
        return Finding(what, "ok", "disabled by hand")
    if how.state != "active":
        serious = account.state in SET_ASIDE
        return Finding(what, "failed" if serious else "warning", account_words.why(how), how.todo)
    if account.kind == "api_key":
        return Finding(what, "ok", "ready; an API key does not end")
    if account.mode != "own" and account.source and not Path(account.source).exists():
        return Finding(what, "failed", f"{account.source}, which it follows, is gone", "Import it anew.")
    obstacle = unwritable(Path(account.source)) if account.mode == "shared" and account.source else None
    if obstacle is not None:
        follow = f"`kiro accounts set {account.name} --mode follow` only reads it."
        return Finding(what, "failed", f"cannot be refreshed here: {obstacle}", follow)
    if account.expires_at is not None and account.expires_at < now - timedelta(days=30):
        return Finding(what, "warning", f"not used since its token ended {ago(account.expires_at)}", _mend(account))
    return Finding(what, "ok", f"ready; its token ends {ago(account.expires_at) or 'at an unknown time'}")


def _mend(account: Account) -> str:
    return f"`kiro accounts refresh {account.name}` tries it; importing it anew renews it."


def _keys(home: Home) -> Iterator[Finding]:
    """Keys whose accounts are all removed let nobody do anything."""
    for key in home.keys.list() if home.paths.database_file.exists() else []:
        if key.accounts is not None and not key.accounts:
            mend = f"`kiro keys set {key.name} --accounts NAMES` names others; `none` lets it use all."
            yield Finding(f"client key {key.name}", "warning", "the accounts it may use are removed", mend)


def _server(home: Home) -> Iterator[Finding]:
    server, url = home.loaded.settings.server, server_url(home)
    if healthz.is_up(url):
        yield Finding("server", "ok", f"up at {url}")
    elif server.port == 0 or ports.can_bind(server.host, server.port):
        yield Finding("server", "ok", f"down; {url} is free for it")
    else:
        owner = ports.owner(server.port)
        who = owner.words() if owner is not None else "another program"
        free = ports.free_port(server.host, server.port + 1)
        yield Finding(
            "server", "failed", f"port {server.port} is taken by {who}", f"`kiro config set server.port {free or 0}`."
        )


CHECKS: Final[dict[str, Check]] = {
    "kiro": _program,
    "paths": _paths,
    "file rights": _modes,
    "settings": _settings,
    "secrets": _vault,
    "database": _database,
    "accounts": _accounts,
    "client keys": _keys,
    "server": _server,
}


async def ask_kiro(home: Home) -> list[Finding]:
    """Asks Kiro for the credits of every account: sign-in, way and account work, or the finding says what does not."""
    from kiro.runtime import open_runtime

    found: list[Finding] = []
    async with open_runtime(home, background=False) as runtime:
        for account in runtime.accounts:
            what = f"Kiro for {account.name}"
            if not account.enabled:
                continue
            try:
                limits = await runtime.questions.usage(account.id)
            except KiroError as error:
                found.append(Finding(what, "failed", error.message, error.hint))
            else:
                used = (
                    ""
                    if limits.used is None or limits.limit is None
                    else f"; {limits.used:g} of {limits.limit:g} credits are used"
                )
                found.append(Finding(what, "ok", f"answers{used}"))
    return found
