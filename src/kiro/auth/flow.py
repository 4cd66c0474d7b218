"""Drives a sign-in: does each step a flow asks for and hands back what came of it.

Everything that touches the world comes from outside: `Hands` has the HTTP, the waiting and what the
person sees. So the same flows run on a terminal, in a test with a clock of its own, or behind a page.
"""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any, Final, assert_never

import msgspec

from kiro.auth.http import HttpAsk, HttpReply
from kiro.auth.loopback import Loopback
from kiro.auth.records import ImportedAccount
from kiro.auth.steps import Browse, Callback, Flow, Listen, ShowCode, Trust, Wait
from kiro.errors import KiroError

BROWSER_TIMEOUT_S: Final = 600.0


class Hands(msgspec.Struct, frozen=True):
    """`send` brings an HttpAsk to its service; `sleep` takes seconds; `show_code` and `show_page` tell the person.

    `show_page` opens the browser, or says where to go; the Loopback waits for its answer, and takes it by hand, too.
    `agree` asks the person whether a host is their company's.
    """

    send: Callable[[HttpAsk], Awaitable[HttpReply]]
    sleep: Callable[[float], Awaitable[None]]
    show_code: Callable[[ShowCode], Awaitable[None]]
    show_page: Callable[[Browse, Loopback], Awaitable[None]]
    agree: Callable[[Trust], Awaitable[bool]]


async def drive(flow: Flow, hands: Hands, *, browser_timeout_s: float = BROWSER_TIMEOUT_S) -> ImportedAccount:
    """The account at the flow's end. Raises what the flow raises: SignInFailed, UpstreamError, UsageError."""
    answer: Any = None
    failure: KiroError | None = None
    async with AsyncExitStack() as stack:
        listener: Loopback | None = None
        while True:
            try:
                step = flow.throw(failure) if failure is not None else flow.send(answer)
            except StopIteration as end:
                account: ImportedAccount = end.value
                return account
            answer, failure = None, None
            match step:
                case HttpAsk():
                    try:
                        answer = await hands.send(step)
                    except KiroError as error:
                        failure = error
                case Wait():
                    await hands.sleep(step.seconds)
                case ShowCode():
                    await hands.show_code(step)
                case Listen():
                    await stack.aclose()
                    listener = await stack.enter_async_context(Loopback(step.ports))
                    answer = listener.port
                case Browse():
                    answer = await _browse(step, listener, hands, browser_timeout_s)
                case Trust():
                    answer = await hands.agree(step)
                case _:
                    assert_never(step)


async def _browse(step: Browse, listener: Loopback | None, hands: Hands, timeout_s: float) -> Callback:
    if listener is None:
        raise RuntimeError("a flow has to listen before it sends the browser away")
    listener.expect(step)
    await hands.show_page(step, listener)
    return await listener.answer(timeout_s)
