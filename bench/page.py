"""docs/performance.md and the parts of it that the scripts here write."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"
PAGE = DOCS / "performance.md"


def marks(script: str) -> tuple[str, str]:
    """The lines around what a script writes."""
    return f"<!-- written by {script} -->\n", f"<!-- end of {script} -->\n"


def write(script: str, lines: Iterable[str], page: Path = PAGE) -> None:
    """Put the lines between the script's marks."""
    begin, end = marks(script)
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    _, _, after = rest.partition(end)
    page.write_text(f"{before}{begin}\n" + "\n".join(lines) + f"\n\n{end}{after}", encoding="utf-8")


def row(cells: Iterable[str]) -> str:
    """A line of a table."""
    return f"| {' | '.join(cells)} |"


def write_line(script: str, line: str, same: int, page: Path) -> None:
    """Add a line to the script's table, in place of the one whose first `same` cells are the same."""
    begin, end = marks(script)
    before, _, rest = page.read_text(encoding="utf-8").partition(begin)
    table, _, after = rest.partition(end)
    key = line.split(" | ")[:same]
    kept = [old for old in table.strip().splitlines() if old.split(" | ")[:same] != key]
    page.write_text(f"{before}{begin}\n" + "\n".join([*kept, line]) + f"\n\n{end}{after}", encoding="utf-8")
