"""Runs the request cases of tests/cases/conversion-cases.json: macros, paths and operators of its expectations."""

import base64
import json
import re
from pathlib import Path
from typing import Any

import msgspec

from kiro.conversation.events import Start, TextDelta, ToolCallDelta, ToolCallEnd, ToolCallStart
from kiro.conversation.messages import Conversation
from kiro.errors import KiroError, UnknownModel
from kiro.protocols import PROTOCOLS, openai_responses
from kiro.protocols.openai_responses.compaction import wrap_summary
from kiro.upstream import media
from kiro.upstream.catalogue import KNOWN_MODELS, Model, Resolved, normalise
from kiro.upstream.request import KiroRequest, build, session_ids
from kiro.upstream.thinking import family, wrap
from kiro.upstream.tools import MAX_TOOLS
from support.answers import finish
from support.responses import records

CASES = json.loads((Path(__file__).parent.parent / "cases" / "conversion-cases.json").read_text())["cases"]
ONE_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
FIXTURES = {"cat.png": base64.b64decode(ONE_PIXEL)}
MODELS = {model.id: model for model in KNOWN_MODELS}

_PATH = re.compile(r".*/models/(?P<model>.+):(?P<verb>\w+)")
_MACRO = re.compile(r"\$OWN_SIGNATURE\(([^,]+),([^)]+)\)")
_SUMMARY = re.compile(r'\$OWN_COMPACTION\("(.+)"\)')
_ANY_INPUT = '{"input":"x","command":["ls"],"commands":["ls"],"type":"delete_file","path":"a"}'
"""Arguments that fit a tool of any kind."""
_MISSING = object()


def filled(value: Any) -> Any:
    """The request with its macros expanded."""
    if isinstance(value, dict):
        if "$text" in value:
            return value["$text"]["repeat"] * value["$text"]["count"]
        if "$tools" in value:
            wanted = value["$tools"]
            schema = {"type": "object", "properties": {"path": {"type": "string"}}}
            return [
                {"name": f"{wanted['prefix']}{n}", "description": "Does it", "input_schema": schema}
                for n in range(wanted["count"])
            ]
        return {key: filled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [filled(item) for item in value]
    if isinstance(value, str) and (found := _MACRO.fullmatch(value)):
        return wrap(family(found.group(1)), found.group(2))
    if isinstance(value, str) and (found := _SUMMARY.fullmatch(value)):
        return wrap_summary(found.group(1))
    return value


def runs(case: dict[str, Any]) -> list[tuple[dict[str, Any], list[str]]]:
    """Every request of a case with what is expected of it."""
    request = filled(case["request"])
    found = [(request, case["expect"])]
    if "also_with" in case:
        other = dict(filled(case["also_with"]))
        found.append(({**request, **{key: value for key, value in other.items() if key != "expect"}}, other["expect"]))
    for asked, wire_id in case.get("variants", ()):
        found.append(({**request, "model": asked}, [f'cur.modelId == "{wire_id}"']))
    return found


class Converted:
    """What became of one request: Kiro's body, or the error a client sees."""

    def __init__(
        self,
        protocol: str,
        request: dict[str, Any],
        fixtures: dict[str, str] | None = None,
        path: str | None = None,
    ) -> None:
        self.protocol = protocol
        self.request = request
        self.conversation: Conversation | None = None
        self.kiro: KiroRequest | None = None
        self.model: Model | None = None
        self.reject: dict[str, Any] | None = None
        fetched = {url: media.Fetched(FIXTURES[name], "image/png") for url, name in (fixtures or {}).items()}
        dialect = PROTOCOLS[protocol]
        found = (_PATH.fullmatch(path).groupdict(),) if path else ()
        try:
            self.ask = dialect.parse(json.dumps(request).encode(), {}, *found)
            if protocol == "openai_responses":
                self.ask = openai_responses.with_history(self.ask)
            self._convert(self.ask.conversation, fetched)
        except KiroError as error:
            reply = dialect.error(error, "req_1")
            self.reject = {"status": reply.status, "body": json.loads(reply.body)}
        self.body = json.loads(self.kiro.body) if self.kiro is not None else None
        self.text = self.kiro.body.decode() if self.kiro is not None else ""

    def _convert(self, conversation: Conversation, fetched: dict[str, media.Fetch]) -> None:
        resolved: Resolved | None = normalise(conversation.model, MODELS)
        if resolved is None:
            raise UnknownModel(conversation.model)
        self.conversation, self.model = conversation, MODELS[resolved.id]
        conversation = media.prepare(conversation, self.model, fetched)
        ids = session_ids(conversation, self.model)
        self.kiro = build(conversation, self.model, conversation_id=ids[0], continuation_id=ids[1], origin="AI_EDITOR")

    # -- paths

    def value(self, path: str) -> Any:
        """What stands at a path; `_MISSING` for nothing."""
        path = path.strip()
        if path.startswith('"') or path[:1].isdigit() or path[:1] in "[{":
            return json.loads(path)
        if found := re.fullmatch(r'fixture\("(.+)"\)', path):
            return base64.b64encode(FIXTURES[found.group(1)]).decode()
        if found := re.fullmatch(r"answer\.tool_name_for\((.+)\)", path):
            return self.kiro.names.back(self.value(found.group(1)))
        if found := re.fullmatch(r"answer\.(item_type|namespace)_for\((.+)\)", path):
            (item,) = self.answer(self.kiro.names.back(self.value(found.group(2))))[-1]["response"]["output"]
            return item[{"item_type": "type"}.get(found.group(1), found.group(1))]
        if path == "answer.output types":
            return [item["type"] for item in self.answer(None)[-1]["response"]["output"]]
        if path == "answer.last_event":
            return self.answer(None)[-1]["type"]
        if path == "text":
            return self.text
        if path == "limit.tools":
            return MAX_TOOLS
        head, rest = re.fullmatch(r"([$\w]+)(.*)", path).groups()
        return _walk(self._root(head), re.findall(r"\.([$\w]+)|\[(\d+|\*)\]", rest))

    def _root(self, head: str) -> Any:
        if head == "reject":
            return self.reject or {}
        state = self.body["conversationState"]
        current = state["currentMessage"]["userInputMessage"]
        context = current.get("userInputMessageContext", {})
        return {
            "$": self.body,
            "hist": state.get("history", []),
            "cur": current,
            "results": context.get("toolResults", []),
            "tools": [tool["toolSpecification"] for tool in context.get("tools", [])],
        }[head]

    def answer(self, tool: str | None) -> list[dict[str, Any]]:
        """The records of a stream that says something, or calls a tool by the client's name for it."""
        said = [TextDelta("All is well.")]
        if tool is not None:
            said = [ToolCallStart("call_1", tool), ToolCallDelta(_ANY_INPUT), ToolCallEnd()]
        return records(PROTOCOLS[self.protocol].renderer(self.ask, "0123").feed([Start(), *said, finish()]))

    @property
    def turns(self) -> list[dict[str, Any]]:
        state = self.body["conversationState"]
        return [*state.get("history", []), state["currentMessage"]]

    # -- operators

    def holds(self, expectation: str) -> bool:
        """Whether one line of a case's `expect` is true."""
        if found := re.fullmatch(r"any_of\((.+)\)", expectation):
            return any(self.holds(part.strip()) for part in found.group(1).split(" | "))
        if expectation == "alternates":
            return self.alternates()
        if expectation == "pairs_ok":
            return self.pairs_ok()
        for pattern, check in _OPERATORS:
            if found := re.fullmatch(pattern, expectation, re.DOTALL):
                return check(self, *found.groups())
        raise AssertionError(f"not understood: {expectation}")

    def alternates(self) -> bool:
        kinds = ["user" if "userInputMessage" in turn else "assistant" for turn in self.turns]
        return kinds == [("user", "assistant")[at % 2] for at in range(len(kinds))] and kinds[-1] == "user"

    def pairs_ok(self) -> bool:
        expected: list[str] = []
        seen: list[str] = []
        for turn in self.turns:
            if "assistantResponseMessage" in turn:
                expected = [use["toolUseId"] for use in turn["assistantResponseMessage"].get("toolUses", [])]
                seen += expected
            else:
                context = turn["userInputMessage"].get("userInputMessageContext", {})
                if [result["toolUseId"] for result in context.get("toolResults", [])] != expected:
                    return False
                expected = []
        return len(seen) == len(set(seen))


def _walk(value: Any, steps: list[tuple[str, str]]) -> Any:
    for at, (name, index) in enumerate(steps):
        if index == "*":
            return [_walk(item, steps[at + 1 :]) for item in value]
        if index:
            value = value[int(index)] if isinstance(value, list) and int(index) < len(value) else _MISSING
        elif name == "userInputMessageContext" and isinstance(value, dict):
            value = value.get(name, {})
        elif isinstance(value, dict):
            value = value.get(name, _MISSING)
            value = json.loads(bytes(value)) if isinstance(value, msgspec.Raw) else value
        else:
            return _MISSING
    return value


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(text.strip().strip("/"))


def _empty(value: Any) -> bool:
    return value is _MISSING or value in ([], {}, "")


_OPERATORS = [
    (
        r"(.+) len (==|<=) (.+)",
        lambda c, p, op, n: len(c.value(p)) == c.value(n) if op == "==" else len(c.value(p)) <= c.value(n),
    ),
    (r"(\S+) absent", lambda c, p: c.value(p) is _MISSING),
    (r"(\S+) absent_or_empty", lambda c, p: _empty(c.value(p))),
    (r"(\S+) nonempty", lambda c, p: not _empty(c.value(p))),
    (r"(\S+) minlen (\d+)", lambda c, p, n: len(c.value(p)) >= int(n)),
    (r"(\S+) maxlen (\d+)", lambda c, p, n: len(c.value(p)) <= int(n)),
    (r"(\S+) is object", lambda c, p: isinstance(c.value(p), dict)),
    (r"(\S+) unique", lambda c, p: len(set(c.value(p))) == len(c.value(p))),
    (r"(\S+) unique_nocase", lambda c, p: len({item.lower() for item in c.value(p)}) == len(c.value(p))),
    (r"(\S+) each matches (/.+/)", lambda c, p, r: all(_pattern(r).search(item) for item in c.value(p))),
    (r"(\S+) only_keys (\S+)", lambda c, p, keys: _only_keys(c.value(p), keys.split(","))),
    (r"(\S+) same_on_repeat", lambda c, p: c.value(p) == Converted(c.protocol, c.request).value(p)),
    (r"(\S+) !contains (.+)", lambda c, p, x: json.loads(x) not in c.value(p)),
    (r"(\S+) contains (.+)", lambda c, p, x: json.loads(x) in c.value(p)),
    (r"(\S+) startswith (.+)", lambda c, p, x: c.value(p).startswith(json.loads(x))),
    (r"(\S+) matches (/.+/)", lambda c, p, r: _pattern(r).search(c.value(p)) is not None),
    (r"(\S+) in (.+)", lambda c, p, x: c.value(p) in c.value(x)),
    (r"(\S+|answer\.\S+\(.+?\)|answer\.output types) == (.+)", lambda c, p, x: c.value(p) == c.value(x)),
    (r"(\S+) != (.+)", lambda c, p, x: c.value(p) != c.value(x)),
]


def _only_keys(value: Any, keys: list[str]) -> bool:
    return all(set(item) <= set(keys) for item in (value if isinstance(value, list) else [value]))
