"""Token estimates, for when nobody counted.

No tokenizer: 53 ms per megabyte of history is too dear on the request path, and Kiro's models do not
share one. Characters are divided by constants that were fitted to what Kiro charged for agent
histories of 3 to 701 entries: 2.8 characters a token for ASCII (code and JSON are denser than prose),
1.5 for the rest (Chinese, Japanese, Korean, emoji), 27 tokens of framing per message, pictures by
their area. That errs a few per cent high, which is the better side: an early compaction beats a
refused request. Callers calibrate it against exact numbers when they see some.
"""

from typing import Final

from kiro.conversation.messages import (
    Conversation,
    Document,
    DocumentFile,
    DocumentLink,
    Image,
    ImageLink,
    Part,
    RedactedThinking,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from kiro.conversation.pictures import pixels_base64

PLAIN_CHARS_PER_TOKEN: Final = 2.8
WIDE_CHARS_PER_TOKEN: Final = 1.5
TOKENS_PER_MESSAGE: Final = 27

_PIXELS_PER_TOKEN: Final = 750
_LEAST_PER_PICTURE: Final = 256
_MOST_PER_PICTURE: Final = 1600
"""Models shrink larger pictures to about 1.15 megapixels."""
_UNKNOWN_PICTURE: Final = 1000
_SAMPLE_EVERY: Final = 16
_WIDE_BYTES: Final = bytes(range(0x80, 0x100))
_BYTES_PER_WIDE_CHAR: Final = 3


def tokens_of(plain_chars: int, wide_chars: int) -> int:
    """Tokens of so many ASCII and other characters; 0 only for none at all."""
    return -int(-(plain_chars / PLAIN_CHARS_PER_TOKEN + wide_chars / WIDE_CHARS_PER_TOKEN) // 1)


def estimate_text(text: str) -> int:
    """Tokens of a text. Accented letters count as half a wide character each."""
    if text.isascii():
        return tokens_of(len(text), 0)
    wide = min(len(text), (len(text.encode("utf-8", "replace")) - len(text) + 1) // 2)
    return tokens_of(len(text) - wide, wide)


def estimate_json(body: bytes, *, except_chars: int = 0) -> int:
    """Tokens of a JSON document as it goes over the wire, its own punctuation included.

    `except_chars` ASCII characters of it are not counted: base64, which is priced by other means.
    How much of it is not ASCII is sampled, because looking at each byte of a megabyte costs a
    millisecond; the result is the same for the same bytes.
    """
    if body.isascii():
        return tokens_of(len(body) - except_chars, 0)
    sample = body if len(body) < 65_536 else body[::_SAMPLE_EVERY]
    wide_bytes = len(body) * (len(sample) - len(sample.translate(None, _WIDE_BYTES))) // len(sample)
    return tokens_of(max(0, len(body) - wide_bytes - except_chars), wide_bytes // _BYTES_PER_WIDE_CHAR)


def estimate_image(encoded: str) -> int:
    """Tokens of a base64 picture by its area."""
    size = pixels_base64(encoded)
    if size is None:
        return _UNKNOWN_PICTURE
    return max(_LEAST_PER_PICTURE, min(_MOST_PER_PICTURE, size[0] * size[1] // _PIXELS_PER_TOKEN))


def estimate_conversation(conversation: Conversation) -> int:
    """Tokens of the prompt: messages, system texts and tools, before Kiro's own shape is known."""
    total = sum(estimate_text(text) for text in conversation.system)
    for message in conversation.messages:
        total += TOKENS_PER_MESSAGE + sum(_estimate_part(part) for part in message.parts)
    for tool in conversation.tools:
        schema = len(bytes(tool.schema)) if tool.schema is not None else 0
        total += estimate_text(tool.name) + estimate_text(tool.description) + tokens_of(schema, 0)
    return total


def _estimate_part(part: Part) -> int:
    match part:
        case Text(text=text) | Thinking(text=text) | Document(text=text):
            return estimate_text(text)
        case Image(data=data):
            return estimate_image(data)
        case ToolCall():
            return estimate_text(part.name) + estimate_json(bytes(part.input))
        case ToolResult():
            return sum(_estimate_part(inner) for inner in part.parts)
        case ImageLink():
            return _UNKNOWN_PICTURE
        case DocumentFile(data=data):
            return tokens_of(len(data) // 4, 0)
        case DocumentLink() | RedactedThinking():
            return 0
