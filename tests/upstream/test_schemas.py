"""Tool schemas as clients write them, and as Kiro takes them."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kiro.emulator import schemas as kiro
from kiro.upstream.schemas import clean_schema

STRING, NUMBER = {"type": "string"}, {"type": "number"}


def cleaned(schema, **more):
    return json.loads(bytes(clean_schema(json.dumps(schema).encode(), **more).json))


def prop(schema, **more):
    return cleaned({"type": "object", "properties": {"p": schema}}, **more)["properties"]["p"]


INSIDE = {
    "unsupported keywords go": (
        {"type": "object", "additionalProperties": False, "$comment": "x", "x-y": 1, "not": {}},
        {"type": "object"},
    ),
    "constraints become words": (
        {"type": "string", "description": "A name.", "minLength": 1, "pattern": "^a"},
        {"type": "string", "description": "A name. (pattern ^a, min length 1)"},
    ),
    "an empty required goes": ({"type": "object", "required": []}, {"type": "object"}),
    "const is an enum of one": ({"const": "fast"}, {"enum": ["fast"]}),
    "of several types the first that is not null": ({"type": ["null", "string"]}, STRING),
    "upper-case types are lowered": ({"type": "STRING"}, STRING),
    "a union with null is the other branch": ({"anyOf": [STRING, {"type": "null"}], "default": None}, STRING),
    "a union of constants is one enum": ({"oneOf": [{"const": "a"}, {"const": "b"}]}, {"enum": ["a", "b"]}),
    "a union of one is that one": ({"allOf": [NUMBER], "description": "d"}, {"description": "d", "type": "number"}),
    "any other union stays": ({"anyOf": [STRING, NUMBER]}, {"anyOf": [STRING, NUMBER]}),
    "any items": ({"type": "array", "items": True}, {"type": "array", "items": {}}),
    "items as a list": ({"type": "array", "items": [STRING, NUMBER]}, {"type": "array", "items": STRING}),
    "defaults stay": ({"type": "string", "default": "x", "title": "T"}, {"type": "string", "default": "x"}),
    "a boolean schema": (True, {}),
}


@pytest.mark.parametrize(("given_", "wanted"), INSIDE.values(), ids=INSIDE)
def test_inside(given_, wanted):
    assert prop(given_) == wanted


def test_names_of_properties_are_never_keywords():
    names = dict.fromkeys(("format", "pattern", "$ref", "required", "x-y", "default", "properties"), STRING)
    assert cleaned({"type": "object", "properties": names})["properties"] == names


ROOTS = {
    "nothing": ({}, {"type": "object", "properties": {}}, False),
    "a string": (STRING, {"type": "object", "properties": {"input": STRING}, "required": ["input"]}, True),
    "a list": (
        {"type": "array", "items": STRING},
        {"type": "object", "properties": {"input": {"type": "array", "items": STRING}}, "required": ["input"]},
        True,
    ),
    "an enum": ({"enum": [1]}, {"type": "object", "properties": {"input": {"enum": [1]}}, "required": ["input"]}, True),
    "a union of values": (
        {"anyOf": [STRING, NUMBER]},
        {"type": "object", "properties": {"input": {"anyOf": [STRING, NUMBER]}}, "required": ["input"]},
        True,
    ),
    "alternatives merge and require nothing": (
        {"anyOf": [{"type": "object", "properties": {"a": STRING}, "required": ["a"]}, {"properties": {"b": NUMBER}}]},
        {"type": "object", "properties": {"a": STRING, "b": NUMBER}},
        False,
    ),
    "allOf merges and requires all": (
        {"allOf": [{"properties": {"a": STRING}, "required": ["a"]}, {"properties": {"b": NUMBER}, "required": ["b"]}]},
        {"type": "object", "properties": {"a": STRING, "b": NUMBER}, "required": ["a", "b"]},
        False,
    ),
    "a reference at the root": (
        {"$ref": "#/$defs/A", "$defs": {"A": {"type": "object", "properties": {"a": STRING}}}},
        {"type": "object", "properties": {"a": STRING}},
        False,
    ),
    "no schema at all": (None, {"type": "object", "properties": {}}, False),
}


@pytest.mark.parametrize(("given_", "wanted", "unwrap"), ROOTS.values(), ids=ROOTS)
def test_root(given_, wanted, unwrap):
    assert cleaned(given_) == wanted
    assert clean_schema(json.dumps(given_).encode()).unwrap is unwrap


def test_references_are_inlined_and_cycles_are_any_object():
    point = {"type": "object", "properties": {"x": NUMBER, "next": {"$ref": "#/$defs/Point"}}}
    document = {
        "type": "object",
        "properties": {"p": {"$ref": "#/$defs/Point", "description": "d"}},
        "$defs": {"Point": point},
    }
    assert cleaned(document)["properties"]["p"] == {
        "type": "object",
        "description": "d",
        "properties": {"x": NUMBER, "next": {"type": "object"}},
    }


def test_references_that_fan_out_stay_small():
    many = {
        f"D{n}": {"type": "object", "properties": {f"p{m}": {"$ref": f"#/$defs/D{m}"} for m in range(12)}}
        for n in range(12)
    }
    raw = json.dumps({"$ref": "#/$defs/D0", "$defs": many}).encode()
    assert len(bytes(clean_schema(raw).json)) < 500_000


def test_flat_takes_the_first_branch():
    assert prop({"anyOf": [STRING, NUMBER]}, flat=True) == STRING


def test_halves_of_characters_do_not_lose_the_schema():
    assert (
        "a"
        in json.loads(bytes(clean_schema(b'{"type":"object","properties":{"a":{"description":"\\ud83d"}}}').json))[
            "properties"
        ]
    )


def test_a_repeated_schema_costs_nothing():
    raw = json.dumps({"type": "object", "properties": {"repeated": STRING}}).encode()
    assert clean_schema(raw) is clean_schema(bytes(bytearray(raw)))


_keywords = st.sampled_from(
    [
        "type",
        "properties",
        "required",
        "items",
        "anyOf",
        "oneOf",
        "allOf",
        "enum",
        "const",
        "$ref",
        "$defs",
        "not",
        "format",
        "minimum",
        "default",
        "description",
        "nullable",
        "a",
    ]
)
_json = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(0, 9)
    | st.sampled_from(["string", "object", "array", "null", "#", "#/$defs/a", "x"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_keywords, inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=400)
@given(_json)
def test_kiro_takes_whatever_comes_out(schema):
    clean = cleaned(schema)
    assert kiro.root_fault(clean) is None
    assert kiro.keyword_fault(clean) is None
