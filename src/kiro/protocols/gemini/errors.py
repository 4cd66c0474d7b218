"""Errors in Google's words: a status word, and details that tell a client when to come back.

Gemini CLI waits as long as `RetryInfo` says, takes a `QuotaFailure` per day for final, and on 404
goes to another model.
"""

import math
from typing import Any, Final

import msgspec

from kiro import errors
from kiro.errors import KiroError
from kiro.protocols.base import ErrorReply, retry_headers

STATUSES: Final[dict[type[KiroError], tuple[int, str]]] = {
    errors.KiroError: (500, "INTERNAL"),
    errors.RequestError: (400, "INVALID_ARGUMENT"),
    errors.UnknownRoute: (404, "NOT_FOUND"),
    errors.WrongMethod: (405, "UNIMPLEMENTED"),
    errors.UnknownModel: (404, "NOT_FOUND"),
    errors.BadClientKey: (401, "UNAUTHENTICATED"),
    errors.ForbiddenOrigin: (403, "PERMISSION_DENIED"),
    errors.AccountForbidden: (403, "PERMISSION_DENIED"),
    errors.BodyTooLarge: (400, "INVALID_ARGUMENT"),
    errors.ContextOverflow: (400, "INVALID_ARGUMENT"),
    errors.SignInNeeded: (401, "UNAUTHENTICATED"),
    errors.NoAccountReady: (503, "UNAVAILABLE"),
    errors.UpstreamError: (500, "INTERNAL"),
    errors.TokenRejected: (401, "UNAUTHENTICATED"),
    errors.AccountSuspended: (403, "PERMISSION_DENIED"),
    errors.ApplicationRefused: (403, "PERMISSION_DENIED"),
    errors.ProfileRefused: (403, "PERMISSION_DENIED"),
    errors.ProfileMissing: (500, "INTERNAL"),
    errors.EncryptionRefused: (500, "INTERNAL"),
    errors.AccessRefused: (403, "PERMISSION_DENIED"),
    errors.QuotaExhausted: (429, "RESOURCE_EXHAUSTED"),
    errors.RateLimited: (429, "RESOURCE_EXHAUSTED"),
    errors.ModelOverloaded: (503, "UNAVAILABLE"),
    errors.ModelUnavailable: (404, "NOT_FOUND"),
    errors.ConversationTooLong: (400, "INVALID_ARGUMENT"),
    errors.SignatureRefused: (400, "INVALID_ARGUMENT"),
    errors.FieldsRefused: (400, "INVALID_ARGUMENT"),
    errors.RequestRefused: (400, "INVALID_ARGUMENT"),
    errors.UpstreamTimeout: (504, "DEADLINE_EXCEEDED"),
}
_TYPE: Final = "type.googleapis.com/google.rpc."
_encode = msgspec.json.Encoder().encode


def error(error: KiroError, request_id: str) -> ErrorReply:
    status, _ = status_of(error)
    return ErrorReply(status, _encode(document(error, request_id)), retry_headers(error, status))


def status_of(error: KiroError) -> tuple[int, str]:
    return next(STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES)


def document(error: KiroError, request_id: str | None = None) -> dict[str, Any]:
    """`{"error": …}`, also for errors inside a stream, where the client knows the request's id."""
    code, status = status_of(error)
    detail: dict[str, Any] = {"code": code, "message": _message(error), "status": status}
    details = _details(error)
    if request_id is not None:
        details.append({"@type": f"{_TYPE}RequestInfo", "requestId": request_id})
    if details:
        detail["details"] = details
    return {"error": detail}


def _message(error: KiroError) -> str:
    match error:
        case errors.ContextOverflow(tokens=tokens, limit=limit):
            return f"The input token count ({tokens}) exceeds the maximum number of tokens allowed ({limit})."
        case errors.UnknownModel(model=model, hint=hint):
            text = f"models/{model} is not found, or is not supported here."
            return f"{text} {hint}" if hint else text
        case _:
            return error.full_text()


def _details(error: KiroError) -> list[dict[str, Any]]:
    if isinstance(error, errors.QuotaExhausted) and error.period != "hour":
        # "PerDay" is the word by which clients know that waiting is futile, whatever the true period.
        violation = {"subject": "kiro", "description": error.message, "quotaId": "KiroCreditsPerDay"}
        return [{"@type": f"{_TYPE}QuotaFailure", "violations": [violation]}]
    if isinstance(error, errors.InvalidRequest) and error.param is not None:
        violation = {"field": error.param, "description": error.message}
        return [{"@type": f"{_TYPE}BadRequest", "fieldViolations": [violation]}]
    if isinstance(error, errors.BadClientKey):
        return [{"@type": f"{_TYPE}ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}]
    delay = getattr(error, "retry_after_s", None)
    if delay is None and isinstance(error, errors.RateLimited):
        delay = 10
    if delay is not None:
        return [{"@type": f"{_TYPE}RetryInfo", "retryDelay": f"{max(1, math.ceil(delay))}s"}]
    return []
