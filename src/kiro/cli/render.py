"""How things look: tables, colours, JSON. Nothing else in kiro prints.

Answers go to stdout, everything else to stderr. rich is used, and imported, only for a terminal with
colours; anything else gets plain aligned text, the same words without paint. Text from outside
(names, error messages, a model's answer) loses its control characters before it reaches a terminal,
because they could move the cursor or change its settings.
"""

import os
import re
import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TextIO, TypeAlias

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text as RichText

_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_GAP: Final = "  "
_STYLES: Final[Mapping[str, str]] = {
    "active": "green",
    "ok": "green",
    "up": "green",
    "done": "green",
    "added": "green",
    "updated": "green",
    "enabled": "green",
    "cooling": "yellow",
    "throttled": "yellow",
    "exhausted": "yellow",
    "failing": "yellow",
    "left": "yellow",
    "warning": "yellow",
    "suspended": "red",
    "invalid": "red",
    "misconfigured": "red",
    "needs_profile": "red",
    "failed": "red",
    "refused": "red",
    "disabled": "dim",
    "down": "dim",
}
"""Words that have a colour wherever they fill a cell."""

_BAR_CELLS: Final = 10
_SHADES: Final = ((0.9, "red"), (0.7, "orange3"))
"""Colours of bars from the given share on; below it is green."""


class Bar(NamedTuple):
    """How much of something is used: a bar before the words on a terminal, the words alone elsewhere.

    `share` is 0 for nothing and 1 for all; None where it is not known, and then there is no bar.
    """

    share: float | None
    words: str


Cell: TypeAlias = "str | Bar"


def coloured(stream: TextIO) -> bool:
    """Whether this stream is a terminal that may be painted (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def clean(text: str) -> str:
    """Text from outside, without control characters except line feed and tab."""
    return _CONTROL.sub("", text)


def answer(text: str) -> None:
    """What was asked for, on stdout."""
    _write(sys.stdout, clean(text) + "\n")


def raw(text: str) -> None:
    """Text for stdout as it is, at once and without a line end of ours; cleaned only for a terminal."""
    _write(sys.stdout, clean(text) if sys.stdout.isatty() else text)
    sys.stdout.flush()


def json_answer(value: Any) -> None:
    """A value as JSON on stdout."""
    import msgspec

    raw(msgspec.json.format(msgspec.json.encode(value), indent=2).decode() + "\n")


def json_line(value: Any) -> None:
    """A value as one line of JSON on stdout, at once; for endless lists."""
    import msgspec

    raw(msgspec.json.encode(value).decode() + "\n")


def note(text: str, *, style: str | None = None, end: str = "\n") -> None:
    """A remark, on stderr, at once."""
    _styled(sys.stderr, clean(text), style, end)


def warning(text: str) -> None:
    note(f"warning: {text}", style="yellow")


def problem(message: str, hint: str | None) -> None:
    """The error that ended a command, and what to do about it."""
    note(f"error: {message}", style="bold red")
    if hint:
        note(f"hint: {hint}")


def heading(text: str) -> None:
    """A line on stdout that stands out on a terminal."""
    _styled(sys.stdout, clean(text), "bold", "\n")


def table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], *, right: Sequence[str] = ()) -> None:
    """Rows under column names, on stdout; the columns named in `right` are aligned to the right."""
    if coloured(sys.stdout):
        _rich_table(columns, rows, right)
    else:
        _write(sys.stdout, plain_table(columns, [[_line(cell) for cell in row] for row in rows], right))


def _line(cell: Cell) -> str:
    return clean(cell.words if isinstance(cell, Bar) else cell).replace("\n", " ")


def shade(share: float) -> str:
    """The colour of a bar."""
    return next((colour for least, colour in _SHADES if share > least), "green")


def _blocks(share: float) -> str:
    """The bar itself; what is used at all shows, and what is left at all, too."""
    full = round(min(max(share, 0.0), 1.0) * _BAR_CELLS)
    full = max(full, 1) if share > 0 else full
    full = min(full, _BAR_CELLS - 1) if share < 1 else full
    on, off = ("█", "░") if (sys.stdout.encoding or "").lower().startswith("utf") else ("#", "-")
    return on * full + off * (_BAR_CELLS - full)


def plain_table(columns: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[str] = ()) -> str:
    """The same as text, each column as wide as its widest cell."""
    lines = [list(columns), *(list(row) for row in rows)]
    widths = [max(len(line[place]) for line in lines) for place in range(len(columns))]

    def aligned(place: int, cell: str) -> str:
        return cell.rjust(widths[place]) if columns[place] in right else cell.ljust(widths[place])

    return "".join(_GAP.join(aligned(place, cell) for place, cell in enumerate(line)).rstrip() + "\n" for line in lines)


def fields(pairs: Sequence[tuple[str, Cell]]) -> None:
    """One thing, field by field, on stdout."""
    width = max(len(name) for name, _ in pairs)
    for name, value in pairs:
        first, *more = clean(value.words if isinstance(value, Bar) else value).split("\n")
        _styled(sys.stdout, f"{name.ljust(width)}{_GAP}", "bold", "")
        if isinstance(value, Bar) and value.share is not None and coloured(sys.stdout):
            _styled(sys.stdout, _blocks(value.share), shade(value.share), "")
            first = f" {first}"
        _styled(sys.stdout, first, _STYLES.get(first), "\n")
        for line in more:
            _write(sys.stdout, " " * (width + len(_GAP)) + line + "\n")


def flush() -> None:
    """Lets a reader of our pipe see what was written so far."""
    sys.stdout.flush()


def _write(stream: TextIO, text: str) -> None:
    encoding = stream.encoding or "utf-8"
    stream.write(text.encode(encoding, "replace").decode(encoding))


def _styled(stream: TextIO, text: str, style: str | None, end: str) -> None:
    if style is None or not coloured(stream):
        _write(stream, text + end)
    else:
        _console(stream).print(text, style=style, end=end, markup=False, highlight=False, soft_wrap=True, emoji=False)
    if stream is sys.stderr:
        stream.flush()


def _rich_table(columns: Sequence[str], rows: Sequence[Sequence[Cell]], right: Sequence[str]) -> None:
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, pad_edge=False, padding=(0, len(_GAP), 0, 0), header_style="bold")
    for place, column in enumerate(columns):
        whole = place == 0 or column == "ID"  # what is copied to the next command is not broken over lines
        made.add_column(column, justify="right" if column in right else "left", overflow="fold", no_wrap=whole)
    for row in rows:
        made.add_row(*(_painted(Text, cell) for cell in row))
    _console(sys.stdout).print(made)


def _painted(text: "type[RichText]", cell: Cell) -> "RichText":
    words = _line(cell)
    if not isinstance(cell, Bar) or cell.share is None:
        return text(words, style=_STYLES.get(words, ""))
    return text.assemble((_blocks(cell.share), shade(cell.share)), " ", words)


def _console(stream: TextIO) -> "Console":
    from rich.console import Console

    return Console(file=stream)
