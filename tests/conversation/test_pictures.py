"""Format and size of pictures, by their first bytes."""

import base64
import io

import PIL.Image
import pytest

from kiro.conversation.pictures import pixels, pixels_base64, sniff, sniff_base64


def drawn(kind, **options):
    buffer = io.BytesIO()
    PIL.Image.new("RGB", (321, 123), "red").save(buffer, kind, **options)
    return buffer.getvalue()


PICTURES = {
    "PNG": (drawn("PNG"), "png"),
    "GIF": (drawn("GIF"), "gif"),
    "JPEG": (drawn("JPEG"), "jpeg"),
    "progressive JPEG": (drawn("JPEG", progressive=True), "jpeg"),
    "JPEG with a large comment": (drawn("JPEG", comment=b"x" * 60_000), "jpeg"),
    "lossy WebP": (drawn("WEBP"), "webp"),
    "lossless WebP": (drawn("WEBP", lossless=True), "webp"),
    "WebP with metadata": (drawn("WEBP", exif=b"Exif\0\0" + b"x" * 20), "webp"),
}


@pytest.mark.parametrize(("data", "kind"), PICTURES.values(), ids=PICTURES)
def test_a_picture_is_known(data, kind):
    encoded = base64.b64encode(data).decode()
    assert sniff(data) == sniff_base64(encoded) == kind
    assert pixels(data) == pixels_base64(encoded) == (321, 123)


@pytest.mark.parametrize(
    "data", [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a", b"RIFF1234WEBP", b"<svg>", b"BM"]
)
def test_what_is_cut_off_or_foreign_has_no_size(data):
    assert pixels(data) is None


@pytest.mark.parametrize("encoded", ["", "!!!!", "AAAA", "é" * 8])
def test_what_is_no_base64_is_no_picture(encoded):
    assert sniff_base64(encoded) is None
    assert pixels_base64(encoded) is None
