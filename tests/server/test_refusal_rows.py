"""Every way Kiro says no: what the client gets, whom it is asked of next, and what becomes of the account.

Two accounts, `first` always asked first. Each row comes as an HTTP status and as an exception frame, before
and after the first event; `first` alone suffers it, or both do.
"""

import time
from typing import Any

import aiohttp
import msgspec
import pytest

from kiro.emulator.faults import ErrorFrame, ExceptionFrame, Fault, HttpError, Reset
from kiro.emulator.server import Emulator
from support.proxy import Proxy, running_proxy
from support.sse import records, text_of

LONG = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen"
SAID = {
    "model": "claude-sonnet-4-5",
    "max_tokens": 1000,
    "stream": True,
    "messages": [{"role": "user", "content": f"Test.\nEMULATE: text={LONG}\nEMULATE: end"}],
}
MOST = 6
NEXT = ("first", "second")
REFRESHED = ("first", "refresh first", "first", "second")
REPEATED = ("first", "first", "second")
MODEL_BUSY, MODEL_LACKING = "the model is busy for 30 s", "it lacks the model for 3600 s"
AUTH, DENIED, RATE = (401, "authentication_error"), (403, "permission_error"), (429, "rate_limit_error")
BUSY, BROKEN, SLOW = (529, "overloaded_error"), (502, "api_error"), (504, "timeout_error")
INVALID, OURS, UNKNOWN = (400, "invalid_request_error"), (500, "api_error"), (404, "not_found_error")
TOKEN = "The bearer token included in the request is invalid."


class Row(msgspec.Struct, frozen=True):
    """`asked` is whom Kiro is asked as while `first` suffers; `fate` is what becomes of `first`.

    `told` is status and kind of the error when nobody is left. `later` is the fate after a frame behind the first
    event, where it differs; `continued` says that the text then goes on with the other account.
    """

    asked: tuple[str, ...]
    fate: str
    told: tuple[int, str]
    http: HttpError | None = None
    frame: ExceptionFrame | ErrorFrame | None = None
    later: str | None = None
    continued: bool = False


def http(status, reason=None, message="No.", **more):
    return HttpError(status=status, reason=reason, message=message, **more)


def frame(name, reason=None, message="No.", **more):
    return ExceptionFrame(name=f"{name}Exception", reason=reason, message=message, **more)


def both(status, name, reason=None, message="No."):
    return {"http": http(status, reason, message), "frame": frame(name, reason, message)}


def malformed(reason, message="No.", asked=("first",)):
    return Row(asked, "fine", INVALID, **both(400, "validation", reason, message))


def quota(reason, seconds, status=429, name="throttling"):
    return Row(NEXT, f"exhausted for {seconds} s", RATE, **both(status, name, reason))


def passing(status, told, **more):
    """What a moment may mend; Retry-After keeps the moment short."""
    return Row(REPEATED, "fine", told, http=http(status, retry_after_s=0), continued=True, **more)


ROWS = {
    "1 a dead token": Row(REFRESHED, "cooling for 300 s", AUTH, **both(403, "accessDenied", None, TOKEN), later="fine"),
    "1 a dead token, 401": Row(REFRESHED, "cooling for 300 s", AUTH, http=http(401)),
    "1 a dead token, 400 of the management host": Row(
        REFRESHED, "cooling for 300 s", AUTH, http=http(400, message="Invalid token", shape="AccessDeniedException")
    ),
    "2 suspended": Row(NEXT, "suspended", DENIED, **both(403, "accessDenied", "TEMPORARILY_SUSPENDED")),
    "2 suspended, by its text": Row(
        NEXT, "suspended", DENIED, **both(403, "accessDenied", None, "Your User ID temporarily is suspended.")
    ),
    "2 locked": Row(NEXT, "suspended", DENIED, http=http(423)),
    "3 another application": Row(
        REPEATED, "misconfigured", DENIED, **both(403, "accessDenied", "FEATURE_NOT_SUPPORTED"), later="fine"
    ),
    "4 a plan for another application": Row(
        REPEATED,
        "misconfigured",
        DENIED,
        **both(403, "accessDenied", None, "Your subscription does not support this application."),
        later="fine",
    ),
    "5 a foreign profile": Row(
        NEXT,
        "cooling for 600 s",
        DENIED,
        **both(403, "accessDenied", None, "User is not authorized to make this call."),
        later="fine",
    ),
    "6 any other 403": Row(REFRESHED, "cooling for 600 s", DENIED, **both(403, "accessDenied"), later="fine"),
    "7 credits spent": quota("MONTHLY_REQUEST_COUNT", 3600, 402, "serviceQuotaExceeded"),
    "7 credits spent, without a reason": quota(None, 3600, 402, "serviceQuotaExceeded"),
    "7 credits spent, 429": quota("MONTHLY_REQUEST_COUNT", 3600),
    "7 credits spent, 400": quota("USAGE_LIMIT_REACHED", 3600, 400),
    "7 the overage is spent": quota("OVERAGE_REQUEST_LIMIT_EXCEEDED", 3600),
    "8 of the day": quota("DAILY_REQUEST_COUNT", 3600),
    "8 of the hour": quota("HOURLY_REQUEST_COUNT", 600),
    "8 of the week": quota("WEEKLY_REQUEST_COUNT", 3600),
    "8 with Retry-After": Row(
        NEXT,
        "exhausted for 77 s",
        RATE,
        http=http(429, "DAILY_REQUEST_COUNT", retry_after_s=77),
        frame=frame("throttling", "DAILY_REQUEST_COUNT", retry_after_ms=77_000),
    ),
    "9 too many turns": Row(
        ("first", "first"), "fine", INVALID, **both(402, "serviceQuotaExceeded", "CONVERSATION_LIMIT_EXCEEDED")
    ),
    "10 too fast": Row(NEXT, "cooling for 10 s", RATE, **both(429, "throttling", "USER_REQUEST_RATE_EXCEEDED")),
    "10 too fast, without a reason": Row(NEXT, "cooling for 10 s", RATE, **both(429, "throttling")),
    "10 credits too fast": Row(
        NEXT,
        "cooling for 25 s",
        RATE,
        http=http(429, "CREDIT_CONSUMPTION_RATE_EXCEEDED", retry_after_s=25),
        frame=frame("throttling", "CREDIT_CONSUMPTION_RATE_EXCEEDED", retry_after_ms=25_000),
    ),
    "11 everybody's rate": Row(
        REPEATED,
        "fine",
        RATE,
        http=http(429, "SERVICE_REQUEST_RATE_EXCEEDED", retry_after_s=0),
        frame=frame("throttling", "SERVICE_REQUEST_RATE_EXCEEDED", retry_after_ms=0),
    ),
    "12 suspicious activity": Row(
        NEXT,
        "throttled for 1800 s",
        RATE,
        **both(429, "throttling", None, "Due to suspicious activity we are imposing temporary limits."),
    ),
    "13 no capacity": Row(
        REPEATED,
        MODEL_BUSY,
        BUSY,
        http=http(429, "INSUFFICIENT_MODEL_CAPACITY", retry_after_s=0),
        frame=frame("throttling", "INSUFFICIENT_MODEL_CAPACITY", retry_after_ms=0),
    ),
    "13 the model is away": Row(
        REPEATED,
        MODEL_BUSY,
        BUSY,
        http=http(500, "MODEL_TEMPORARILY_UNAVAILABLE", retry_after_s=0),
        frame=frame("internalServer", "MODEL_TEMPORARILY_UNAVAILABLE", retry_after_ms=0),
    ),
    "13 high load": Row(
        REPEATED,
        MODEL_BUSY,
        BUSY,
        http=http(503, message="Encountered unexpectedly high load", retry_after_s=0),
        frame=frame("serviceUnavailable", message="We are experiencing high traffic.", retry_after_ms=0),
    ),
    "14 over the window": malformed("CONTENT_LENGTH_EXCEEDS_THRESHOLD"),
    "14 over the window, too": malformed("PROMPT_TOO_LONG"),
    "14 over the window, by its text": malformed(None, "Input is too long for requested model."),
    "15 a model the plan lacks": Row(NEXT, MODEL_LACKING, UNKNOWN, **both(400, "validation", "INVALID_MODEL_ID")),
    "16 a foreign signature": malformed(
        "THINKING_SIGNATURE_INVALID", "Invalid `signature` in `thinking` block", ("first", "first")
    ),
    "17 fields": malformed(None, "additionalModelRequestFields is not supported for this model", ("first", "first")),
    "17 fields of another kind": malformed(
        "REQUEST_BODY_INVALID", "Invalid additionalModelRequestFields: effort", ("first", "first")
    ),
    "18 calls and results do not match": malformed("TOOL_USE_RESULT_MISMATCH"),
    "18 the same, by its text": Row(
        ("first",),
        "fine",
        INVALID,
        http=http(500, message="Expected toolResult blocks at messages.2"),
        frame=frame("internalServer", message="Expected toolResult blocks at messages.2"),
    ),
    "19 tool use format": malformed("REQUEST_BODY_INVALID", "Invalid tool use format.", ("first", "first")),
    "20 a schema": malformed("TOOL_SCHEMA_INVALID", asked=("first", "first")),
    **{
        f"20 {reason}": malformed(reason)
        for reason in ("TOOL_DUPLICATE", "TOOL_CONFIG_MISSING", "IMAGE_SIZE_EXCEEDED", "DOCUMENT_COUNT_EXCEEDED")
    },
    "20 an improper request": malformed("REQUEST_BODY_INVALID", "Improperly formed request."),
    "21 no profile": Row(
        NEXT,
        "cooling for 600 s",
        OURS,
        **both(400, "validation", None, "profileArn is required for this request."),
        later="fine",
    ),
    "22 a company's key": Row(NEXT, "misconfigured", OURS, **both(400, "validation", "INVALID_KMS_GRANT")),
    "22 a conflict about it": Row(NEXT, "misconfigured", OURS, http=http(409), frame=frame("conflict")),
    "23 broken": passing(500, BROKEN, frame=frame("internalServer", retry_after_ms=0)),
    "23 a bad gateway": passing(502, BROKEN, frame=None),
    "23 a request time-out": passing(408, SLOW, frame=frame("modelTimeout", retry_after_ms=0)),
    "23 a gateway time-out": passing(504, SLOW),
    "23 a page of an edge": Row(
        REPEATED, "fine", BROKEN, http=http(503, raw="<html>Service unavailable</html>", retry_after_s=0)
    ),
    "24 an edge's time-out, 524": Row(("first",), "fine", SLOW, http=http(524, raw="<html></html>")),
    "24 an edge's time-out, 522": Row(("first",), "fine", SLOW, http=http(522, raw="<html></html>")),
    "25 a body too large": Row(("first",), "fine", INVALID, http=http(413)),
}
HTTP = {name: row for name, row in ROWS.items() if row.http is not None}
FRAMES = {name: row for name, row in ROWS.items() if row.frame is not None}


def suffering(rows):
    return pytest.mark.parametrize("row", rows.values(), ids=rows.keys())


@pytest.fixture
async def two(tmp_path, kiro):
    flags = {"pool.strategy": "priority", "relay.max_attempts_per_account": 2, "relay.max_attempts": MOST}
    async with running_proxy(tmp_path, kiro, people=NEXT, flags=flags) as running:
        yield running


async def asked(proxy: Proxy) -> tuple[int, Any, str, bool]:
    """Status, error (None: a whole answer), text, and whether the body ended properly."""
    async with proxy.post("/v1/messages", SAID) as response:
        if response.status != 200:
            return response.status, (await response.json())["error"], "", True
        data, whole = b"", True
        try:
            async for chunk in response.content.iter_any():
                data += chunk
        except aiohttp.ClientPayloadError:
            whole = False
    found = records(data)
    return 200, found[-1][1]["error"] if found[-1][0] == "error" else None, text_of(found), whole


def story(kiro: Emulator) -> tuple[str, ...]:
    """Whom Kiro was asked as, first to last; refreshes are told, too."""
    names = {"generate": "", "refresh": "refresh ", "profiles": "profiles "}
    return tuple(names[one.operation] + str(one.account) for one in reversed(kiro.requests) if one.operation in names)


async def fate(proxy: Proxy, name: str) -> str:
    """What became of an account."""
    await proxy.runtime.settled()
    account = proxy.home.accounts.get(name)
    health = proxy.runtime.turns.health(account.id)
    if account.state != "active":
        return account.state
    if health.state != "active":
        return f"{health.state} for {health.resting_until - health.since:.0f} s"
    if health.benched:
        (bench,) = health.benched
        seconds = round((bench.until - time.time()) / 10) * 10
        return f"it lacks the model for {seconds} s" if bench.lacking else f"the model is busy for {seconds} s"
    return "fine"


def well(row: Row) -> bool:
    """Whether the other account is asked in the end."""
    return row.asked[-1] == "second"


async def suffered(row: Row, fault: Fault, proxy: Proxy, kiro: Emulator) -> None:
    kiro.faults.add(fault, times=None, account="first")
    status, error, text, _ = await asked(proxy)
    assert story(kiro) == row.asked
    assert await fate(proxy, "first") == row.fate
    assert await fate(proxy, "second") == "fine"
    if well(row):
        assert (status, error, text) == (200, None, LONG)
    else:
        assert (status, error["type"]) == row.told


@suffering(HTTP)
async def test_as_an_http_status(two, kiro, row):
    await suffered(row, row.http, two, kiro)


@suffering(FRAMES)
async def test_as_a_frame_before_the_first_event(two, kiro, row):
    await suffered(row, row.frame, two, kiro)


@suffering(ROWS)
async def test_when_nobody_is_left(two, kiro, row):
    kiro.faults.add(row.http or row.frame, times=None)
    status, error, _, _ = await asked(two)
    assert (status, error["type"]) == row.told
    first = row.asked[:-1] if well(row) else row.asked
    both = first + tuple(name.replace("first", "second") for name in first) if well(row) else first
    assert story(kiro) == both
    assert len(kiro.seen("generate")) <= MOST
    if well(row):
        assert await fate(two, "second") == row.fate


@suffering(FRAMES)
async def test_as_a_frame_after_the_first_event(two, kiro, row):
    kiro.faults.add(msgspec.structs.replace(row.frame, after=3), times=None, account="first")
    status, error, text, whole = await asked(two)
    assert status == 200
    if row.continued:
        assert (story(kiro), error, text, whole) == (NEXT, None, LONG, True)
    else:
        assert (story(kiro), error["type"], whole) == (("first",), row.told[1], False)
        assert text
        assert LONG.startswith(text)
    assert await fate(two, "first") == (row.later or row.fate)


async def test_26_a_network_that_fails_costs_nobody_anything(two, kiro):
    kiro.faults.add(Reset(), times=None, account="first")
    assert await asked(two) == (200, None, LONG, True)
    assert story(kiro) == REPEATED
    assert (await fate(two, "first"), await fate(two, "second")) == ("fine", "fine")


async def test_a_length_that_is_exceeded_behind_text_ends_the_answer_and_before_it_is_an_overflow(two, kiro):
    kiro.faults.add(frame("contentLengthExceeded", after=3))
    status, error, text, whole = await asked(two)
    assert (status, error, whole) == (200, None, True)
    assert text
    assert LONG.startswith(text)
    assert (await two.last_row()).stop_reason == "max_tokens"
    kiro.faults.add(frame("contentLengthExceeded"))
    status, error, _, _ = await asked(two)
    assert (status, error["type"]) == INVALID
    assert error["message"].startswith("prompt is too long: ")
    assert story(kiro) == ("first", "first")


@pytest.mark.parametrize("way", ["nobody listens", "no TLS"])
async def test_26_kiro_that_cannot_be_reached_is_nobody_s_fault(tmp_path, kiro, unused_tcp_port, way):
    url = f"http://127.0.0.1:{unused_tcp_port}" if way == "nobody listens" else kiro.url.replace("http:", "https:")
    flags = {"upstream.url": url, "relay.max_attempts_per_account": 1}
    async with running_proxy(tmp_path, kiro, people=NEXT, flags=flags) as proxy:
        status, error, _, _ = await asked(proxy)
        assert (status, error["type"]) == BROKEN
        assert error["message"].startswith("Kiro cannot be reached")
        row = await proxy.last_row()
        assert [attempt.error for attempt in row.attempts] == ["NetworkFailed", "NetworkFailed"]
        assert (await fate(proxy, "first"), await fate(proxy, "second")) == ("fine", "fine")
