"""One conversation → the bytes Kiro gets.

The stages, in the order that keeps names and ids consistent: repair the history, settle the tools and
their aliases, ask for thinking, write the turns, put the system text into a first exchange of its own
(Kiro has no place for it), and add what only concerns this turn (tool choice, JSON schema) to the end
of the current one, where it leaves the cached prefix alone.

The account is not in the bytes: `with_profile` adds the profile ARN by splicing, so that a failover
costs nothing. Equal conversations make equal bytes.
"""

import hashlib
from typing import Final

import msgspec
from msgspec import UNSET, UnsetType

from kiro.conversation.counting import estimate_image, estimate_json
from kiro.conversation.messages import (
    Conversation,
    Document,
    DocumentFile,
    DocumentLink,
    Image,
    ImageLink,
    Message,
    Part,
    RedactedThinking,
    Text,
    Thinking,
    ToolCall,
    ToolResult,
)
from kiro.conversation.pictures import sniff_base64
from kiro.upstream import wire
from kiro.upstream.catalogue import Model
from kiro.upstream.repair import BLANK, repair
from kiro.upstream.thinking import Fields, Tags, ask, family, loop_start, replayable
from kiro.upstream.tools import Toolbox, ToolNames, make_toolbox

ACKNOWLEDGEMENT: Final = "I will follow these instructions."
NO_OUTPUT: Final = "(no output)"
AGENTIC_HINT: Final = (
    "When you write or edit a file, write at most 150 lines in one tool call, and go on in further calls. "
    "A longer call may be cut off."
)
MAX_RESULT_CHARS: Final = 400_000
"""Kiro's own clients cut a tool's answer here; the service refuses twice as much."""

_PURPOSE: Final = b"kiro session ids"
_ACKNOWLEDGEMENT_ID: Final = "0d3b36f5-5c0c-5f0e-8b1a-5a0f3f6f8f10"
_JSON_ONLY: Final = "Answer with one JSON object and nothing else: no prose, no code fence."
_JSON_SCHEMA: Final = (
    "Answer with one JSON value and nothing else: no prose, no code fence. It has to match this JSON Schema:"
)

_encode = msgspec.json.Encoder().encode


class KiroRequest(msgspec.Struct, frozen=True):
    """A request but for the account. `tags`: thinking was asked for by tags, so the text has to be parsed for them.

    `estimate` is in tokens of the whole prompt, `notes` tell what could not be carried over.
    """

    body: bytes
    names: ToolNames
    tags: bool
    estimate: int
    notes: tuple[str, ...] = ()


def build(
    conversation: Conversation,
    model: Model,
    *,
    conversation_id: str,
    continuation_id: str,
    origin: str,
    agentic: bool = False,
    flat_schemas: bool = False,
) -> KiroRequest:
    """The request for `model`. `origin` is the API flavour's.

    Pictures, files and links should have gone through `media.prepare`; what has not is told as text.
    `agentic` adds the hint that the `-agentic` model names ask for; `flat_schemas` drops unions from
    tool schemas, for when Kiro found them improper.
    """
    conversation = repair(conversation)
    toolbox = make_toolbox(conversation, flat=flat_schemas)
    wanted = ask(conversation, model)
    writer = _Writer(model, origin, toolbox.names, replay=conversation.thinking.mode != "off")
    history = _system_pair(_system_text(conversation, toolbox, wanted, agentic=agentic), writer)
    history += writer.turns(conversation.messages)
    current = history.pop()
    body = _encode(
        wire.Body(
            wire.ConversationState(
                "MANUAL",
                "vibe",
                conversation_id,
                continuation_id,
                history or UNSET,
                _completed(current, conversation, toolbox),
            ),
            wanted.value if isinstance(wanted, Fields) else UNSET,
        )
    )
    return KiroRequest(
        body,
        toolbox.names,
        isinstance(wanted, Tags),
        _estimate(body, writer.images),
        (*toolbox.notes, *dict.fromkeys(writer.notes)),
    )


def with_profile(body: bytes, arn: str | None) -> bytes:
    """The body with the account's profile ARN; as it is for accounts without one."""
    if not arn:
        return body
    return b"".join((memoryview(body)[:-1], b',"profileArn":', _encode(arn), b"}"))


def session_ids(conversation: Conversation, model: Model) -> tuple[str, str]:
    """`(conversation id, continuation id)`: UUIDs that stay the same for as long as the session does.

    Made from the session key a client gives, else from model and system text, and always from the
    first thing the user said: sub-agents share a session key but are conversations of their own.
    """
    first = next((message for message in conversation.messages if message.role == "user"), None)
    said = [part.text for part in first.parts if isinstance(part, Text)] if first is not None else []
    session = [conversation.session] if conversation.session else [model.id, *conversation.system]
    key = b"\0".join([part.encode("utf-8", "replace") for part in (*session, "", *said)])
    digits = hashlib.blake2b(key, digest_size=32, person=_PURPOSE).hexdigest()
    return _uuid(digits[:32]), _uuid(digits[32:])


def _uuid(digits: str) -> str:
    """32 hexadecimal digits in the form of a name-based UUID."""
    return f"{digits[:8]}-{digits[8:12]}-5{digits[13:16]}-8{digits[17:20]}-{digits[20:]}"


def _estimate(body: bytes, images: list[Image]) -> int:
    """Tokens of the request. Pictures cost by their area, not by their base64."""
    base64_chars = sum(len(image.data) for image in images)
    return estimate_json(body, except_chars=base64_chars) + sum(estimate_image(image.data) for image in images)


def _system_text(conversation: Conversation, toolbox: Toolbox, wanted: Fields | Tags | None, *, agentic: bool) -> str:
    texts = [text for text in conversation.system if text.strip()]
    if isinstance(wanted, Tags):
        texts.insert(0, wanted.text)
    if agentic and toolbox.tools:
        texts.append(AGENTIC_HINT)
    return "\n\n".join([*texts, *toolbox.system])


def _system_pair(text: str, writer: "_Writer") -> list[wire.UserEntry | wire.AssistantEntry]:
    """The system text as a first exchange: said by the user, acknowledged in constant words."""
    if not text:
        return []
    return [
        wire.UserEntry(wire.UserMessage(text, writer.model_id, writer.origin)),
        wire.AssistantEntry(wire.AssistantMessage(ACKNOWLEDGEMENT, _ACKNOWLEDGEMENT_ID)),
    ]


def _completed(
    current: wire.UserEntry | wire.AssistantEntry, conversation: Conversation, toolbox: Toolbox
) -> wire.UserEntry:
    """The current turn with the tools and with what only this turn is told."""
    if not isinstance(current, wire.UserEntry):
        raise TypeError("a repaired conversation ends with the user")
    extra = [toolbox.instruction] if toolbox.instruction else []
    if conversation.output_format is not None:
        schema = conversation.output_format.schema
        extra.append(_JSON_ONLY if schema is None else f"{_JSON_SCHEMA}\n{bytes(schema).decode('utf-8', 'replace')}")
    if not extra and not toolbox.tools:
        return current
    message = current.user_input_message
    content, context = message.content, message.user_input_message_context
    if extra:
        content = "\n\n".join([content, *extra] if content.strip() else extra)
    if toolbox.tools:
        results = context.tool_results if context is not UNSET else UNSET
        context = wire.UserContext(toolbox.tools, results)
    return wire.UserEntry(wire.UserMessage(content, message.model_id, message.origin, message.images, context))


class _Writer:
    """Writes turns; collects the pictures and the notes on the way."""

    def __init__(self, model: Model, origin: str, names: ToolNames, *, replay: bool) -> None:
        self.model_id = model.id
        self.origin = origin
        self.images: list[Image] = []
        self.notes: list[str] = []
        self._sees = model.images
        self._family = family(model.id)
        self._names = names
        self._replay = replay

    def turns(self, messages: tuple[Message, ...]) -> list[wire.UserEntry | wire.AssistantEntry]:
        entries: list[wire.UserEntry | wire.AssistantEntry] = []
        replay_after = loop_start(messages) if self._replay else len(messages)
        open_round = len(messages) - 2
        for place, message in enumerate(messages):
            if message.role == "assistant":
                reasoning: wire.ReasoningContent | UnsetType = UNSET
                if place > replay_after:
                    reasoning = self._reasoning(message, open_round=place == open_round)
                entries.append(self._assistant(message, reasoning))
            else:
                entries.append(self._user(message))
        return entries

    def _assistant(self, message: Message, reasoning: wire.ReasoningContent | UnsetType) -> wire.AssistantEntry:
        texts: list[str] = []
        calls: list[wire.ToolUse] = []
        for part in message.parts:
            if isinstance(part, Text):
                texts.append(part.text)
            elif isinstance(part, ToolCall):
                calls.append(wire.ToolUse(part.id, self._names.out(part.name), part.input))
        content = "\n".join(texts) if len(texts) != 1 else texts[0]
        uses = tuple(calls) if calls else UNSET
        return wire.AssistantEntry(wire.AssistantMessage(content or BLANK, UNSET, uses, reasoning))

    def _reasoning(self, message: Message, *, open_round: bool) -> wire.ReasoningContent | UnsetType:
        part = replayable(message, self._family, open_round=open_round)
        match part:
            case Thinking(text=text, signature=str(signature)):
                return wire.ReasoningContent(wire.ReasoningText(text, signature))
            case RedactedThinking(data=data):
                return wire.ReasoningContent(redacted_content=data)
            case _:
                return UNSET

    def _user(self, message: Message) -> wire.UserEntry:
        parts = message.parts
        if len(parts) == 1 and isinstance(parts[0], Text):
            return wire.UserEntry(wire.UserMessage(parts[0].text, self.model_id, self.origin))
        texts: list[str] = []
        images: list[wire.ImageBlock] = []
        results: list[wire.ResultBlock] = []
        for part in parts:
            if isinstance(part, Text):
                texts.append(part.text)
            elif isinstance(part, ToolResult):
                results.append(self._result(part, images))
            else:
                self._add(part, texts, images)
        content = "\n".join(texts)
        return wire.UserEntry(
            wire.UserMessage(
                content if content.strip() else BLANK,
                self.model_id,
                self.origin,
                tuple(images) if images else UNSET,
                wire.UserContext(tool_results=tuple(results)) if results else UNSET,
            )
        )

    def _result(self, result: ToolResult, images: list[wire.ImageBlock]) -> wire.ResultBlock:
        """A result takes text only: its pictures go to the turn, and a word of them stays."""
        parts = result.parts
        if len(parts) == 1 and isinstance(parts[0], Text):
            text = parts[0].text
        else:
            texts: list[str] = []
            for part in parts:
                before = len(images)
                self._add(part, texts, images)
                if len(images) > before:
                    texts.append("[image attached]")
            text = "\n".join(texts)
        if len(text) > MAX_RESULT_CHARS:
            text = self._shortened(text)
        status = "error" if result.is_error else "success"
        return wire.ResultBlock(result.call_id, status, (wire.ResultText(text if text.strip() else NO_OUTPUT),))

    def _shortened(self, text: str) -> str:
        """Head and tail of a tool's answer that Kiro would refuse to take whole."""
        half = MAX_RESULT_CHARS // 2 - 100
        left_out = len(text) - 2 * half
        self.notes.append(f"A tool result of {len(text)} characters was shortened to {MAX_RESULT_CHARS}.")
        return f"{text[:half]}\n[{left_out} characters left out here]\n{text[-half:]}"

    def _add(self, part: Part, texts: list[str], images: list[wire.ImageBlock]) -> None:
        """One part of a user turn or a result that is not a result itself."""
        match part:
            case Text(text=text):
                texts.append(text)
            case Image():
                self._add_image(part, texts, images)
            case Document(title=title, text=text):
                opening = f'<document title="{title}">' if title else "<document>"
                texts.append(f"{opening}\n{text}\n</document>")
            case ImageLink(url=url):
                self._leave_out(f"[image: {url}]", texts)
            case DocumentLink(title=title, url=url):
                self._leave_out(f"[document: {title or url} {url if title else ''}]", texts)
            case DocumentFile(title=title, media_type=media_type):
                self._leave_out(f"[document omitted: {title or media_type}]", texts)
            case _:
                self._leave_out(f"[{type(part).__name__} omitted]", texts)

    def _leave_out(self, note: str, texts: list[str]) -> None:
        texts.append(note)
        self.notes.append(f"sent as a note: {note}")

    def _add_image(self, image: Image, texts: list[str], images: list[wire.ImageBlock]) -> None:
        kind = sniff_base64(image.data)
        if not self._sees:
            self._leave_out("[image omitted: this model cannot see pictures]", texts)
        elif kind is None:
            self._leave_out("[image omitted: its data is of no known picture type]", texts)
        else:
            self.images.append(image)
            images.append(wire.ImageBlock(kind, wire.ImageSource(image.data)))
