"""A conversation over the model's window: told to clients that compact, shortened for the others."""

import pytest

from kiro.emulator.server import Emulator
from kiro.server.compacting import on_overflow
from support.proxy import running_proxy

MODEL = "claude-haiku-4.5"
COMPACTING = [
    "claude-cli/2.1.329 (external, cli)",
    "codex_exec/0.169.0",
    "GeminiCLI-tui/0.61.0/auto",
    "opencode/1.18.33",
]


@pytest.fixture
async def kiro():
    async with Emulator() as emulator:
        yield emulator


def long_talk(rounds=60, chars=15_000):
    """About a million characters in a window of 200,000 tokens."""
    messages = [{"role": "user", "content": "Remember the word sesame."}, {"role": "assistant", "content": "Yes."}]
    for number in range(rounds):
        messages.append({"role": "user", "content": f"question {number} " + "y" * chars})
        messages.append({"role": "assistant", "content": f"answer {number}"})
    return [*messages, {"role": "user", "content": "EMULATE: text=All is well.\nEMULATE: end"}]


def ask(**more):
    return {"model": MODEL, "max_tokens": 5000, "messages": long_talk(), **more}


def said_upstream(kiro):
    """The last request, as text."""
    return kiro.seen("generate")[0].body.decode()


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_others_get_an_answer_and_are_told(tmp_path, kiro, stream):
    async with running_proxy(tmp_path, kiro) as proxy:
        async with proxy.post("/v1/messages", ask(stream=stream)) as response:
            assert response.status == 200
            assert int(response.headers["x-kiro-trimmed"]) > 10
            assert "All is well." in await response.text()
        row = await proxy.last_row()
    assert any(note.startswith("trimmed: ") for note in row.notes)
    sent = said_upstream(kiro)
    assert "sesame" in sent
    assert "question 0 " not in sent
    assert "question 59 " in sent


@pytest.mark.parametrize("agent", COMPACTING)
async def test_clients_that_compact_get_the_error(tmp_path, kiro, agent):
    async with (
        running_proxy(tmp_path, kiro) as proxy,
        proxy.post("/v1/messages", ask(), headers={"User-Agent": agent}) as response,
    ):
        assert response.status == 400
        assert "prompt is too long: " in await response.text()
        assert "x-kiro-trimmed" not in response.headers
    assert len(kiro.seen("generate")) == 1


async def test_the_setting_can_ask_for_the_error(tmp_path, kiro):
    async with (
        running_proxy(tmp_path, kiro, flags={"context.on_overflow": "error"}) as proxy,
        proxy.post("/v1/messages", ask()) as response,
    ):
        assert response.status == 400


async def test_a_summary_is_asked_for_once_per_part_that_goes(tmp_path, kiro):
    """The first answer's exact numbers move the cut a little; from then on it stays where it is."""
    asked = []
    async with running_proxy(tmp_path, kiro, flags={"context.on_overflow": "summarise"}) as proxy:
        for _ in range(3):
            async with proxy.post("/v1/messages", ask()) as response:
                assert response.status == 200
                assert "All is well." in await response.text()
            asked.append([one.body for one in kiro.seen("generate") if b"sesame" not in one.body])
        row = await proxy.last_row()
    assert any(note.startswith("summarised: ") for note in row.notes)
    assert b"question 1 " in asked[0][0]
    assert len(asked[2]) == len(asked[1])


async def test_responses_may_ask_for_truncation_themselves(tmp_path, kiro):
    items = [{"role": one["role"], "content": one["content"]} for one in long_talk()]
    document = {"model": MODEL, "input": items, "truncation": "auto"}
    async with (
        running_proxy(tmp_path, kiro, flags={"context.on_overflow": "error"}) as proxy,
        proxy.post("/v1/responses", document) as response,
    ):
        assert response.status == 200
        assert "x-kiro-trimmed" in response.headers


def test_a_word_elsewhere_in_the_name_does_not_count():
    assert on_overflow("MyApp/1.0 notcodex/2", "trim", may_trim=False) == "trim"
    assert on_overflow("Mozilla/5.0 codex_cli_rs/1", "trim", may_trim=False) == "error"
