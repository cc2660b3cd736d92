"""Limits on a plan's totals: which hold, and which layer to look at where one does not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ..errors import NeocogError, RunError
from .memory import copies_of, run_of
from .plan import Plan
from .tables import duration, size
from .time import StepTime
from .timeline import training


class BudgetError(RunError):
    """A network that is larger than it may be."""


@dataclass(frozen=True)
class Budget:
    """A limit beside what the network needs. `values` is each layer's part; memory is in bytes, latency in seconds."""

    name: str
    limit: float
    values: dict[str, float]

    @property
    def value(self) -> float:
        """The network's total."""
        return sum(self.values.values())

    @property
    def ok(self) -> bool:
        """Whether the network stays within the limit, which it may reach."""
        return self.value <= self.limit

    @property
    def largest(self) -> str:
        """The name of the layer with the largest part, the first of several."""
        return max(self.values, key=lambda name: self.values[name])

    def as_dict(self) -> dict[str, Any]:
        """`{"name", "limit", "value", "ok", "largest": {"layer", "value"}}`."""
        largest = {"layer": self.largest, "value": self.values[self.largest]}
        return {"name": self.name, "limit": self.limit, "value": self.value, "ok": self.ok, "largest": largest}

    def check(self, plan: Plan) -> None:
        """Raise BudgetError, naming the layer with the largest part, if the limit is exceeded."""
        if self.ok:
            return
        value, limit, over = (self._shown(n) for n in (self.value, self.limit, self.value - self.limit))
        part, row = self.values[self.largest], plan[self.largest]
        raise BudgetError(
            f"{value} {self._unit(plan)}, {over} more than the {limit} allowed",
            hint=f"begin with {row.name}, {row.node.layer.token}: it has the most, "
            f"{self._shown(part)} ({part / self.value:.1%})",
        )

    def _shown(self, number: float) -> str:
        """The number as its budget is given; bytes in full too, so that a difference of one is seen."""
        if self.name == "latency":
            return duration(number)
        return f"{size(int(number))} ({number:,} bytes)" if self.name == "memory" else f"{number:,}"

    def _unit(self, plan: Plan) -> str:
        training = f"to train with {plan.optimizer}, batch {plan.batch}, {plan.dtype}"
        inference = f"expected for a batch of {plan.batch} in {plan.dtype}"
        units = {"params": "parameters", "macs": "MACs an image", "memory": training, "latency": inference}
        return units[self.name]


def budgets(plan: Plan, limits: Mapping[str, float | None], step: StepTime | None = None) -> tuple[Budget, ...]:
    """One Budget for each limit that is given, by `params`, `macs`, `memory` (bytes of training) and `latency`.

    `latency` is seconds of one inference step of `plan.batch` images; it needs that `step` as it is expected.
    """
    parts: dict[str, Callable[[], dict[str, float]]] = {
        "params": lambda: {row.name: row.cost.parameters for row in plan.rows},
        "macs": lambda: {row.name: row.cost.macs for row in plan.rows},
        "memory": lambda: dict(plan.training.parts),
        "latency": lambda: _latencies(plan, step),
    }
    return tuple(Budget(name, limit, parts[name]()) for name, limit in limits.items() if limit is not None)


def _latencies(plan: Plan, step: StepTime | None) -> dict[str, float]:
    """Each layer's part of an inference step; what belongs to no layer is INPUT's."""
    if step is None:
        raise NeocogError("a limit on latency needs the time of a step")
    found = {layer.name: layer.seconds for layer in step.layers}
    found[plan.rows[0].name] += step.overhead
    return found


def largest_batch(plan: Plan, limit: int) -> int:
    """The most images at a time whose training takes at most `limit` bytes; 0 if one is already too many.

    Exact, for every moment of a step grows by the same number with every image, though not all by the same.
    """
    shapes = [row.output for row in plan.rows]
    one, two = (
        training(plan.network, shapes, run_of(batch, plan.dtype, training=True), copies_of(plan.optimizer)).moments
        for batch in (1, 2)
    )
    fitting = (1 + (limit - a.bytes) // (b.bytes - a.bytes) for a, b in zip(one, two, strict=True))
    return max(0, min(fitting))
