"""JSON Schemas of tool inputs, reduced to the part that Kiro's models all accept.

An allow-list, because the list of keywords that some model or some day refuses only grows. What a
dropped constraint said is kept as a few words in the property's description, where the model reads
it. Names of properties are names: a parameter called `format` stays.
"""

import functools
import json
from typing import Any, Final

import msgspec

from kiro.reading import well_formed

_MAX_DEPTH: Final = 40
_MAX_INLINED: Final = 8
"""References inside references; deeper, and for cycles, any object will do."""
_MAX_NODES: Final = 5_000
"""References that fan out could make a small document enormous; from here on any object will do."""
_CACHED: Final = 1024
_TYPES: Final = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_UNIONS: Final = ("anyOf", "oneOf", "allOf")
_HINTS: Final = {
    "pattern": "pattern",
    "format": "format",
    "minLength": "min length",
    "maxLength": "max length",
    "minimum": "minimum",
    "maximum": "maximum",
    "exclusiveMinimum": "greater than",
    "exclusiveMaximum": "less than",
    "multipleOf": "multiple of",
    "minItems": "min items",
    "maxItems": "max items",
}
_LONGEST_HINT: Final = 80

Schema = dict[str, Any]


class CleanSchema(msgspec.Struct, frozen=True):
    """A schema as it is sent. `unwrap`: its root was no object, so the value stands under `input`."""

    json: msgspec.Raw
    unwrap: bool


EMPTY: Final = CleanSchema(msgspec.Raw(b'{"type":"object","properties":{}}'), unwrap=False)


@functools.lru_cache(maxsize=_CACHED)
def clean_schema(raw: bytes, *, flat: bool = False) -> CleanSchema:
    """The schema as Kiro takes it. Remembered by its bytes, because a session repeats its tools in every request.

    `flat` takes the first branch of every union, for the models that refuse them.
    """
    try:
        schema = msgspec.json.decode(raw)
    except RecursionError:
        return EMPTY
    except msgspec.DecodeError:
        # Halves of characters are legal JSON text; only the standard library reads them.
        schema = well_formed(json.loads(raw.decode("utf-8", "replace")))
    if not isinstance(schema, dict):
        return EMPTY
    cleaned, unwrap = _Cleaner(schema, flat=flat).root()
    return CleanSchema(msgspec.Raw(msgspec.json.encode(cleaned)), unwrap)


class _Cleaner:
    """Cleans one schema; keeps the document for its local references."""

    def __init__(self, document: Schema, *, flat: bool) -> None:
        self._document = document
        self._flat = flat
        self._nodes = 0

    def root(self) -> tuple[Schema, bool]:
        """The root as an object schema, and whether it had to be wrapped."""
        schema = self._resolved(self._document, ())[0]
        kind = _type_of(schema.get("type"))
        branches = {name: schema[name] for name in _UNIONS if isinstance(schema.get(name), list)}
        if kind in (None, "object") and branches and not self._branches_are_values(branches):
            return self._merged(schema, branches), False
        shape_says = any(name in schema for name in ("enum", "const", "items")) or (
            branches and "properties" not in schema
        )
        if kind == "object" or (kind is None and not shape_says):
            cleaned = self._clean(schema, (), 0)
            for name in _UNIONS:
                cleaned.pop(name, None)
            cleaned.pop("enum", None)
            return {"type": "object", **cleaned, "properties": cleaned.get("properties", {})}, False
        return {"type": "object", "properties": {"input": self._clean(schema, (), 0)}, "required": ["input"]}, True

    def _branches_are_values(self, branches: Schema) -> bool:
        """No branch of the root's unions is an object: the tool takes a bare value."""
        resolved = [self._resolved(branch, ())[0] for group in branches.values() for branch in group]
        kinds = [_type_of(branch.get("type")) for branch in resolved]
        return bool(kinds) and all(kind not in (None, "object") for kind in kinds)

    def _merged(self, schema: Schema, branches: Schema) -> Schema:
        """The root's alternatives as one object: all their properties, required only what all of them (allOf) require."""
        cleaned = self._clean({name: value for name, value in schema.items() if name not in _UNIONS}, (), 0)
        properties: Schema = {}
        required: list[str] = []
        for name, group in branches.items():
            for branch in group:
                part = self._clean(*self._resolved(branch, ()), 1)
                if any(union in part for union in _UNIONS):
                    inner: Schema = {union: part[union] for union in _UNIONS if union in part}
                    part = self._merged({key: part[key] for key in part if key not in _UNIONS}, inner)
                for key, value in part.get("properties", {}).items():
                    properties.setdefault(key, value)
                if name == "allOf":
                    required += part.get("required", [])
        properties.update(cleaned.get("properties", {}))
        needed = list(dict.fromkeys([*cleaned.get("required", []), *required]))
        merged: Schema = {"type": "object", **cleaned, "properties": properties}
        return {**merged, "required": needed} if needed else merged

    def _resolved(self, schema: Any, trail: tuple[str, ...]) -> tuple[Schema, tuple[str, ...]]:
        """The schema with its reference followed, and the references on the way to it."""
        if not isinstance(schema, dict):
            return {}, trail
        while isinstance(schema.get("$ref"), str):
            ref = schema["$ref"]
            beside = {name: value for name, value in schema.items() if name != "$ref"}
            if ref in trail or len(trail) >= _MAX_INLINED:
                kept = {"description": beside["description"]} if "description" in beside else {}
                return {"type": "object", **kept}, trail
            trail = (*trail, ref)
            schema = {**self._target(ref), **beside}
        return schema, trail

    def _target(self, ref: str) -> Schema:
        """What a local reference points at; nothing in particular when it points nowhere."""
        if not ref.startswith("#"):
            return {}
        place: Any = self._document
        for step in ref[1:].strip("/").split("/"):
            if not step:
                continue
            name = step.replace("~1", "/").replace("~0", "~")
            if isinstance(place, dict):
                place = place.get(name)
            elif isinstance(place, list) and name.isdigit() and int(name) < len(place):
                place = place[int(name)]
            else:
                return {}
        return place if isinstance(place, dict) else {}

    def _clean(self, schema: Any, trail: tuple[str, ...], depth: int) -> Schema:
        self._nodes += 1
        if depth > _MAX_DEPTH or self._nodes > _MAX_NODES:
            return {}
        schema, trail = self._resolved(schema, trail)
        schema = self._without_null(schema)
        schema, trail = self._resolved(schema, trail)
        cleaned: Schema = {}
        kind = _type_of(schema.get("type"))
        if kind is not None:
            cleaned["type"] = kind
        description = _described(schema)
        if description:
            cleaned["description"] = description
        if isinstance(schema.get("properties"), dict):
            cleaned["properties"] = {
                name: self._clean(value, trail, depth + 1) for name, value in schema["properties"].items()
            }
        required = schema.get("required")
        if isinstance(required, list):
            names = list(dict.fromkeys(name for name in required if isinstance(name, str)))
            if names:
                cleaned["required"] = names
        self._clean_values(schema, cleaned)
        if "items" in schema:
            items = schema["items"]
            cleaned["items"] = self._clean(items[0] if isinstance(items, list) and items else items, trail, depth + 1)
        self._clean_unions(schema, cleaned, trail, depth)
        return cleaned

    @staticmethod
    def _clean_values(schema: Schema, cleaned: Schema) -> None:
        if isinstance(schema.get("enum"), list) and schema["enum"]:
            cleaned["enum"] = schema["enum"]
        elif "const" in schema:
            cleaned["enum"] = [schema["const"]]
        if schema.get("default") is not None:
            cleaned["default"] = schema["default"]
        if isinstance(schema.get("examples"), list) and schema["examples"]:
            cleaned["examples"] = schema["examples"]

    def _without_null(self, schema: Schema) -> Schema:
        """A union of something and null is that something."""
        for name in ("anyOf", "oneOf"):
            branches = schema.get(name)
            if not isinstance(branches, list):
                continue
            others = [branch for branch in branches if not (isinstance(branch, dict) and branch.get("type") == "null")]
            beside = {key: value for key, value in schema.items() if key != name}
            if len(others) == 1 and isinstance(others[0], dict):
                return {**others[0], **beside}
            if len(others) < len(branches):
                return {**beside, name: others} if others else beside
        return schema

    def _clean_unions(self, schema: Schema, cleaned: Schema, trail: tuple[str, ...], depth: int) -> None:
        for name in _UNIONS:
            given = schema.get(name)
            branches = [self._clean(branch, trail, depth + 1) for branch in given] if isinstance(given, list) else []
            if not branches:
                continue
            values = [value for branch in branches for value in branch.get("enum", ())]
            if name != "allOf" and all("enum" in branch for branch in branches):
                cleaned["enum"] = [value for at, value in enumerate(values) if value not in values[:at]]
                kinds = {branch.get("type") for branch in branches}
                if len(kinds) == 1 and None not in kinds:
                    cleaned.setdefault("type", kinds.pop())
            elif len(branches) == 1 or self._flat:
                for key, value in branches[0].items():
                    cleaned.setdefault(key, value)
            else:
                cleaned[name] = branches


def _type_of(given: Any) -> str | None:
    """One type name: of a list the first that is not null; upper case (Gemini) is lowered."""
    if isinstance(given, list):
        names = [name for name in map(_type_of, given) if name is not None]
        return next((name for name in names if name != "null"), names[0] if names else None)
    name = given.lower() if isinstance(given, str) else None
    return name if name in _TYPES else None


def _described(schema: Schema) -> str:
    """The description, with the constraints that are dropped as a hint at its end."""
    said = schema.get("description")
    said = said if isinstance(said, str) else ""
    hints = [
        f"{words} {schema[name]}"
        for name, words in _HINTS.items()
        if isinstance(schema.get(name), str | int | float)
        and not isinstance(schema[name], bool)
        and len(str(schema[name])) <= _LONGEST_HINT
    ]
    if not hints:
        return said
    hint = f"({', '.join(hints)})"
    return f"{said} {hint}" if said else hint
