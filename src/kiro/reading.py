"""Typed reading of untrusted JSON: bytes in, a value of a declared type out, or a complaint that names the field.

`msgspec` decodes straight into the type and skips what the type does not name. Two inputs it refuses
are legal or common enough to be saved: lone surrogate escapes (agents cut text in the middle of an
emoji) and bytes that are not UTF-8 inside strings. Both take the slow path through the standard
library, with the broken character replaced by U+FFFD.
"""

import json
import re
from typing import Any, TypeVar

import msgspec

from kiro.errors import InvalidRequest

T = TypeVar("T")

_SURROGATE = re.compile(r"[\ud800-\udfff]")
_AT = re.compile(r" - at `(?:key in )?\$\.?([^`]*)`$")
_MAX_DEPTH_HINT = "The JSON is nested too deeply."


def read(decoder: "msgspec.json.Decoder[T]", data: bytes) -> T:
    """Decode a request body. Raises InvalidRequest whose `param` is the path of the bad field."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise _invalid(error) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return _read_again(decoder, data, error)
    except RecursionError as error:
        raise InvalidRequest(_MAX_DEPTH_HINT) from error


def _read_again(decoder: "msgspec.json.Decoder[T]", data: bytes, first_error: Exception) -> T:
    try:
        document = json.loads(data.decode("utf-8", "replace"), strict=False)
        return decoder.decode(msgspec.json.encode(well_formed(document)))
    except msgspec.ValidationError as error:
        raise _invalid(error) from error
    except ValueError as error:
        raise InvalidRequest(f"The body is not valid JSON: {first_error}.") from error
    except RecursionError as error:
        raise InvalidRequest(_MAX_DEPTH_HINT) from error


def _invalid(error: msgspec.ValidationError) -> InvalidRequest:
    text = str(error)
    found = _AT.search(text)
    path = found.group(1) if found else ""
    what = text[: found.start()] if found else text
    return InvalidRequest(f"{path}: {what}" if path else what, param=path or None)


def well_formed(value: Any) -> Any:
    """The same JSON value with surrogate pairs joined and lone surrogates replaced by U+FFFD."""
    if isinstance(value, str):
        return well_formed_text(value)
    if isinstance(value, list):
        return [well_formed(item) for item in value]
    if isinstance(value, dict):
        return {well_formed_text(key): well_formed(item) for key, item in value.items()}
    return value


def well_formed_text(text: str) -> str:
    if not _SURROGATE.search(text):
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
