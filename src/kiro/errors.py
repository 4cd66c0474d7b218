"""Every failure a person or a client can see: what happened, and what to do next.

    KiroError
    ├── UsageError              the command line or a setting is wrong            exit 2
    ├── PortTaken               another program listens on the port
    ├── Cancelled               the person said stop                              exit 4
    ├── StorageError            vault, database or settings cannot be used
    │   └── VaultLocked         the vault's key cannot be had
    ├── RequestError            the client's request cannot be served as it stands
    │   ├── InvalidRequest      a field is wrong (`param` names it)
    │   ├── UnknownRoute        no such path
    │   ├── WrongMethod         the path exists, the method does not
    │   ├── UnknownModel        no account offers the model
    │   ├── BadClientKey        the client's own key is missing or wrong
    │   ├── ForbiddenOrigin     Host or Origin is not allowed
    │   ├── AccountForbidden    the client's key may not use the account
    │   ├── BodyTooLarge        over `server.max_body_mb`
    │   └── ContextOverflow     the prompt does not fit the model's window
    ├── AccountError            no account can take the request                   exit 3
    │   ├── SignInNeeded        there is no account, or its sign-in is dead
    │   └── NoAccountReady      every account rests; `retry_after_s` says how long
    └── UpstreamError           Kiro or the way to it failed
        ├── TokenRejected       the access token is not accepted (refresh helps)
        ├── AccountSuspended    a person has to act
        ├── ApplicationRefused  this kind of credential may not use this API flavour
        ├── ProfileRefused      profile ARN foreign, or of another region
        ├── ProfileMissing      Kiro wants a profile ARN and got none
        ├── EncryptionRefused   a company's encryption key does not let the account in
        ├── AccessRefused       any other 403
        ├── QuotaExhausted      credits of a period are spent
        ├── RateLimited         slow down; `retry_after_s`
        ├── ModelOverloaded     capacity of the model, for everybody
        ├── ModelUnavailable    plan or region lacks the model
        ├── ConversationTooLong too many turns under one conversation id
        ├── SignatureRefused    replayed thinking is not accepted
        ├── FieldsRefused       additional model fields are not accepted
        ├── RequestRefused      Kiro finds the request malformed
        ├── UpstreamBroken      5xx, protocol violation
        ├── UpstreamTimeout     408, 504, edge time-outs, silence
        ├── NetworkFailed       DNS, TLS, reset: never the account's fault
        ├── StreamCut           the answer ended in its middle
        ├── EmptyAnswer         the answer ended without content
        └── AnswerUnfit         the answer is not of the form the client insists on, twice

A class exists because somebody branches on it: `relay.retry` (what to try next), `accounts.pool`
(what it costs the account) and each protocol's table of error shapes.
"""

from typing import ClassVar


class KiroError(Exception):
    """What happened, in the user's words; `hint` says what to do next."""

    status: ClassVar[int] = 500
    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return self.message

    def full_text(self) -> str:
        """Message and hint as one sentence or two, for places with room for one text only."""
        return f"{self.message} {self.hint}" if self.hint else self.message


class UsageError(KiroError):
    exit_code = 2


class PortTaken(KiroError):
    def __init__(self, host: str, port: int, *, hint: str | None = None) -> None:
        super().__init__(f"Port {port} on {host} is taken.", hint=hint)
        self.host = host
        self.port = port


class Cancelled(KiroError):
    exit_code = 4


class StorageError(KiroError):
    pass


class VaultLocked(StorageError):
    pass


class RequestError(KiroError):
    status = 400


class InvalidRequest(RequestError):
    """A field of the request is wrong; `param` is its path, such as `messages[0].role`.

    `code` is a machine-readable word for dialects that have a place for one.
    """

    def __init__(
        self, message: str, *, param: str | None = None, code: str | None = None, hint: str | None = None
    ) -> None:
        super().__init__(message, hint=hint)
        self.param = param
        self.code = code


class UnknownRoute(RequestError):
    status = 404


class WrongMethod(RequestError):
    status = 405


class UnknownModel(RequestError):
    status = 404

    def __init__(self, model: str, *, hint: str | None = None) -> None:
        super().__init__(f"model: {model}", hint=hint)
        self.model = model


class BadClientKey(RequestError):
    status = 401


class ForbiddenOrigin(RequestError):
    status = 403


class AccountForbidden(RequestError):
    status = 403


class BodyTooLarge(RequestError):
    status = 413


class ContextOverflow(RequestError):
    """The prompt has `tokens` tokens, the window holds `limit`; both are plausible, `tokens > limit`."""

    def __init__(self, tokens: int, limit: int) -> None:
        tokens = max(tokens, limit + 1)
        super().__init__(f"prompt is too long: {tokens} tokens > {limit} maximum")
        self.tokens = tokens
        self.limit = limit


class AccountError(KiroError):
    exit_code = 3


class SignInNeeded(AccountError):
    status = 401


class NoAccountReady(AccountError):
    status = 503

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class UpstreamError(KiroError):
    """Kiro's own words are in `message`; `reason` is its machine-readable reason, if it gave one."""

    status = 502

    def __init__(
        self,
        message: str,
        *,
        hint: str | None = None,
        reason: str | None = None,
        retry_after_s: float | None = None,
        upstream_status: int | None = None,
        upstream_id: str | None = None,
    ) -> None:
        super().__init__(message, hint=hint)
        self.reason = reason
        self.retry_after_s = retry_after_s
        self.upstream_status = upstream_status
        self.upstream_id = upstream_id


class TokenRejected(UpstreamError):
    status = 401
    exit_code = 3


class AccountSuspended(UpstreamError):
    status = 403
    exit_code = 3


class ApplicationRefused(UpstreamError):
    status = 403
    exit_code = 3


class ProfileRefused(UpstreamError):
    status = 403
    exit_code = 3


class ProfileMissing(UpstreamError):
    status = 500
    exit_code = 3


class EncryptionRefused(UpstreamError):
    status = 500
    exit_code = 3


class AccessRefused(UpstreamError):
    status = 403
    exit_code = 3


class QuotaExhausted(UpstreamError):
    """`period` is `month`, `day`, `hour`, `week`, as far as Kiro's reason tells."""

    status = 429
    exit_code = 3
    period: str = "month"


class RateLimited(UpstreamError):
    """`suspicious` marks the anti-abuse limit, which needs a long rest, not a retry."""

    status = 429
    exit_code = 3
    suspicious: bool = False


class ModelOverloaded(UpstreamError):
    status = 503


class ModelUnavailable(UpstreamError):
    status = 404


class ConversationTooLong(UpstreamError):
    status = 400


class SignatureRefused(UpstreamError):
    status = 400


class FieldsRefused(UpstreamError):
    status = 400


class RequestRefused(UpstreamError):
    status = 400


class UpstreamBroken(UpstreamError):
    status = 502


class UpstreamTimeout(UpstreamError):
    status = 504


class NetworkFailed(UpstreamError):
    status = 502


class StreamCut(UpstreamError):
    status = 502


class EmptyAnswer(UpstreamError):
    status = 502


class AnswerUnfit(UpstreamError):
    """Asking again costs what it cost, and will hardly help."""

    status = 502
