"""Answers that have to be so: a tool that must be called, JSON that must match. Verified here, not only asked for.

Kiro has no field for either; the request carries an instruction. What comes back is held until it is
known to be right. If it is not, the model gets one more turn with the complaint. If that fails too,
a schema that does not match is an error (nobody should parse it), and a missing tool call ends with
the text that came, which is what the model wanted to say.
"""

import json
import re
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from kiro.conversation.events import (
    Event,
    Finish,
    RedactedThinkingBlock,
    TextDelta,
    ThinkingDelta,
    ThinkingEnd,
    ToolCallStart,
)
from kiro.conversation.messages import AnyTool, Conversation, Message, OutputFormat, Part, Text
from kiro.errors import AnswerUnfit
from kiro.relay.rounds import Next

_FENCE: Final = re.compile(r"\A\s*```[a-zA-Z]*\n(.*?)\n?```\s*\Z", re.DOTALL)
_THINKING: Final = (ThinkingDelta, ThinkingEnd, RedactedThinkingBlock)
_COMPLAINT_CHARS: Final = 600


class JsonPlan:
    """Holds the text of the answer until it is the JSON that was asked for."""

    def __init__(self, conversation: Conversation, wanted: OutputFormat) -> None:
        self._conversation = conversation
        self._schema = json.loads(bytes(wanted.schema)) if wanted.schema is not None else None
        self._unquoted = wanted.unquoted
        self._text: list[str] = []
        self._tools_called = False
        self._repaired = False

    def go_on_with(self, conversation: Conversation) -> None:
        """Something else had to come first; what was said on the way is not the answer."""
        self._conversation = conversation
        self._text = []

    def see(self, events: Sequence[Event]) -> list[Event]:
        shown: list[Event] = []
        for event in events:
            if isinstance(event, TextDelta) and not self._tools_called:
                self._text.append(event.text)
                continue
            self._tools_called = self._tools_called or isinstance(event, ToolCallStart)
            shown.append(event)
        return shown

    async def after(self, finish: Finish) -> Next:
        text = "".join(self._text)
        self._text = []
        if self._tools_called or finish.reason in ("refusal", "max_tokens", "model_context_window_exceeded"):
            return Next((TextDelta(text),) if text else (), finish)
        document, complaint = self._checked(text)
        if complaint is None:
            return Next((TextDelta(document),), finish)
        if not self._repaired:
            self._repaired = True
            return Next((), finish, self._with_complaint(text, complaint))
        if self._schema is None:
            return Next((TextDelta(text),), finish)
        raise AnswerUnfit(
            f"The model's answer does not match the JSON schema, not even after a second try: {complaint}",
            hint="A simpler schema, or another model, may help.",
        )

    def _checked(self, text: str) -> tuple[str, str | None]:
        """The JSON text of an answer, and what is wrong with it."""
        document = bare_json(text)
        if self._unquoted:
            word = text.strip().strip("\"'`")
            return word, schema_complaint(word, self._schema)
        try:
            value = json.loads(document)
        except ValueError as error:
            return text, f"it is not JSON ({error})"
        if self._schema is None:
            return document, None if isinstance(value, dict) else "it is not a JSON object"
        return document, schema_complaint(value, self._schema)

    def _with_complaint(self, text: str, complaint: str) -> Conversation:
        said: tuple[Part, ...] = (Text(text),) if text.strip() else ()
        ask = f"That answer cannot be used: {complaint}. Answer again, with the JSON only."
        return _continued(self._conversation, said, ask)


class ForcedToolPlan:
    """Holds everything until a permitted tool is called; from then on the answer streams."""

    def __init__(self, conversation: Conversation, choice: AnyTool) -> None:
        self._conversation = conversation
        self._choice = choice
        self._held: list[Event] = []
        self._called = False
        self._repaired = False

    def go_on_with(self, conversation: Conversation) -> None:
        """Something else had to come first; what was said on the way is not the answer."""
        self._conversation = conversation
        self._held = []

    def see(self, events: Sequence[Event]) -> list[Event]:
        if self._called:
            return list(events)
        self._called = any(isinstance(event, ToolCallStart) and self._is_wanted(event.name) for event in events)
        if self._called:
            shown, self._held = [*self._held, *events], []
            return shown
        if not self._held and all(isinstance(event, _THINKING) for event in events):
            return list(events)
        self._held += events
        return []

    def _is_wanted(self, name: str) -> bool:
        return not self._choice.names or name in self._choice.names

    async def after(self, finish: Finish) -> Next:
        if self._called or finish.reason != "end_turn":
            return self._give_up(finish)
        if self._repaired:
            return self._give_up(finish)
        self._repaired = True
        text = "".join(event.text for event in self._held if isinstance(event, TextDelta))
        self._held = []
        names = " or ".join(self._choice.names)
        tool = f"the tool {names}" if names else "one of the available tools"
        said: tuple[Part, ...] = (Text(text),) if text.strip() else ()
        return Next(
            (), finish, _continued(self._conversation, said, f"Do not answer in text. Respond by calling {tool} now.")
        )

    def _give_up(self, finish: Finish) -> Next:
        held, self._held = self._held, []
        return Next(tuple(held), finish)


def bare_json(text: str) -> str:
    """The text without one surrounding code fence, or prose before and after the outermost brackets."""
    fenced = _FENCE.match(text)
    inner = (fenced.group(1) if fenced else text).strip()
    if inner[:1] in ("{", "[", '"') or not inner:
        return inner
    starts = [at for at in (inner.find("{"), inner.find("[")) if at >= 0]
    end = max(inner.rfind("}"), inner.rfind("]"))
    return inner[min(starts) : end + 1] if starts and end > min(starts) else inner


def schema_complaint(value: Any, schema: Any) -> str | None:
    """What a JSON-Schema validator says against the value; None when it matches or the schema itself is no schema."""
    import jsonschema

    checker = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        checker.check_schema(schema)
    except jsonschema.SchemaError:
        return None
    error = jsonschema.exceptions.best_match(checker(schema).iter_errors(value))
    if error is None:
        return None
    place = "/".join(str(step) for step in error.absolute_path)
    return f"{error.message[:_COMPLAINT_CHARS]}" + (f" (at {place})" if place else "")


def _continued(conversation: Conversation, said: tuple[Part, ...], ask: str) -> Conversation:
    turns = [Message("assistant", said)] if said else []
    turns.append(Message("user", (Text(ask),)))
    return msgspec.structs.replace(conversation, messages=(*conversation.messages, *turns))
