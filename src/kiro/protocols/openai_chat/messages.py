"""Chat's messages → turns of the conversation.

System and developer messages before the first turn are the system text; later ones stay where they
are. Results of tools in a row become one turn. What cannot be carried (sound, files that lie at
OpenAI) is refused by name.
"""

from collections.abc import Sequence
from typing import Final

import msgspec

from kiro.conversation.messages import (
    DocumentFile,
    DocumentLink,
    Image,
    ImageLink,
    Message,
    Part,
    RedactedThinking,
    Role,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from kiro.errors import InvalidRequest
from kiro.protocols.openai_chat import body as wire

_ROLES: Final[dict[str, Role]] = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}
_RESULTS: Final = ("tool", "function")
_PLAIN_TEXT: Final = ("text", "input_text", "output_text")

_encode = msgspec.json.Encoder().encode
_check_json = msgspec.json.Decoder(msgspec.Raw).decode


class MessageReader:
    """Reads the messages of one request. `notes` collects what had to be told in other words."""

    def __init__(self, notes: list[str]) -> None:
        self._notes = notes

    def read(self, messages: Sequence[wire.Message]) -> tuple[tuple[str, ...], tuple[Message, ...]]:
        """The system texts and the turns. Raises InvalidRequest for what cannot be carried."""
        system: list[str] = []
        turns: list[Message] = []
        results: list[ToolResult] = []
        for place, message in enumerate(messages):
            if message.role in _RESULTS:
                results.append(self._result(message, place))
                continue
            if results:
                turns.append(Message("user", tuple(results)))
                results.clear()
            role = _ROLES.get(message.role, "user")
            parts = self._assistant(message, place) if role == "assistant" else self._said(message, place)
            if role == "system" and not turns:
                system += [part.text for part in parts if isinstance(part, Text)]
            else:
                turns.append(Message(role, _by_name(message, parts) if role == "user" else parts))
        if results:
            turns.append(Message("user", tuple(results)))
        return tuple(system), tuple(turns)

    def _result(self, message: wire.Message, place: int) -> ToolResult:
        name = message.name or ("" if message.role == "function" else None)
        return ToolResult(message.tool_call_id or "", self._said(message, place), bool(message.is_error), name)

    def _assistant(self, message: wire.Message, place: int) -> tuple[Part, ...]:
        parts: list[Part] = []
        for detail in message.reasoning_details or ():
            if detail.signature:
                parts.append(Thinking(detail.text or "", detail.signature))
            elif detail.data:
                parts.append(RedactedThinking(detail.data))
        parts += self._said(message, place)
        if message.refusal:
            parts.append(Text(message.refusal))
        for call in message.tool_calls or ():
            if call.custom is not None:
                text = msgspec.Raw(_encode({"input": call.custom.input or ""}))
                parts.append(ToolCall(call.id or "", call.custom.name, text))
            elif call.function is not None:
                parts.append(self._call(call.id or "", call.function))
        if message.function_call is not None:
            parts.append(self._call("", message.function_call))
        return tuple(parts)

    def _call(self, call_id: str, called: wire.Called) -> ToolCall:
        """The call; arguments that are not JSON are kept as `{"_raw": …}`, so that the model sees what it wrote."""
        given = called.arguments
        if isinstance(given, dict):
            return ToolCall(call_id, called.name, msgspec.Raw(_encode(given)))
        text = (given or "").strip().encode() or b"{}"
        try:
            _check_json(text)
        except (msgspec.DecodeError, RecursionError):
            self._notes.append(f"arguments of {called.name} in the history are not JSON")
            text = _encode({"_raw": given})
        return ToolCall(call_id, called.name, msgspec.Raw(text))

    def _said(self, message: wire.Message, place: int) -> tuple[Part, ...]:
        content = message.content
        if isinstance(content, str):
            return (Text(content),) if content else ()
        parts: list[Part] = []
        for at, part in enumerate(content or ()):
            if isinstance(part, str):
                parts.append(Text(part))
            elif part.type in _PLAIN_TEXT:
                if part.text:
                    parts.append(Text(part.text))
            else:
                parts.append(self._part(part, f"messages[{place}].content[{at}]"))
        return tuple(parts)

    def _part(self, part: wire.Part, where: str) -> Part:
        match part.type:
            case "image_url" | "input_image":
                link = part.image_url
                return _image((link.url if isinstance(link, wire.ImageUrl) else link) or "")
            case "file" | "input_file":
                return _file(part.file or wire.File(), where)
            case "refusal":
                return Text(part.refusal or part.text or "")
            case "input_audio":
                raise InvalidRequest(
                    f"{where}: sound cannot be heard by these models.", param=where, code="unsupported_value"
                )
            case kind:
                self._notes.append(f"content part told as text: {kind or 'no type'}")
                label = f"[{kind or 'part'}]"
                return Text(f"{label} {part.text}" if part.text else label)


def _by_name(message: wire.Message, parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The user's words with the name they were said under, in chats of several people."""
    if not message.name or not parts or not isinstance(parts[0], Text):
        return parts
    return (Text(f"[{message.name}] {parts[0].text}"), *parts[1:])


def _image(url: str) -> Part:
    if not url.startswith("data:"):
        return ImageLink(url)
    head, _, data = url.partition(",")
    return Image(data, head.removeprefix("data:").partition(";")[0])


def _file(file: wire.File, where: str) -> Part:
    data = file.file_data or ""
    if not data:
        raise InvalidRequest(
            f"{where}: files uploaded to OpenAI cannot be reached from here.",
            param=where,
            code="unsupported_value",
            hint="Send the file in the request, as base64.",
        )
    if data.startswith(("http://", "https://")):
        return DocumentLink(file.filename, data)
    kind = "application/pdf"
    if data.startswith("data:"):
        head, _, data = data.partition(",")
        kind = head.removeprefix("data:").partition(";")[0] or kind
    if kind.startswith("image/"):
        return Image(data, kind)
    return DocumentFile(file.filename, kind, data)
