"""AWS event-stream frames, checked against fixed bytes, against botocore's decoder, and at random."""

import json
from pathlib import Path
from uuid import UUID

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from kiro.upstream.eventstream import (
    MAX_FRAME_BYTES,
    Byte,
    Decoder,
    Frame,
    FrameError,
    Long,
    Short,
    Timestamp,
    encode_frame,
)

VECTORS = json.loads((Path(__file__).parent.parent / "cases" / "upstream-examples.json").read_text())["frames"]
VALID = [vector for vector in VECTORS if vector["valid"]]
DAMAGED = [vector for vector in VECTORS if not vector["valid"]]


def decode(data: bytes, size: int) -> list[Frame]:
    decoder, frames = Decoder(), []
    for at in range(0, len(data), size):
        frames += decoder.feed(data[at : at + size])
    decoder.close()
    return frames


def fault_of(data: bytes, size: int) -> str:
    with pytest.raises(FrameError) as caught:
        decode(data, size)
    return caught.value.fault


@pytest.mark.parametrize("size", [1, 2, 3, 5, 11, 12, 13, 64, 100_000])
@pytest.mark.parametrize("vector", VALID, ids=lambda vector: vector["name"])
def test_a_valid_stream_decodes_the_same_however_it_is_cut(vector, size):
    data = bytes.fromhex(vector["hex"])
    frames = decode(data, size)
    assert frames == decode(data, len(data))
    assert len(frames) == vector.get("frames", 1)
    if "payload_utf8" in vector:
        assert frames[0].payload.decode() == vector["payload_utf8"]


@pytest.mark.parametrize("vector", VALID, ids=lambda vector: vector["name"])
def test_encoding_what_was_decoded_gives_the_same_bytes(vector):
    data = bytes.fromhex(vector["hex"])
    assert b"".join(encode_frame(frame.headers, frame.payload) for frame in decode(data, len(data))) == data


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("vector", DAMAGED, ids=lambda vector: vector["name"])
def test_a_damaged_stream_fails_by_name(vector, size):
    assert fault_of(bytes.fromhex(vector["hex"]), size) == vector["error"]


def test_all_ten_header_types_are_read():
    (vector,) = [vector for vector in VECTORS if vector["name"] == "all_header_types"]
    (frame,) = decode(bytes.fromhex(vector["hex"]), 1000)
    want = vector["headers"]
    assert frame.headers == {
        "t": True,
        "f": False,
        "by": want["by"],
        "sh": want["sh"],
        "in": want["in"],
        "lo": want["lo"],
        "ba": bytes.fromhex(want["ba_hex"]),
        "st": want["st"],
        "ts": want["ts_ms"],
        "uu": UUID(want["uu"]),
    }


def test_good_frames_before_damage_are_kept():
    good, bad = encode_frame({"a": "b"}, b"1"), bytearray(encode_frame({"a": "b"}, b"2"))
    bad[-1] ^= 1
    with pytest.raises(FrameError) as caught:
        Decoder().feed(good + bytes(bad))
    assert [frame.payload for frame in caught.value.before] == [b"1"]


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (encode_frame({}, bytes(MAX_FRAME_BYTES)), "too_large"),
        (bytes.fromhex("0000000f00000000"), "too_small"),
        (encode_frame({"k": "v"}, b"")[:-1], "truncated"),
    ],
    ids=["a frame over 16 MiB", "a frame shorter than its own overhead", "a body that ends inside a frame"],
)
def test_limits(data, fault):
    if fault == "too_small":
        import zlib

        data += zlib.crc32(data).to_bytes(4, "big")
    assert fault_of(data, len(data)) == fault


@pytest.mark.parametrize(
    "block",
    [b"\x05ab", b"\x01a\x07\x00\x05x", b"\x01a\x06\x00\x05x", b"\x01a\x09abc", b"\x01a\x04\x00", b"\x01\xff\x00"],
    ids=["name too long", "string too long", "bytes too long", "short UUID", "short integer", "name not UTF-8"],
)
def test_a_header_that_does_not_fit_its_block_is_an_error(block):
    frame = bytearray(encode_frame({"x": block}, b""))
    import struct
    import zlib

    prelude = struct.pack(">II", len(block) + 16, len(block))
    message = prelude + struct.pack(">I", zlib.crc32(prelude)) + block
    frame = message + struct.pack(">I", zlib.crc32(message))
    assert fault_of(frame, len(frame)) == "bad_header"


header_values = st.one_of(
    st.booleans(),
    st.integers(-128, 127).map(Byte),
    st.integers(-(2**15), 2**15 - 1).map(Short),
    st.integers(-(2**31), 2**31 - 1),
    st.integers(-(2**63), 2**63 - 1).map(Long),
    st.integers(-(2**40), 2**45).map(Timestamp),
    st.binary(max_size=300),
    st.text(max_size=100),
    st.uuids(),
)
header_names = st.text(min_size=1, max_size=40).filter(lambda name: len(name.encode()) <= 255)
frames = st.builds(Frame, st.dictionaries(header_names, header_values, max_size=6), st.binary(max_size=500))


@given(st.lists(frames, max_size=6), st.data())
def test_any_frames_survive_encoding_and_any_cutting(sent, data):
    stream = b"".join(encode_frame(frame.headers, frame.payload) for frame in sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    decoder, got = Decoder(), []
    for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        got += decoder.feed(stream[start:end])
    decoder.close()
    assert got == sent
    assert [[type(value) for value in frame.headers.values()] for frame in got] == [
        [type(value) for value in frame.headers.values()] for frame in sent
    ]


@given(st.lists(frames, max_size=4))
def test_botocore_reads_the_same(sent):
    oracle = EventStreamBuffer()
    for frame in sent:
        oracle.add_data(encode_frame(frame.headers, frame.payload))
    seen = list(oracle)
    assert [message.payload for message in seen] == [frame.payload for frame in sent]
    for message, frame in zip(seen, sent, strict=True):
        for name, value in frame.headers.items():
            want = value.bytes if isinstance(value, UUID) else value
            assert message.headers[name] == want


@given(st.lists(frames, min_size=1, max_size=3), st.data())
def test_one_flipped_bit_anywhere_is_noticed(sent, data):
    stream = bytearray(b"".join(encode_frame(frame.headers, frame.payload) for frame in sent))
    at = data.draw(st.integers(0, len(stream) * 8 - 1))
    stream[at // 8] ^= 1 << (at % 8)
    fault_of(bytes(stream), len(stream))
