"""`kiro ask`: one question, the answer as it comes. Works without a running server."""

import asyncio
import secrets
import sys
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import typer

from kiro.cli import render
from kiro.cli.opening import opened_home, run_async
from kiro.cli.table import new_app
from kiro.errors import UnknownModel, UsageError

if TYPE_CHECKING:
    from kiro.conversation.events import Event, Finish
    from kiro.home import Home
    from kiro.relay.answering import Answering

app = new_app()

_ENDINGS = {
    "max_tokens": "The answer was cut at the model's limit.",
    "model_context_window_exceeded": "The answer was cut: the model's window is full.",
}


@app.command()
def ask(
    question: str = typer.Argument(..., metavar="QUESTION", help="The question, or - to read it from stdin."),
    model: str = typer.Option("auto", "--model", "-m", help="The model; `kiro models` lists them."),
    account: str = typer.Option(None, "--account", help="Use this account, by name or id."),
) -> None:
    """Ask one question and read the answer.

    Thinking is shown dimmed on a terminal, never mixed into the answer. Works without a running server.
    Example: `git diff | kiro ask - -m claude-sonnet-4.5`.
    """
    from kiro.reading import well_formed_text

    text = well_formed_text(_stdin() if question == "-" else question)
    if not text.strip():
        raise UsageError("The question is empty.", hint='`kiro ask "What is a monad?"`, or pipe one into `kiro ask -`.')
    with opened_home() as home:
        if account is not None:
            home.accounts.get(account)
        run_async(_ask(home, text, model, account))


def _stdin() -> str:
    return sys.stdin.buffer.read().decode("utf-8", "replace")


async def _ask(home: "Home", text: str, model: str, account: str | None) -> None:
    from kiro.accounts.pool import Reach
    from kiro.conversation.messages import Conversation, Message, Text
    from kiro.relay.answering import Answering
    from kiro.relay.recorder import Record
    from kiro.runtime import open_runtime

    async with open_runtime(home, background=False) as runtime:
        conversation = Conversation(model, (Message("user", (Text(text),)),))
        record = Record(f"req_{secrets.token_hex(12)}", "ask", "kiro ask")
        record.model, record.stream = model, True
        try:
            answering = record.answering = Answering(runtime.relay, conversation, Reach(only=account))
            await _show(answering)
        except UnknownModel as error:
            runtime.log.add(record.row(error.status, error))
            raise UsageError(f"No account offers a model {model!r}.", hint=error.hint) from error
        except BrokenPipeError:  # whoever read the answer has gone: the same as a client that leaves
            runtime.log.add(record.row(499, asyncio.CancelledError()))
            raise
        except BaseException as error:
            runtime.log.add(record.row(getattr(error, "status", 499), error))
            raise
        runtime.log.add(record.row(200, None))


async def _show(answering: "Answering") -> None:
    from kiro.conversation.events import Finish, TextDelta, ThinkingDelta, ThinkingEnd

    show_thinking = render.coloured(sys.stderr)
    ends_line = True
    async for events in _events(answering):
        for event in events:
            match event:
                case TextDelta(text=text):
                    render.raw(text)
                    ends_line = text.endswith("\n")
                case ThinkingDelta(text=text) if show_thinking:
                    render.note(text, style="dim", end="")
                case ThinkingEnd() if show_thinking:
                    render.note("")
                case Finish():
                    if not ends_line:
                        render.raw("\n")
                    _remark(event)
                case _:
                    pass


def _remark(finish: "Finish") -> None:
    if finish.reason == "refusal":
        render.note(f"The model declined. {finish.refusal or ''}".rstrip())
    elif finish.reason in _ENDINGS:
        render.note(_ENDINGS[finish.reason])


async def _events(answering: "Answering") -> "AsyncIterator[Sequence[Event]]":
    """The events in batches. What the network brings goes through a queue, so that a slow screen blocks nobody."""
    batches: asyncio.Queue[Sequence[Event] | None] = asyncio.Queue()

    async def receive() -> None:
        try:
            batches.put_nowait(await answering.begin())
            await answering.deliver(batches.put_nowait)
        finally:
            batches.put_nowait(None)

    task = asyncio.create_task(receive())
    try:
        while (batch := await batches.get()) is not None:
            yield batch
        await task
    finally:
        task.cancel()
        answering.close()
