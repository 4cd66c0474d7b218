"""JSON Schema, twice: what Kiro accepts as a tool's input schema, and whether extra model fields fit theirs.

The list of keywords is the union of what has been reported to make Kiro answer 400 at some time; a
tool catalogue that passes here passes everywhere. Names of properties are names, never keywords.
"""

from typing import Any, Final

ROOT_COMPOSITION: Final = frozenset({"oneOf", "anyOf", "allOf"})
_REFUSED: Final = frozenset(
    {
        "$schema", "$id", "$comment", "$ref", "$defs", "$anchor", "$dynamicRef", "definitions",
        "additionalProperties", "additionalItems", "patternProperties", "propertyNames", "prefixItems", "contains",
        "minContains", "maxContains", "not", "if", "then", "else", "dependentRequired", "dependentSchemas",
        "dependencies", "unevaluatedProperties", "unevaluatedItems", "pattern", "format", "minLength", "maxLength",
        "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems",
        "uniqueItems", "minProperties", "maxProperties", "const", "contentEncoding", "contentMediaType",
        "contentSchema", "encrypted", "strict", "nullable", "discriminator", "xml",
    }
)  # fmt: skip
_TYPES: Final = frozenset({"object", "array", "string", "number", "integer", "boolean", "null"})
_DEPTH: Final = 64


def root_fault(schema: Any) -> str | None:
    """Why the root is not a plain object schema (Kiro's reason: TOOL_SCHEMA_INVALID), or `None`."""
    if not isinstance(schema, dict):
        return "the schema is not an object"
    if schema.get("type") != "object":
        return "inputSchema.json.type must be one of: object"
    found = ROOT_COMPOSITION & schema.keys()
    return f"{min(found)} at the root" if found else None


def keyword_fault(schema: Any, path: str = "", depth: int = 0) -> str | None:
    """The first thing inside that Kiro finds improper, as `path: what`, or `None`."""
    if depth > _DEPTH:
        return f"{path}: nested too deeply"
    if not isinstance(schema, dict):
        return f"{path}: not a schema object"
    for keyword, value in schema.items():
        here = f"{path}/{keyword}"
        if keyword in _REFUSED or keyword.startswith("x-"):
            return f"{here}: unsupported keyword"
        found = _value_fault(keyword, value, here, depth)
        if found is not None:
            return found
    return None


def _value_fault(keyword: str, value: Any, here: str, depth: int) -> str | None:
    match keyword:
        case "type":
            return None if isinstance(value, str) and value in _TYPES else f"{here}: not one type name"
        case "required":
            named = isinstance(value, list) and value and all(isinstance(name, str) for name in value)
            return None if named else f"{here}: not a list of names, or empty"
        case "enum":
            return None if isinstance(value, list) and value else f"{here}: not a list, or empty"
        case "properties":
            if not isinstance(value, dict):
                return f"{here}: not an object"
            return _first(value.items(), here, depth)
        case "items":
            return keyword_fault(value, here, depth + 1)
        case "anyOf" | "oneOf" | "allOf":
            if not isinstance(value, list) or not value:
                return f"{here}: not a list, or empty"
            return _first(enumerate(value), here, depth)
        case _:
            return None


def _first(schemas: Any, here: str, depth: int) -> str | None:
    faults = (keyword_fault(schema, f"{here}/{key}", depth + 1) for key, schema in schemas)
    return next((fault for fault in faults if fault is not None), None)


def misfit(value: Any, schema: dict[str, Any], path: str = "") -> str | None:
    """Why `value` does not fit a schema of the catalogue's own simple kind, or `None`."""
    kinds: dict[str, tuple[type, ...]] = {"object": (dict,), "string": (str,), "integer": (int,)}
    kind = schema.get("type")
    if kind is not None and (not isinstance(value, kinds[kind]) or isinstance(value, bool)):
        return f"{path or 'the value'} is not of type {kind}"
    if "enum" in schema and value not in schema["enum"]:
        return f"{path} is not one of {schema['enum']}"
    if isinstance(value, int) and not schema.get("minimum", value) <= value <= schema.get("maximum", value):
        return f"{path} is out of range"
    if not isinstance(value, dict):
        return None
    properties = schema.get("properties", {})
    for name, item in value.items():
        here = f"{path}.{name}" if path else name
        if name not in properties:
            return f"{here} is not a known field"
        found = misfit(item, properties[name], here)
        if found is not None:
            return found
    return None


def sample(schema: Any, text: str, depth: int = 0) -> Any:
    """The smallest value that fits a client's schema, with `text` for its free strings."""
    if not isinstance(schema, dict) or depth > _DEPTH:
        return text
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return schema["enum"][0]
    for keyword in ("anyOf", "oneOf", "allOf"):
        if schema.get(keyword):
            return sample(schema[keyword][0], text, depth + 1)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = kind[0] if kind else "string"
    match str(kind).lower():
        case "object":
            properties = schema.get("properties", {})
            wanted = schema.get("required") or list(properties)
            return {name: sample(properties.get(name, {}), text, depth + 1) for name in wanted}
        case "array":
            count = max(1, schema.get("minItems", 1))
            return [sample(schema.get("items", {}), text, depth + 1) for _ in range(count)]
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "null":
            return None
        case _:
            return text
