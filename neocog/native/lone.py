"""What the parts of stages share that are one layer by itself, reading one volume."""

from __future__ import annotations

from collections.abc import Callable

from .endings import Nowhere, Sink
from .expressions import Access, Type
from .kernel import Function
from .layout import Margins
from .part import Part
from .program import Call, Program, Region
from .stages import Single, Stage


class LonePart(Part):
    """A layer with its source and its parameters."""

    def __init__(self, program: Program, stage: Stage, margins: Margins, readers: int) -> None:
        super().__init__(program, stage, margins, readers)
        assert isinstance(stage, Single)  # noqa: S101
        self.node, self.source = stage.node, program.parts[stage.source]
        self.x, self.vector = self.source.y, Type("f32", self.lanes)
        self.owned: dict[str, Region] = {}

    def own(self, name: str, count: int) -> None:
        """A trained parameter of one axis, whose gradient is summed in lanes."""
        self.owned[name] = self.program.region(self.node, name, 1, count, by_lanes=True)
        self.wants = True

    @property
    def places(self) -> dict[str, Access]:
        """Where x and the parameters lie, for kernels that have them."""
        return {"x": self.program.at(self.x)} | {name: region.at("weights") for name, region in self.owned.items()}

    @property
    def sums(self) -> dict[str, Access]:
        """Where each parameter's gradient is summed: `d_<name>`."""
        return {f"d_{name}": region.lane_sums(self.lanes) for name, region in self.owned.items()}

    def forward_call(
        self, build: Callable[[str], Function], places: dict[str, Access] | None = None, **when: bool
    ) -> Call:
        """Add a call of the forward pass; `when` is as in `Call`."""
        function = self.program.add(self.node.layer.op.lower(), build)
        known = self.places | {"y": self.program.at(self.y)}
        made = Call(function, known | (places or {}), **when)
        self.program.forward.append(made)
        return made

    def backward_call(self, build: Callable[[str], Function], places: dict[str, Access] | None = None) -> None:
        """Add a call of the backward pass; `dy` is the gradient for y, which itself is `y_`: a sink may have a `y`."""
        function = self.program.add(f"{self.node.layer.op.lower()}_back", build)
        known = self.places | self.sums | {"dy": self.program.at(self.gradient()), "y_": self.program.at(self.y)}
        self.program.backward.append(Call(function, known | (places or {})))

    def backward_into(self, build: Callable[[str, Sink], Function], places: dict[str, Access] | None = None) -> None:
        """The same for the call that puts the gradient for x into the source's sink."""
        sink, into = self.source.sink() if self.source.wants else (Nowhere(), {})
        self.backward_call(lambda name: build(name, sink), into | (places or {}))
        self.source.done()
