"""A page -> SVG: one self-contained file, the same characters for the same plan."""

from __future__ import annotations

from html import escape

from .layout import FONT, RADIUS, Box, Frame, Line, Mark, Plus, Text
from .page import COLOURS, FRAME, FRAMED, INK, MARGIN, PAPER, SIDE, TOP, Page

FACE = "DejaVu Sans Mono, Menlo, Consolas, monospace"


def to_svg(page: Page) -> bytes:
    """The page as an SVG file. Words that were shortened show in full when pointed at."""
    return "\n".join([*_head(page), *map(_svg, page.marks), "</svg>", ""]).encode()


def _head(page: Page) -> list[str]:
    width, height = _number(page.width), _number(page.height)
    size = f'width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="{FACE}" font-size="{FONT}" fill="{INK}">',
        f"<title>{escape(page.title)}</title>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        f'<path d="M0 0L8 4L0 8z" fill="{INK}"/></marker></defs>',
        f'<rect width="100%" height="100%" fill="{PAPER}"/>',
        f'<text x="{MARGIN}" y="{MARGIN + FONT}" font-weight="bold">{escape(page.heading)}</text>',
    ]


def _svg(mark: Mark) -> str:
    if isinstance(mark, Line):
        points = " ".join(f"{_number(x)},{_number(y)}" for x, y in mark.points)
        head = ' marker-end="url(#head)"' if mark.arrow else ""
        return f'<polyline points="{points}" fill="none" stroke="{INK}"{head}/>'
    x, y = _number(mark.x), _number(mark.y)
    if isinstance(mark, Text):
        full = _tip(mark.full) if mark.full != mark.words else ""
        anchor = ' text-anchor="middle"' if mark.centred else ""
        return f'<text x="{x}" y="{y}"{anchor}>{escape(mark.words)}{full}</text>'
    if isinstance(mark, Plus):
        circle = f'<circle cx="{x}" cy="{y}" r="{RADIUS}" fill="{PAPER}" stroke="{INK}">{_tip(mark.full)}</circle>'
        arm = RADIUS - 3
        return f'{circle}<path d="M{x} {y}m{-arm} 0h{2 * arm}m{-arm} {-arm}v{2 * arm}" stroke="{INK}"/>'
    size = f'x="{x}" y="{y}" width="{_number(mark.width)}" height="{_number(mark.height)}"'
    if isinstance(mark, Frame):
        return f'<rect {size} rx="6" fill="{FRAMED}" stroke="{FRAME}" stroke-dasharray="5 3"/>'
    front = f'<rect {size} fill="{COLOURS[mark.kind]}" stroke="{INK}"/>'
    return (_sides(mark) if mark.slant else "") + front + _cuts(mark)


def _tip(full: str) -> str:
    return f"<title>{escape(full)}</title>" if full else ""


def _sides(box: Box) -> str:
    """The top and the right side, a little lighter than the front."""
    w, h, s = (_number(v) for v in (box.width, box.height, box.slant))
    back = _number(-box.slant)
    top = f'<path d="M{_number(box.x)} {_number(box.y)}l{s} {back}h{w}l{back} {s}z"'
    side = f'<path d="M{_number(box.x + box.width)} {_number(box.y)}l{s} {back}v{h}l{back} {s}z"'
    colour = f'fill="{COLOURS[box.kind]}" stroke="{INK}"'
    return f'{top} {colour} fill-opacity="{TOP}"/>{side} {colour} fill-opacity="{SIDE}"/>'


def _cuts(box: Box) -> str:
    lines = "".join("M" + "L".join(f"{_number(x)} {_number(y)}" for x, y in points) for points in box.cut_lines())
    return f'<path d="{lines}" fill="none" stroke="{INK}" stroke-opacity="0.5"/>' if lines else ""


def _number(value: float) -> str:
    """At most one decimal, so that the text is the same on every machine; adding 0.0 turns -0.0 into 0.0."""
    return f"{round(value, 1) + 0.0:.1f}".removesuffix(".0")
