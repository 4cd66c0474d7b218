"""Every setting is one row of SETTINGS; `load` turns flags, environment and config.toml into frozen Settings.

Precedence: command-line flag, then environment (`KIRO_SECTION_KEY`), then config.toml, then the
default. Each value remembers where it came from. An unknown key in the file is a warning that names
the nearest known one; a wrong value is an error that names the key, its source and what is allowed.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from kiro.errors import UsageError
from kiro.redaction import without_password
from kiro.storage.paths import Paths
from kiro.storage.sections import Settings
from kiro.storage.setting_kinds import (
    Address,
    Amount,
    BadValueError,
    Choice,
    Flag,
    Kind,
    Names,
    Pairs,
    Text,
    Value,
    Whole,
    from_text,
    from_toml,
    is_loopback,
)

__all__ = [
    "BY_KEY",
    "SETTINGS",
    "Loaded",
    "Origin",
    "Setting",
    "Settings",
    "Source",
    "broken_file",
    "differences",
    "known",
    "load",
    "parse_text",
]

Source = Literal["flag", "environment", "file", "default"]


class Setting(msgspec.Struct, frozen=True):
    """One row. `key` is `section.name`; `hot` settings take effect while serving, the others at the next start."""

    key: str
    kind: Kind
    default: Value
    unit: str
    help: str
    hot: bool = True

    @property
    def variable(self) -> str:
        return "KIRO_" + self.key.replace(".", "_").upper()

    def shown(self, value: Value) -> str:
        """The value as one line of text, without a password it may hold; `from_text` reads it back."""
        match value:
            case None:
                return ""
            case bool():
                return "true" if value else "false"
            case tuple():
                return ", ".join(value)
            case dict():
                return ", ".join(f"{name}={item}" for name, item in value.items())
            case _:
                return without_password(f"{value:g}" if isinstance(value, float) else str(value))


_SERVICE: Final = Address(("https", "http"), loopback_http=True)
_PROXY: Final = Address(("http", "https", "socks5", "socks5h"))

SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("server.host", Text(), "127.0.0.1", "", "Address to listen on.", hot=False),
    Setting("server.port", Whole(0, 65535), 8080, "", "Port to listen on; 0 takes any free one.", hot=False),
    Setting(
        "server.require_key", Flag(), True, "", "Clients have to show a key. Can be switched off on loopback only."
    ),
    Setting(
        "server.allowed_hosts",
        Names(),
        ("localhost", "127.0.0.1", "::1"),
        "",
        "Host names a request may be addressed to.",
    ),
    Setting("server.cors_origins", Names(), (), "", "Web origins that may call the proxy from a browser."),
    Setting("server.max_body_mb", Whole(1, 1024), 32, "MB", "Largest request, compressed or not."),
    Setting(
        "upstream.region",
        Choice(("us-east-1", "eu-central-1", "us-gov-east-1", "us-gov-west-1")),
        "us-east-1",
        "",
        "Kiro region for accounts that do not tell theirs.",
    ),
    Setting("upstream.url", _SERVICE, None, "", "Replaces every Kiro service address."),
    Setting("upstream.proxy", _PROXY, None, "", "Proxy on the way to Kiro; an account's own proxy goes first."),
    Setting("auth.social_url", _SERVICE, None, "", "Replaces the Google and GitHub sign-in service."),
    Setting("auth.oidc_url", _SERVICE, None, "", "Replaces the AWS and company sign-in services."),
    Setting(
        "auth.external_hosts",
        Names(),
        (),
        "",
        "Further hosts that company sign-ins may use unasked, beside Microsoft's.",
    ),
    Setting(
        "pool.strategy",
        Choice(("least-used", "priority", "round-robin", "most-left")),
        "least-used",
        "",
        "How the next account is chosen.",
    ),
    Setting("pool.sticky_minutes", Amount(0, 10080), 60.0, "min", "How long a session stays with its account."),
    Setting("pool.max_in_flight", Whole(1, 100_000), 8, "", "Requests at a time per account; the rest queue."),
    Setting("pool.min_interval_ms", Whole(0, 600_000), 0, "ms", "Shortest time between two starts with one account."),
    Setting(
        "pool.requests_per_minute", Whole(0, 10_000), 0, "", "Starts per minute with one account; 0 sets no limit."
    ),
    Setting(
        "pool.total_requests_per_minute", Whole(0, 100_000), 0, "", "Starts per minute altogether; 0 sets no limit."
    ),
    Setting(
        "pool.overage_credits",
        Amount(0, 1_000_000_000, optional=True),
        None,
        "credits",
        "Overage an account may use per period, where it is switched on at Kiro; empty: as much as Kiro allows.",
    ),
    Setting(
        "pool.health_check_minutes",
        Amount(0, 10080),
        10.0,
        "min",
        "Accounts not used for so long are looked at, by a question that costs no credits; 0 never.",
    ),
    Setting("relay.resume", Flag(), True, "", "Continue an answer that was cut once, on another account."),
    Setting("relay.max_attempts_per_account", Whole(1, 20), 3, "", "Tries of one request with one account."),
    Setting("relay.max_attempts", Whole(1, 100), 9, "", "Tries of one request altogether."),
    Setting(
        "relay.max_seconds",
        Amount(1, 86_400),
        600.0,
        "s",
        "Longest time up to an answer's first event, waits included.",
    ),
    Setting(
        "relay.first_event_wait_s",
        Amount(0, 600),
        10.0,
        "s",
        "How long the answer's head is held back; then it goes out with keep-alives.",
    ),
    Setting("relay.idle_timeout_s", Amount(1, 3600), 300.0, "s", "Silence after which an answer counts as dead."),
    Setting("relay.ping_s", Amount(1, 600), 12.0, "s", "Interval of keep-alives while Kiro is silent."),
    Setting(
        "relay.enforce_max_tokens_below",
        Whole(0, 1_000_000),
        4096,
        "tokens",
        "A smaller max_tokens of a client is enforced by counting here; from here on Kiro's own limit rules.",
    ),
    Setting(
        "context.on_overflow",
        Choice(("trim", "summarise", "error")),
        "trim",
        "",
        "What happens to a conversation over the model's window, for clients that do not compact themselves.",
    ),
    Setting(
        "models.thinking_suffix", Text(optional=True), "-thinking", "", "Ending of a model name that asks for thinking."
    ),
    Setting("models.aliases", Pairs(), {}, "", "Further names of models."),
    Setting(
        "models.compat",
        Flag(),
        True,
        "",
        "Serve names of other vendors' models (gpt-4o, gemini-…, claude-3-…) with the nearest of Kiro's; the header x-kiro-model tells which.",
    ),
    Setting("models.hidden", Names(), (), "", "Models left out of lists."),
    Setting("log.level", Choice(("debug", "info", "warning", "error")), "info", "", "What the log file holds."),
    Setting("log.retention_days", Whole(0, 3650), 30, "days", "Age at which request rows are deleted; 0 keeps none."),
    Setting("responses.retention_days", Whole(0, 3650), 30, "days", "Age at which stored Responses are deleted."),
)

BY_KEY: Final[dict[str, Setting]] = {setting.key: setting for setting in SETTINGS}


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
