"""A layer on its way into an ONNX graph: what its translation reads and appends to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..layer import Shape
from ..network import Node
from .onnx_graph import Graph, Value


@dataclass(frozen=True, eq=False)
class Place:
    """A layer in a network, and the graph that it is added to."""

    graph: Graph
    node: Node
    inputs: tuple[Value, ...]
    shapes: tuple[Shape, ...]
    arrays: Mapping[str, NDArray[Any]]

    @property
    def layer(self) -> Any:
        """The layer; each function knows which it is."""
        return self.node.layer

    @property
    def shape(self) -> Shape:
        """The volume read, where it is one."""
        return self.shapes[0]

    @property
    def output(self) -> Shape:
        """The volume given."""
        return self.node.layer.output_shape(*self.shapes)

    def op(self, type_: str, *inputs: str, **attributes: Any) -> str:
        """Append an operator."""
        return self.graph.add(type_, self.node.name, inputs, attributes)

    def constant(self, what: str, array: ArrayLike, dtype: type = np.float32) -> str:
        """An array that the text decides."""
        return self.graph.constant(self.node.name, what, array, dtype)

    def whole(self, what: str, *numbers: int) -> str:
        """Whole numbers, as operators take shapes and axes."""
        return self.constant(what, numbers, np.int64)

    def weight(self, what: str) -> str:
        """One of the layer's own arrays."""
        return self.made(what, self.arrays[what].shape, lambda: self.arrays[what])

    def made(self, what: str, shape: Sequence[int], make: Callable[[], NDArray[Any]]) -> str:
        """An array of that shape, made of the layer's own."""
        return self.graph.weight(f"{self.node.name}.{what}", shape, make)

    def weights(self, *names: str) -> list[str]:
        """Those of the layer's arrays that it has."""
        return [self.weight(name) for name in names if name in self.arrays]

    def each(self, what: str) -> str:
        """An array (C,) so that it meets the channels of a volume."""
        shape = (self.shape.channels, *(1,) * self.shape.rank)
        return self.made(what, shape, lambda: self.arrays[what].reshape(shape))

    def volume(self, k: int = 0) -> str:
        """What is read as (N, C, *size)."""
        value, rank = self.inputs[k], self.shapes[k].rank
        return self.op("Unsqueeze", value.name, self.whole("axes", *range(2, 2 + rank))) if value.flat else value.name

    def flat(self) -> str:
        """What is read as (N, C * positions), in the order channels, rows, columns."""
        (value,) = self.inputs
        return value.name if value.flat else self.op("Flatten", value.name, axis=1)

    @property
    def positions(self) -> list[int]:
        """The axes of positions."""
        return list(range(2, 2 + self.shape.rank))


Translation = Callable[[Place], Value]
"""Appends a layer's operators, and says what it gives."""
