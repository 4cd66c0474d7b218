"""What a response and its items look like as JSON: builders, no order of events.

An item of a call has the kind that its tool was declared as. Kinds other than functions are made of
whole arguments only: half a patch, or half a program, must never look like one that may run.
"""

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kiro.conversation.citing import cited
from kiro.conversation.events import Finish, SearchCall, SearchHit, SearchResult, StopReason, ToolCallStart, Usage
from kiro.protocols.openai import searches_of
from kiro.protocols.openai_responses import body as wire
from kiro.protocols.openai_responses.request import ResponsesAsk
from kiro.protocols.openai_responses.tools import Declared

Item = dict[str, Any]

_INCOMPLETE: Final[dict[StopReason, str]] = {
    "max_tokens": "max_output_tokens",
    "model_context_window_exceeded": "max_output_tokens",
    "refusal": "content_filter",
}
_ECHO_DEFAULTS: Final[dict[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "temperature": 1.0,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": 1.0,
    "truncation": "disabled",
    "user": None,
}
_OPERATIONS: Final = ("create_file", "update_file", "delete_file")


class Outcome(msgspec.Struct, frozen=True):
    """A finished response as the client sees it, and its items as a store keeps them: all reasoning sealed."""

    response: dict[str, Any]
    items: tuple[Item, ...]


def response_head(ask: ResponsesAsk, response_id: str, created_s: int) -> dict[str, Any]:
    """The members that are known before the answer. Codex, which reads none of them, is spared its own request."""
    echo = {
        name: default if ask.codex else wire.given(getattr(ask.echo, name)) or default
        for name, default in _ECHO_DEFAULTS.items()
    }
    return {
        "id": response_id,
        "object": "response",
        "created_at": created_s,
        "model": ask.conversation.model,
        "background": False,
        "parallel_tool_calls": ask.conversation.parallel_calls,
        "previous_response_id": ask.previous_response_id,
        "service_tier": "default",
        "store": ask.store,
        "top_logprobs": 0,
        **echo,
    }


def with_state(
    head: dict[str, Any],
    status: str,
    output: list[Item],
    *,
    usage: dict[str, Any] | None = None,
    error: dict[str, Any] | None = None,
    incomplete: str | None = None,
) -> dict[str, Any]:
    """The whole response object in one of its states."""
    return {
        **head,
        "status": status,
        "error": error,
        "incomplete_details": None if incomplete is None else {"reason": incomplete},
        "output": output,
        "usage": usage,
    }


def incomplete_reason(finish: Finish, ask: ResponsesAsk) -> str | None:
    """Why the response is not complete. Codex would ask, and pay, for an incomplete one again, so to it none is."""
    return None if ask.codex else _INCOMPLETE.get(finish.reason)


def usage_of(usage: Usage) -> dict[str, Any]:
    return {
        "input_tokens": usage.prompt,
        "input_tokens_details": {"cached_tokens": usage.cache_read},
        "output_tokens": usage.output,
        "output_tokens_details": {"reasoning_tokens": usage.thinking},
        "total_tokens": usage.prompt + usage.output,
        **searches_of(usage),
    }


# -- items


def text_part(text: str, annotations: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": annotations, "logprobs": []}


def message(item_id: str, status: str, content: list[dict[str, Any]]) -> Item:
    return {"id": item_id, "type": "message", "status": status, "role": "assistant", "content": content}


def reasoning(item_id: str, status: str, summary: str, sealed: str | None) -> Item:
    parts = [{"type": "summary_text", "text": summary}] if summary else []
    item = {"id": item_id, "type": "reasoning", "status": status, "summary": parts}
    return item if sealed is None else {**item, "encrypted_content": sealed}


def function_call(item_id: str, status: str, start: ToolCallStart, declared: Declared, arguments: str) -> Item:
    item = {
        "id": item_id,
        "type": "function_call",
        "status": status,
        "call_id": start.id,
        "name": declared.name,
        "arguments": arguments,
    }
    return item if declared.namespace is None else {**item, "namespace": declared.namespace}


def compaction(item_id: str, envelope: str) -> Item:
    return {"id": item_id, "type": "compaction", "encrypted_content": envelope}


def web_search(item_id: str, call: SearchCall, result: SearchResult | None, *, with_sources: bool) -> Item:
    action: dict[str, Any] = {"type": "search", "query": call.query}
    if result is not None and with_sources:
        action["sources"] = [{"type": "url", "url": hit.url} for hit in result.hits]
    status = "in_progress" if result is None else "completed" if result.error is None else "failed"
    return {"id": item_id, "type": "web_search_call", "status": status, "action": action}


def with_results(search: Item, hits: Sequence[SearchHit]) -> Item:
    """A search as the store keeps it: OpenAI's item has no place for what was found, but the model has to remember it."""
    return {**search, "results": [{"title": hit.title, "url": hit.url, "snippet": hit.snippet} for hit in hits]}


def citations(text: str, hits: list[SearchHit]) -> list[dict[str, Any]]:
    return [
        {
            "type": "url_citation",
            "url": one.hit.url,
            "title": one.hit.title,
            "start_index": one.start,
            "end_index": one.end,
        }
        for one in cited(text, hits)
    ]


# -- calls made of whole arguments


class _LocalShell(msgspec.Struct):
    command: list[str] | str
    working_directory: str | None = None
    timeout_ms: int | None = None
    env: dict[str, str] | None = None


class _Shell(msgspec.Struct):
    commands: list[str] | str
    timeout_ms: int | None = None
    max_output_length: int | None = None


class _Patch(msgspec.Struct):
    type: str
    path: str
    diff: str | None = None


def whole_call(item_id: str, start: ToolCallStart, declared: Declared, arguments: str) -> Item | None:
    """The item of a call that is no function's; None when its arguments do not make one."""
    item = {"id": item_id, "type": f"{declared.kind}_call", "status": "completed", "call_id": start.id}
    try:
        match declared.kind:
            case "custom":
                named = {"type": "custom_tool_call", "name": declared.name, "input": free_text(arguments)}
                named |= {} if declared.namespace is None else {"namespace": declared.namespace}
                return item | named
            case "local_shell":
                return item | {"action": _local_action(msgspec.json.decode(arguments, type=_LocalShell))}
            case "shell":
                return item | {"action": _action(msgspec.json.decode(arguments, type=_Shell))}
            case "apply_patch":
                patch = msgspec.json.decode(arguments, type=_Patch)
                return item | {"operation": _operation(patch)} if patch.type in _OPERATIONS else None
            case "tool_search":
                return item | {"execution": "client", "arguments": msgspec.Raw(arguments.encode())}
            case _:
                return None
    except msgspec.DecodeError:
        return None


def free_text(arguments: str) -> str:
    """The text of a tool that takes free text: `input`, or the one string there is, or the arguments as they are."""
    try:
        members = msgspec.json.decode(arguments, type=dict[str, Any])
    except msgspec.DecodeError:
        return arguments
    text = members.get("input") if len(members) != 1 else next(iter(members.values()))
    return text if isinstance(text, str) else arguments


def _local_action(shell: _LocalShell) -> dict[str, Any]:
    command = ["bash", "-lc", shell.command] if isinstance(shell.command, str) else shell.command
    action: dict[str, Any] = {"type": "exec", "command": command, "env": shell.env or {}}
    if shell.working_directory is not None:
        action["working_directory"] = shell.working_directory
    if shell.timeout_ms is not None:
        action["timeout_ms"] = shell.timeout_ms
    return action


def _action(shell: _Shell) -> dict[str, Any]:
    commands = [shell.commands] if isinstance(shell.commands, str) else shell.commands
    return {"commands": commands, "timeout_ms": shell.timeout_ms, "max_output_length": shell.max_output_length}


def _operation(patch: _Patch) -> dict[str, Any]:
    operation: dict[str, Any] = {"type": patch.type, "path": patch.path}
    return operation if patch.type == "delete_file" else {**operation, "diff": patch.diff or ""}


def said_broken(name: str, arguments: str) -> str:
    """A call that must not run, in words."""
    return f"[The call of {name} was not complete and was not made. Its input so far: {arguments}]"
