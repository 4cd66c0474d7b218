"""What stands in the payloads of Kiro's events, as far as anybody looks: typed, tolerant of everything else.

Unknown members are skipped. A member of the wrong type or null raises `msgspec.ValidationError`;
`response.ResponseReader` then reads the payload leniently.
"""

from typing import Any

import msgspec


class TextPayload(msgspec.Struct, gc=False):
    content: str = ""
    modelId: str | None = None
    modelTag: str | None = None


class ThinkingPayload(msgspec.Struct, gc=False):
    text: str = ""
    signature: str = ""
    redactedContent: str = ""


class ToolPayload(msgspec.Struct, gc=False):
    toolUseId: str = ""
    name: str = ""
    input: str | dict[str, Any] | None = None
    stop: bool = False


class TokenUsage(msgspec.Struct):
    uncachedInputTokens: int | None = None
    cacheReadInputTokens: int | None = None
    cacheWriteInputTokens: int | None = None
    outputTokens: int | None = None
    contextUsagePercentage: float | None = None


class Refusal(msgspec.Struct):
    category: str | None = None
    explanation: str | None = None


class StopDetails(msgspec.Struct):
    refusal: Refusal | None = None


class MetadataPayload(msgspec.Struct):
    tokenUsage: TokenUsage | None = None
    stopReason: str | None = None
    stopDetails: StopDetails | None = None


class ContextPayload(msgspec.Struct):
    contextUsagePercentage: float | None = None


class MeteringPayload(msgspec.Struct):
    usage: float | None = None


class IdsPayload(msgspec.Struct):
    conversationId: str | None = None


class StatePayload(msgspec.Struct):
    reason: str | None = None
    message: str | None = None


decode_text = msgspec.json.Decoder(TextPayload).decode
decode_thinking = msgspec.json.Decoder(ThinkingPayload).decode
decode_tool = msgspec.json.Decoder(ToolPayload).decode
decode_metadata = msgspec.json.Decoder(MetadataPayload).decode
decode_context = msgspec.json.Decoder(ContextPayload).decode
decode_metering = msgspec.json.Decoder(MeteringPayload).decode
decode_ids = msgspec.json.Decoder(IdsPayload).decode
decode_state = msgspec.json.Decoder(StatePayload).decode
