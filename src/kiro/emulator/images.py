"""What Kiro thinks of a picture: format, size, and whether its first bytes are what it claims to be."""

import base64
import binascii
import struct
from typing import Final

from kiro.emulator.refusal import Refusal, refuse

MAX_IMAGE_BASE64: Final = 5_242_880
MAX_IMAGE_SIDE: Final = 8000


def image_fault(declared: str, encoded: str) -> Refusal | None:
    """The refusal for one picture, or `None`. `encoded` is its base64."""
    if declared not in ("gif", "jpeg", "png", "webp"):
        return refuse(f"image format {declared!r}", "Unsupported image format.", "IMAGE_FORMAT_UNSUPPORTED")
    if len(encoded) > MAX_IMAGE_BASE64:
        return refuse(f"{len(encoded)} base64 characters", "Image exceeds 5 MB maximum.", "IMAGE_SIZE_EXCEEDED")
    try:
        data = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return refuse("image bytes are not base64", reason="REQUEST_BODY_INVALID")
    actual = sniff(data)
    if actual != declared:
        message = f"The image was specified using image/{declared} but appears to be {actual or 'something else'}."
        return refuse("image bytes are not of the declared format", message, "IMAGE_MIME_MISMATCH")
    size = pixels(data)
    if size is not None and max(size) > MAX_IMAGE_SIDE:
        return refuse(f"{size} pixels", "Image dimensions exceed 8000 pixels.", "IMAGE_DIMENSION_EXCEEDED")
    return None


def sniff(data: bytes) -> str | None:
    """Kiro's name of the format, or `None` when it is none of the four."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if data.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if data[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    return None


def pixels(data: bytes) -> tuple[int, int] | None:
    """Width and height where the header tells them simply; `None` otherwise (old WebP kinds)."""
    match sniff(data):
        case "png" if len(data) >= 24:
            width, height = struct.unpack_from(">II", data, 16)
            return width, height
        case "gif" if len(data) >= 10:
            width, height = struct.unpack_from("<HH", data, 6)
            return width, height
        case "webp" if data[12:16] == b"VP8X" and len(data) >= 30:
            return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
        case "jpeg":
            return _jpeg_pixels(data)
        case _:
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
