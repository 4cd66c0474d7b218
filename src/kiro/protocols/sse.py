"""One server-sent event as bytes."""

import msgspec

_encode = msgspec.json.Encoder().encode


def record(event: str, data: object) -> bytes:
    """A named event whose data is `data` as one line of JSON."""
    return b"event: %b\ndata: %b\n\n" % (event.encode(), _encode(data))


def data_record(data: object) -> bytes:
    """An event without a name."""
    return b"data: %b\n\n" % _encode(data)
