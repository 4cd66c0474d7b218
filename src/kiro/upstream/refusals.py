"""What Kiro's refusals mean: status, reason and text in, one `UpstreamError` class out.

The same failure arrives as an HTTP error before the stream or as an exception frame inside it, with
or without a reason, under several spellings of the same shape name. REFUSALS is read from the top;
the first row that matches decides. Reasons stand before texts and texts before statuses, because a
status alone says little (quota comes as 402, 429 and 400) and a declared reason is never guessed at
from text that may echo the request.
"""

import email.utils
import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from kiro.errors import (
    AccessRefused,
    AccountSuspended,
    ApplicationRefused,
    ContextOverflow,
    ConversationTooLong,
    EncryptionRefused,
    FieldsRefused,
    KiroError,
    ModelOverloaded,
    ModelUnavailable,
    NetworkFailed,
    ProfileMissing,
    ProfileRefused,
    QuotaExhausted,
    RateLimited,
    RequestRefused,
    SignatureRefused,
    TokenRejected,
    UpstreamBroken,
    UpstreamError,
    UpstreamTimeout,
)
from kiro.redaction import redact_text


class Signal(msgspec.Struct, frozen=True):
    """A refusal as it came: `shape` is the error's name in lower case without `exception` or `error`."""

    status: int | None
    shape: str
    reason: str | None
    message: str
    retry_after_s: float | None = None
    upstream_id: str | None = None


class Row(msgspec.Struct, frozen=True):
    """Matches when every given condition holds. `texts` are searched in the message, ignoring case."""

    error: type[UpstreamError] | type[ContextOverflow]
    reasons: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()
    statuses: tuple[int, ...] = ()
    shapes: tuple[str, ...] = ()
    hint: str | None = None
    details: tuple[tuple[str, Any], ...] = ()

    def matches(self, signal: Signal) -> bool:
        if self.reasons and (signal.reason or "") not in self.reasons:
            return False
        if self.statuses and signal.status not in self.statuses:
            return False
        if self.shapes and signal.shape not in self.shapes:
            return False
        return not self.texts or any(text in signal.message.lower() for text in self.texts)


_SUSPENDED = (
    "Sign in to Kiro in the browser to see why, or write to AWS support; `kiro accounts list` shows the account."
)
_OTHER_APPLICATION = (
    "This sign-in may not use this kind of client. `kiro accounts show` tells which API flavour the account uses."
)
_QUOTA = "`kiro accounts list` shows when the credits come back."
_MALFORMED = "Kiro did not accept the translated request. `kiro logs show` with this request's id has the details."
_ENCRYPTION = "The company's encryption key refuses; ask its administrator."
_PROFILE = "`kiro accounts show` tells the profile and the region of the account."
_SLOWER = "Kiro limits this account for a while. Repeating the request now makes it worse."

_RATES: Final = ("USER_REQUEST_RATE_EXCEEDED", "CREDIT_CONSUMPTION_RATE_EXCEEDED", "SERVICE_REQUEST_RATE_EXCEEDED")
_SUSPICIOUS: Final = ("suspicious activity", "temporary limit")
_TOKEN: Final = ("bearer token", "invalid token", "token expired", "token has expired", "security token")
_FOREIGN: Final = ("not authorized to make this call", "profilearn")
_MALFORMED_REASONS: Final = (
    "TOOL_USE_RESULT_MISMATCH",
    "TOOL_SCHEMA_INVALID",
    "TOOL_DUPLICATE",
    "TOOL_CONFIG_MISSING",
    "IMAGE_DIMENSION_EXCEEDED",
    "IMAGE_SIZE_EXCEEDED",
    "IMAGE_COUNT_EXCEEDED",
    "IMAGE_FORMAT_UNSUPPORTED",
    "IMAGE_MIME_MISMATCH",
    "DOCUMENT_MODEL_NOT_SUPPORTED",
    "DOCUMENT_PASSWORD_PROTECTED",
    "DOCUMENT_MAXIMUM_PAGES_EXCEEDED",
    "DOCUMENT_SIZE_EXCEEDED",
    "DOCUMENT_COUNT_EXCEEDED",
    "DOCUMENT_DUPLICATE_NAME",
    "INVALID_DOCUMENT_NAME",
    "DISALLOWED_FILE_TYPE",
)
"""What is wrong with the request itself. Their messages quote it, so no text of theirs is searched."""

REFUSALS: Final[tuple[Row, ...]] = (
    # Reasons: what Kiro declares.
    Row(ContextOverflow, reasons=("CONTENT_LENGTH_EXCEEDS_THRESHOLD", "PROMPT_TOO_LONG")),
    Row(ModelUnavailable, reasons=("INVALID_MODEL_ID",), hint="`kiro models` lists what your accounts offer."),
    Row(AccountSuspended, reasons=("TEMPORARILY_SUSPENDED",), hint=_SUSPENDED),
    Row(ApplicationRefused, reasons=("FEATURE_NOT_SUPPORTED",), hint=_OTHER_APPLICATION),
    Row(ConversationTooLong, reasons=("CONVERSATION_LIMIT_EXCEEDED",)),
    Row(
        QuotaExhausted,
        reasons=("MONTHLY_REQUEST_COUNT", "USAGE_LIMIT_REACHED", "OVERAGE_REQUEST_LIMIT_EXCEEDED"),
        hint=_QUOTA,
    ),
    Row(QuotaExhausted, reasons=("DAILY_REQUEST_COUNT",), details=(("period", "day"),), hint=_QUOTA),
    Row(QuotaExhausted, reasons=("HOURLY_REQUEST_COUNT",), details=(("period", "hour"),), hint=_QUOTA),
    Row(QuotaExhausted, reasons=("WEEKLY_REQUEST_COUNT",), details=(("period", "week"),), hint=_QUOTA),
    Row(ModelOverloaded, reasons=("INSUFFICIENT_MODEL_CAPACITY", "MODEL_TEMPORARILY_UNAVAILABLE")),
    Row(RateLimited, reasons=_RATES, texts=_SUSPICIOUS, details=(("suspicious", True),), hint=_SLOWER),
    Row(RateLimited, reasons=_RATES),
    Row(SignatureRefused, reasons=("THINKING_SIGNATURE_INVALID",)),
    Row(RequestRefused, reasons=_MALFORMED_REASONS, hint=_MALFORMED),
    Row(EncryptionRefused, reasons=("INVALID_KMS_GRANT",), hint=_ENCRYPTION),
    # Texts: what Kiro says when it declares nothing, or something too general.
    Row(
        ContextOverflow,
        texts=("input is too long", "content length exceeds threshold", "exceeded max chat context length"),
    ),
    Row(
        AccountSuspended,
        texts=("temporarily is suspended", "temporarily suspended", "locked your account"),
        hint=_SUSPENDED,
    ),
    Row(AccountSuspended, statuses=(423,), hint=_SUSPENDED),
    Row(RateLimited, texts=_SUSPICIOUS, details=(("suspicious", True),), hint=_SLOWER),
    Row(ApplicationRefused, texts=("does not support this application",), hint=_OTHER_APPLICATION),
    Row(TokenRejected, texts=_TOKEN, statuses=(400, 401, 403)),
    Row(TokenRejected, texts=_TOKEN, shapes=("accessdenied",)),
    Row(ProfileRefused, texts=_FOREIGN, statuses=(403,), hint=_PROFILE),
    Row(ProfileRefused, texts=_FOREIGN, shapes=("accessdenied",), hint=_PROFILE),
    Row(ProfileMissing, texts=("profilearn",), statuses=(400,), hint=_PROFILE),
    Row(ProfileMissing, texts=("profilearn",), shapes=("validation",), hint=_PROFILE),
    Row(SignatureRefused, texts=("`signature` in `thinking`",)),
    Row(FieldsRefused, texts=("additionalmodelrequestfields",)),
    Row(RequestRefused, texts=("expected toolresult blocks",), hint=_MALFORMED),
    Row(ModelOverloaded, texts=("unexpectedly high load", "experiencing high traffic", "high load")),
    Row(QuotaExhausted, texts=("monthly_request_count", "reached the limit for this month"), hint=_QUOTA),
    # Shapes and statuses: the rest.
    Row(RequestRefused, statuses=(400, 422), shapes=("validation",), hint=_MALFORMED),
    Row(EncryptionRefused, statuses=(409,), hint=_ENCRYPTION),
    Row(EncryptionRefused, shapes=("conflict",), hint=_ENCRYPTION),
    Row(TokenRejected, statuses=(401,)),
    Row(QuotaExhausted, statuses=(402,), hint=_QUOTA),
    Row(QuotaExhausted, shapes=("quotaexceeded", "servicequotaexceeded"), hint=_QUOTA),
    Row(AccessRefused, statuses=(403,), hint="`kiro doctor` checks the account."),
    Row(AccessRefused, shapes=("accessdenied",), hint="`kiro doctor` checks the account."),
    Row(ContextOverflow, statuses=(413,)),
    Row(ContextOverflow, shapes=("contentlengthexceeded",)),
    Row(RateLimited, statuses=(429,)),
    Row(RateLimited, shapes=("throttling", "throttled", "slowdown", "modellimit", "toomanyrequests")),
    Row(ModelOverloaded, statuses=(503, 529), shapes=("serviceunavailable",)),
    Row(UpstreamBroken, statuses=(500, 502, 503, 529)),
    Row(ModelOverloaded, shapes=("serviceunavailable",)),
    Row(UpstreamTimeout, statuses=(408, 504, 522, 524)),
    Row(UpstreamTimeout, shapes=("modeltimeout", "requesttimeout")),
    Row(RequestRefused, shapes=("validation", "invalidstate"), hint=_MALFORMED),
    Row(RequestRefused, statuses=(400, 404, 405, 415, 422), hint=_MALFORMED),
    Row(UpstreamBroken),
)


def from_response(status: int, headers: Mapping[str, str], body: bytes) -> Signal:
    """Reads an HTTP error: JSON in any of its spellings, plain text or an edge's HTML page. Looks for names in lower case."""
    fields = _document(body)
    named = headers.get("x-amzn-errortype", "").split(":", 1)[0] or _text(fields, "code", "__type")
    message = _text(fields, "message", "Message", "error", "errorMessage")
    if not fields:
        message = _first_words(body)
    return Signal(
        status=status,
        shape=_shape(named),
        reason=_text(fields, "reason") or None,
        message=message,
        retry_after_s=_retry_after(headers, fields),
        upstream_id=request_id(headers),
    )


def from_exception(kind: str, payload: bytes, *, message: str = "") -> Signal:
    """Reads an exception or error frame: `kind` is its `:exception-type` or `:error-code`."""
    fields = _document(payload)
    return Signal(
        status=None,
        shape=_shape(_text(fields, "__type")) or _shape(kind),
        reason=_text(fields, "reason") or None,
        message=_text(fields, "message", "Message") or message,
        retry_after_s=_retry_after({}, fields),
    )


def as_error(signal: Signal, *, tokens: int = 0, window: int = 0) -> KiroError:
    """The error class that REFUSALS gives this signal. `tokens` and `window` word a context overflow.

    The message goes on to clients and into the log, and some services quote the token they were sent.
    """
    row = next(row for row in REFUSALS if row.matches(signal))
    if row.error is ContextOverflow:
        return ContextOverflow(tokens, window)
    assert issubclass(row.error, UpstreamError)  # noqa: S101  the table's type says so; ContextOverflow went above
    error = row.error(
        redact_text(signal.message) or _nameless(signal),
        hint=row.hint,
        reason=signal.reason,
        retry_after_s=signal.retry_after_s,
        upstream_status=signal.status,
        upstream_id=signal.upstream_id,
    )
    for name, value in row.details:
        setattr(error, name, value)
    return error


def network_error(error: BaseException) -> NetworkFailed:
    """A connection that could not be made or broke before an answer."""
    if getattr(error, "status", None) == 407:
        return proxy_refused()
    return NetworkFailed(
        f"Kiro cannot be reached: {redact_text(str(error)) or type(error).__name__}.",
        hint="Check the network, and `upstream.proxy` if you use one.",
    )


def proxy_refused() -> NetworkFailed:
    """The proxy on the way wants a name and a password, or others."""
    return NetworkFailed(
        "The proxy on the way to Kiro refuses its user name and password.",
        hint="`kiro accounts set NAME --proxy -` gives an account's anew, `kiro config set upstream.proxy -` the one for all.",
    )


def request_id(headers: Mapping[str, str]) -> str | None:
    for name in ("x-amzn-requestid", "x-amzn-request-id", "x-amz-request-id"):
        if value := headers.get(name):
            return value
    return None


def _nameless(signal: Signal) -> str:
    what = signal.reason or signal.shape or "no reason given"
    return f"Kiro answered with status {signal.status} ({what})." if signal.status else f"Kiro broke off ({what})."


def _shape(name: str) -> str:
    plain = name.rsplit("#", 1)[-1].split(":", 1)[0].lower()
    if plain == "error":
        return "internalserver"
    return re.sub(r"(?:exception|error)$", "", plain)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _text(fields: dict[str, Any], *names: str) -> str:
    for name in names:
        value = fields.get(name)
        if isinstance(value, str) and value:
            return value
        if isinstance(value, dict) and isinstance(value.get("message"), str):
            return str(value["message"])
    return ""


def _first_words(body: bytes) -> str:
    plain = re.sub(r"(?s)<(script|style).*?</\1>|<[^>]*>", " ", body[:4096].decode("utf-8", "replace"))
    return " ".join(plain.split())[:200]


def _retry_after(headers: Mapping[str, str], fields: dict[str, Any]) -> float | None:
    """Seconds, from the header (a number or a date) or from `retryAfterMilliseconds`."""
    milliseconds = fields.get("retryAfterMilliseconds")
    if isinstance(milliseconds, int | float) and not isinstance(milliseconds, bool) and milliseconds >= 0:
        return milliseconds / 1000
    value = headers.get("retry-after")
    if not value:
        return None
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return float(value)
    date, now = email.utils.parsedate_tz(value), headers.get("date")
    sent = email.utils.parsedate_tz(now) if now else None
    if date is None or sent is None:
        return None
    return max(0.0, float(email.utils.mktime_tz(date) - email.utils.mktime_tz(sent)))
