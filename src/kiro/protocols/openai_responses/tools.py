"""Kinds of tools: how each is described to the model, and what it was declared as.

Kiro knows only functions with a JSON object as input. Free-text tools become functions of one string,
shells and patches functions of their action's members, namespaces a prefix of the name. An answer has
to come back as the kind that was declared (Codex refuses a custom tool called as a function, and a
namespaced call without its namespace), so each flat name remembers its `Declared`.
"""

from collections.abc import Iterable
from typing import Any, Final, Literal

import msgspec

from kiro.conversation.messages import (
    AllowedTools,
    AnyTool,
    AutoChoice,
    NoTools,
    Tool,
    ToolChoice,
    WebSearch,
)
from kiro.errors import InvalidRequest
from kiro.protocols.openai_responses import body as wire

Kind = Literal["function", "custom", "local_shell", "shell", "apply_patch", "tool_search"]


class Declared(msgspec.Struct, frozen=True):
    """What a tool is to the client: its kind, its own name, the namespace it stands in."""

    kind: Kind
    name: str
    namespace: str | None = None


class _Format(msgspec.Struct):
    type: str | None = None
    syntax: str | None = None
    definition: str | None = None


class _Filters(msgspec.Struct):
    allowed_domains: list[str] | None = None
    blocked_domains: list[str] | None = None


class _Environment(msgspec.Struct):
    type: str | None = None


_FORMAT: Final = msgspec.json.Decoder(_Format)
_FILTERS: Final = msgspec.json.Decoder(_Filters)
_ENVIRONMENT: Final = msgspec.json.Decoder(_Environment)


def _object(required: list[str], **properties: Any) -> msgspec.Raw:
    schema = {"type": "object", "properties": properties, "required": required}
    return msgspec.Raw(msgspec.json.encode(schema))


def _string(description: str) -> dict[str, Any]:
    return {"type": "string", "description": description}


def _integer(description: str) -> dict[str, Any]:
    return {"type": "integer", "description": description}


def _strings(description: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string"}, "description": description}


_DEFAULT_NAMESPACE: Final = "functions"
"""OpenAI's name for the namespace of tools that stand in none. Codex writes it out, and describes its tools without it."""
_FREE_TEXT: Final = _object(["input"], input=_string("The whole input, as plain text."))
_BUILT_IN: Final[dict[str, tuple[str, msgspec.Raw]]] = {
    "local_shell": (
        "Runs a command on the user's computer.",
        _object(
            ["command"],
            command=_strings("The program and its arguments."),
            working_directory=_string("The directory to run it in."),
            timeout_ms=_integer("Milliseconds after which it is stopped."),
            env={
                "type": "object",
                "description": "Environment variables, as strings.",
                "additionalProperties": {"type": "string"},
            },
        ),
    ),
    "shell": (
        "Runs shell commands on the user's computer.",
        _object(
            ["commands"],
            commands=_strings("The commands; each is one line of shell. They may run at the same time."),
            timeout_ms=_integer("Milliseconds after which they are stopped."),
            max_output_length=_integer("The most characters of output to return."),
        ),
    ),
    "apply_patch": (
        "Creates, updates or deletes one file.",
        _object(
            ["type", "path"],
            type={"type": "string", "enum": ["create_file", "update_file", "delete_file"]},
            path=_string("The file, relative to the workspace."),
            diff=_string(
                "For create_file: every line of the file with a + before it. For update_file: sections that begin "
                "with @@, with context lines after a space, removed lines after -, added lines after +."
            ),
        ),
    ),
    "tool_search": (
        "Finds tools that are not listed yet; those found can be called from then on.",
        _object(["query"], query=_string("What the tool should be able to do."), limit=_integer("The most tools.")),
    ),
}
"""Kinds that are declared by their type alone: what they do, the schema of their input."""


class Toolbox:
    """The tools of one request as they are read. `declared` maps flat names to what the client declared."""

    def __init__(self, notes: list[str]) -> None:
        self.tools: list[Tool] = []
        self.declared: dict[str, Declared] = {}
        self.search: WebSearch | None = None
        self._notes = notes
        self._hosted: set[str] = set()

    def add(self, tools: Iterable[wire.Tool] | None, namespace: str | None = None) -> None:
        """More tools; the first of a name wins."""
        for tool in tools or ():
            self._add(tool, namespace)

    def flat(self, name: str, namespace: str | None) -> str:
        """The one name of a tool. Where the namespace was left out, the only tool of that name is meant."""
        if namespace:
            return _joined(namespace, name)
        if name in self.declared:
            return name
        meant = [flat for flat, declared in self.declared.items() if declared.name == name]
        return meant[0] if len(meant) == 1 else name

    def choice(self, given: str | wire.ToolChoice | None) -> ToolChoice:
        """Raises InvalidRequest for a tool that is forced and not there."""
        if not isinstance(given, wire.ToolChoice):
            return _plain_choice(given)
        match given.type:
            case "auto" | "none" | "required":
                return _plain_choice(given.type)
            case "allowed_tools":
                names = tuple(self._forced(tool) for tool in given.tools or ())
                return AnyTool(names) if given.mode == "required" else AllowedTools(names)
            case _:
                return AnyTool((self._forced(given),))

    def _forced(self, wanted: wire.ToolChoice) -> str:
        if self.search is not None and wanted.type.startswith("web_search"):
            return self.search.name
        name = self.flat(wanted.name or wanted.type, wanted.namespace)
        if name in self.declared:
            return name
        if wanted.type in self._hosted:
            raise InvalidRequest(
                f"tool_choice: {wanted.type} runs on OpenAI's side only.",
                param="tool_choice",
                code="unsupported_value",
            )
        raise InvalidRequest(
            f"tool_choice: the tool {wanted.name or wanted.type!r} is not among the tools.",
            param="tool_choice",
            code="invalid_value",
        )

    def _add(self, tool: wire.Tool, namespace: str | None) -> None:
        match tool.type:
            case "function" | "":
                schema = wire.given(tool.parameters)
                self._declare("function", tool.name or "", namespace, tool.description or "", schema)
            case "custom":
                self._declare("custom", tool.name or "", namespace, _with_grammar(tool), _FREE_TEXT)
            case "namespace":
                self._add_namespace(tool)
            case "local_shell" | "apply_patch":
                self._declare_built_in(tool.type, tool)
            case "shell" if _runs_at_the_client(tool):
                self._declare_built_in("shell", tool)
            case "tool_search" if tool.execution == "client":
                self._declare_built_in("tool_search", tool)
            case "tool_search":
                self._notes.append("tool search left out: every tool is offered at once")
            case kind if kind.startswith("web_search"):
                filters = wire.lenient(tool.filters, _FILTERS) or _Filters()
                self.search = WebSearch(
                    allowed_domains=tuple(filters.allowed_domains or ()),
                    blocked_domains=tuple(filters.blocked_domains or ()),
                )
            case kind:
                self._hosted.add(kind)
                self._notes.append(f"tool left out: {kind} runs on OpenAI's side only")

    def _add_namespace(self, tool: wire.Tool) -> None:
        """The tools of a namespace. What is said about all of them stands with the first."""
        before = len(self.tools)
        self.add(tool.tools, tool.name or None)
        if tool.description and len(self.tools) > before:
            first = self.tools[before]
            description = f"{first.description}\n\nAbout {tool.name}: {tool.description}".lstrip()
            self.tools[before] = msgspec.structs.replace(first, description=description)

    def _declare_built_in(
        self, kind: Literal["local_shell", "shell", "apply_patch", "tool_search"], tool: wire.Tool
    ) -> None:
        description, schema = _BUILT_IN[kind]
        self._declare(kind, kind, None, tool.description or description, wire.given(tool.parameters) or schema)

    def _declare(
        self, kind: Kind, name: str, namespace: str | None, description: str, schema: msgspec.Raw | None
    ) -> None:
        flat = _joined(namespace, name) if namespace else name
        if flat not in self.declared:
            self.declared[flat] = Declared(kind, name, namespace)
            self.tools.append(Tool(flat, description, schema))


def _joined(namespace: str, name: str) -> str:
    if namespace == _DEFAULT_NAMESPACE:
        return name
    return f"{namespace}{name}" if namespace.endswith("__") else f"{namespace}__{name}"


def _plain_choice(given: str | None) -> ToolChoice:
    match given:
        case None | "auto":
            return AutoChoice()
        case "none":
            return NoTools()
        case "required":
            return AnyTool()
        case other:
            raise InvalidRequest(
                f"tool_choice: {other!r} is none of none, auto, required", param="tool_choice", code="invalid_value"
            )


def _with_grammar(tool: wire.Tool) -> str:
    """The description, with the grammar that the input has to follow: Kiro cannot enforce it, the model can read it."""
    wanted = wire.lenient(tool.format, _FORMAT)
    if wanted is None or wanted.type != "grammar":
        return tool.description or ""
    rule = f"The input has to follow this {wanted.syntax or 'lark'} grammar:\n{wanted.definition or ''}"
    return f"{tool.description or ''}\n\n{rule}".lstrip()


def _runs_at_the_client(tool: wire.Tool) -> bool:
    environment = wire.lenient(tool.environment, _ENVIRONMENT)
    return environment is None or environment.type in (None, "local")
