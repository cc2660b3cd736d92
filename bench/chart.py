"""The chart of the benchmark: a lane for each network, a dot for each contender, at how much faster it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from math import log

from neocog.report.charts import log_ticks

LEFT, RIGHT, TOP, LANE, WIDTH = 150, 24, 24, 26, 640
COLOURS = ("#c0392b", "#e67e22", "#8e44ad", "#c39bd3", "#333333", "#7f8c8d", "#b2babb", "#117a65", "#73c6b6", "#1f618d")
COLOURS += ("#85c1e9", "#b7950b")
Speedups = Mapping[str, Mapping[str, float]]


def draw(found: Speedups, baseline: str = "torch") -> str:
    """An SVG figure of ratios to the baseline, on a logarithmic scale, from network and contender to ratio."""
    names = list(dict.fromkeys(name for ratios in found.values() for name in ratios))
    values = [ratio for ratios in found.values() for ratio in ratios.values()] or [1.0]
    ticks = log_ticks(min(values), max(values))
    bottom = TOP + LANE * len(found)
    height = bottom + 44 + 18 * -(-len(names) // 3)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
        ' font-family="Helvetica, Arial, sans-serif" font-size="12" fill="#333333">',
        f"<title>Speed in units of {escape(baseline)}'s</title>",
        '<rect width="100%" height="100%" fill="#ffffff"/>',
        *_grid(ticks, bottom),
        f'<text x="{WIDTH - RIGHT}" y="{bottom + 32}" text-anchor="end">times as fast as {escape(baseline)}</text>',
    ]
    for k, (network, ratios) in enumerate(found.items()):
        y = TOP + LANE * (k + 0.5)
        parts.append(f'<text x="{LEFT - 10}" y="{y + 4}" text-anchor="end">{escape(network)}</text>')
        for name in sorted(ratios, key=names.index, reverse=True):  # the first in the list lies on top
            label = escape(f"{network}, {name}: {ratios[name]:.2f}")
            colour = COLOURS[names.index(name) % len(COLOURS)]
            x = _across(ratios[name], ticks)
            parts.append(f'<circle cx="{x:.1f}" cy="{y}" r="5" fill="{colour}"><title>{label}</title></circle>')
    parts += _legend(names, bottom + 54)
    return "\n".join([*parts, "</svg>\n"])


def _across(ratio: float, ticks: Sequence[float]) -> float:
    low, high = log(ticks[0]), log(ticks[-1])
    return LEFT + (log(ratio) - low) / ((high - low) or 1.0) * (WIDTH - LEFT - RIGHT)


def _grid(ticks: Sequence[float], bottom: float) -> Iterator[str]:
    for tick in ticks:
        x, colour = _across(tick, ticks), "#333333" if tick == 1 else "#d9d9d9"
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{bottom}" stroke="{colour}"/>'
        yield f'<text x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>'


def _legend(names: Sequence[str], top: float) -> Iterator[str]:
    for k, name in enumerate(names):
        x, y = 24 + 200 * (k % 3), top + 18 * (k // 3)
        yield f'<circle cx="{x}" cy="{y}" r="5" fill="{COLOURS[k % len(COLOURS)]}"/>'
        yield f'<text x="{x + 12}" y="{y + 4}">{escape(name)}</text>'
