"""What Kiro's refusals mean, row by row, as HTTP status and as exception frame."""

import json

import pytest

from kiro import errors
from kiro.upstream.refusals import REFUSALS, as_error, from_exception, from_response

AWS = "com.amazon.kiro.runtimeservice#"


def http(status, shape="", message="", reason=None, headers=None, **fields):
    body = {"__type": AWS + shape, "message": message, "reason": reason, **fields}
    return as_error(from_response(status, headers or {}, json.dumps(body).encode()), tokens=210_000, window=200_000)


def frame(kind, message="", reason=None, **fields):
    payload = json.dumps({"message": message, "reason": reason, **fields}).encode()
    return as_error(from_exception(kind, payload), tokens=210_000, window=200_000)


ROWS = [
    (
        "1 an expired token",
        403,
        "AccessDeniedException",
        "The bearer token included in the request is invalid.",
        None,
        errors.TokenRejected,
    ),
    ("1 an expired token, 401", 401, "UnauthorizedException", "", None, errors.TokenRejected),
    ("1 the management host says 400", 400, "AccessDeniedException", "Invalid token", None, errors.TokenRejected),
    ("2 a suspended account", 403, "AccessDeniedException", "", "TEMPORARILY_SUSPENDED", errors.AccountSuspended),
    (
        "2 a suspended account by text",
        403,
        "AccessDeniedException",
        "Your User ID temporarily is suspended.",
        None,
        errors.AccountSuspended,
    ),
    ("2 a locked account", 423, "", "", None, errors.AccountSuspended),
    ("3 another application", 403, "AccessDeniedException", "", "FEATURE_NOT_SUPPORTED", errors.ApplicationRefused),
    (
        "4 a plan for another application",
        403,
        "AccessDeniedException",
        "Your subscription does not support this application",
        None,
        errors.ApplicationRefused,
    ),
    (
        "5 a foreign profile",
        403,
        "AccessDeniedException",
        "User is not authorized to make this call.",
        None,
        errors.ProfileRefused,
    ),
    ("6 any other 403", 403, "AccessDeniedException", "No.", None, errors.AccessRefused),
    ("7 credits spent, 402", 402, "ServiceQuotaExceededException", "", "MONTHLY_REQUEST_COUNT", errors.QuotaExhausted),
    ("7 credits spent, 429", 429, "ThrottlingException", "", "MONTHLY_REQUEST_COUNT", errors.QuotaExhausted),
    (
        "7 credits spent, 400 of the old backend",
        400,
        "ThrottlingException",
        "",
        "USAGE_LIMIT_REACHED",
        errors.QuotaExhausted,
    ),
    ("8 the day's quota", 429, "ThrottlingException", "", "DAILY_REQUEST_COUNT", errors.QuotaExhausted),
    (
        "9 too many turns",
        402,
        "ServiceQuotaExceededException",
        "",
        "CONVERSATION_LIMIT_EXCEEDED",
        errors.ConversationTooLong,
    ),
    (
        "10 an account's rate",
        429,
        "ThrottlingException",
        "Rate exceeded",
        "USER_REQUEST_RATE_EXCEEDED",
        errors.RateLimited,
    ),
    ("10 a rate without reason", 429, "ThrottlingException", "Too many requests", None, errors.RateLimited),
    ("11 the fleet's rate", 429, "ThrottlingException", "", "SERVICE_REQUEST_RATE_EXCEEDED", errors.RateLimited),
    (
        "12 suspicious activity",
        429,
        "ThrottlingException",
        "Due to suspicious activity we are limiting",
        None,
        errors.RateLimited,
    ),
    ("13 no capacity", 429, "ThrottlingException", "", "INSUFFICIENT_MODEL_CAPACITY", errors.ModelOverloaded),
    (
        "13 model unavailable",
        500,
        "InternalServerException",
        "",
        "MODEL_TEMPORARILY_UNAVAILABLE",
        errors.ModelOverloaded,
    ),
    ("13 high load by text", 500, "", "Encountered unexpectedly high load", None, errors.ModelOverloaded),
    ("14 overflow", 400, "ValidationException", "", "CONTENT_LENGTH_EXCEEDS_THRESHOLD", errors.ContextOverflow),
    ("14 overflow by text", 400, "ValidationException", "Input is too long.", None, errors.ContextOverflow),
    ("15 a model the plan lacks", 400, "ValidationException", "", "INVALID_MODEL_ID", errors.ModelUnavailable),
    ("16 a foreign signature", 400, "ValidationException", "", "THINKING_SIGNATURE_INVALID", errors.SignatureRefused),
    (
        "17 fields the model does not take",
        400,
        "ValidationException",
        "additionalModelRequestFields is not supported for this model",
        None,
        errors.FieldsRefused,
    ),
    (
        "18 calls and results do not match",
        400,
        "ValidationException",
        "",
        "TOOL_USE_RESULT_MISMATCH",
        errors.RequestRefused,
    ),
    (
        "18 the same from an old backend",
        500,
        "InternalServerException",
        "Expected toolResult blocks at messages.2",
        None,
        errors.RequestRefused,
    ),
    (
        "19 tool use format",
        400,
        "ValidationException",
        "Invalid tool use format.",
        "REQUEST_BODY_INVALID",
        errors.RequestRefused,
    ),
    ("20 a bad schema", 400, "ValidationException", "", "TOOL_SCHEMA_INVALID", errors.RequestRefused),
    ("20 an improper request", 400, "ValidationException", "Improperly formed request.", None, errors.RequestRefused),
    (
        "21 no profile",
        400,
        "ValidationException",
        "profileArn is required for this request.",
        None,
        errors.ProfileMissing,
    ),
    ("22 a company key", 400, "ValidationException", "", "INVALID_KMS_GRANT", errors.EncryptionRefused),
    ("22 a company key, 409", 409, "ConflictException", "", None, errors.EncryptionRefused),
    ("23 a server error", 500, "InternalServerException", "Oops", None, errors.UpstreamBroken),
    ("23 a bad gateway", 502, "", "", None, errors.UpstreamBroken),
    ("23 a gateway time-out", 504, "", "", None, errors.UpstreamTimeout),
    ("24 an edge time-out", 524, "", "", None, errors.UpstreamTimeout),
    ("25 a body too large", 413, "", "", None, errors.ContextOverflow),
]


@pytest.mark.parametrize(
    ("status", "shape", "message", "reason", "want"), [row[1:] for row in ROWS], ids=[row[0] for row in ROWS]
)
def test_an_http_refusal(status, shape, message, reason, want):
    assert type(http(status, shape, message, reason)) is want


@pytest.mark.parametrize(
    ("kind", "message", "reason", "want"),
    [
        ("throttlingError", "", "USER_REQUEST_RATE_EXCEEDED", errors.RateLimited),
        ("ThrottlingException", "Rate exceeded", None, errors.RateLimited),
        ("throttlingError", "", "MONTHLY_REQUEST_COUNT", errors.QuotaExhausted),
        ("error", "An unexpected error occurred.", None, errors.UpstreamBroken),
        ("internalServerError", "", None, errors.UpstreamBroken),
        ("serviceUnavailableError", "", None, errors.ModelOverloaded),
        ("modelTimeoutException", "", None, errors.UpstreamTimeout),
        ("accessDeniedException", "", "TEMPORARILY_SUSPENDED", errors.AccountSuspended),
        ("accessDeniedException", "", None, errors.AccessRefused),
        ("accessDeniedException", "The bearer token is invalid.", None, errors.TokenRejected),
        ("accessDeniedException", "User is not authorized to make this call.", None, errors.ProfileRefused),
        ("validationException", "profileArn is required for this request.", None, errors.ProfileMissing),
        ("validationException", "", "INVALID_KMS_GRANT", errors.EncryptionRefused),
        ("conflictException", "", None, errors.EncryptionRefused),
        ("serviceQuotaExceededException", "", None, errors.QuotaExhausted),
        ("quotaExceeded", "", None, errors.QuotaExhausted),
        ("throttled", "", None, errors.RateLimited),
        ("slowdown", "", None, errors.RateLimited),
        ("modelLimit", "", None, errors.RateLimited),
        ("internalFailure", "", None, errors.UpstreamBroken),
        ("modelFailure", "", None, errors.UpstreamBroken),
        ("requestTimeout", "", None, errors.UpstreamTimeout),
        ("contentLengthExceeded", "", None, errors.ContextOverflow),
        ("validationError", "Improperly formed request.", None, errors.RequestRefused),
        ("validationError", "", "PROMPT_TOO_LONG", errors.ContextOverflow),
        ("brandNewException", "", None, errors.UpstreamBroken),
    ],
)
def test_an_exception_frame(kind, message, reason, want):
    assert type(frame(kind, message, reason)) is want


def test_a_payload_type_goes_before_the_frame_s_name():
    error = frame("error", __type="com.amazon.aws.codewhisperer#ThrottlingException")
    assert type(error) is errors.RateLimited


def test_retry_after_is_read_from_header_date_and_body():
    assert http(429, headers={"retry-after": "7"}).retry_after_s == 7
    dated = {"retry-after": "Wed, 21 Oct 2026 07:28:30 GMT", "date": "Wed, 21 Oct 2026 07:28:00 GMT"}
    assert http(429, headers=dated).retry_after_s == 30
    assert http(429, retryAfterMilliseconds=4000).retry_after_s == 4
    assert http(429).retry_after_s is None
    assert http(429, headers={"retry-after": "soon"}).retry_after_s is None


def test_details_of_a_row_are_kept():
    assert http(429, "ThrottlingException", "suspicious activity").suspicious
    assert http(429, "ThrottlingException", "", "DAILY_REQUEST_COUNT").period == "day"
    assert http(402, "", "", "MONTHLY_REQUEST_COUNT").period == "month"


def test_a_rate_that_is_an_abuse_limit_by_its_text_needs_the_long_rest():
    error = http(429, "ThrottlingException", "Due to suspicious activity …", "USER_REQUEST_RATE_EXCEEDED")
    assert (type(error), error.suspicious) == (errors.RateLimited, True)


@pytest.mark.parametrize("reason", ["TOOL_SCHEMA_INVALID", "IMAGE_SIZE_EXCEEDED", "DOCUMENT_COUNT_EXCEEDED"])
def test_a_declared_reason_is_not_guessed_at_from_a_text_that_quotes_the_request(reason):
    said = "tools.0.description: 'tells of high load, a bearer token and a temporary limit' is too long"
    assert type(http(400, "ValidationException", said, reason)) is errors.RequestRefused
    assert type(frame("validationException", said, reason)) is errors.RequestRefused


def test_an_overflow_has_plausible_numbers():
    assert str(http(400, "", "", "PROMPT_TOO_LONG")) == "prompt is too long: 210000 tokens > 200000 maximum"
    small = as_error(from_response(413, {}, b""), tokens=5, window=100)
    assert str(small) == "prompt is too long: 101 tokens > 100 maximum"


@pytest.mark.parametrize(
    ("body", "want"),
    [
        (b"<html><body><h1>502 Bad\n Gateway</h1><script>x()</script></body></html>", "502 Bad Gateway"),
        (b"upstream connect error", "upstream connect error"),
        (b'{"Message":"capital"}', "capital"),
        (b'{"error":"only error"}', "only error"),
        (b'{"error":{"message":"nested"}}', "nested"),
        (b"", "Kiro answered with status 502 (no reason given)."),
        (b"[1]", "[1]"),
    ],
    ids=["html", "plain text", "capital Message", "error text", "nested error", "nothing", "no object"],
)
def test_any_body_gives_a_message(body, want):
    assert as_error(from_response(502, {}, body)).message == want


def test_a_token_that_is_quoted_goes_no_further():
    token = "aoaAAAAAG" + "x" * 80
    for error in (http(400, "ValidationException", f"bad {token}"), frame("validationException", f"bad {token}")):
        assert error.message == "bad [hidden]"


def test_the_error_type_header_goes_first():
    signal = from_response(429, {"x-amzn-errortype": "ThrottlingException:http://x"}, b"{}")
    assert signal.shape == "throttling"


def test_the_last_row_matches_everything():
    assert not any((REFUSALS[-1].reasons, REFUSALS[-1].texts, REFUSALS[-1].statuses, REFUSALS[-1].shapes))
