"""Short builders for Kiro request bodies: a test names only what matters to it."""

import json
from typing import Any

Document = dict[str, Any]

SCHEMA: Document = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}


def user(text: str = "hi", *, results: list[Document] | None = None, **fields: Any) -> Document:
    """A user message of the history."""
    message: Document = {"content": text, "origin": "AI_EDITOR", **fields}
    if results is not None:
        message["userInputMessageContext"] = {"toolResults": results}
    return {"userInputMessage": message}


def assistant(text: str = "ok", *, calls: list[Document] | None = None, **fields: Any) -> Document:
    message: Document = {"content": text, **fields}
    if calls is not None:
        message["toolUses"] = calls
    return {"assistantResponseMessage": message}


def call(call_id: str = "tooluse_1", name: str = "get_weather", **arguments: Any) -> Document:
    return {"toolUseId": call_id, "name": name, "input": arguments}


def result(call_id: str = "tooluse_1", text: str = "sunny", status: str = "success") -> Document:
    return {"toolUseId": call_id, "status": status, "content": [{"text": text}]}


def tool(name: str = "get_weather", description: str = "Weather", schema: Any = SCHEMA) -> Document:
    return {"toolSpecification": {"name": name, "description": description, "inputSchema": {"json": schema}}}


def body(
    text: str = "hi",
    *,
    history: list[Document] | None = None,
    tools: list[Document] | None = None,
    results: list[Document] | None = None,
    model: str = "claude-sonnet-4.5",
    images: list[Document] | None = None,
    fields: Document | None = None,
    **top: Any,
) -> Document:
    """A whole body whose current message says `text`. `fields` are the additional model request fields."""
    context: Document = {}
    if tools is not None:
        context["tools"] = tools
    if results is not None:
        context["toolResults"] = results
    message: Document = {"content": text, "modelId": model, "origin": "AI_EDITOR"}
    if context:
        message["userInputMessageContext"] = context
    if images is not None:
        message["images"] = images
    state: Document = {"chatTriggerType": "MANUAL", "currentMessage": {"userInputMessage": message}}
    if history is not None:
        state["history"] = history
    if fields is not None:
        top["additionalModelRequestFields"] = fields
    return {"conversationState": state, **top}


def dump(document: Document) -> bytes:
    return json.dumps(document).encode()
