"""Errors in OpenAI's words: as the answer to a request, and inside a stream.

Inside a stream the code decides what a client does. Codex repeats after `rate_limit_exceeded` once the
time that the message names is over, compacts after `context_length_exceeded`, shows `invalid_prompt`
and stops, and takes a plain status for a broken connection: 503 makes it ask thirty times in half a
minute. So overflow and limits reach Codex as a stream that has failed (`failed_stream`).
"""

import math
from typing import Any, Final

from kiro import errors
from kiro.errors import KiroError
from kiro.protocols.base import ErrorReply
from kiro.protocols.openai import error_detail, error_reply, shape_of

_PROMPT: Final = "input"
_LIMITS: Final = (errors.RateLimited, errors.QuotaExhausted, errors.NoAccountReady, errors.ModelOverloaded)
_DEFAULT_DELAY_S: Final = 10.0


def error(error: KiroError, request_id: str) -> ErrorReply:
    """The error as the answer to a request. OpenAI's SDKs look for the request's id under a name of their own."""
    told = error_reply(error, prompt_param=_PROMPT)
    return ErrorReply(told.status, told.body, {**told.headers, "x-request-id": request_id})


def belongs_in_stream(error: KiroError) -> bool:
    """Whether Codex understands this error only inside a stream."""
    return isinstance(error, (errors.ContextOverflow, *_LIMITS))


def stream_error(error: KiroError) -> dict[str, Any]:
    """The `error` member of a failed response."""
    message = str(error_detail(error, prompt_param=_PROMPT)["message"])
    code = _code(error)
    if code == "rate_limit_exceeded":
        delay = getattr(error, "retry_after_s", None)
        wait_s = math.ceil(10 * max(0.1, _DEFAULT_DELAY_S if delay is None else delay)) / 10
        message = f"{message} Please try again in {wait_s:.1f}s."
    return {"code": code, "message": message}


def _code(error: KiroError) -> str:
    match error:
        case errors.ContextOverflow():
            return "context_length_exceeded"
        case errors.QuotaExhausted():
            return "insufficient_quota"
        case errors.RateLimited(suspicious=True):
            return "invalid_prompt"  # a rest of hours: asking again would make it worse
        case errors.RateLimited() | errors.NoAccountReady():
            return "rate_limit_exceeded"
        case errors.ModelOverloaded():
            return "slow_down"
        case _:
            return "invalid_prompt" if shape_of(error).status < 500 else "server_error"


def previous_not_found(response_id: str) -> errors.InvalidRequest:
    return errors.InvalidRequest(
        f"Previous response with id '{response_id}' not found.",
        param="previous_response_id",
        code="previous_response_not_found",
    )


def unknown_response(response_id: str) -> errors.UnknownRoute:
    return errors.UnknownRoute(f"Response with id '{response_id}' not found.")
