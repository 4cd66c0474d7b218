"""Formats and sizes told from the first bytes, checked against pictures that Pillow made."""

import io

import pytest
from PIL import Image

from kiro.emulator.images import pixels, sniff


def picture(kind: str, **options: bool) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (31, 17)).save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif", "webp"])
def test_formats(kind: str) -> None:
    assert sniff(picture(kind)) == kind


@pytest.mark.parametrize("kind", ["png", "jpeg", "gif"])
def test_sizes(kind: str) -> None:
    assert pixels(picture(kind)) == (31, 17)


@pytest.mark.parametrize("data", [b"", b"GIF", b"\xff\xd8\xff", b"%PDF-1.7", b"\x89PNG\r\n\x1a\n"])
def test_what_is_cut_or_unknown_has_no_size(data: bytes) -> None:
    assert pixels(data) is None


def test_an_extended_webp_tells_its_size() -> None:
    data = b"RIFF\0\0\0\0WEBPVP8X" + b"\0" * 8 + (30).to_bytes(3, "little") + (16).to_bytes(3, "little")
    assert pixels(data) == (31, 17)
