"""Google's schema dialect (`OBJECT`, `nullable`) as JSON Schema, for the form of the answer.

Schemas of tools are cleaned on their way to Kiro and need none of this.
"""

from typing import Any, Final

import msgspec

_TYPES: Final = frozenset({"OBJECT", "ARRAY", "STRING", "NUMBER", "INTEGER", "BOOLEAN", "NULL"})
_BY_NAME: Final = ("properties", "patternProperties", "$defs", "definitions", "defs")
_LISTS: Final = ("anyOf", "oneOf", "allOf", "any_of", "prefixItems")
_SINGLE: Final = ("items", "additionalProperties", "not")
_NOT_JSON_SCHEMA: Final = ("nullable", "propertyOrdering", "property_ordering", "example")


def json_schema(raw: msgspec.Raw) -> msgspec.Raw:
    """The same schema in JSON Schema's words; what is no schema stays as it is."""
    try:
        schema = msgspec.json.decode(raw)
        return msgspec.Raw(msgspec.json.encode(_converted(schema)))
    except (msgspec.DecodeError, RecursionError):
        return raw


def _converted(schema: Any) -> Any:
    if not isinstance(schema, dict):
        return schema
    converted: dict[str, Any] = {}
    for key, value in schema.items():
        if key in _NOT_JSON_SCHEMA:
            continue
        if key in _BY_NAME and isinstance(value, dict):
            converted[key] = {name: _converted(inner) for name, inner in value.items()}
        elif key in _LISTS and isinstance(value, list):
            converted["anyOf" if key == "any_of" else key] = [_converted(inner) for inner in value]
        elif key in _SINGLE:
            converted[key] = _converted(value)
        else:
            converted[key] = value
    kind = converted.get("type")
    if isinstance(kind, str) and kind.upper() in _TYPES:
        converted["type"] = kind.lower()
        if schema.get("nullable") is True:
            converted["type"] = [kind.lower(), "null"]
    elif kind == "TYPE_UNSPECIFIED":
        del converted["type"]
    return converted
