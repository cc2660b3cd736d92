"""What pages are made of: the document around the sections, tables, and numbers as people say them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from .style import CSS


def document(title: str, sections: Iterable[str]) -> str:
    """A whole page that needs nothing else; empty sections are left out."""
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style></head>\n<body><main>\n"
        + "\n".join(section for section in sections if section)
        + "\n</main></body></html>\n"
    )


def facts(items: Iterable[tuple[str, str]]) -> str:
    """A few large values, each over what it is."""
    listed = "".join(f"<li><b>{escape(value)}</b><span>{escape(what)}</span></li>" for value, what in items)
    return f'<ul class="facts">{listed}</ul>'


def table(header: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int) -> str:
    """An HTML table of escaped text; the columns after the first `text_columns` are numbers."""
    marks = ['class="cut"' if k < text_columns else 'class="n"' for k in range(len(header))]
    head = "".join(f"<th {mark}>{escape(cell)}</th>" for mark, cell in zip(marks, header, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td {mark}>{escape(cell)}</td>" for mark, cell in zip(marks, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


def chart(title: str, drawing: str) -> str:
    """A drawing under its title, one of several in a row."""
    return f"<div><h3>{escape(title)}</h3>{drawing}</div>"


def duration(seconds: float) -> str:
    """`42 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 6000 else f"{whole // 3600} h {whole % 3600 // 60} min"


def share(value: float | None) -> str:
    """`98.97%`, or nothing for a share of nothing."""
    return "" if value is None else f"{value:.2%}"


def plain(value: object) -> str:
    """A setting's value as text."""
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return "none" if value is None else str(value)
