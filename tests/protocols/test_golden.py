"""Every answer Kiro was seen to give, failures too, as each dialect tells it: legal, as recorded, however the bytes were cut."""

import json
import random

import pytest

from kiro.protocols import PROTOCOLS
from support import anthropic, chat, gemini
from support.golden import SEQUENCES, Told, frames_of, golden_file
from support.responses import StrictClient


def as_responses(data):
    client = StrictClient().read(data)
    return {"response": client.response, "items": client.items}


GRAMMARS = {
    "anthropic": lambda data: anthropic.folded(anthropic.records(data)),
    "openai_chat": lambda data: chat.folded(chat.records(data)),
    "openai_responses": as_responses,
    "gemini": lambda data: gemini.folded(gemini.records(data)),
}
GOLDEN = {name: json.loads(golden_file(name).read_text(encoding="utf-8")) for name in PROTOCOLS}
LONG = 20_000
every = [
    pytest.param(dialect, sequence, id=f"{sequence['name']}-{dialect}")
    for dialect in PROTOCOLS
    for sequence in SEQUENCES
]


def test_no_answer_and_no_dialect_is_left_out():
    assert len(SEQUENCES) == 56
    assert set(GRAMMARS) == set(PROTOCOLS)
    for recorded in GOLDEN.values():
        assert list(recorded) == [sequence["name"] for sequence in SEQUENCES]


@pytest.mark.parametrize(("dialect", "sequence"), every)
class TestEveryAnswer:
    def test_it_is_told_as_recorded(self, dialect, sequence):
        """`python tests/support/golden.py` records what is told now; read the difference before you keep it."""
        told = Told(dialect, sequence, frames_of(sequence))
        assert told.documents == GOLDEN[dialect][sequence["name"]]

    def test_it_is_legal_and_the_same_however_the_bytes_are_cut(self, dialect, sequence):
        """The same but for where texts are cut."""
        whole = Told(dialect, sequence, frames_of(sequence))
        wanted = read(dialect, whole)
        data = b"".join(frames_of(sequence))
        for chunks in cuttings(data):
            told = Told(dialect, sequence, chunks)
            assert (told.refused is None) == (whole.refused is None)
            assert read(dialect, told) == wanted

    def test_what_fails_never_looks_finished(self, dialect, sequence):
        told = Told(dialect, sequence, frames_of(sequence))
        if sequence["expect"]["error"] is None or sequence["expect"]["finish"] is not None:
            assert told.refused is None or "empty" in sequence["name"]
            return
        ends = (b'"type":"message_stop"', b"[DONE]", b'"type":"response.completed"', b'"finishReason"')
        assert not any(end in told.data for end in ends)
        assert told.refused is not None or b'"error"' in told.data


def read(dialect, told):
    return told.refused if told.refused is not None else GRAMMARS[dialect](told.data)


def cuttings(data):
    """The bytes at once, in small pieces, one by one where they are few, and in pieces of any size."""
    yield [data]
    for size in (1, 61) if len(data) < LONG else (61,):
        yield [data[at : at + size] for at in range(0, len(data), size)]
    dice = random.Random(len(data))
    marks = sorted(dice.randrange(len(data) + 1) for _ in range(6))
    yield [data[begin:end] for begin, end in zip([0, *marks], [*marks, len(data)], strict=True)]
