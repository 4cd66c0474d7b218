"""What the emulator answers: obeys EMULATE lines of the prompt, and is friendly without any.

A user message may carry, each at the start of a line:

    EMULATE: tool=<regex> input=<JSON>     one call of the first declared tool whose name matches
    EMULATE: +tool=<regex> input=<JSON>    a further call in the same turn
    EMULATE: text=<text to end of line>    the answer once every tool step has its results
    EMULATE: jtext=<JSON string>           the same, for answers with line breaks
    EMULATE: thinking=<text>               reasoning to show before the answer
    EMULATE: end                           nothing; the script ends here

The last user text that has such lines counts. Tool results after it tell which steps are done. A
step whose tool is not declared is answered with text. A request without tools that brings a JSON
Schema gets JSON that fits, unless the script's text is JSON itself: agents that sort a prompt before
they answer it repeat its script. An answer that was cut (it stands in the history as the beginning of
the script's text, and the user asked to go on) is continued where it stopped.
"""

import json
import re
from typing import Any, Final

import msgspec

from kiro.emulator import schemas
from kiro.emulator.wire import AssistantMessage, Request, ToolSpecification, UserMessage

_LINE: Final = re.compile(r"^EMULATE: (?:(\+?tool|text|jtext|thinking)=(.*?)|end\b.*?)\r?$", re.MULTILINE)
_TOOL: Final = re.compile(r"(.*?) input=(.*)")
_WANTS_JSON: Final = re.compile(r"\bJSON\b", re.IGNORECASE)
_ACKNOWLEDGED: Final = re.compile(r"^.{0,40}\bfollow\b.{0,40}\binstructions\b.{0,20}$", re.IGNORECASE)
_BLOCK: Final = re.compile(r"<([A-Za-z][\w-]*)>.*?</\1>", re.DOTALL)
"""What agents put around or beside the words of a person, such as reminders and the state of the editor."""
_LOOKED_AT_CHARS: Final = 20_000
_THINKING_TAG: Final = re.compile(r"<thinking_mode>(?:enabled|adaptive)</thinking_mode>")


class Call(msgspec.Struct, frozen=True):
    """`tool` is a regular expression for the whole name. `input` is an object, or the raw text of a freeform tool."""

    tool: str
    input: Any


class Script(msgspec.Struct, frozen=True):
    """The lines of one user text. Each step is answered in one assistant turn."""

    steps: tuple[tuple[Call, ...], ...]
    text: str | None
    thinking: str | None


class Say(msgspec.Struct, frozen=True):
    """Answer with text. `thinking` is shown whatever was asked, `if_asked` only to those who asked for thinking."""

    text: str
    thinking: str | None = None
    if_asked: str | None = None


class CallTools(msgspec.Struct, frozen=True):
    """Answer with tool calls: pairs of a declared tool's name and its input."""

    calls: tuple[tuple[str, dict[str, Any]], ...]
    thinking: str | None = None


Decision = Say | CallTools


def read_script(text: str) -> Script | None:
    """The last script in this text, or `None` when it has no EMULATE lines."""
    if "EMULATE: " not in text:
        return None
    found: list[re.Match[str]] = []
    ended = False
    for line in _LINE.finditer(text):
        if ended:
            found, ended = [], False
        found.append(line)
        ended = line[1] is None
    if all(line[1] is None for line in found):
        return None
    steps: list[tuple[Call, ...]] = []
    answer = thinking = None
    for line in found:
        kind, value = line[1] or "end", line[2] or ""
        match kind:
            case "tool" | "+tool":
                call = _read_call(value)
                if call is not None and kind == "+tool" and steps:
                    steps[-1] = (*steps[-1], call)
                elif call is not None:
                    steps.append((call,))
            case "text":
                answer = value
            case "jtext":
                answer = str(_first_json(value))
            case "thinking":
                thinking = value
    return Script(tuple(steps), answer, thinking)


def _read_call(value: str) -> Call | None:
    found = _TOOL.match(value)
    return Call(found[1], _first_json(found[2])) if found else None


def _first_json(text: str) -> Any:
    """The JSON value at the beginning; what follows it is ignored. Text that is no JSON stands for itself."""
    try:
        value, _ = json.JSONDecoder().raw_decode(text.lstrip())
    except ValueError:
        return text
    return value


def decide(request: Request) -> Decision:
    """What a model would answer to this (valid) request."""
    turns = request.turns
    for position in range(len(turns) - 1, 1 if _begins_with_system(turns) else -1, -1):
        turn = turns[position]
        if isinstance(turn, UserMessage):
            script = read_script(turn.content)
            if script is not None:
                return _obey(script, turns[position + 1 :], request.current)
    return _chat(request)


def _begins_with_system(turns: tuple[UserMessage | AssistantMessage, ...]) -> bool:
    """True when the first pair is a system text and its acknowledgement, the only place Kiro has for one."""
    reply = turns[1] if len(turns) > 2 else None
    return isinstance(reply, AssistantMessage) and _ACKNOWLEDGED.search(reply.content) is not None


def _obey(script: Script, after: tuple[UserMessage | AssistantMessage, ...], current: UserMessage) -> Decision:
    results = sum(len(turn.results) for turn in after if isinstance(turn, UserMessage))
    for step in script.steps:
        if results < len(step):
            return _call_tools(step, current, script.thinking)
        results -= len(step)
    answer = "Done." if script.text is None else script.text
    if not current.tools and not _is_json(answer) and (fitting := json_answer(current.content, only_schema=True)):
        return Say(fitting)
    return Say(_rest_of(answer, after, current), script.thinking)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _call_tools(step: tuple[Call, ...], current: UserMessage, thinking: str | None) -> Decision:
    calls = []
    for call in step:
        tool = _matching(call.tool, current.tools)
        if tool is None:
            return Say(json_answer(current.content) or f"There is no tool like {call.tool} here.", thinking)
        calls.append((tool.name, _object_input(call.input, tool)))
    return CallTools(tuple(calls), thinking)


def _matching(pattern: str, tools: tuple[ToolSpecification, ...]) -> ToolSpecification | None:
    try:
        expression = re.compile(pattern, re.IGNORECASE)
    except re.error:
        return None
    return next((tool for tool in tools if expression.fullmatch(tool.name)), None)


def _object_input(value: Any, tool: ToolSpecification) -> dict[str, Any]:
    """A freeform tool's text goes into the one property its stand-in declares."""
    if isinstance(value, dict):
        return value
    schema = msgspec.json.decode(bytes(tool.input_schema.json or b"{}"))
    names = schema.get("required") or list(schema.get("properties", {}))
    return {str(names[0]) if names else "input": value}


def _rest_of(answer: str, after: tuple[UserMessage | AssistantMessage, ...], current: UserMessage) -> str:
    """The rest of an answer that was cut; the whole answer in every other case."""
    said = after[-2].content if len(after) >= 2 and isinstance(after[-2], AssistantMessage) else ""
    cut = said.strip() and said != answer and answer.startswith(said) and not current.results
    return answer[len(said) :] if cut else answer


def _chat(request: Request) -> Decision:
    current = request.current
    answer = json_answer(current.content, only_schema=bool(current.tools))
    if answer is None and not current.tools:
        answer = json_answer(_first_text(request))
    if answer is not None:
        return Say(answer)
    if current.results:
        return Say(f"The tool answered. This is the Kiro emulator; it looked at {len(current.results)} result(s).")
    said = " ".join((_BLOCK.sub(" ", current.content).strip() or current.content).split())
    shown = said if len(said) <= 200 else f"{said[:200]}…"
    return Say(
        f"This is the Kiro emulator: no account is used and no model thinks here. You said: “{shown}”. "
        "To talk to a real model, sign in with `kiro login` and start `kiro serve`.",
        if_asked="There is no model here. I will say so, and how to reach one.",
    )


def json_answer(text: str, *, only_schema: bool = False) -> str | None:
    """A JSON answer when `text` asks for one: by its last JSON Schema, else any object. `None` when it does not ask.

    Only the end of a long text is looked at: that is where a request for a format stands.
    """
    text = text[-_LOOKED_AT_CHARS:]
    if not _WANTS_JSON.search(text):
        return None
    schema = _last_schema(text)
    if schema is not None:
        return json.dumps(schemas.sample(schema, "emulated"), ensure_ascii=False)
    asks = re.search(r"\b(?:answer|respond|reply|return|output|valid)\b[^.\n]{0,60}\bJSON\b", text, re.IGNORECASE)
    if only_schema or asks is None:
        return None
    named = re.search(r"[\"'`](\w+)[\"'`] (?:field|key|property)", text)
    return json.dumps({named[1] if named else "answer": "emulated"})


def _last_schema(text: str) -> dict[str, Any] | None:
    decoder = json.JSONDecoder()
    at, last = text.find("{"), None
    while at >= 0:
        try:
            value, end = decoder.raw_decode(text, at)
        except ValueError:
            end = at + 1
        else:
            if isinstance(value, dict) and ("properties" in value or isinstance(value.get("type"), str)):
                last = value
        at = text.find("{", end)
    return last


def _first_text(request: Request) -> str:
    """Where a system prompt travels: the first user message, if it is not the current one."""
    first = request.turns[0]
    return first.content if isinstance(first, UserMessage) and request.history else ""


def asks_by_tags(request: Request) -> bool:
    """True when the prompt asks for thinking by tags, in its first or its current message."""
    return any(_THINKING_TAG.search(text) for text in (_first_text(request), request.current.content))
