"""Tools as Kiro accepts them, and their names out and back.

Kiro takes names of up to 64 characters that begin with a letter and differ by more than case, needs a
description, counts and weighs the catalogue, knows no tool choice, and wants every tool that the
history uses declared. `ToolNames` is the one registry of a request: the same client name has the same
alias in the declarations, the history and the instructions, and comes back as it was. What has to be
left out or moved is said in the system text, never silently lost.
"""

import hashlib
import re
from collections.abc import Iterable
from typing import Final

import msgspec

from kiro.conversation.messages import (
    AllowedTools,
    AnyTool,
    AutoChoice,
    Conversation,
    NoTools,
    Tool,
    ToolCall,
)
from kiro.upstream.schemas import EMPTY, CleanSchema, clean_schema

MAX_TOOLS: Final = 120
"""About 120 are reported to pass; 137 fail with "Improperly formed request"."""
MAX_TOOLS_BYTES: Final = 1_000_000
"""358 KB of tools pass, 1.98 MB fail with "Invalid tool use format"."""
MAX_DESCRIPTION: Final = 10_000
MAX_NAME: Final = 64

_LEGAL_NAME: Final = re.compile(r"[a-zA-Z][a-zA-Z0-9_-]{0,63}\Z")
_ILLEGAL: Final = re.compile(r"[^a-zA-Z0-9_-]+")
_STUB_DESCRIPTION: Final = "Was used earlier in this conversation. It is not available now: do not call it."


class ToolSpecification(msgspec.Struct, frozen=True, rename="camel"):
    name: str
    description: str
    input_schema: dict[str, msgspec.Raw]


class WireTool(msgspec.Struct, frozen=True, rename="camel"):
    tool_specification: ToolSpecification


class ToolNames:
    """Client names ↔ Kiro names, for one request. `unwrap` holds client names of tools whose input is wrapped."""

    def __init__(self) -> None:
        self._out: dict[str, str] = {}
        self._back: dict[str, str] = {}
        self._taken: set[str] = set()
        self.unwrap: frozenset[str] = frozenset()

    def out(self, name: str) -> str:
        """Kiro's name for a client's; made at the first call. Order of calls decides collisions, so it is kept stable."""
        alias = self._out.get(name)
        if alias is None:
            alias = self._out[name] = self._new(name)
            self._taken.add(alias.lower())
            self._back[alias] = name
        return alias

    def back(self, alias: str) -> str:
        """The client's name for Kiro's; unchanged when Kiro made one up."""
        return self._back.get(alias, alias)

    def _new(self, name: str) -> str:
        if _LEGAL_NAME.match(name) and name.lower() not in self._taken:
            return name
        stem = _ILLEGAL.sub("_", name).strip("_") or "tool"
        stem = stem if stem[0].isalpha() else f"t_{stem}"
        salt = 0
        while True:
            seed = f"{name}#{salt}" if salt else name
            digest = hashlib.sha256(seed.encode("utf-8", "replace")).hexdigest()[:8]
            alias = f"{stem[: MAX_NAME - 9]}_{digest}"
            if alias.lower() not in self._taken:
                return alias
            salt += 1


class Toolbox(msgspec.Struct, frozen=True):
    """The tools of one request: as sent, the names, what the system text has to say, what the current turn has to."""

    tools: tuple[WireTool, ...]
    names: ToolNames
    system: tuple[str, ...] = ()
    instruction: str | None = None
    notes: tuple[str, ...] = ()


def make_toolbox(conversation: Conversation, *, flat: bool = False) -> Toolbox:
    """Everything about tools that a repaired conversation needs. `flat`: see `schemas.clean_schema`."""
    names = ToolNames()
    used = _used_names(conversation)
    if not conversation.tools and not used:
        return Toolbox((), names)
    offered = _offered(conversation)
    for tool in offered:
        names.out(tool.name)
    declared = {tool.name for tool in offered}
    stubs = [name for name in used if name not in declared]
    forced = conversation.tool_choice.names if isinstance(conversation.tool_choice, AnyTool) else ()
    cleaned = [
        (tool, EMPTY if tool.schema is None else clean_schema(bytes(tool.schema), flat=flat)) for tool in offered
    ]
    kept, lost = _within_limits(cleaned, len(stubs), {*used, *forced})
    system: list[str] = []
    tools: list[WireTool] = []
    for tool, schema in kept:
        alias = names.out(tool.name)
        description, overflow = _described(alias, tool.description)
        if overflow:
            system.append(f"Tool details: {alias}\n\n{overflow}")
        tools.append(_wire(alias, description, schema))
    tools += [_wire(names.out(name), _STUB_DESCRIPTION, EMPTY) for name in stubs]
    notes: tuple[str, ...] = ()
    if lost:
        left_out = ", ".join(tool.name for tool in lost)
        system.append(
            f"These tools are unavailable, because no more than {len(kept)} can be offered at once: {left_out}."
        )
        notes = (f"{len(lost)} of {len(offered)} tools left out: Kiro takes {MAX_TOOLS} at most.",)
    names.unwrap = frozenset(tool.name for tool, schema in kept if schema.unwrap)
    instruction = _instruction(conversation, names, has_tools=bool(kept), has_stubs=bool(stubs))
    return Toolbox(tuple(tools), names, tuple(system), instruction, notes)


def _used_names(conversation: Conversation) -> dict[str, None]:
    """Names of the tools that the history calls, in order."""
    return {
        part.name: None
        for message in conversation.messages
        if message.role == "assistant"
        for part in message.parts
        if isinstance(part, ToolCall)
    }


def _offered(conversation: Conversation) -> list[Tool]:
    """The client's tools that the choice allows, the first of every name."""
    allowed: tuple[str, ...] | None = None
    match conversation.tool_choice:
        case NoTools():
            return []
        case AnyTool(names=names):
            allowed = names or None
        case AllowedTools(names=names):
            allowed = names
        case AutoChoice():
            pass
    first: dict[str, Tool] = {}
    for tool in conversation.tools:
        if tool.name not in first and (allowed is None or tool.name in allowed):
            first[tool.name] = tool
    return list(first.values())


Cleaned = tuple[Tool, CleanSchema]


def _within_limits(tools: list[Cleaned], stubs: int, needed: Iterable[str]) -> tuple[list[Cleaned], list[Tool]]:
    """The tools that fit, in order, and the rest. What the history uses or the client forces stays in any case."""
    sizes = [len(tool.description) + len(bytes(schema.json)) for tool, schema in tools]
    if len(tools) + stubs <= MAX_TOOLS and sum(sizes) <= MAX_TOOLS_BYTES:
        return tools, []
    must = {at for at, (tool, _) in enumerate(tools) if tool.name in needed}
    room = MAX_TOOLS - stubs - len(must)
    weight = sum(sizes[at] for at in must)
    chosen = set(must)
    for at, size in enumerate(sizes):
        if at in must:
            continue
        if room <= 0 or weight + size > MAX_TOOLS_BYTES:
            break
        chosen.add(at)
        room -= 1
        weight += size
    kept = [pair for at, pair in enumerate(tools) if at in chosen]
    return kept, [tool for at, (tool, _) in enumerate(tools) if at not in chosen]


def _described(alias: str, description: str) -> tuple[str, str]:
    """The description within Kiro's limit, and what of it has to stand in the system text."""
    if not description.strip():
        return f"Tool: {alias}", ""
    if len(description) <= MAX_DESCRIPTION:
        return description, ""
    more = f'\n\n[Continued in the system text under "Tool details: {alias}".]'
    cut = MAX_DESCRIPTION - len(more)
    return description[:cut] + more, description[cut:]


def _wire(alias: str, description: str, schema: CleanSchema) -> WireTool:
    return WireTool(ToolSpecification(alias, description, {"json": schema.json}))


def _instruction(conversation: Conversation, names: ToolNames, *, has_tools: bool, has_stubs: bool) -> str | None:
    """The line that stands in for a tool choice, which Kiro does not know. It goes to the end of the current turn."""
    if not has_tools:
        return "Answer without calling any tool." if has_stubs else None
    if not isinstance(conversation.tool_choice, AnyTool):
        return None
    wanted = [names.out(name) for name in conversation.tool_choice.names]
    if not wanted:
        return "Respond by calling one of the available tools."
    if len(wanted) == 1:
        return f"Respond by calling the tool {wanted[0]}."
    return f"Respond by calling one of these tools: {', '.join(wanted)}."
