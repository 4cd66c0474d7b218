"""Where other programs of this person keep Kiro sign-ins: paths by system, environment and home. Pure.

The list is what to look at, in the order in which the better source comes first; most of it will not
exist. Paths come from the programs themselves. The IDE keeps its settings where Electron does (`APPDATA`
on Windows), the CLI where Rust's local data folder is (`LOCALAPPDATA`), so both are looked at. Under
WSL the Windows side has logins of its own, in `windows_homes`.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final, Literal

import msgspec

System = Literal["linux", "macos", "windows"]

_CLI_FILE: Final = "data.sqlite3"
_TOKEN_FILE: Final = "kiro-auth-token.json"  # noqa: S105  # the name of a file
_CLI_FILE_NAMES: Final = ("KIRO_TEST_DB_PATH", "KIRO_CLI_DB_FILE", "KIRO_CLI_DB_PATH", "KIRO_CLI_DATABASE")
_CLI_FOLDER_NAMES: Final = ("KIRO_DATA_DIR", "KIRO_CLI_DATA_DIR")
_IDE_FILE_NAMES: Final = ("KIRO_CREDS_FILE", "KIRO_AUTH_TOKEN")
_IDE_FOLDER_NAMES: Final = ("KIRO_IDE_CACHE", "KIRO_SSO_CACHE_DIR")
_PROFILE_NAMES: Final = ("KIRO_IDE_PROFILE", "KIRO_IDE_PROFILE_PATH")
_STORAGE_FOLDERS: Final = ("kiro.kiroagent", "kiro.kiro-agent")


class Candidate(msgspec.Struct, frozen=True):
    """A file that may hold sign-ins, and whose it is. `folder`: look at every `*.json` in it instead.

    `named`: the variable that names it, so that it should be there. `windows`: it lies on the Windows side of WSL, where
    mode bits mean nothing.
    """

    path: Path
    store: str
    folder: bool = False
    named: str | None = None
    windows: bool = False


def candidates(
    system: System, home: Path, env: Mapping[str, str], windows_homes: tuple[Path, ...] = ()
) -> tuple[Candidate, ...]:
    """Every place to look at, each once. `env` counts for `home` only; relative paths in it do not count."""
    found = [*_named(env), *_of_home(system, home, env)]
    for other in windows_homes:
        theirs = _of_home("windows", other, {})
        found += [msgspec.structs.replace(one, store=f"{one.store} (Windows)", windows=True) for one in theirs]
    return tuple({candidate.path: candidate for candidate in reversed(found)}.values())[::-1]


def profile_files(token_file: Path, home: Path, env: Mapping[str, str]) -> tuple[Path, ...]:
    """Where the Kiro IDE that wrote `token_file` keeps the profile that was chosen in it."""
    at_home = token_file.is_relative_to(home)
    named = [path for name in _PROFILE_NAMES if at_home and (path := _absolute(env, name)) is not None]
    owner = token_file.parents[3] if len(token_file.parents) > 3 and token_file.parent.name == "cache" else home
    bases = [owner / ".config", owner / "Library" / "Application Support", owner / "AppData" / "Roaming"]
    if at_home:
        own = [path for name in ("XDG_CONFIG_HOME", "APPDATA") if (path := _absolute(env, name)) is not None]
        bases = [*own, *bases]
    folders = [base / "Kiro" / "User" for base in bases]
    data = _absolute(env, "KIRO_IDE_USER_DATA_DIR")
    folders = [data / "User", *folders] if at_home and data is not None else folders
    stored = [folder / "globalStorage" / name / "profile.json" for folder in folders for name in _STORAGE_FOLDERS]
    return (*named, *stored)


def _named(env: Mapping[str, str]) -> Iterator[Candidate]:
    """What the environment names, before the usual places."""
    for names, store, file in (
        (_IDE_FILE_NAMES, "Kiro IDE", None),
        (_IDE_FOLDER_NAMES, "Kiro IDE", _TOKEN_FILE),
        (_CLI_FILE_NAMES, "Kiro CLI", None),
        (_CLI_FOLDER_NAMES, "Kiro CLI", _CLI_FILE),
    ):
        for name in names:
            path = _absolute(env, name)
            if path is not None:
                inside = path / file if file and path.suffix != Path(file).suffix else path
                yield Candidate(inside, store, named=name)


def _of_home(system: System, home: Path, env: Mapping[str, str]) -> Iterator[Candidate]:
    cache = home / ".aws" / "sso" / "cache"
    yield Candidate(cache / _TOKEN_FILE, "Kiro IDE")
    for data in _data_folders(system, home, env):
        yield Candidate(data / "kiro-cli" / _CLI_FILE, "Kiro CLI")
    for data in _data_folders(system, home, env):
        yield Candidate(data / "amazon-q" / _CLI_FILE, "Amazon Q CLI")
    yield Candidate(home / ".kiro" / _TOKEN_FILE, "Kiro")
    yield Candidate(home / ".kiro" / "oauth_creds.json", "AIClient-2-API")
    yield Candidate(home / ".kiro-proxy" / "config.json", "KiroProxy")
    yield Candidate(cache, "AWS tools", folder=True)


def _data_folders(system: System, home: Path, env: Mapping[str, str]) -> tuple[Path, ...]:
    match system:
        case "linux":
            return (_absolute(env, "XDG_DATA_HOME") or home / ".local" / "share",)
        case "macos":
            return (home / "Library" / "Application Support",)
        case "windows":
            local = _absolute(env, "LOCALAPPDATA") or home / "AppData" / "Local"
            roaming = _absolute(env, "APPDATA") or home / "AppData" / "Roaming"
            return (local, roaming)


def _absolute(env: Mapping[str, str], name: str) -> Path | None:
    """The path in a variable; a text that is none (JSON, a relative path) counts as absent."""
    text = env.get(name, "").strip()
    if not text or "\n" in text or text.startswith(("{", "[")):
        return None
    path = Path(text)
    return path if path.is_absolute() else None
