"""Anthropic's tools that the client runs, but whose description only Anthropic's models know.

A client declares them by type alone (`bash_20250124`) and expects calls of a fixed shape. Kiro needs a
schema to make such a call, so here they are, each row serving every dated version of its type.
Screen control is missing: what it may do depends on settings beside the type.
"""

from typing import Any, Final

import msgspec

from kiro.conversation.messages import Tool

_STRING: Final = {"type": "string"}
_INTEGER: Final = {"type": "integer"}
_RANGE: Final = {
    "type": "array",
    "items": _INTEGER,
    "description": "First and last line, counted from 1; -1 is the end.",
}


def _commands(*names: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(names)}


_EDITING: Final[dict[str, Any]] = {
    "path": {"type": "string", "description": "Absolute path of the file or directory."},
    "file_text": {"type": "string", "description": "For create: the whole text of the file."},
    "old_str": {"type": "string", "description": "For str_replace: text that occurs exactly once."},
    "new_str": {"type": "string", "description": "For str_replace: what to put in its place."},
    "insert_line": {
        "type": "integer",
        "description": "For insert: the line after which to insert, 0 for the beginning.",
    },
    "insert_text": {"type": "string", "description": "For insert: the text."},
    "view_range": _RANGE,
}

_TOOLS: Final[dict[str, tuple[str, str, dict[str, Any]]]] = {
    "bash_": (
        "bash",
        "Runs a command in a bash session that keeps its state between calls.",
        {
            "type": "object",
            "properties": {
                "command": {"type": "string", "description": "The command to run."},
                "restart": {"type": "boolean", "description": "True to start the session anew."},
            },
        },
    ),
    "text_editor_": (
        "str_replace_based_edit_tool",
        "Views, creates and edits text files.",
        {
            "type": "object",
            "properties": {"command": _commands("view", "create", "str_replace", "insert"), **_EDITING},
            "required": ["command", "path"],
        },
    ),
    "memory_": (
        "memory",
        "Keeps notes for later sessions as files under /memories.",
        {
            "type": "object",
            "properties": {
                "command": _commands("view", "create", "str_replace", "insert", "delete", "rename"),
                **_EDITING,
                "old_path": _STRING,
                "new_path": _STRING,
            },
            "required": ["command"],
        },
    ),
}
"""By the beginning of the type: the usual name, what it does, the schema of its input."""


def client_tool(kind: str, name: str | None) -> Tool | None:
    """The tool that a declared type stands for, or None when the client does not run it or nobody can describe it."""
    for prefix, (usual_name, description, schema) in _TOOLS.items():
        if kind.startswith(prefix):
            return Tool(name or usual_name, description, msgspec.Raw(msgspec.json.encode(schema)))
    return None
