"""How Kiro says no: an HTTP status, a shape name, a reason and a message in its own words."""

from typing import Literal

import msgspec

Shape = Literal[
    "ValidationException",
    "AccessDeniedException",
    "ThrottlingException",
    "ServiceQuotaExceededException",
    "InternalServerException",
    "ServiceUnavailableException",
    "UnknownOperationException",
    "UnsupportedMediaTypeException",
    "SerializationException",
]

_SHAPE_OF_STATUS: dict[int, Shape] = {
    400: "ValidationException",
    401: "AccessDeniedException",
    402: "ServiceQuotaExceededException",
    403: "AccessDeniedException",
    404: "UnknownOperationException",
    413: "ValidationException",
    415: "UnsupportedMediaTypeException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}

IMPROPER = "Improperly formed request."
BAD_TOOL_USE = "Invalid tool use format."
BAD_TOKEN = "The bearer token included in the request is invalid."  # noqa: S105 - Kiro's words, not a token


class Refusal(msgspec.Struct, frozen=True):
    """One refused request. `why` tells a developer which rule was broken; it is never sent."""

    status: int
    shape: Shape
    message: str
    reason: str | None = None
    why: str = ""

    def body(self, **extra: object) -> bytes:
        """The JSON body, with Kiro's namespace. `extra` members are added as they are."""
        document: dict[str, object] = {
            "__type": f"com.amazon.kiro.runtimeservice#{self.shape}",
            "message": self.message,
        }
        if self.reason is not None:
            document["reason"] = self.reason
        return msgspec.json.encode(document | extra)


def refuse(why: str, message: str = IMPROPER, reason: str | None = None) -> Refusal:
    """A refusal of the body: 400 ValidationException."""
    return Refusal(400, "ValidationException", message, reason, why)


def deny(message: str, reason: str | None = None, why: str = "") -> Refusal:
    """A refusal of the caller: 403 AccessDeniedException."""
    return Refusal(403, "AccessDeniedException", message, reason, why)


def shape_of(status: int) -> Shape:
    """The usual shape of a status; anything unusual is an internal error."""
    return _SHAPE_OF_STATUS.get(status, "InternalServerException")
