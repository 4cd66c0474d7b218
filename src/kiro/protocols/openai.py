"""What both dialects of OpenAI share: the shape of errors, the model list, the sign of a client's session."""

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

import msgspec

from kiro import errors
from kiro.conversation.events import Usage
from kiro.errors import KiroError
from kiro.protocols.base import ErrorReply, ModelCard, retry_headers

INVALID: Final = "invalid_request_error"
PERMISSION: Final = "permission_error"
SERVER: Final = "server_error"


class Shape(NamedTuple):
    """How one class of errors looks; `param` is for errors that do not name a field themselves."""

    status: int
    type: str
    code: str | None = None
    param: str | None = None


SHAPES: Final[dict[type[KiroError], Shape]] = {
    errors.KiroError: Shape(500, SERVER),
    errors.RequestError: Shape(400, INVALID),
    errors.UnknownRoute: Shape(404, INVALID, "unknown_url"),
    errors.WrongMethod: Shape(405, INVALID, "method_not_allowed"),
    errors.UnknownModel: Shape(404, INVALID, "model_not_found", "model"),
    errors.BadClientKey: Shape(401, INVALID, "invalid_api_key"),
    errors.ForbiddenOrigin: Shape(403, PERMISSION),
    errors.AccountForbidden: Shape(403, PERMISSION),
    errors.BodyTooLarge: Shape(413, INVALID, "request_too_large"),
    errors.ContextOverflow: Shape(400, INVALID, "context_length_exceeded"),
    errors.SignInNeeded: Shape(401, "authentication_error", "account_unavailable"),
    errors.NoAccountReady: Shape(503, SERVER, "server_is_overloaded"),
    errors.UpstreamError: Shape(502, SERVER),
    errors.TokenRejected: Shape(401, "authentication_error", "account_unavailable"),
    errors.AccountSuspended: Shape(403, PERMISSION),
    errors.ApplicationRefused: Shape(403, PERMISSION),
    errors.ProfileRefused: Shape(403, PERMISSION),
    errors.ProfileMissing: Shape(500, SERVER),
    errors.EncryptionRefused: Shape(500, SERVER),
    errors.AccessRefused: Shape(403, PERMISSION),
    errors.QuotaExhausted: Shape(429, "insufficient_quota", "insufficient_quota"),
    errors.RateLimited: Shape(429, "rate_limit_error", "rate_limit_exceeded"),
    errors.ModelOverloaded: Shape(503, SERVER, "server_is_overloaded"),
    errors.ModelUnavailable: Shape(404, INVALID, "model_not_found", "model"),
    errors.ConversationTooLong: Shape(400, INVALID),
    errors.SignatureRefused: Shape(400, INVALID),
    errors.FieldsRefused: Shape(400, INVALID),
    errors.RequestRefused: Shape(400, INVALID),
    errors.UpstreamTimeout: Shape(504, SERVER, "timeout"),
}

_encode = msgspec.json.Encoder().encode
_SESSION_HEADERS: Final = ("x-session-affinity", "x-session-id", "session_id", "session-id", "thread-id")


def shape_of(error: KiroError) -> Shape:
    return next(SHAPES[kind] for kind in type(error).__mro__ if kind in SHAPES)


def error_detail(error: KiroError, *, prompt_param: str) -> dict[str, Any]:
    """The inside of `{"error": …}`. `prompt_param` is the field that holds the prompt: `messages` or `input`."""
    shape = shape_of(error)
    message, code, param = error.full_text(), shape.code, shape.param
    match error:
        case errors.InvalidRequest():
            code, param = error.code, error.param
        case errors.ContextOverflow(tokens=tokens, limit=limit):
            param = prompt_param
            message = (
                f"This model's maximum context length is {limit} tokens. "
                f"However, your messages resulted in {tokens} tokens."
            )
        case errors.UnknownModel(model=model, hint=hint):
            message = f"The model `{model}` does not exist or you do not have access to it."
            message = f"{message} {hint}" if hint else message
        case _:
            pass
    return {"message": message, "type": shape.type, "param": param, "code": code}


def error_reply(error: KiroError, *, prompt_param: str) -> ErrorReply:
    """The error as the answer to a request."""
    status = shape_of(error).status
    body = _encode({"error": error_detail(error, prompt_param=prompt_param)})
    return ErrorReply(status, body, retry_headers(error, status))


def searches_of(usage: Usage) -> dict[str, Any]:
    """The searches made on the client's behalf, under Anthropic's name: OpenAI bills them apart and has none."""
    return {"server_tool_use": {"web_search_requests": usage.searches}} if usage.searches else {}


def session_of(headers: Mapping[str, str], cache_key: str | None) -> str | None:
    """The client's session: a header that names it, else the key it wants its prompts cached under."""
    return next((value for name in _SESSION_HEADERS if (value := headers.get(name))), cache_key or None)


def models(cards: Sequence[ModelCard]) -> bytes:
    return _encode({"object": "list", "data": [_model(card) for card in cards]})


def model(card: ModelCard) -> bytes:
    return _encode(_model(card))


def _model(card: ModelCard) -> dict[str, Any]:
    """One model. What OpenAI has no member for stands under the names that other proxies use."""
    return {
        "id": card.id,
        "object": "model",
        "created": _seconds(card.created),
        "owned_by": "kiro",
        "name": card.name,
        "context_length": card.window,
        "max_output_tokens": card.max_output,
    }


def _seconds(date: str) -> int:
    """The beginning of a day, `YYYY-MM-DD`, in seconds since 1970."""
    return int(dt.datetime.fromisoformat(f"{date}T00:00:00+00:00").timestamp())
