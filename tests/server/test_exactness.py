"""Whatever Kiro sends and however the bytes are cut, the client has exactly that: text, thinking, arguments."""

import json
import random

import pytest

from kiro.emulator.answers import RawEvent
from kiro.emulator.faults import Replay, Shred
from support.sse import blocks_of, records

ALPHABET = [
    "a",
    " ",
    "\n",
    "\t",
    '"',
    "\\",
    "{",
    "}",
    "<",
    "é",
    "日",
    "😀",
    "👨‍👩‍👧",
    "\u0301",
    "🇫🇷",
    "\u2028",
    "</thinking>",
    "data: ",
    "\x7f",
]


class Script:
    """A random answer: the events Kiro sends, and the blocks a client has to end up with."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.events: list[RawEvent] = []
        self.blocks: list[tuple[str, str]] = []
        for number in range(self.random.randint(1, 6)):
            self.random.choice([self.text, self.text, self.think, self.call])(number)
        if not any(kind != "thinking" for kind, _ in self.blocks):
            self.text(99)
        self.add("metadataEvent", stopReason="END_TURN")
        self.add("meteringEvent", usage=0.01, unit="credit")

    def add(self, kind: str, **payload: object) -> None:
        self.events.append(RawEvent(event_type=kind, payload=payload))

    def words(self) -> str:
        return "".join(self.random.choice(ALPHABET) for _ in range(self.random.randint(1, 60)))

    def cut(self, text: str) -> list[str]:
        """The text in pieces, cut between code points."""
        pieces = []
        while text:
            size = self.random.randint(1, max(1, len(text)))
            pieces.append(text[:size])
            text = text[size:]
        return pieces

    def text(self, _: int) -> None:
        words = self.words()
        for piece in self.cut(words):
            self.add("assistantResponseEvent", content=piece)
            if self.random.random() < 0.2:
                self.add("assistantResponseEvent", content="")
        if self.blocks and self.blocks[-1][0] == "text":
            self.blocks[-1] = ("text", self.blocks[-1][1] + words)
        else:
            self.blocks.append(("text", words))

    def think(self, _: int) -> None:
        words = self.words()
        for piece in self.cut(words):
            self.add("reasoningContentEvent", text=piece)
        self.add("reasoningContentEvent", signature="c2lnbmF0dXJl")
        self.blocks.append(("thinking", words))

    def call(self, number: int) -> None:
        document = {self.words(): [self.words(), number, None, {"deep": self.words()}]}
        arguments = json.dumps(document, ensure_ascii=self.random.random() < 0.5)
        call = {"toolUseId": f"tooluse_{number}", "name": "run"}
        self.add("toolUseEvent", **call)
        for piece in self.cut(arguments):
            self.add("toolUseEvent", **call, input=piece)
        self.add("toolUseEvent", **call, stop=True)
        self.blocks.append(("tool_use", arguments))


def ask(**more):
    tools = [{"name": "run", "description": "Runs", "input_schema": {"type": "object"}}]
    messages = [{"role": "user", "content": "go"}]
    thinking = {"type": "adaptive"}
    return {
        "model": "claude-opus-5",
        "max_tokens": 9000,
        "messages": messages,
        "tools": tools,
        "thinking": thinking,
        **more,
    }


@pytest.mark.parametrize("seed", range(40))
async def test_the_client_assembles_what_kiro_sent(proxy, kiro, seed):
    script = Script(seed)
    kiro.faults.add(Replay(events=tuple(script.events)), Shred(seed=seed, longest=seed % 7 * 30 + 1), times=2)
    async with proxy.post("/v1/messages", ask(stream=True)) as response:
        streamed = blocks_of(records(await response.read()))
    member = {"text": "text", "thinking": "thinking", "tool_use": "json"}
    assert [(block["type"], block[member[block["type"]]]) for block in streamed] == script.blocks
    async with proxy.post("/v1/messages", ask()) as response:
        whole = (await response.json())["content"]
    assert [block["type"] for block in whole] == [kind for kind, _ in script.blocks]
    for block, (kind, sent) in zip(whole, script.blocks, strict=True):
        assert (block["input"] == json.loads(sent)) if kind == "tool_use" else (block[kind] == sent)
