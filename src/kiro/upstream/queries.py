"""The small questions: which models, how many credits, which profiles, search the web. What to ask, how to read it.

No I/O here: each question is an `Ask` to be sent by `client.fetch` and a function that reads the reply.
Shapes follow the generated clients of AWS's language server and what Kiro's own clients were seen to send.
"""

import json
import math
import secrets
import time
from datetime import UTC, datetime
from typing import Any, Final, Literal, TypeAlias, TypeVar
from urllib.parse import urlencode

import msgspec

from kiro.conversation.events import SearchHit
from kiro.errors import KiroError, UpstreamBroken
from kiro.upstream import refusals
from kiro.upstream.catalogue import Model, parse_models
from kiro.upstream.endpoints import ENDPOINTS, Access, control_address, mcp_address

T = TypeVar("T")
_Time: TypeAlias = float | str | None

_MILLISECONDS: Final = 1e11
"""A time above this is in milliseconds; Kiro mixes them with seconds."""


class Ask(msgspec.Struct, frozen=True):
    """One request. `headers` holds the token: never log it."""

    method: Literal["GET", "POST"]
    url: str
    headers: dict[str, str]
    body: bytes | None = None

    def __repr__(self) -> str:
        return f"Ask({self.method} {self.url.split('?')[0]})"


class UsageLimits(msgspec.Struct, frozen=True):
    """Credits of the current period. Times are seconds since 1970; every number may be unknown.

    `remaining` counts the plan, an active trial, bonuses, and the overage if it is switched on.
    """

    used: float | None
    limit: float | None
    remaining: float | None
    resets_at: float | None
    plan: str | None
    email: str | None
    user_id: str | None
    overage_enabled: bool
    overage_used: float
    overage_cap: float | None


def models_ask(access: Access, base_url: str | None, *, with_profile: bool = True) -> Ask:
    arn = access.profile_arn if with_profile else None
    return _control_ask(access, base_url, "ListAvailableModels", {"maxResults": "50"}, arn)


def usage_ask(access: Access, base_url: str | None, *, with_profile: bool = True) -> Ask:
    extra = {"resourceType": "AGENTIC_REQUEST", "isEmailRequired": "true"}
    arn = access.profile_arn if with_profile else None
    return _control_ask(access, base_url, "GetUsageLimits", extra, arn)


def search_ask(access: Access, base_url: str | None, query: str) -> Ask:
    """A web search through Kiro's own tool endpoint; billed as the user's usage."""
    address = mcp_address(access, base_url)
    marker = f"web_search_tooluse_{secrets.token_urlsafe(16)[:22]}_{int(time.time() * 1000)}_{secrets.token_hex(4)}"
    params = {"name": "web_search", "arguments": {"query": query}}
    body = {"id": marker, "jsonrpc": "2.0", "method": "tools/call", "params": params}
    return Ask("POST", address.url, address.headers, msgspec.json.encode(body))


def read_models(status: int, headers: Any, body: bytes) -> tuple[Model, ...]:
    _check(status, headers, body)
    try:
        return parse_models(body)
    except msgspec.DecodeError as error:
        raise UpstreamBroken("Kiro's model list cannot be read.") from error


class _Money(msgspec.Struct):
    currentUsage: float | None = None
    currentUsageWithPrecision: float | None = None
    usageLimit: float | None = None
    usageLimitWithPrecision: float | None = None
    freeTrialStatus: str | None = None
    status: str | None = None
    expiresAt: _Time = None

    def used(self) -> float:
        return (
            self.currentUsageWithPrecision if self.currentUsageWithPrecision is not None else self.currentUsage or 0.0
        )

    def limit(self) -> float | None:
        return self.usageLimitWithPrecision if self.usageLimitWithPrecision is not None else self.usageLimit

    def left(self) -> float:
        return max(0.0, (self.limit() or 0.0) - self.used())


class _Breakdown(_Money):
    resourceType: str | None = None
    currentOverages: float | None = None
    currentOveragesWithPrecision: float | None = None
    overageCap: float | None = None
    overageCapWithPrecision: float | None = None
    nextDateReset: _Time = None
    freeTrialInfo: _Money | None = None
    bonuses: list[_Money] | None = None


class _Subscription(msgspec.Struct):
    subscriptionTitle: str | None = None
    type: str | None = None


class _Overage(msgspec.Struct):
    overageStatus: str | None = None


class _User(msgspec.Struct):
    email: str | None = None
    userId: str | None = None


class _UsageReply(msgspec.Struct):
    nextDateReset: _Time = None
    usageBreakdownList: list[_Breakdown] | None = None
    subscriptionInfo: _Subscription | None = None
    overageConfiguration: _Overage | None = None
    userInfo: _User | None = None


_decode_usage = msgspec.json.Decoder(_UsageReply, strict=False).decode


def read_usage(status: int, headers: Any, body: bytes, *, now: float) -> UsageLimits:
    _check(status, headers, body)
    try:
        reply = _decode_usage(body)
    except msgspec.DecodeError as error:
        raise UpstreamBroken("Kiro's usage limits cannot be read.") from error
    rows = reply.usageBreakdownList or []
    row = next((row for row in rows if row.resourceType == "CREDIT"), rows[0] if rows else None)
    user = reply.userInfo or _User()
    subscription = reply.subscriptionInfo or _Subscription()
    enabled = reply.overageConfiguration is not None and reply.overageConfiguration.overageStatus == "ENABLED"
    if row is None:
        return UsageLimits(
            None,
            None,
            None,
            _seconds(reply.nextDateReset),
            subscription.subscriptionTitle,
            user.email,
            user.userId,
            enabled,
            0.0,
            None,
        )
    overage = _first(row.currentOveragesWithPrecision, row.currentOverages) or 0.0
    cap = _first(row.overageCapWithPrecision, row.overageCap)
    limit = row.limit()
    return UsageLimits(
        used=row.used(),
        limit=limit,
        remaining=_remaining(row, overage if enabled else None, cap, now) if limit is not None else None,
        resets_at=_seconds(row.nextDateReset or reply.nextDateReset),
        plan=subscription.subscriptionTitle or subscription.type,
        email=user.email,
        user_id=user.userId,
        overage_enabled=enabled,
        overage_used=overage,
        overage_cap=cap,
    )


def _remaining(row: _Breakdown, overage: float | None, cap: float | None, now: float) -> float:
    left = row.left()
    trial = row.freeTrialInfo
    if trial is not None and trial.freeTrialStatus == "ACTIVE":
        left += trial.left()
    for bonus in row.bonuses or []:
        if bonus.status == "ACTIVE" and (_seconds(bonus.expiresAt) or now + 1) > now:
            left += bonus.left()
    if overage is not None:
        left += max(0.0, (cap or 0.0) - overage)
    return left


class _Hit(msgspec.Struct):
    title: str | None = None
    url: str | None = None
    snippet: str | None = None
    publishedDate: float | None = None


class _Hits(msgspec.Struct):
    results: list[_Hit] | None = None


def read_search(status: int, headers: Any, body: bytes) -> tuple[SearchHit, ...]:
    """The hits; no results is an empty tuple. Raises UpstreamError when the search failed."""
    _check(status, headers, body)
    try:
        reply = msgspec.json.decode(body)
        failure = reply.get("error")
        if failure:
            if failure.get("code") == -32602:
                return ()
            raise UpstreamBroken(f"Kiro's web search failed: {failure.get('message')}.")
        result = reply["result"]
        result = json.loads(result) if isinstance(result, str) else result
        text = result["content"][0]["text"]
        if result.get("isError"):
            raise UpstreamBroken(f"Kiro's web search failed: {text}")
        hits = msgspec.json.decode(text, type=_Hits, strict=False).results or []
    except (msgspec.DecodeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise UpstreamBroken("Kiro's web search gave an answer that cannot be read.") from error
    return tuple(
        SearchHit(
            hit.title or hit.url, hit.url, hit.snippet or "", int(hit.publishedDate) if hit.publishedDate else None
        )
        for hit in hits
        if hit.url
    )


def _control_ask(access: Access, base_url: str | None, operation: str, extra: dict[str, str], arn: str | None) -> Ask:
    endpoint = ENDPOINTS[access.flavour]
    base, headers = control_address(access, base_url)
    if endpoint.control_target is None:
        fields = {"origin": endpoint.origin, **extra}
        if arn:
            fields["profileArn"] = arn
        path = "getUsageLimits" if operation == "GetUsageLimits" else operation
        return Ask("GET", f"{base}/{path}?{urlencode(fields)}", headers)
    headers["Content-Type"] = "application/x-amz-json-1.0"
    headers["X-Amz-Target"] = f"{endpoint.control_target}.{operation}"
    fields = {"origin": endpoint.origin}
    if arn:
        fields["profileArn"] = arn
    return Ask("POST", f"{base}/", headers, msgspec.json.encode(fields))


def _check(status: int, headers: Any, body: bytes) -> None:
    if status != 200:
        error: KiroError = refusals.as_error(refusals.from_response(status, headers, body))
        raise error


def _first(*values: T | None) -> T | None:
    return next((value for value in values if value is not None), None)


def _seconds(value: _Time) -> float | None:
    """A time, which Kiro tells as seconds, as milliseconds or as a date; None for what is none of these."""
    if isinstance(value, str):
        text = value
        try:
            value = float(text)
        except ValueError:
            return _date(text)
    if value is None or not math.isfinite(value):
        return None
    return value / 1000 if value > _MILLISECONDS else value


def _date(text: str) -> float | None:
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return (read if read.tzinfo is not None else read.replace(tzinfo=UTC)).timestamp()
