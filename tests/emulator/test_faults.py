"""Every fault as a plain HTTP client sees it."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from kiro.emulator.answers import RawEvent, frame_bytes
from kiro.emulator.faults import (
    BadChecksum,
    Empty,
    EndEarly,
    ErrorFrame,
    ExceptionFrame,
    ExpireToken,
    Fault,
    HalfFrame,
    Hang,
    HttpError,
    Replay,
    Reset,
    Shred,
    Slow,
    plan,
)
from kiro.emulator.server import Emulator
from kiro.upstream.eventstream import Decoder, FrameError
from support.asking import Asker
from support.bodies import body, tool
from support.frames import Event, events, named, text_of

TEXT = body("EMULATE: text=one two three four five six seven eight nine ten eleven twelve")
TOOL = body('EMULATE: tool=get_weather input={"city": "a long name of a city, long enough for slices"}', tools=[tool()])
TAIL = ["metadataEvent", "contextUsageEvent", "meteringEvent"]


async def received(asker: Asker, document: dict[str, Any] = TEXT) -> tuple[list[Event], str]:
    """The good frames, and how the stream ended: "eof", "cut" (connection lost), or the decoder's complaint."""
    decoder, found = Decoder(), []
    async with asker.post(document) as response:
        assert response.status == 200
        try:
            async for chunk in response.content.iter_any():
                found += [named(frame) for frame in decoder.feed(chunk)]
            decoder.close()
        except aiohttp.ClientError:
            return found, "cut"
        except FrameError as error:
            return found + [named(frame) for frame in error.before], error.fault
    return found, "eof"


async def test_nothing_wrong_is_the_control(asker: Asker) -> None:
    found, end = await received(asker)
    assert end == "eof"
    assert text_of(found).startswith("one two")
    assert [name for name, _ in found[-3:]] == TAIL


async def test_http_error_with_everything(asker: Asker) -> None:
    asker.emulator.faults.add(
        HttpError(
            status=429, reason="USER_REQUEST_RATE_EXCEEDED", message="Slow down.", retry_after_s=7, retry_after_ms=7000
        )
    )
    async with asker.post(TEXT) as response:
        assert response.status == 429
        assert response.headers["Retry-After"] == "7"
        assert await response.json() == {
            "__type": "com.amazon.kiro.runtimeservice#ThrottlingException",
            "message": "Slow down.",
            "reason": "USER_REQUEST_RATE_EXCEEDED",
            "retryAfterMilliseconds": 7000,
        }


async def test_http_error_as_a_page_of_the_edge(asker: Asker) -> None:
    asker.emulator.faults.add(HttpError(status=503, raw="<html>busy</html>"))
    async with asker.post(TEXT) as response:
        assert (response.status, response.content_type, await response.text()) == (
            503,
            "text/html",
            "<html>busy</html>",
        )


async def test_token_expiry_refuses_until_refreshed(asker: Asker) -> None:
    asker.emulator.faults.add(ExpireToken())
    status, answer = await asker.refused(TEXT)
    assert (status, answer["message"]) == (403, "The bearer token included in the request is invalid.")
    status, _ = await asker.refused(TEXT)
    assert status == 403
    asker.tokens = asker.emulator.people.issue(asker.person)
    assert await received(asker)


@pytest.mark.parametrize("after", [0, 2])
async def test_exception_frame_ends_the_stream(asker: Asker, after: int) -> None:
    asker.emulator.faults.add(ExceptionFrame(reason="INSUFFICIENT_MODEL_CAPACITY", retry_after_ms=5, after=after))
    found, end = await received(asker)
    assert end == "eof"
    assert len(found) == after + 1
    assert found[-1] == (
        "throttlingError",
        {"message": "Emulated exception.", "reason": "INSUFFICIENT_MODEL_CAPACITY", "retryAfterMilliseconds": 5},
    )


async def test_error_frame_ends_the_stream(asker: Asker) -> None:
    asker.emulator.faults.add(ErrorFrame(code="Oops", after=1))
    found, end = await received(asker)
    assert ([name for name, _ in found], end) == (["messageMetadataEvent", "Oops"], "eof")


async def test_reset_loses_the_connection_after_k_events(asker: Asker) -> None:
    asker.emulator.faults.add(Reset(after=3))
    found, end = await received(asker)
    assert (len(found), end) == (3, "cut")
    assert asker.emulator.aborted == 0


async def test_end_early_closes_properly_without_tail(asker: Asker) -> None:
    asker.emulator.faults.add(EndEarly(after=3))
    found, end = await received(asker)
    assert (len(found), end) == (3, "eof")


@pytest.mark.parametrize(("fault", "ending"), [(Reset(inside_tool=True), "cut"), (EndEarly(inside_tool=True), "eof")])
async def test_a_tool_call_is_cut_inside_its_input(asker: Asker, fault: Fault, ending: str) -> None:
    asker.emulator.faults.add(fault)
    found, end = await received(asker, TOOL)
    assert end == ending
    assert found[-1][0] == "toolUseEvent"
    assert found[-1][1]["input"]
    assert not any(payload.get("stop") for _, payload in found)


async def test_half_a_frame(asker: Asker) -> None:
    asker.emulator.faults.add(HalfFrame(after=2))
    found, end = await received(asker)
    assert (len(found), end) == (2, "truncated")


async def test_a_wrong_checksum(asker: Asker) -> None:
    asker.emulator.faults.add(BadChecksum(after=2))
    found, end = await received(asker)
    assert (len(found), end) == (2, "message_crc")


async def test_hang_in_the_middle(asker: Asker) -> None:
    asker.emulator.faults.add(Hang(ms=80, after=2))
    began = time.perf_counter()
    found, end = await received(asker)
    assert time.perf_counter() - began >= 0.08
    assert (end, found[-1][0]) == ("eof", "meteringEvent")


async def test_hang_before_the_head(asker: Asker) -> None:
    asker.emulator.faults.add(Hang(ms=80, before_head=True))
    began = time.perf_counter()
    async with asker.post(TEXT):
        assert time.perf_counter() - began >= 0.08


async def test_slow_pauses_before_every_event(asker: Asker) -> None:
    asker.emulator.faults.add(Slow(ms=10))
    began = time.perf_counter()
    found, _ = await received(asker)
    assert time.perf_counter() - began >= 0.01 * len(found)


async def test_an_empty_stream(asker: Asker) -> None:
    asker.emulator.faults.add(Empty())
    assert await received(asker) == ([], "eof")
    asker.emulator.faults.add(Empty(tail=True))
    found, _ = await received(asker)
    assert [name for name, _ in found] == TAIL


async def test_shredded_bytes_are_the_same_bytes(asker: Asker) -> None:
    whole, _ = await received(asker)
    for seed in range(3):
        asker.emulator.faults.add(Shred(seed=seed, longest=9))
        assert await received(asker) == (whole, "eof")


SEQUENCES = json.loads((Path(__file__).parents[1] / "cases" / "upstream-examples.json").read_text())["sequences"]


@pytest.mark.parametrize("sequence", SEQUENCES, ids=lambda sequence: sequence["name"])
def test_any_events_can_be_replayed(sequence: dict[str, Any]) -> None:
    asked = json.dumps({"fault": "replay", "events": sequence["events"]})
    queue = Emulator().faults
    faults = queue.take("generate", None, f"EMULATE-FAULT: {asked}")
    (replay,) = faults
    assert isinstance(replay, Replay)
    data = b"".join(step.data for step in plan((), faults) if hasattr(step, "data"))
    wanted = [one.get("payload") or {} for one in sequence["events"]]
    assert [payload for _, payload in events(data)] == wanted


async def test_a_replay_over_http(asker: Asker) -> None:
    asker.emulator.faults.add(Replay(events=(RawEvent("assistantResponseEvent", {"content": "replayed"}),)))
    assert await received(asker) == ([("assistantResponseEvent", {"content": "replayed"})], "eof")


class TestWhom:
    async def test_the_next_n_requests(self, asker: Asker) -> None:
        asker.emulator.faults.add(HttpError(status=500), times=2)
        statuses = []
        for _ in range(3):
            async with asker.post(TEXT) as response:
                statuses.append(response.status)
        assert statuses == [500, 500, 200]

    async def test_all_requests_until_cleared(self, asker: Asker) -> None:
        asker.emulator.faults.add(HttpError(status=500), times=None)
        for _ in range(3):
            async with asker.post(TEXT) as response:
                assert response.status == 500
        asker.emulator.faults.clear()
        async with asker.post(TEXT) as response:
            assert response.status == 200

    async def test_one_account(self, asker: Asker, session: aiohttp.ClientSession) -> None:
        other = Asker(asker.emulator, session, asker.emulator.people.add("second"))
        asker.emulator.faults.add(HttpError(status=500), account="second")
        async with asker.post(TEXT) as response:
            assert response.status == 200
        async with other.post(TEXT) as response:
            assert response.status == 500

    async def test_one_operation(self, asker: Asker) -> None:
        asker.emulator.faults.add(HttpError(status=500), operation="usage")
        async with asker.post(TEXT) as response:
            assert response.status == 200
        async with asker.session.get(asker.emulator.url + "/getUsageLimits", headers=asker.headers) as response:
            assert response.status == 500

    async def test_the_refresh_of_one_account(self, asker: Asker) -> None:
        asker.emulator.faults.add(HttpError(status=429), operation="refresh", account="first")
        asked = {"refreshToken": asker.tokens.refresh}
        for wanted in (429, 200):
            async with asker.session.post(asker.emulator.url + "/refreshToken", json=asked) as response:
                assert response.status == wanted


class TestLines:
    async def test_a_line_of_the_prompt_counts_its_own_uses(self, asker: Asker) -> None:
        line = 'EMULATE-FAULT: {"fault": "http", "status": 500, "times": 2}\nEMULATE: text=yes'
        statuses = []
        for _ in range(3):
            async with asker.post(body(line)) as response:
                statuses.append(response.status)
        assert statuses == [500, 500, 200]

    async def test_lines_combine(self, asker: Asker) -> None:
        lines = 'EMULATE-FAULT: {"fault": "eof", "after": 2}\nEMULATE-FAULT: {"fault": "shred", "seed": 4}\nEMULATE: text=yes'
        found, end = await received(asker, body(lines))
        assert (len(found), end) == (2, "eof")

    async def test_a_line_for_another_account_is_kept(self, asker: Asker, session: aiohttp.ClientSession) -> None:
        other = Asker(asker.emulator, session, asker.emulator.people.add("second"))
        line = body('EMULATE-FAULT: {"fault": "http", "status": 402, "account": "second"}')
        async with asker.post(line) as response:
            assert response.status == 200
        async with other.post(line) as response:
            assert response.status == 402


async def test_a_client_that_leaves_is_counted_and_stops_the_answer(asker: Asker) -> None:
    asker.emulator.faults.add(Hang(ms=60_000, after=2))
    async with asker.post(TEXT) as response:
        await response.content.readany()
        assert asker.emulator.streaming == 1
        response.close()
    for _ in range(100):
        if asker.emulator.aborted:
            break
        await asyncio.sleep(0.01)
    assert (asker.emulator.aborted, asker.emulator.streaming) == (1, 0)
    assert asker.emulator.requests[0].aborted


def test_a_frame_of_every_kind() -> None:
    assert events(frame_bytes(RawEvent(error_code="E", error_message="m"))) == [("E", {})]
    assert events(frame_bytes(RawEvent(exception_type="X", payload={"message": "m"}))) == [("X", {"message": "m"})]
    assert events(frame_bytes(RawEvent("ping"))) == [("ping", {})]


@pytest.mark.parametrize("before", [True, False], ids=["before it acts", "after it has acted"])
async def test_a_held_answer_of_a_sign_in_service(asker: Asker, before: bool) -> None:
    """The difference between asking again and having lost the token."""
    people = asker.emulator.people
    asker.emulator.faults.add(Hang(ms=60_000, before_head=before), operation="refresh")
    with pytest.raises(TimeoutError):
        async with (
            asyncio.timeout(0.3),
            asker.session.post(
                f"{asker.emulator.url}/refreshToken", json={"refreshToken": asker.tokens.refresh}
            ) as response,
        ):
            await response.read()
    assert (people.holder(asker.tokens.refresh) is not None) == before
