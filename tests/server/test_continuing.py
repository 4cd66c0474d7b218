"""A text that was cut goes on with another account, once; a tool call is never made twice."""

import json

import aiohttp
import pytest

from kiro.emulator.faults import EndEarly, ExceptionFrame, HttpError, Reset
from support.proxy import running_proxy
from support.sse import blocks_of, records

ANSWER = "one two three four five six seven eight"
TOOL = {
    "name": "run",
    "description": "Runs.",
    "input_schema": {"type": "object", "properties": {"cmd": {"type": "string"}}},
}
CALL = '{"cmd": "count to twenty, slowly and aloud"}'


def ask(*lines, **more):
    script = "\n".join(f"EMULATE: {line}" for line in (*lines, "end"))
    messages = [{"role": "user", "content": f"Test.\n{script}"}]
    return {"model": "claude-opus-4-8", "max_tokens": 4000, "messages": messages, "stream": True, **more}


@pytest.fixture
async def two(tmp_path, kiro):
    flags = {"pool.strategy": "priority"}
    async with running_proxy(tmp_path, kiro, people=("first", "second"), flags=flags) as running:
        yield running


async def streamed(proxy, document):
    """The blocks, the error if there was one, and whether the body ended properly."""
    data, whole = b"", True
    async with proxy.post("/v1/messages", document) as response:
        assert response.status == 200, await response.text()
        try:
            async for chunk in response.content.iter_any():
                data += chunk
        except aiohttp.ClientPayloadError:
            whole = False
    found = records(data)
    error = found[-1][1]["error"]["message"] if found[-1][0] == "error" else None
    return (
        [(one["type"], one.get("text") or one.get("thinking") or one["json"]) for one in blocks_of(found)],
        error,
        whole,
    )


def asked(kiro):
    return [one.account for one in reversed(kiro.seen("generate"))]


@pytest.mark.parametrize("after", range(1, 7))
@pytest.mark.parametrize("fault", [Reset, EndEarly], ids=["reset", "early end"])
async def test_wherever_a_text_is_cut_it_arrives_once(two, kiro, fault, after):
    kiro.faults.add(fault(after=after))
    assert await streamed(two, ask(f"text={ANSWER}")) == ([("text", ANSWER)], None, True)
    assert asked(kiro) in (["first", "second"], ["first", "first"])


@pytest.mark.parametrize("after", range(2, 6))
async def test_text_that_may_become_a_stop_sequence_is_not_said_twice(two, kiro, after):
    kiro.faults.add(Reset(after=after))
    document = ask(f"text={ANSWER}", stop_sequences=["three five", "six nine", " four x", "two three x"])
    assert await streamed(two, document) == ([("text", ANSWER)], None, True)


async def test_without_a_stream_a_cut_is_not_seen_either(two, kiro):
    kiro.faults.add(Reset(after=4))
    async with two.post("/v1/messages", ask(f"text={ANSWER}") | {"stream": False}) as response:
        assert (await response.json())["content"] == [{"type": "text", "text": ANSWER}]
    assert asked(kiro) == ["first", "second"]


async def test_thinking_that_was_shown_stays_and_the_text_goes_on(two, kiro):
    kiro.faults.add(Reset(after=7))
    thinking = {"type": "enabled", "budget_tokens": 2000}
    blocks, error, whole = await streamed(two, ask("thinking=Let me count.", f"text={ANSWER}", thinking=thinking))
    assert (error, whole) == (None, True)
    assert "".join(text for kind, text in blocks if kind == "text") == ANSWER
    assert blocks[0] == ("thinking", "Let me count.")


@pytest.mark.parametrize("after", range(2, 12))
async def test_a_tool_call_that_has_begun_is_never_made_again(two, kiro, after):
    kiro.faults.add(EndEarly(after=after))
    blocks, error, whole = await streamed(two, ask(f"tool=run input={CALL}", tools=[TOOL]))
    calls = [arguments for kind, arguments in blocks if kind == "tool_use"]
    if error is None:
        assert ([json.loads(call) for call in calls], whole) == ([json.loads(CALL)], True)
    else:
        assert (len(calls), whole) == (1, False)
        assert asked(kiro) == ["first"]


async def test_when_the_others_cannot_go_on_the_first_failure_is_told(two, kiro):
    kiro.faults.add(Reset(after=4), account="first")
    kiro.faults.add(HttpError(status=429), times=None, account="second")
    kiro.faults.add(HttpError(status=429), times=None, account="first")
    _, error, whole = await streamed(two, ask(f"text={ANSWER}"))
    assert not whole
    assert "broke in the middle" in error
    row = await two.last_row()
    assert any("could not be continued" in note for note in row.notes)


async def test_with_one_account_a_cut_is_told(proxy, kiro):
    kiro.faults.add(Reset(after=4))
    _, error, whole = await streamed(proxy, ask(f"text={ANSWER}"))
    assert (whole, asked(kiro)) == (False, ["first"])
    assert "broke in the middle" in error
    assert "no other account to try" in (await proxy.last_row()).notes[-1]


async def test_what_kiro_refuses_in_the_middle_is_told_and_not_continued(two, kiro):
    kiro.faults.add(ExceptionFrame(after=4, name="throttlingException"))
    _, error, whole = await streamed(two, ask(f"text={ANSWER}"))
    assert (whole, asked(kiro)) == (False, ["first"])
    assert error


async def test_tokens_are_counted_as_if_it_had_come_in_one_piece(two, kiro):
    """Clients compact by these numbers: a prompt that counts twice would make them do so for nothing."""
    kiro.faults.add(Reset(after=4))
    document = ask(f"text={ANSWER}")
    document["messages"][0]["content"] = "long ago " * 3000 + "\n" + document["messages"][0]["content"]
    await streamed(two, document)
    continued = await two.last_row()
    await streamed(two, document)
    whole = await two.last_row()
    assert [attempt.error for attempt in continued.attempts] == ["StreamCut", None]
    assert prompt(continued) == pytest.approx(prompt(whole), rel=0.1)
    assert continued.output_tokens == pytest.approx(whole.output_tokens, abs=6)  # the first half is estimated


def prompt(row):
    return row.input_tokens + row.cache_read_tokens + row.cache_write_tokens
