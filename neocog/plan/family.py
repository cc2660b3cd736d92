"""The plans of a family's members: within limits, over them, or impossible."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from ..errors import NotationError, ShapeError
from ..notation import Member
from .plan import plan

MEASURES: dict[str, Callable[[dict[str, Any]], float]] = {
    "macs": lambda overview: overview["totals"]["macs"],
    "parameters": lambda overview: overview["totals"]["parameters"],
    "memory": lambda overview: overview["memory"]["training_bytes"],
    "activations": lambda overview: overview["totals"]["activations"],
    "layers": lambda overview: overview["totals"]["layers"],
    "sees": lambda overview: _largest(overview["receptive_field"]["size"]),
}
"""What members may be sorted by and limited in, from a plan's overview."""


def _largest(size: Any) -> float:
    return float(max(size) if isinstance(size, list) else size)


class Planned(NamedTuple):
    """A network of the family. `also` are further values of the variables that give the same one."""

    variables: dict[str, int]
    also: list[dict[str, int]]
    overview: dict[str, Any]

    def over(self, limits: Mapping[str, int]) -> list[str]:
        """The limits that it exceeds."""
        return [name for name, limit in limits.items() if MEASURES[name](self.overview) > limit]

    def as_dict(self) -> dict[str, Any]:
        """`{"variables", "also", "network", "totals", "memory", "receptive_field"}`."""
        return {"variables": self.variables, "also": self.also, **self.overview}


class Refused(NamedTuple):
    """Values of the variables that give no network, and why."""

    variables: dict[str, int]
    error: NotationError | ShapeError

    def as_dict(self) -> dict[str, Any]:
        """`{"variables", "error"}`, the error in one line."""
        return {"variables": self.variables, "error": self.reason}

    @property
    def reason(self) -> str:
        """Place and rule, in one line."""
        return f"{self.error.where}: {self.error.rule}" if self.error.where else self.error.rule


@dataclass(frozen=True)
class FamilyPlan:
    """Every member once: those within the limits in order, those over one, those that cannot be planned."""

    members: tuple[Planned, ...]
    left_out: tuple[Planned, ...]
    refused: tuple[Refused, ...]
    limits: Mapping[str, int]

    def as_dict(self) -> dict[str, Any]:
        """`{"members", "left_out", "refused"}`; what is left out says over which limits it is."""
        return {
            "members": [one.as_dict() for one in self.members],
            "left_out": [one.as_dict() | {"over": one.over(self.limits)} for one in self.left_out],
            "refused": [one.as_dict() for one in self.refused],
        }


def plan_family(
    members: Iterable[Member],
    batch: int = 1,
    dtype: str = "float32",
    optimizer: str = "momentum",
    limits: Mapping[str, int] | None = None,
    sort: str = "macs",
) -> FamilyPlan:
    """Plan every member of a `Family`, or those of them that are given.

    `limits` and `sort` are names of `MEASURES`; members that measure the same stay in the order of their values.
    `batch`, `dtype` and `optimizer` are those of `plan`.
    """
    found: dict[str, Planned] = {}
    refused = []
    for member in members:
        try:
            network = member.network
            text = str(network)
            if text in found:
                found[text].also.append(member.variables)
            else:
                overview = plan(network, batch, dtype, optimizer).overview()
                found[text] = Planned(member.variables, [], overview)
        except (NotationError, ShapeError) as error:
            refused.append(Refused(member.variables, error))
    limits = limits or {}
    ordered = sorted(found.values(), key=lambda one: MEASURES[sort](one.overview))
    within = tuple(one for one in ordered if not one.over(limits))
    left_out = tuple(one for one in ordered if one.over(limits))
    return FamilyPlan(within, left_out, tuple(refused), limits)
