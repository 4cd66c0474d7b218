"""Input items → turns of a conversation.

Messages, calls and their outputs, reasoning and compaction have parts of their own. What only OpenAI's
servers produce (their searches, code runs, MCP calls) is told as text, so that the model remembers it.
An item of a kind nobody knows becomes a line that names it; it is never an error.

System and developer messages before the first turn are the system text (Codex has no other); later
ones stay where they are.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

import msgspec

from kiro.conversation.messages import (
    DocumentFile,
    DocumentLink,
    Image,
    ImageLink,
    Message,
    Part,
    Role,
    Text,
    ToolCall,
    ToolResult,
)
from kiro.errors import InvalidRequest
from kiro.protocols.openai_responses import body as wire
from kiro.protocols.openai_responses import compaction
from kiro.protocols.openai_responses.reasoning import opened
from kiro.protocols.openai_responses.tools import Toolbox

_ROLES: Final[dict[str, Role]] = {
    "user": "user",
    "assistant": "assistant",
    "system": "system",
    "developer": "system",
}
_NO_ARGUMENTS: Final = msgspec.Raw(b"{}")
_COMPACTED: Final = ("compaction", "compaction_summary")
_SILENT: Final = ("additional_tools", "mcp_list_tools", "compaction_trigger")
_TOOL_LISTS: Final = ("additional_tools", "tool_search_output")


class _ShellOutcome(msgspec.Struct):
    type: str = ""
    exit_code: int | None = None


class _ShellOutput(msgspec.Struct):
    stdout: str = ""
    stderr: str = ""
    outcome: _ShellOutcome | None = None


class _Screenshot(msgspec.Struct):
    image_url: str | None = None
    file_id: str | None = None


_encode = msgspec.json.Encoder().encode
_STRING: Final = msgspec.json.Decoder(str)
_OBJECT: Final = msgspec.json.Decoder(dict[str, Any])
_CONTENT: Final = msgspec.json.Decoder(list[wire.Content])
_RUNS: Final = msgspec.json.Decoder(list[_ShellOutput])
_SCREENSHOT: Final = msgspec.json.Decoder(_Screenshot)


class ItemReader:
    """Reads the items of one request. `notes` collects what had to be left out or told in other words."""

    def __init__(self, toolbox: Toolbox, notes: list[str]) -> None:
        self._toolbox = toolbox
        self._notes = notes

    def read(self, items: Iterable[wire.Item]) -> tuple[tuple[str, ...], tuple[Message, ...]]:
        """The system texts and the turns. Raises InvalidRequest for uploaded files."""
        items = list(items)
        for item in items:
            if item.type in _TOOL_LISTS:
                self._toolbox.add(item.tools)
        system: list[str] = []
        turns: list[Message] = []
        opening = True
        for place, item in enumerate(items):
            for turn in self._turns(item, place):
                if opening and turn.role == "system" and all(isinstance(part, Text) for part in turn.parts):
                    system += [part.text for part in turn.parts if isinstance(part, Text)]
                    continue
                opening = opening and item.type in _COMPACTED
                _append(turns, turn)
        return tuple(system), tuple(turns)

    def _turns(self, item: wire.Item, place: int) -> Iterator[Message]:
        kind = item.type or ("message" if item.role else "")
        match kind:
            case "message":
                yield Message(
                    _ROLES.get(item.role or "", "user"), self._content(item.content, f"input[{place}].content")
                )
            case "reasoning":
                summary = "\n\n".join(part.text or "" for part in item.summary or ())
                yield Message("assistant", (opened(item.encrypted_content, summary),))
            case kind if kind in _COMPACTED:
                if compaction.unwrap_summary(item.encrypted_content) is None:
                    self._notes.append("compaction item left out: it was made elsewhere")
                yield Message("user", (Text(compaction.told(item.encrypted_content)),))
            case "item_reference":
                self._notes.append(f"item reference left out: {item.id} is not known here")
            case kind if kind in _SILENT or (kind == "tool_search_output" and not item.call_id):
                pass
            case "computer_call_output":
                yield Message("user", self._output(kind, item, place))
            case kind if kind.endswith("_output") and (item.call_id or kind == "local_shell_call_output"):
                yield Message("user", (self._result(kind, item, place),))
            case "mcp_call":
                yield from _mcp_call(item)
            case _:
                call = self._call(kind, item)
                yield Message("assistant", (call,)) if call is not None else self._told(kind, item)

    # -- calls

    def _call(self, kind: str, item: wire.Item) -> ToolCall | None:
        """The call an item makes, or None when it makes none that a client answers."""
        call_id = item.call_id or item.id or ""
        match kind:
            case "function_call":
                name = self._toolbox.flat(item.name or "", item.namespace)
                return ToolCall(call_id, name, _arguments(item.arguments))
            case "custom_tool_call":
                name = self._toolbox.flat(item.name or "", item.namespace)
                return ToolCall(call_id, name, _raw({"input": _text_of_json(item.input)}))
            case "local_shell_call":
                return ToolCall(call_id, "local_shell", _without_type(item.action))
            case "shell_call":
                return ToolCall(call_id, "shell", wire.given(item.action) or _NO_ARGUMENTS)
            case "apply_patch_call":
                return ToolCall(call_id, "apply_patch", wire.given(item.operation) or _NO_ARGUMENTS)
            case "tool_search_call" if item.call_id:
                return ToolCall(call_id, "tool_search", _arguments(item.arguments))
            case _:
                return None

    def _result(self, kind: str, item: wire.Item, place: int) -> ToolResult:
        failed = bool(item.is_error) or item.status == "failed"
        return ToolResult(item.call_id or item.id or "", self._output(kind, item, place), failed)

    def _output(self, kind: str, item: wire.Item, place: int) -> tuple[Part, ...]:
        raw = wire.given(item.output)
        if kind == "tool_search_output":
            names = ", ".join(_names(item.tools or ()))
            return (Text(f"Tools found: {names}" if names else "No tools found."),)
        if raw is None:
            return ()
        text = wire.lenient(raw, _STRING)
        if text is not None:
            return (Text(text),) if text else ()
        if kind == "shell_call_output" and (runs := wire.lenient(raw, _RUNS)) is not None:
            return tuple(Text(_shell_text(run)) for run in runs)
        if kind == "computer_call_output" and (shot := wire.lenient(raw, _SCREENSHOT)) is not None and shot.image_url:
            return (_image(shot.image_url),)
        parts = wire.lenient(raw, _CONTENT)
        return (Text(_json(raw)),) if parts is None else self._content(parts, f"input[{place}].output")

    # -- content

    def _content(self, content: str | list[wire.Content] | None, where: str) -> tuple[Part, ...]:
        if content is None or isinstance(content, str):
            return (Text(content),) if content else ()
        parts = (self._part(part, f"{where}[{at}]") for at, part in enumerate(content))
        return tuple(part for part in parts if part is not None)

    def _part(self, part: wire.Content, where: str) -> Part | None:
        match part.type:
            case "input_text" | "output_text" | "text" | "summary_text" | "reasoning_text":
                return Text(part.text) if part.text else None
            case "refusal":
                return Text(part.refusal) if part.refusal else None
            case "input_image":
                url = part.image_url.url if isinstance(part.image_url, wire.Link) else part.image_url
                if url:
                    return _image(url)
                raise _no_files(where)
            case "input_file":
                return _file(part, where)
            case kind:
                self._notes.append(f"content part told as text: {kind or 'no type'}")
                label = f"[{kind or 'part'}]"
                return Text(f"{label} {part.text}" if part.text else label)

    # -- what is told in words

    def _told(self, kind: str, item: wire.Item) -> Message:
        """An item of OpenAI's own servers, or of a kind nobody knows, as a line of text."""
        raws = (item.action, item.queries, item.code, item.arguments, item.input, item.output, item.results)
        labelled = (("approve", _json(item.approve)), ("reason", _json(item.reason)))
        said = [*map(_json, raws), *(f"{label}: {text}" for label, text in labelled if text)]
        name = item.name or item.server_label or item.id or ""
        label = f"[{kind or 'item'}{': ' if name else ''}{name}]"
        self._notes.append(f"item told as text: {kind or 'no type'}")
        ours = kind.endswith("_call") or kind == "mcp_approval_request"
        return Message("assistant" if ours else "user", (Text(" ".join(filter(None, (label, *said)))),))


def _append(turns: list[Message], turn: Message) -> None:
    """Adds a turn. What belongs to one answer makes one turn, as do the outputs that follow it.

    Two texts stay two turns: merging them is left to the repairs, which put a blank line between them.
    """
    last = turns[-1] if turns else None
    if last is None or last.role != turn.role:
        turns.append(turn)
    elif turn.role == "assistant" and not (_speaks(last) and _speaks(turn)):
        turns[-1] = Message("assistant", last.parts + turn.parts)
    elif _is_answering(last) and _is_answering(turn):
        turns[-1] = Message("user", last.parts + turn.parts)
    else:
        turns.append(turn)


def _speaks(turn: Message) -> bool:
    return any(type(part) is Text for part in turn.parts)


def _is_answering(turn: Message) -> bool:
    return any(type(part) is ToolResult for part in turn.parts)


def _mcp_call(item: wire.Item) -> Iterator[Message]:
    """A call that OpenAI's servers made and answered: a call and its result."""
    call_id = item.id or ""
    name = f"{item.server_label}__{item.name}" if item.server_label else item.name or ""
    yield Message("assistant", (ToolCall(call_id, name, _arguments(item.arguments)),))
    error = wire.given(item.error)
    text = _json(error) if error is not None else _json(item.output)
    yield Message("user", (ToolResult(call_id, (Text(text),) if text else (), error is not None),))


def _arguments(raw: msgspec.Raw) -> msgspec.Raw:
    """Arguments as raw JSON: they come as JSON inside a string, from some clients as JSON itself."""
    if wire.given(raw) is None:
        return _NO_ARGUMENTS
    text = wire.lenient(raw, _STRING)
    if text is None:
        return raw
    if not text.strip():
        return _NO_ARGUMENTS
    try:
        msgspec.json.decode(text, type=msgspec.Raw)
    except msgspec.DecodeError:
        return _raw({"_raw": text})
    return msgspec.Raw(text.encode())


def _without_type(raw: msgspec.Raw) -> msgspec.Raw:
    """A local shell's action without the word `exec`, which says nothing."""
    action = wire.lenient(raw, _OBJECT)
    if action is None:
        return _NO_ARGUMENTS
    return _raw({name: value for name, value in action.items() if name != "type" and value is not None})


def _raw(value: Any) -> msgspec.Raw:
    return msgspec.Raw(_encode(value))


def _text_of_json(raw: msgspec.Raw) -> str:
    """The string, or the JSON itself where it is none."""
    text = wire.lenient(raw, _STRING)
    return _json(raw) if text is None else text


def _json(raw: msgspec.Raw) -> str:
    """Any JSON as readable text: a string as it is, nothing for null."""
    if wire.given(raw) is None:
        return ""
    text = wire.lenient(raw, _STRING)
    return bytes(raw).decode("utf-8", "replace") if text is None else text


def _shell_text(run: _ShellOutput) -> str:
    lines = [run.stdout, run.stderr]
    if run.outcome is not None and run.outcome.type == "timeout":
        lines.append("[timed out]")
    elif run.outcome is not None and run.outcome.exit_code is not None:
        lines.append(f"[exit code {run.outcome.exit_code}]")
    return "\n".join(line for line in lines if line)


def _names(tools: Iterable[wire.Tool]) -> Iterator[str]:
    for tool in tools:
        if tool.tools is not None:
            yield from (f"{tool.name}__{name}" if tool.name else name for name in _names(tool.tools))
        elif tool.name:
            yield tool.name


def _image(url: str) -> Part:
    if not url.startswith("data:"):
        return ImageLink(url)
    media_type, data = _data_address(url)
    return Image(data, media_type)


def _data_address(url: str) -> tuple[str, str]:
    head, _, data = url.partition(",")
    return head.removeprefix("data:").partition(";")[0], data


def _file(part: wire.Content, where: str) -> Part:
    if part.file_url:
        return DocumentLink(part.filename, part.file_url)
    if not part.file_data:
        raise _no_files(where)
    if not part.file_data.startswith("data:"):
        return DocumentFile(part.filename, "application/pdf", part.file_data)
    media_type, data = _data_address(part.file_data)
    if media_type.startswith("image/"):
        return Image(data, media_type)
    return DocumentFile(part.filename, media_type, data)


def _no_files(where: str) -> InvalidRequest:
    return InvalidRequest(
        f"{where}: files uploaded to OpenAI cannot be reached from here.",
        param=where,
        code="unsupported_value",
        hint="Send the file in the request, as base64.",
    )
