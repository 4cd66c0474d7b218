"""Every setting there is, one row each: name, kind, default, unit, and what it means."""

from typing import Final

import msgspec

from kiro.redaction import without_password
from kiro.storage.setting_kinds import Address, Amount, Choice, Flag, Kind, Names, Pairs, Text, Value, Whole


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
