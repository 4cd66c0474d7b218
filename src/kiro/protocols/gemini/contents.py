"""Gemini's contents → turns of the conversation.

The dialect can do without ids: a result without one is paired by its function's name, and among
calls of the same name by order. Thought parts are kept only where a signature of ours stands for them.
"""

from collections.abc import Sequence
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
from kiro.protocols.gemini import body as wire
from kiro.protocols.gemini.body import either, given
from kiro.protocols.gemini.signatures import unpack
from kiro.reading import read

_ROLES: Final[dict[str, Role]] = {"user": "user", "function": "user", "model": "assistant", "system": "system"}
_SOUND: Final = ("audio/", "video/")
_URL_SAFE: Final = str.maketrans("-_", "+/")
_NO_ARGS: Final = msgspec.Raw(b"{}")


class _Output(msgspec.Struct, forbid_unknown_fields=True):
    """What nearly every function answers."""

    output: str


_decode_output: Final = msgspec.json.Decoder(_Output).decode
_decode_members: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_decode_any: Final = msgspec.json.Decoder[Any]()


class ContentReader:
    """Reads the contents of one request. `notes` collects what had to be told in other words."""

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes
        self._call_ids: set[str] = set()

    def read(self, contents: "list[wire.Content] | wire.Content | str") -> tuple[Message, ...]:
        """The turns. Raises InvalidRequest for sound and moving pictures."""
        if isinstance(contents, str):
            return (Message("user", (Text(contents),)),)
        turns: list[tuple[Role, list[_Placed]]] = []
        for place, content in enumerate([contents] if isinstance(contents, wire.Content) else contents):
            role = _ROLES.get(content.role or "user", "user")
            placed = [(part, f"contents[{place}].parts[{at}]") for at, part in enumerate(parts_of(content))]
            if role == "assistant" and turns and turns[-1][0] == role:
                # Clients keep a streamed answer as the chunks it came in.
                turns[-1][1].extend(placed)
            else:
                turns.append((role, placed))
        return tuple(Message(role, tuple(_joined(self._parts(parts), role))) for role, parts in turns)

    def _parts(self, parts: "list[_Placed]") -> list[Part]:
        said: list[Part] = []
        thought = ""
        for part, where in parts:
            signature = either(part.thoughtSignature, part.thought_signature)
            if part.thought:
                thought += part.text or ""
            if signature is not None:
                thinking = unpack(signature, thought)
                if thinking is not None:
                    said.append(thinking)
                thought = ""
            if not part.thought:
                said += self._part(part, where)
        return said

    def _part(self, part: wire.Part, where: str) -> list[Part]:
        if part.text is not None:
            return [Text(part.text)] if part.text else []
        call = either(part.functionCall, part.function_call)
        if call is not None:
            self._call_ids.add(call.id or "")
            return [ToolCall(call.id or "", call.name, given(call.args) or _NO_ARGS)]
        answer = either(part.functionResponse, part.function_response)
        if answer is not None:
            return [self._result(answer, where)]
        blob = either(part.inlineData, part.inline_data)
        if blob is not None:
            return [_inline(blob, where)]
        file = either(part.fileData, part.file_data)
        if file is not None:
            return [self._file(file)]
        return self._told(part)

    def _result(self, answer: wire.FunctionResponse, where: str) -> ToolResult:
        text, failed = _outcome(answer.response)
        parts: list[Part] = [Text(text)] if text else []
        for at, part in enumerate(answer.parts or ()):
            parts += self._part(part, f"{where}.functionResponse.parts[{at}]")
        known = answer.id if answer.id in self._call_ids else ""
        return ToolResult(known or "", tuple(parts), failed, answer.name)

    def _file(self, file: wire.FileData) -> Part:
        uri = either(file.fileUri, file.file_uri) or ""
        kind = either(file.mimeType, file.mime_type) or ""
        if not uri.startswith(("http://", "https://")) or kind.startswith(_SOUND):
            self._notes.append("a file that cannot be reached was told as its name")
            return Text(f"[file: {uri}]")
        if kind.startswith("image/"):
            return ImageLink(uri)
        return DocumentLink(either(file.displayName, file.display_name), uri)

    def _told(self, part: wire.Part) -> list[Part]:
        """What Google's own tools did, as text."""
        code = either(part.executableCode, part.executable_code)
        if code is not None:
            return [Text(f"```{(code.language or '').lower()}\n{code.code or ''}\n```")]
        ran = either(part.codeExecutionResult, part.code_execution_result)
        if ran is not None:
            return [Text(f"```\n{ran.output or ran.outcome or ''}\n```")]
        server = given(part.toolCall, part.tool_call, part.toolResponse, part.tool_response)
        if server is not None:
            return [Text(f"(Google's tool: {bytes(server).decode('utf-8', 'replace')})")]
        return []


_Placed = tuple[wire.Part, str]
"""A part, and where it stands in the request."""


def _joined(parts: list[Part], role: Role) -> list[Part]:
    """The model's texts in a row are pieces of one text."""
    if role != "assistant":
        return parts
    joined: list[Part] = []
    for part in parts:
        before = joined[-1] if joined else None
        if isinstance(part, Text) and isinstance(before, Text):
            joined[-1] = Text(before.text + part.text)
        else:
            joined.append(part)
    return joined


def parts_of(content: wire.Content) -> Sequence[wire.Part]:
    if isinstance(content.parts, wire.Part):
        return (content.parts,)
    if content.parts is None:
        return (wire.Part(text=content.text),) if content.text else ()
    return content.parts


def _outcome(response: msgspec.Raw) -> tuple[str, bool]:
    """The text of a function's answer, and whether it failed: a lone `output` or `error` is the text itself."""
    raw = given(response)
    if raw is None:
        return "", False
    try:
        return _decode_output(raw).output, False
    except (msgspec.DecodeError, UnicodeDecodeError):
        return _odd_outcome(raw)


def _odd_outcome(raw: msgspec.Raw) -> tuple[str, bool]:
    """The same for what is not just an `output` text."""
    whole = bytes(raw).decode("utf-8", "replace")
    if not whole.lstrip().startswith("{"):
        return _plain(raw), False
    members = read(_decode_members, bytes(raw))
    failed = given(members.get("error", wire.NOTHING)) is not None
    if len(members) == 1:
        (name,) = members
        if name in ("output", "error"):
            return _plain(members[name]), failed
    return whole, failed


def _plain(raw: msgspec.Raw) -> str:
    """A JSON string as its text, anything else as JSON."""
    text = bytes(raw).decode("utf-8", "replace").strip()
    return str(read(_decode_any, bytes(raw))) if text.startswith('"') else text


def _inline(blob: wire.Blob, where: str) -> Part:
    kind = either(blob.mimeType, blob.mime_type) or ""
    data = blob.data.translate(_URL_SAFE) if "-" in blob.data or "_" in blob.data else blob.data
    if kind.startswith(_SOUND):
        raise InvalidRequest(f"{where}.inlineData: {kind} cannot be read by these models.", param=f"{where}.inlineData")
    if kind.startswith("image/"):
        return Image(data, kind)
    return DocumentFile(either(blob.displayName, blob.display_name), kind or "application/octet-stream", data)
