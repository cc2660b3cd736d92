"""Which learning rate to take: steps at rates that grow by a constant factor, from far too small to far too large.

    rate_k = low (high / low)^(k / (n - 1)),   E_k <- the mean loss of step k, smoothed:
    a_k = 0.9 a_(k-1) + 0.1 E_k,   s_k = a_k / (1 - 0.9^(k + 1))

It ends where a loss is not finite, or where s_k is more than four times the smallest so far. The suggestion is a tenth
of the rate at which s_k is smallest: there the loss still falls fast, and the highest rate of a schedule should be
lower than one at which it no longer does.

Sources: Smith, arXiv 1506.01186, section 3.3 (the sweep); Gugger, "How do you find a good learning rate", 2018 (growing
by a factor, the smoothing, four times, a tenth of the minimum), as in fastai's `lr_find`.
"""

from __future__ import annotations

import inspect
import math
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Splits, load_data
from ..errors import RunError
from ..network import Network
from .session import Session, train
from .settings import Settings, decided

LOW, HIGH, STEPS = 1e-6, 10.0, 200
MEMORY, DIVERGED, SAFETY = 0.9, 4.0, 10.0
AT_ONCE = 10
"""Steps that an engine makes before it is asked whether the loss still falls."""


@dataclass(frozen=True)
class Sweep:
    """The rates (n,) that were tried, the loss of the step at each, and the smoothed losses."""

    rates: tuple[float, ...]
    losses: tuple[float, ...]
    smoothed: tuple[float, ...]

    @property
    def lowest(self) -> float:
        """The rate at which the smoothed loss is smallest."""
        return self.rates[int(np.argmin(self.smoothed))]

    @property
    def suggestion(self) -> float:
        """A tenth of it."""
        return self.lowest / SAFETY


def smoothed(losses: list[float]) -> list[float]:
    """s_k of the module's docstring."""
    average, found = 0.0, []
    for k, loss in enumerate(losses):
        average = MEMORY * average + (1 - MEMORY) * loss
        found.append(average / (1 - MEMORY ** (k + 1)))
    return found


def find_lr(network: Network, data: Splits | str | Path, **settings: Any) -> Sweep:
    """Sweep the learning rate of a run with these settings of `train`, on weights that are then dropped.

    Raises what `train` raises before it starts, and RunError where even the smallest rates give no finite loss.
    """
    data = load_data(str(data), network.input_shape) if isinstance(data, str | Path) else data
    session = _session(network, data, settings)
    rates = (LOW * (HIGH / LOW) ** (np.arange(STEPS) / (STEPS - 1))).tolist()
    losses: list[float] = []
    while len(losses) < STEPS:
        epoch, first = divmod(len(losses), len(session.batches))
        count = min(AT_ONCE, len(session.batches) - first)
        part = rates[len(losses) : len(losses) + count]
        losses += session.engine.learn(session.batches.epoch(epoch + 1).course(first, part)).losses.tolist()
        sound = [loss for loss in losses if math.isfinite(loss)]
        curve = smoothed(sound)
        if len(sound) < len(losses) or curve[-1] > DIVERGED * min(curve):
            break
    if not curve:
        raise RunError("no loss is finite, not even before the first step", hint="another init")
    return Sweep(tuple(rates[: len(curve)]), tuple(sound), tuple(curve))


def _session(network: Network, data: Splits, given: dict[str, Any]) -> Session:
    """What `train` would run with these settings."""
    known = {name: p.default for name, p in inspect.signature(train).parameters.items()} | given
    own = {field.name: known[field.name] for field in fields(Settings)}
    settings = decided(network, len(data.train) - known["validation"], **own)
    return Session(network, data, settings, known["engine"], known["device"], told=known["told"])


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 400, 60, 20, 20, 50


def drawn(sweep: Sweep) -> str:
    """The losses over the rates as an SVG picture, both axes with their numbers, and the suggestion."""
    top = 1.1 * max(sweep.smoothed[0], *sweep.smoothed[: 1 + int(np.argmin(sweep.smoothed))])
    low, high = math.log10(sweep.rates[0]), math.log10(HIGH)

    def at(rate: float, loss: float) -> str:
        x = LEFT + (math.log10(rate) - low) / (high - low) * (WIDTH - LEFT - RIGHT)
        return f"{x:.1f},{HEIGHT - BOTTOM - min(loss, top) / top * (HEIGHT - TOP - BOTTOM):.1f}"

    def line(losses: tuple[float, ...], look: str) -> str:
        points = " ".join(at(rate, loss) for rate, loss in zip(sweep.rates, losses, strict=True))
        return f'<polyline points="{points}" fill="none" {look}/>'

    def text(x: float, y: float, words: str, anchor: str = "middle") -> str:
        return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="#333">{words}</text>'

    parts = []
    for power in range(math.ceil(low), math.floor(high) + 1):
        x = float(at(10.0**power, 0).split(",")[0])
        parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#ddd"/>')
        parts.append(text(x, HEIGHT - BOTTOM + 18, f"{10.0**power:g}"))
    for k in range(5):
        y = float(at(1.0, top * k / 4).split(",")[1])
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#ddd"/>')
        parts.append(text(LEFT - 6, y + 4, f"{top * k / 4:.2g}", "end"))
    parts.append(line(sweep.losses, 'stroke="#9bc" stroke-width="1"'))
    parts.append(line(sweep.smoothed, 'stroke="#147" stroke-width="2.5"'))
    x = float(at(sweep.suggestion, 0).split(",")[0])
    parts.append(f'<path d="M{x:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#c41" stroke-dasharray="5 4"/>')
    parts.append(text(x + 6, TOP + 14, f"suggested: {sweep.suggestion:.2g}", "start"))
    parts.append(
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "learning rate of the step; mean loss, pale as measured")
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="13"><rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>{"".join(parts)}</svg>\n'
    )
