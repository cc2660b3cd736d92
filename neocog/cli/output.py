"""What verbs share in printing: the JSON document, tables, errors."""

from __future__ import annotations

import io
import json
import os
import shutil
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import NeocogError, escaped

if TYPE_CHECKING:
    from rich.console import Console

LONGEST_CELL = 28
GAP = "   "
UNLIMITED = 1000


def prepare_output() -> None:
    """Let stdout show what its encoding lacks, as in a file's name, by its number, and closed streams lead nowhere."""
    for stream in ("stdout", "stderr"):
        if getattr(sys, stream) is None:  # closed by the shell: `neocog plan lenet5 >&-`
            setattr(sys, stream, os.fdopen(os.open(os.devnull, os.O_WRONLY), "w", encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def print_json(document: Any) -> None:
    """The one JSON document of a verb, on stdout."""
    unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    print(json.dumps(document, indent=1, ensure_ascii=not unicode, allow_nan=False))


def print_error(error: NeocogError, *, as_json: bool, beside: Mapping[str, Any] | None = None) -> int:
    """An explained mistake: on stderr as text, and on stdout as the JSON document when one was asked for.

    `beside` is what else the document says. Returns its exit code.
    """
    with suppress(OSError):  # where nobody can be told, the exit code still says it
        print(f"error: {printable(error.text())}", file=sys.stderr)
    if as_json:
        parts = {"where": error.where, "rule": error.rule, "received": error.received, "hint": error.hint}
        print_json({"error": {"kind": type(error).__name__, **parts}, **(beside or {})})
    return error.exit_code


def printable(text: str) -> str:
    """The text without what would move a terminal's cursor or change its colours: a file may have chosen it."""
    return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


def console(*, stderr: bool = False) -> Console:
    """A rich console. Into a file or a pipe lines are as long as they need to be, unless COLUMNS is set."""
    from rich.console import Console

    class Piped(Console):
        def on_broken_pipe(self) -> None:
            raise  # to where every verb's is dealt with, instead of leaving with exit code 1

    made = Piped(stderr=stderr, highlight=False, markup=False)
    if made.width < 1 and made.is_terminal:  # COLUMNS=0, as some shells and editors set it, is no width
        made.width = shutil.get_terminal_size().columns
    elif made.width < 1 or (not made.is_terminal and "COLUMNS" not in os.environ):
        made.width = UNLIMITED
    return made


def print_table(
    out: Console,
    header: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    text: Collection[str],
    optional: Sequence[str] = (),
    prose: str = "",
) -> None:
    """Print a table: columns named in `text` are cut when long, that named `prose` is wrapped, others are numbers.

    No number is cut: where the console is too narrow, `optional` columns are left out in their order, and named. Cells
    may hold names that somebody chose, whose line breaks and control characters are written as text.
    """
    columns = {name: [escaped(row[k]) for row in rows] for k, name in enumerate(header)}
    for name in text:
        columns[name] = [clipped_cell(cell) for cell in columns[name]]
    left_out = []
    for name in optional:
        if _width(columns, prose) <= out.width:
            break
        del columns[name]
        left_out.append(" ".join(name.split()))
    out.out("\n".join(_lines(columns, {*text, prose}, prose, out.width, _rule(out.encoding))), highlight=False)
    if left_out:
        print_wrapped(out, f"(left out at {out.width} columns: {', '.join(left_out)})")


def clipped_cell(cell: str) -> str:
    """A cell's text, cut where it would push the others off the screen."""
    return cell if len(cell) <= LONGEST_CELL else f"{cell[: LONGEST_CELL - 3]}..."


def _width(columns: dict[str, list[str]], prose: str) -> int:
    """How many characters wide the table would be, the column of prose being narrow."""
    widths = _widths(columns)
    if prose:
        widths[prose] = min(widths[prose], LONGEST_CELL)
    return _total(widths)


def _widths(columns: dict[str, list[str]]) -> dict[str, int]:
    from rich.cells import cell_len

    return {name: max(map(cell_len, [*name.split("\n"), *cells])) for name, cells in columns.items()}


def _total(widths: dict[str, int]) -> int:
    return sum(widths.values()) + len(GAP) * (len(widths) - 1)


def _rule(encoding: str) -> str:
    """What the line under a table's head is made of, where an encoding may lack the usual."""
    try:
        "─".encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return "-"
    return "─"


def _lines(columns: dict[str, list[str]], left: Collection[str], prose: str, room: int, rule: str) -> Iterator[str]:
    """The table as lines of text: head, rule, rows. Laid out here, since rich takes seconds for thousands of rows."""
    from textwrap import wrap

    widths = _widths(columns)
    if prose:
        left_over = room - _total(widths) + widths[prose]
        widths[prose] = min(widths[prose], max(LONGEST_CELL, left_over))
    head = [name.split("\n") for name in columns]
    for k in range(max(map(len, head)), 0, -1):
        yield _row([lines[-k] if k <= len(lines) else "" for lines in head], widths, left)
    yield rule * _total(widths)
    for cells in zip(*columns.values(), strict=True):
        wrapped = [
            wrap(cell, widths[name]) or [""] if name == prose else [cell]
            for name, cell in zip(columns, cells, strict=True)
        ]
        for k in range(max(map(len, wrapped))):
            yield _row([lines[k] if k < len(lines) else "" for lines in wrapped], widths, left)


def _row(cells: Sequence[str], widths: dict[str, int], left: Collection[str]) -> str:
    from rich.cells import cell_len

    padded = []
    for cell, (name, width) in zip(cells, widths.items(), strict=True):
        space = " " * (width - cell_len(cell))
        padded.append(cell + space if name in left else space + cell)
    return GAP.join(padded).rstrip()


def print_wrapped(out: Console, line: str) -> None:
    """A line of words; where it must go on in a next one, that is indented."""
    from textwrap import fill

    out.print(fill(line, max(20, out.width), subsequent_indent="    "), soft_wrap=True)


def command() -> str:
    """What to type to call neocog again: its name where the shell finds it, else the path it was started by."""
    started, found = sys.argv[0], shutil.which("neocog")
    if os.path.basename(started) != "neocog" or (found and os.path.samefile(found, started)):
        return "neocog"
    return os.path.relpath(started)
