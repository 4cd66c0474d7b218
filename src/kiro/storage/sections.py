"""The settings as the program reads them: typed, frozen, one attribute per section. What each means is in SETTINGS."""

from typing import Literal

import msgspec

from kiro.redaction import without_password


class ServerSettings(msgspec.Struct, frozen=True):
    host: str
    port: int
    require_key: bool
    allowed_hosts: tuple[str, ...]
    cors_origins: tuple[str, ...]
    max_body_mb: int


class UpstreamSettings(msgspec.Struct, frozen=True):
    region: str
    url: str | None
    proxy: str | None

    def __repr__(self) -> str:
        return (
            f"UpstreamSettings(region={self.region!r}, url={self.url!r}, proxy={without_password(self.proxy or '')!r})"
        )


class AuthSettings(msgspec.Struct, frozen=True):
    social_url: str | None
    oidc_url: str | None
    external_hosts: tuple[str, ...]


class PoolSettings(msgspec.Struct, frozen=True):
    strategy: Literal["least-used", "priority", "round-robin", "most-left"]
    sticky_minutes: float
    max_in_flight: int
    min_interval_ms: int
    requests_per_minute: int
    total_requests_per_minute: int
    overage_credits: float | None
    health_check_minutes: float


class RelaySettings(msgspec.Struct, frozen=True):
    resume: bool
    max_attempts_per_account: int
    max_attempts: int
    max_seconds: float
    first_event_wait_s: float
    idle_timeout_s: float
    ping_s: float
    enforce_max_tokens_below: int


class ContextSettings(msgspec.Struct, frozen=True):
    on_overflow: Literal["trim", "summarise", "error"]


class ModelsSettings(msgspec.Struct, frozen=True):
    thinking_suffix: str | None
    aliases: dict[str, str]
    compat: bool
    hidden: tuple[str, ...]


class LogSettings(msgspec.Struct, frozen=True):
    level: Literal["debug", "info", "warning", "error"]
    retention_days: int


class ResponsesSettings(msgspec.Struct, frozen=True):
    retention_days: int


class Settings(msgspec.Struct, frozen=True):
    """The values, typed, one attribute per section."""

    server: ServerSettings
    upstream: UpstreamSettings
    auth: AuthSettings
    pool: PoolSettings
    relay: RelaySettings
    context: ContextSettings
    models: ModelsSettings
    log: LogSettings
    responses: ResponsesSettings
