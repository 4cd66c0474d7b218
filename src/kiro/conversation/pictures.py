"""What the first bytes of a picture tell: its true format and its size in pixels.

Clients mislabel pictures often enough (a WebP saved as .png), and both Kiro's image field and the
token estimate need the truth. Nothing is decoded here; a few header fields are read.
"""

import base64
import binascii
import struct
from typing import Final, Literal

PictureFormat = Literal["png", "jpeg", "gif", "webp"]

_HEAD_CHARS: Final = 64
"""Base64 characters that hold every fixed header (48 bytes)."""
_JPEG_CHARS: Final = 262_144
"""A JPEG's size stands behind its metadata, which may carry a preview; further than this nobody looks."""


def sniff(data: bytes) -> PictureFormat | None:
    """The format by magic bytes, or `None` when it is none of the four that Kiro takes."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return None


def head(encoded: str, chars: int = _HEAD_CHARS) -> bytes:
    """The first bytes of base64 text; empty when it is not base64."""
    piece = encoded[:chars]
    piece = piece[: len(piece) & ~3]
    try:
        return base64.b64decode(piece)
    except (binascii.Error, ValueError):
        return b""


def sniff_base64(encoded: str) -> PictureFormat | None:
    return sniff(head(encoded))


def pixels_base64(encoded: str) -> tuple[int, int] | None:
    """Width and height, or `None` when the header does not tell."""
    data = head(encoded)
    if sniff(data) == "jpeg":
        data = head(encoded, _JPEG_CHARS)
    return pixels(data)


def pixels(data: bytes) -> tuple[int, int] | None:
    """Width and height by the header, or `None` when it does not tell."""
    match sniff(data):
        case "png" if len(data) >= 24:
            width, height = struct.unpack_from(">II", data, 16)
            return width, height
        case "gif" if len(data) >= 10:
            width, height = struct.unpack_from("<HH", data, 6)
            return width, height
        case "webp":
            return _webp_pixels(data)
        case "jpeg":
            return _jpeg_pixels(data)
        case _:
            return None


def _webp_pixels(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X" and len(data) >= 30:
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L" and len(data) >= 25:
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 " and len(data) >= 30:
        width, height = struct.unpack_from("<HH", data, 26)
        return width & 0x3FFF, height & 0x3FFF
    return None


def _jpeg_pixels(data: bytes) -> tuple[int, int] | None:
    """Walks the segments to the first start-of-frame, which carries the size."""
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack_from(">HH", data, at + 5)
            return width, height
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
