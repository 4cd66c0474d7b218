"""AWS event-stream frames: bytes in, `Frame`s out, and back. No I/O, no guessing.

    0        4        8          12                12+H              N-4       N
    | N u32  | H u32  | crc32    | headers, H bytes | payload        | crc32   |
    |        |        | of 0..7  |                  |                | of 0..N-5

Both checksums are verified. A frame that is wrong in any way ends the stream with a named
`FrameError`; nothing is skipped to find the next frame, because skipping hides lost text.

The decoder runs once per event of every stream, so it keeps to offsets into the chunk it was given,
copies each message once, and remembers preludes and whole header blocks: all streams together have only
some hundreds of different ones, and what was found in them is shared.

Layout: "Event stream encoding" of the Amazon Transcribe and S3 Select documentation. CRC-32 is
zlib's. Largest frame: 16 MiB, the limit of the older text; Kiro's own are a few KiB.
"""

import struct
from collections.abc import Mapping
from functools import lru_cache
from typing import Final, Literal, TypeAlias
from uuid import UUID
from zlib import crc32

import msgspec

MAX_FRAME_BYTES: Final = 16 * 1024 * 1024
MAX_HEADER_BYTES: Final = 128 * 1024
_OVERHEAD: Final = 16
_KEPT_HEADER_BLOCKS: Final = 256
_KEPT_PRELUDES: Final = 2048

FrameFault = Literal[
    "prelude_crc",
    "message_crc",
    "too_large",
    "too_small",
    "bad_header_length",
    "bad_header_type",
    "bad_header",
    "truncated",
]


class Byte(int):
    """A header value of type 2, one signed byte."""


class Short(int):
    """A header value of type 3, two signed bytes. A plain `int` is type 4, four signed bytes."""


class Long(int):
    """A header value of type 5, eight signed bytes."""


class Timestamp(int):
    """A header value of type 8, milliseconds since 1970 UTC."""


HeaderValue: TypeAlias = bool | Byte | Short | int | Long | bytes | str | Timestamp | UUID


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One message. `headers` is shared between frames: do not change it.

    `event` is the `:event-type` of a message whose `:message-type` is `event`, else empty.
    """

    headers: dict[str, HeaderValue]
    payload: bytes
    event: str = ""


class FrameError(Exception):
    """The bytes are not an event stream. `before` holds the good frames of the same `feed`."""

    def __init__(self, fault: FrameFault, detail: str) -> None:
        super().__init__(f"{fault}: {detail}")
        self.fault = fault
        self.before: list[Frame] = []


_PRELUDE = struct.Struct(">III").unpack_from
_CRC = struct.Struct(">I").unpack_from
_U16 = struct.Struct(">H")
_U32 = struct.Struct(">I")
_FIXED: Final[dict[int, tuple[struct.Struct, type[int]]]] = {
    2: (struct.Struct(">b"), Byte),
    3: (struct.Struct(">h"), Short),
    4: (struct.Struct(">i"), int),
    5: (struct.Struct(">q"), Long),
    8: (struct.Struct(">q"), Timestamp),
}
_TYPE_OF_INT: Final[dict[type, int]] = {kind: number for number, (_, kind) in _FIXED.items()}


class Decoder:
    """Push parser: `feed` chunks cut anywhere, `close` at the end of the body."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> list[Frame]:
        """Frames completed by this chunk. Raises FrameError; the decoder is not to be used after that."""
        data = self._rest + chunk if self._rest else chunk
        size = len(data)
        at = 0
        frames: list[Frame] = []
        try:
            while size - at >= 12:
                total, payload_offset = _read_prelude(data[at : at + 12])
                end = at + total
                if end > size:
                    break
                crc_at = end - 4
                if crc32(data[at:crc_at]) != _CRC(data, crc_at)[0]:
                    raise FrameError("message_crc", f"in a frame of {total} bytes")  # noqa: TRY301  a call per event saved
                payload_at = at + payload_offset
                headers, event = _read_headers(data[at + 12 : payload_at])
                frames.append(Frame(headers, data[payload_at:crc_at], event))
                at = end
        except FrameError as error:
            error.before = frames
            raise
        self._rest = data[at:] if at else data
        return frames

    def close(self) -> None:
        """The body ended. Raises FrameError `truncated` when it ended inside a frame."""
        if self._rest:
            raise FrameError("truncated", f"{len(self._rest)} bytes of an unfinished frame")


@lru_cache(_KEPT_PRELUDES)
def _read_prelude(prelude: bytes) -> tuple[int, int]:
    """The frame's size and where its payload begins. Frames of one size share their prelude, and most sizes recur."""
    total, header_bytes, prelude_crc = _PRELUDE(prelude)
    if crc32(prelude[:8]) != prelude_crc:
        raise FrameError("prelude_crc", "the lengths do not fit their checksum")
    if total > MAX_FRAME_BYTES or total < _OVERHEAD:
        fault: FrameFault = "too_large" if total > _OVERHEAD else "too_small"
        raise FrameError(fault, f"a frame of {total} bytes")
    if header_bytes > total - _OVERHEAD or header_bytes > MAX_HEADER_BYTES:
        raise FrameError("bad_header_length", f"{header_bytes} of {total} bytes")
    return total, 12 + header_bytes


@lru_cache(_KEPT_HEADER_BLOCKS)
def _read_headers(block: bytes) -> tuple[dict[str, HeaderValue], str]:
    """The headers, and `Frame.event`."""
    headers: dict[str, HeaderValue] = {}
    at = 0
    try:
        while at < len(block):
            name_end = at + 1 + block[at]
            name = block[at + 1 : name_end].decode()
            kind = block[name_end]
            headers[name], at = _read_value(kind, block, name_end + 1)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise FrameError("bad_header", "a header does not fit its block") from error
    event = headers.get(":event-type") if headers.get(":message-type") == "event" else None
    return headers, event if isinstance(event, str) else ""


def _read_value(kind: int, block: bytes, at: int) -> tuple[HeaderValue, int]:
    if kind in (6, 7):
        (length,) = _U16.unpack_from(block, at)
        start, at = at + 2, at + 2 + length
        raw = block[start:at]
        if len(raw) != length:
            raise FrameError("bad_header", f"a value of {length} bytes does not fit its block")
        return (raw if kind == 6 else raw.decode()), at
    if kind in (0, 1):
        return kind == 0, at
    if kind == 9:
        raw = block[at : at + 16]
        if len(raw) != 16:
            raise FrameError("bad_header", "a UUID does not fit its block")
        return UUID(bytes=raw), at + 16
    fixed = _FIXED.get(kind)
    if fixed is None:
        raise FrameError("bad_header_type", f"type {kind}")
    layout, made = fixed
    (number,) = layout.unpack_from(block, at)
    return made(number), at + layout.size


def encode_frame(headers: Mapping[str, HeaderValue], payload: bytes) -> bytes:
    """The bytes of one frame. Header order is kept. For the emulator and the tests."""
    block = b"".join(_write_header(name, value) for name, value in headers.items())
    prelude = _U32.pack(len(block) + len(payload) + _OVERHEAD) + _U32.pack(len(block))
    message = prelude + _U32.pack(crc32(prelude)) + block + payload
    return message + _U32.pack(crc32(message))


def _write_header(name: str, value: HeaderValue) -> bytes:
    raw_name = name.encode()
    return bytes((len(raw_name),)) + raw_name + _write_value(value)


def _write_value(value: HeaderValue) -> bytes:
    if isinstance(value, bool):
        return b"\x00" if value else b"\x01"
    if isinstance(value, int):
        kind = _TYPE_OF_INT[type(value)]
        return bytes((kind,)) + _FIXED[kind][0].pack(value)
    if isinstance(value, UUID):
        return b"\x09" + value.bytes
    kind, raw = (7, value.encode()) if isinstance(value, str) else (6, value)
    return bytes((kind,)) + _U16.pack(len(raw)) + raw
