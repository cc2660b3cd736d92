"""Boxes, lines and texts -> SVG: one self-contained file, the same characters for the same plan."""

from __future__ import annotations

from html import escape

from ..plan import Plan
from .layout import FONT, LINE, Box, Figure, Frame, Line, Mark, Text, arranged, text_width
from .parts import KINDS, Parts, Repeat, parts_of

MARGIN, HEAD, LEGEND = 24, 30, 40
COLOURS = dict(zip(KINDS, ("#d9d9d9", "#8fbbe8", "#f3b488", "#a9d6a0", "#d3b3e5", "#f2dc8c"), strict=True))
INK, PAPER = "#333333", "#ffffff"
FACE = "DejaVu Sans Mono, Menlo, Consolas, monospace"


def draw(plan: Plan, title: str = "") -> str:
    """The figure of a plan as the text of an SVG file. `title` stands above it, the totals beside the title."""
    parts = parts_of(plan)
    figure = arranged(parts)
    title = _printable(title)
    totals = f"{plan.totals['parameters']:,} parameters, {plan.totals['macs']:,} MACs"
    heading = f"{_shortened(title)}: {totals}" if title else totals
    legend = _legend(parts)
    width = 2 * MARGIN + max(figure.width, text_width(heading), legend.width)
    height = 2 * MARGIN + HEAD + figure.above + figure.below + LEGEND
    top = MARGIN + HEAD + figure.above
    body = [_svg(mark, MARGIN, top) for mark in figure.marks if isinstance(mark, Frame)]
    body += [_svg(mark, MARGIN, top) for mark in figure.marks if not isinstance(mark, Frame)]
    body += [_svg(mark, MARGIN, height - MARGIN) for mark in legend.marks]
    return "\n".join([*_head(width, height, heading, title or str(plan.network)), *body, "</svg>", ""])


def _printable(title: str) -> str:
    """The title in characters that XML may hold."""
    return "".join(letter if letter.isprintable() else " " for letter in title)


def _shortened(title: str) -> str:
    return title if len(title) <= 60 else title[:59] + "\u2026"


def _head(width: float, height: float, heading: str, title: str) -> list[str]:
    size = f'width="{_number(width)}" height="{_number(height)}" viewBox="0 0 {_number(width)} {_number(height)}"'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FACE}" font-size="{FONT}" fill="{INK}">',
        f"<title>{escape(title)}</title>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{INK}"/></marker></defs>',
        f'<rect width="100%" height="100%" fill="{PAPER}"/>',
        f'<text x="{MARGIN}" y="{MARGIN + FONT}" font-weight="bold">{escape(heading)}</text>',
    ]


def _legend(parts: Parts) -> Figure:
    """A small square for each kind of layer that occurs, with its name."""
    marks: list[Mark] = []
    used, x = _kinds(parts), 0.0
    for kind in (kind for kind in KINDS if kind in used):
        marks.append(Box(x, -11, 12, 12, 0, kind))
        marks.append(Text(x + 18 + text_width(kind) / 2, 0, kind))
        x += 18 + text_width(kind) + 20
    return Figure(tuple(marks), x, LINE, 4, x)


def _kinds(parts: Parts) -> set[str]:
    found = set()
    for part in parts:
        if isinstance(part, Repeat):
            found |= _kinds(part.parts)
        else:
            found |= set() if part.passes else {part.kind}
            found |= {kind for arm in part.arms for kind in _kinds(arm)}
    return found


def _svg(mark: Mark, dx: float, dy: float) -> str:
    if isinstance(mark, Line):
        points = " ".join(f"{_number(x + dx)},{_number(y + dy)}" for x, y in mark.points)
        head = ' marker-end="url(#head)"' if mark.arrow else ""
        return f'<polyline points="{points}" fill="none" stroke="{INK}"{head}/>'
    x, y = _number(mark.x + dx), _number(mark.y + dy)
    if isinstance(mark, Text):
        full = f"<title>{escape(mark.full)}</title>" if mark.full not in ("", mark.words) else ""
        return f'<text x="{x}" y="{y}" text-anchor="middle">{escape(mark.words)}{full}</text>'
    size = f'x="{x}" y="{y}" width="{_number(mark.width)}" height="{_number(mark.height)}"'
    if isinstance(mark, Frame):
        return f'<rect {size} rx="6" fill="#f6f6f6" stroke="#888888" stroke-dasharray="5 3"/>'
    front = f'<rect {size} fill="{COLOURS[mark.kind]}" stroke="{INK}"/>'
    return (_sides(mark, mark.x + dx, mark.y + dy) if mark.slant else "") + front


def _sides(box: Box, x: float, y: float) -> str:
    """The top and the right side, a little lighter and darker than the front."""
    w, h, s = (_number(v) for v in (box.width, box.height, box.slant))
    back = _number(-box.slant)
    top = f'<path d="M{_number(x)} {_number(y)}l{s} {back}h{w}l{back} {s}z"'
    side = f'<path d="M{_number(x + box.width)} {_number(y)}l{s} {back}v{h}l{back} {s}z"'
    colour = f'fill="{COLOURS[box.kind]}" stroke="{INK}"'
    return f'{top} {colour} fill-opacity="0.6"/>{side} {colour} fill-opacity="0.8"/>'


def _number(value: float) -> str:
    """At most one decimal, so that the text is the same on every machine; adding 0.0 turns -0.0 into 0.0."""
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")
