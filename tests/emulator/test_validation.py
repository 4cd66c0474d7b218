"""Each rule of Kiro's: a body that breaks only it, and what Kiro says."""

import base64
import struct
from typing import Any

import pytest

from kiro.emulator import signatures
from kiro.emulator.models import MODELS, find_model
from kiro.emulator.validation import MAX_BODY_BYTES, Account, validate
from support.bodies import SCHEMA, Document, assistant, body, call, dump, result, tool, user

ARN = "arn:aws:codewhisperer:us-east-1:111122223333:profile/OWN"
IMPROPER = "Improperly formed request."
BAD_TOOL_USE = "Invalid tool use format."
WEATHER = [tool()]
PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 10, 10) + b"\0" * 8
WIDE_PNG = b"\x89PNG\r\n\x1a\n" + b"\0\0\0\rIHDR" + struct.pack(">II", 9000, 10) + b"\0" * 8


def image(data: bytes = PNG, declared: str = "png") -> Document:
    return {"format": declared, "source": {"bytes": base64.b64encode(data).decode()}}


def state(**fields: Any) -> Document:
    document = body()
    document["conversationState"].update(fields)
    return document


def message(**fields: Any) -> Document:
    document = body()
    document["conversationState"]["currentMessage"]["userInputMessage"].update(fields)
    return document


def with_schema(schema: Any) -> Document:
    return body(tools=[tool(schema=schema)])


def with_property(**keywords: Any) -> Document:
    return with_schema({"type": "object", "properties": {"city": {"type": "string", **keywords}}})


def after_call(calls: list[Document], results: list[Document], *, tools: list[Document] | None = None) -> Document:
    history = [user("weather?"), assistant("", calls=calls)]
    return body("", history=history, results=results, tools=WEATHER if tools is None else tools)


def reasoned(text: str, signature: str, model: str = "claude-opus-4.8") -> Document:
    thought = {"reasoningText": {"text": text, "signature": signature}}
    return body(model=model, history=[user(), assistant(reasoningContent=thought)])


SIGNED = signatures.sign("claude-opus", "deep thought")

ACCEPTED = {
    "a first turn": body(),
    "a second turn": body(history=[user(), assistant()]),
    "a tool continuation with empty texts": after_call([call()], [result()]),
    "two calls answered in order": after_call([call("a"), call("b")], [result("a"), result("b")]),
    "an error result": after_call([call()], [result(status="error")]),
    "a json result": after_call([call()], [{"toolUseId": "tooluse_1", "status": "success", "content": [{"json": {}}]}]),
    "an unknown member of a structure": message(cachePoint={"type": "default"}),
    "an unknown member at the top": body(inferenceConfig={"maxTokens": 5}),
    "a picture": body(images=[image()]),
    "a picture without text": body("", images=[image()]),
    "a tool without description": body(tools=[{"toolSpecification": {"name": "x", "inputSchema": {"json": SCHEMA}}}]),
    "a property called pattern": with_schema({"type": "object", "properties": {"pattern": {"type": "string"}}}),
    "a nested anyOf": with_property(anyOf=[{"type": "string"}]),
    "effort for a model that lists it": body(model="claude-opus-4.8", fields={"output_config": {"effort": "xhigh"}}),
    "reasoning it signed, back to the same family": reasoned("deep thought", SIGNED, "claude-opus-4.7"),
    "hidden GPT reasoning without its placeholder": reasoned("", signatures.sign("gpt", ""), "gpt-5.6-sol"),
    "no model: auto": {
        "conversationState": {
            "chatTriggerType": "MANUAL",
            "currentMessage": {"userInputMessage": {"content": "hi"}},
        }
    },
}


@pytest.mark.parametrize("document", ACCEPTED.values(), ids=ACCEPTED.keys())
def test_accepts(document: Document) -> None:
    assert validate(dump(document)) is None


INVALID = "REQUEST_BODY_INVALID"
MISMATCH = "TOOL_USE_RESULT_MISMATCH"
REFUSED: dict[str, tuple[Document, str | None, str]] = {
    "an unknown trigger": (state(chatTriggerType="AUTO"), INVALID, IMPROPER),
    "an unknown task type": (state(agentTaskType="chat"), INVALID, IMPROPER),
    "a null history": (state(history=None), INVALID, IMPROPER),
    "null images": (message(images=None), INVALID, IMPROPER),
    "an unknown origin": (message(origin="CURSOR"), INVALID, IMPROPER),
    "content that is no string": (message(content=[{"text": "hi"}]), INVALID, IMPROPER),
    "a current message of the assistant": (state(currentMessage=assistant()), INVALID, IMPROPER),
    "an unknown message variant": (state(history=[{"cachePoint": {}}, assistant()]), INVALID, IMPROPER),
    "a message of two variants": (state(history=[{**user(), **assistant()}, assistant()]), INVALID, IMPROPER),
    "a system prompt": (body(systemPrompt="be brief"), INVALID, IMPROPER),
    "an illegal conversation id": (state(conversationId="\n"), "INVALID_CONVERSATION_ID", "Invalid conversation ID."),
    "an unknown model": (body(model="gpt-3"), "INVALID_MODEL_ID", "Invalid model ID."),
    "two users in a row": (body(history=[user(), user(), assistant()]), None, IMPROPER),
    "two assistants in a row": (body(history=[user(), assistant(), assistant()]), None, IMPROPER),
    "a history that ends with the user": (body(history=[user()]), None, IMPROPER),
    "an assistant first": (body(history=[assistant()]), None, IMPROPER),
    "tool results in the first item": (
        body(history=[user(results=[result()]), assistant()], tools=WEATHER),
        None,
        IMPROPER,
    ),
    "an empty current message": (body(""), None, IMPROPER),
    "an empty assistant message": (body(history=[user(), assistant("")]), None, IMPROPER),
    "an empty message instead of a result": (after_call([call()], []), None, IMPROPER),
    "a call answered by text only": (
        body("so?", history=[user(), assistant(calls=[call()])], tools=WEATHER),
        MISMATCH,
        "Expected toolResult blocks at messages.2 for the preceding toolUse blocks.",
    ),
    "results in another order": (after_call([call("a"), call("b")], [result("b"), result("a")]), MISMATCH, "Expected"),
    "a result too many": (after_call([call("a")], [result("a"), result("b")]), MISMATCH, "Expected"),
    "a result given twice": (after_call([call("a")], [result("a"), result("a")]), MISMATCH, "Expected"),
    "a result without any call": (body(results=[result()], tools=WEATHER), MISMATCH, "Expected"),
    "two calls with one id": (after_call([call("a"), call("a")], [result("a"), result("a")]), INVALID, BAD_TOOL_USE),
    "an id used in two turns": (
        body(
            "",
            history=[
                user(),
                assistant(calls=[call("a")]),
                user("", results=[result("a")]),
                assistant(calls=[call("a")]),
            ],
            results=[result("a")],
            tools=WEATHER,
        ),
        INVALID,
        BAD_TOOL_USE,
    ),
    "an id with a dot": (after_call([call("a.b")], [result("a.b")]), INVALID, BAD_TOOL_USE),
    "an id of 65 characters": (after_call([call("a" * 65)], [result("a" * 65)]), INVALID, BAD_TOOL_USE),
    "calls without any declared tool": (
        after_call([call()], [result()], tools=[]),
        "TOOL_CONFIG_MISSING",
        "The toolConfig",
    ),
    "a call of an undeclared tool": (after_call([call(name="other")], [result()]), INVALID, BAD_TOOL_USE),
    "tools in history": (
        body(
            history=[
                {"userInputMessage": {"content": "hi", "userInputMessageContext": {"tools": WEATHER}}},
                assistant(),
            ]
        ),
        INVALID,
        IMPROPER,
    ),
    "input that is a string": (
        after_call([{"toolUseId": "a", "name": "get_weather", "input": "{}"}], [result("a")]),
        INVALID,
        IMPROPER,
    ),
    "an upper-case status": (after_call([call()], [result(status="SUCCESS")]), INVALID, IMPROPER),
    "an image inside a tool result": (
        after_call([call()], [{"toolUseId": "tooluse_1", "content": [{"image": {}}]}]),
        INVALID,
        IMPROPER,
    ),
    "text and json in one piece": (
        after_call([call()], [{"toolUseId": "tooluse_1", "content": [{"text": "a", "json": {}}]}]),
        INVALID,
        IMPROPER,
    ),
    "json that is no object": (
        after_call([call()], [{"toolUseId": "tooluse_1", "content": [{"json": [1]}]}]),
        INVALID,
        IMPROPER,
    ),
    "a cache point among the tools": (body(tools=[*WEATHER, {"cachePoint": {"type": "default"}}]), INVALID, IMPROPER),
    "a tool without variant": (body(tools=[{}]), INVALID, IMPROPER),
    "a schema without json": (body(tools=[{"toolSpecification": {"name": "x", "inputSchema": {}}}]), INVALID, IMPROPER),
    "a tool name with a dot": (body(tools=[tool("a.b")]), None, IMPROPER),
    "a tool name that begins with a digit": (body(tools=[tool("1st")]), None, IMPROPER),
    "a tool name of 65 characters": (body(tools=[tool("a" * 65)]), None, IMPROPER),
    "two tools that differ by case": (
        body(tools=[tool("Read"), tool("read")]),
        "TOOL_DUPLICATE",
        "Duplicate tool name: read",
    ),
    "an empty description": (body(tools=[tool(description="")]), None, IMPROPER),
    "a description of 10,001 characters": (body(tools=[tool(description="x" * 10_001)]), None, IMPROPER),
    "137 tools": (body(tools=[tool(f"t{n}") for n in range(137)]), INVALID, BAD_TOOL_USE),
    "a schema that is a string type": (with_schema({"type": "string"}), "TOOL_SCHEMA_INVALID", "tools.0."),
    "a schema without type": (with_schema({"properties": {}}), "TOOL_SCHEMA_INVALID", "tools.0."),
    "composition at the root": (with_schema({"type": "object", "anyOf": [SCHEMA]}), "TOOL_SCHEMA_INVALID", "tools.0."),
    "$schema": (with_schema({**SCHEMA, "$schema": "x"}), None, IMPROPER),
    "$ref": (with_schema({"type": "object", "properties": {"a": {"$ref": "#/x"}}}), None, IMPROPER),
    "additionalProperties": (with_schema({**SCHEMA, "additionalProperties": False}), None, IMPROPER),
    "an empty required": (with_schema({**SCHEMA, "required": []}), None, IMPROPER),
    "pattern": (with_property(pattern="x"), None, IMPROPER),
    "two types": (with_property(type=["string", "null"]), None, IMPROPER),
    "a boolean schema": (with_schema({"type": "object", "properties": {"a": True}}), None, IMPROPER),
    "const inside a union": (with_property(anyOf=[{"const": 1}]), None, IMPROPER),
    "a required that is no list": (with_schema({**SCHEMA, "required": "city"}), None, IMPROPER),
    "an empty enum": (with_property(enum=[]), None, IMPROPER),
    "an empty union": (with_property(anyOf=[]), None, IMPROPER),
    "properties that are a list": (with_schema({"type": "object", "properties": []}), None, IMPROPER),
    "items that are true": (with_property(items=True), None, IMPROPER),
    "an unknown type": (with_property(type="any"), None, IMPROPER),
    "a schema that is a list": (with_schema([]), "TOOL_SCHEMA_INVALID", "tools.0."),
    "an own keyword": (with_property(**{"x-order": 1}), None, IMPROPER),
    "the format jpg": (body(images=[image(declared="jpg")]), "IMAGE_FORMAT_UNSUPPORTED", "Unsupported"),
    "bytes of another format": (
        body(images=[image(declared="webp")]),
        "IMAGE_MIME_MISMATCH",
        "The image was specified",
    ),
    "image bytes that are not base64": (body(images=[{"format": "png", "source": {"bytes": "*"}}]), INVALID, IMPROPER),
    "an image source without bytes": (body(images=[{"format": "png", "source": {}}]), INVALID, IMPROPER),
    "21 images": (body(images=[image()] * 21), "IMAGE_COUNT_EXCEEDED", "Too many images."),
    "an image over 5 MB": (body(images=[image(PNG + b"\0" * 4_000_000)]), "IMAGE_SIZE_EXCEEDED", "Image exceeds"),
    "an image 9,000 pixels wide": (body(images=[image(WIDE_PNG)]), "IMAGE_DIMENSION_EXCEEDED", "Image dimensions"),
    "an image for a text model": (body(images=[image()], model="glm-5"), None, "This model doesn't support"),
    "effort for a model without": (
        body(fields={"output_config": {"effort": "low"}}),
        None,
        "additionalModelRequestFields is not supported for this model",
    ),
    "an effort the model does not list": (
        body(model="claude-sonnet-4.6", fields={"output_config": {"effort": "xhigh"}}),
        None,
        "Invalid additionalModelRequestFields",
    ),
    "effort that is no string": (
        body(model="claude-opus-5", fields={"output_config": {"effort": 3}}),
        None,
        "Invalid additionalModelRequestFields: output_config.effort is not of type string",
    ),
    "an unknown extra field": (
        body(model="claude-opus-5", fields={"temperature": 1}),
        None,
        "Invalid additionalModelRequestFields: temperature is not a known field",
    ),
    "max_tokens over the model's": (
        body(model="claude-opus-5", fields={"max_tokens": 1_000_000}),
        None,
        "Invalid additionalModelRequestFields: max_tokens is out of range",
    ),
    "a signature nobody issued": (
        reasoned("deep thought", "EqQB"),
        "THINKING_SIGNATURE_INVALID",
        "Invalid `signature`",
    ),
    "reasoning that was changed": (reasoned("other", SIGNED), "THINKING_SIGNATURE_INVALID", "Invalid `signature`"),
    "reasoning of another family": (
        reasoned("deep thought", SIGNED, "claude-sonnet-5"),
        "THINKING_SIGNATURE_INVALID",
        "Invalid `signature`",
    ),
    "redacted reasoning nobody issued": (
        body(model="claude-opus-5", history=[user(), assistant(reasoningContent={"redactedContent": "AAAA"})]),
        "THINKING_SIGNATURE_INVALID",
        "Invalid `signature`",
    ),
    "reasoning without its nesting": (
        body(history=[user(), assistant(reasoningContent={"text": "a", "signature": "b"})]),
        INVALID,
        IMPROPER,
    ),
    "a prompt over the window": (body("x" * 800_100), "CONTENT_LENGTH_EXCEEDS_THRESHOLD", "Input is too long."),
}


@pytest.mark.parametrize(("document", "reason", "text"), REFUSED.values(), ids=REFUSED.keys())
def test_refuses(document: Document, reason: str | None, text: str) -> None:
    refusal = validate(dump(document))
    assert refusal is not None
    assert (refusal.status, refusal.shape, refusal.reason) == (400, "ValidationException", reason)
    assert refusal.message.startswith(text)
    assert refusal.why


def test_refuses_a_body_over_20_mb() -> None:
    refusal = validate(b" " * (MAX_BODY_BYTES + 1))
    assert refusal is not None
    assert refusal.status == 413


@pytest.mark.parametrize(
    "data", [b"{", b"\xff", b'{"a":"\\ud800"}', b"[" * 100_000], ids=["cut", "bytes", "lone surrogate", "deep"]
)
def test_refuses_what_is_not_json(data: bytes) -> None:
    refusal = validate(data)
    assert refusal is not None
    assert refusal.reason in ("REQUEST_BODY_INVALID_JSON", "REQUEST_BODY_INVALID")


class TestTheProfile:
    def test_missing_is_named(self) -> None:
        refusal = validate(dump(body()), Account(ARN))
        assert refusal is not None
        assert (refusal.status, refusal.message) == (400, "profileArn is required for this request.")

    def test_of_somebody_else_looks_like_a_bad_token(self) -> None:
        refusal = validate(dump(body(profileArn=ARN + "2")), Account(ARN))
        assert refusal is not None
        assert (refusal.status, refusal.message) == (403, "The bearer token included in the request is invalid.")

    def test_of_its_own_is_accepted(self) -> None:
        assert validate(dump(body(profileArn=ARN)), Account(ARN)) is None

    def test_is_not_wanted_from_an_api_key(self) -> None:
        assert validate(dump(body()), Account(None)) is None
        refusal = validate(dump(body(profileArn=ARN)), Account(None))
        assert refusal is not None
        assert refusal.status == 403


def test_an_account_has_only_the_models_of_its_plan() -> None:
    one = find_model(MODELS, "claude-sonnet-4.5")
    assert one is not None
    refusal = validate(dump(body(model="claude-opus-5")), Account(models=(one,), check_profile=False))
    assert refusal is not None
    assert refusal.reason == "INVALID_MODEL_ID"
