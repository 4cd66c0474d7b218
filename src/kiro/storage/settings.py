"""`load` turns flags, environment and config.toml into frozen Settings; `setting_rows` says which there are.

Precedence: command-line flag, then environment (`KIRO_SECTION_KEY`), then config.toml, then the
default. Each value remembers where it came from. An unknown key in the file is a warning that names
the nearest known one; a wrong value is an error that names the key, its source and what is allowed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from kiro.errors import UsageError
from kiro.redaction import without_password
from kiro.storage.paths import Paths
from kiro.storage.sections import Settings
from kiro.storage.setting_kinds import BadValueError, Value, from_text, from_toml, is_loopback
from kiro.storage.setting_rows import BY_KEY, SETTINGS, Setting

__all__ = [
    "Loaded",
    "Origin",
    "Settings",
    "Source",
    "broken_file",
    "differences",
    "known",
    "load",
    "parse_text",
]

Source = Literal["flag", "environment", "file", "default"]


class Origin(msgspec.Struct, frozen=True):
    """Where a value was written: `where` is the flag's setting, the variable or the file, empty for a default."""

    source: Source
    where: str = ""


class Loaded(msgspec.Struct, frozen=True):
    """`values` and `origins` are by key, for lists; `settings` is what the program reads."""

    settings: Settings
    values: dict[str, Value]
    origins: dict[str, Origin]
    warnings: tuple[str, ...]


def load(paths: Paths, env: Mapping[str, str], overrides: Mapping[str, Value] | None = None) -> Loaded:
    """Read all settings. `overrides` are command-line flags by key; a `None` there means the flag was not given.

    Raises UsageError for a broken file, a wrong value, or settings that contradict each other.
    """
    values: dict[str, Value] = {setting.key: setting.default for setting in SETTINGS}
    origins = {setting.key: Origin("default") for setting in SETTINGS}
    warnings: list[str] = []
    for key, raw in _read_file(paths.config_file, warnings).items():
        values[key] = _checked(BY_KEY[key], raw, f"in {paths.config_file}")
        origins[key] = Origin("file", str(paths.config_file))
    for setting in SETTINGS:
        text = env.get(setting.variable)
        if text:
            values[setting.key] = parse_text(setting, text, f"in the environment variable {setting.variable}")
            origins[setting.key] = Origin("environment", setting.variable)
    for key, value in (overrides or {}).items():
        if value is not None:
            values[key] = _checked(known(key), value, "on the command line")
            origins[key] = Origin("flag", key)
    settings = _typed(values)
    _check_together(settings)
    warnings += _password_warnings(values, origins)
    return Loaded(settings, values, origins, tuple(warnings))


def known(key: str) -> Setting:
    """The row of a key, or UsageError naming the nearest one."""
    setting = BY_KEY.get(key)
    if setting is None:
        near = _nearest(key)
        raise UsageError(
            f"There is no setting {key!r}.",
            hint=f"Did you mean {near}?" if near else "`kiro config list` shows all of them.",
        )
    return setting


def parse_text(setting: Setting, text: str, where: str) -> Value:
    """Read a value written as one text; `where` completes the sentence of the error."""
    try:
        return from_text(setting.kind, text)
    except BadValueError as error:
        raise _wrong(setting, text, where, error) from None


def differences(before: Settings, after: Settings) -> tuple[Setting, ...]:
    """The rows whose values differ, so that a server can tell which changes need a restart."""
    old, new = msgspec.to_builtins(before), msgspec.to_builtins(after)
    return tuple(setting for setting in SETTINGS if _at(old, setting.key) != _at(new, setting.key))


def _at(sections: Any, key: str) -> Any:
    section, _, name = key.partition(".")
    return sections[section][name]


def _typed(values: Mapping[str, Value]) -> Settings:
    sections: dict[str, dict[str, Value]] = {}
    for key, value in values.items():
        section, _, name = key.partition(".")
        sections.setdefault(section, {})[name] = value
    return msgspec.convert(sections, Settings)


def _checked(setting: Setting, value: object, where: str) -> Value:
    try:
        return from_toml(setting.kind, value)
    except BadValueError as error:
        raise _wrong(setting, value, where, error) from None


def _wrong(setting: Setting, value: object, where: str, error: BadValueError) -> UsageError:
    return UsageError(f"{setting.key} is {without_password(repr(value))} {where}.", hint=f"Allowed is {error}.")


def _check_together(settings: Settings) -> None:
    server = settings.server
    if not server.require_key and not is_loopback(server.host):
        raise UsageError(
            f"server.require_key is false while server.host is {server.host}.",
            hint="Without a key anybody in the network could use your accounts. Listen on 127.0.0.1, or require a key.",
        )


def _password_warnings(values: Mapping[str, Value], origins: Mapping[str, Origin]) -> list[str]:
    proxy = values["upstream.proxy"]
    if origins["upstream.proxy"].source == "file" and proxy and without_password(str(proxy)) != proxy:
        text = "upstream.proxy in config.toml holds a password, which the file does not protect."
        hint = "`kiro config set upstream.proxy -` keeps it in the vault; KIRO_UPSTREAM_PROXY is another place for it."
        return [f"{text} {hint}"]
    return []


def _read_file(path: Path, warnings: list[str]) -> dict[str, object]:
    """The known keys of the file with raw values; the unknown ones become warnings."""
    try:
        text = path.read_text("utf-8-sig")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} cannot be read: {error}.") from error
    import tomllib

    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise broken_file(path, error) from error
    found: dict[str, object] = {}
    for section, content in document.items():
        if not isinstance(content, dict):
            warnings.append(_unknown(section, path))
            continue
        for name, value in content.items():
            key = f"{section}.{name}"
            if key in BY_KEY:
                found[key] = value
            else:
                warnings.append(_unknown(key, path))
    return found


def broken_file(path: Path, error: Exception) -> UsageError:
    return UsageError(
        f"{path} is not valid TOML: {error}.",
        hint="Correct the line, or move the file away to start with the defaults. Texts need quotes in TOML.",
    )


def _unknown(key: str, path: Path) -> str:
    near = _nearest(key)
    return f"{path}: there is no setting {key!r}" + (f"; did you mean {near!r}?" if near else ".")


def _nearest(key: str) -> str | None:
    import difflib

    full = difflib.get_close_matches(key, BY_KEY, n=1, cutoff=0.6)
    if full:
        return full[0]
    last = {name.partition(".")[2]: name for name in BY_KEY}
    by_name = difflib.get_close_matches(key.rpartition(".")[2], last, n=1, cutoff=0.75)
    return last[by_name[0]] if by_name else None
