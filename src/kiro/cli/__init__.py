"""The terminal edge: `main`, the one place where an error becomes text and an exit status.

Exit status: 0 done, 1 failed, 2 wrong usage, 3 no account can serve, 4 cancelled. Commands raise
`KiroError`; nobody else prints an error or ends the process. Answers go to stdout, all else to stderr.

Nothing heavy is imported here: `kiro --help` has to be there at once.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from kiro.errors import Cancelled, KiroError


def main() -> None:
    # The C++ of frozenlist, which aiohttp brings along, loads a library of a megabyte for a few short lists.
    os.environ.setdefault("FROZENLIST_NO_EXTENSIONS", "1")
    raise SystemExit(run(sys.argv[1:], Path(sys.argv[0]).stem))


def run(arguments: Sequence[str], program: str = "kiro") -> int:
    """Run one command line; the exit status."""
    try:
        status = _called(arguments, "kiro-proxy" if program == "kiro-proxy" else "kiro")
        sys.stdout.flush()
    except Cancelled as error:
        return _stopped(error.message)
    except KiroError as error:
        return _told(error.message, error.hint, error.exit_code)
    except BrokenPipeError:
        return _reader_left()
    except (KeyboardInterrupt, EOFError):
        return _stopped("Stopped.")
    except Exception as error:  # noqa: BLE001  the last resort: whatever nobody foresaw becomes one sentence and a traceback in the log
        return _wrong_usage(error) or _unforeseen(error)
    return status if isinstance(status, int) else 0


def _called(arguments: Sequence[str], program: str) -> object:
    if list(arguments[:1]) == ["serve"]:
        from kiro.cli import serving

        work = serving.unparsed(arguments[1:])
        if work is not None:
            return work()
    from kiro.cli.table import root

    return root().main(args=list(arguments), prog_name=program, standalone_mode=False)


def _wrong_usage(error: Exception) -> int:
    """The exit status of a command that Typer could not read; 0 when the error is another."""
    typer_errors = sys.modules.get("typer.exceptions")
    if typer_errors is None or not isinstance(error, typer_errors.TyperException):
        return 0
    return _told(error.format_message().rstrip("."), _usage_hint(error), 2)


def _told(message: str, hint: str | None, status: int) -> int:
    from kiro.cli import render

    try:
        sys.stdout.flush()
        render.problem(message, hint)
    except BrokenPipeError:
        return _reader_left()
    return status


def _stopped(message: str) -> int:
    """The person's own wish is no error."""
    from kiro.cli import render

    render.note(message)
    return Cancelled.exit_code


def _usage_hint(error: Exception) -> str | None:
    """Where the wrong command is explained."""
    context = getattr(error, "ctx", None)
    return None if context is None else f"`{context.command_path} --help` shows how it is used."


def _reader_left() -> int:
    """Whoever read our output has gone (`kiro logs | head`): no complaint, also not from the interpreter's last flush."""
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, sys.stdout.fileno())
    return 1


def _unforeseen(error: Exception) -> int:
    """One sentence; the traceback goes to the log file, and to the screen only with KIRO_DEBUG=1, both redacted."""
    import traceback

    from kiro.redaction import redact_text

    if os.environ.get("KIRO_DEBUG") == "1":
        sys.stderr.write(redact_text("".join(traceback.format_exception(error))))
    return _told(f"Something unexpected went wrong ({type(error).__name__}).", _logged(error), 1)


def _logged(error: Exception) -> str:
    """Writes the traceback to the log file; says where it is."""
    import logging

    from kiro.home import Home, log_to_file

    try:
        home = Home()
        if not logging.getLogger().handlers:
            log_to_file(home)
        logging.getLogger("kiro").error("a command failed unexpectedly", exc_info=error)
    except (KiroError, OSError) as trouble:
        return f"It could not be logged either: {trouble} KIRO_DEBUG=1 shows where it happened."
    return f"The details are in {home.paths.log_file}; KIRO_DEBUG=1 shows them here."
