"""An ONNX graph under construction: operators in running order, and the arrays that they read.

It is plain values until `proto` turns it into ONNX's own, so that a graph can be made without the weights' memory and
compared with one in a file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

OPSET, IR_VERSION = 17, 8
"""Operators as of ONNX 1.12, of 2022: whatever runs ONNX today takes them."""
IMAGES, X, SCORES = "images", "x", "scores"
"""Names of the input, with preprocessing inside or beside, and of the output."""


class Value(NamedTuple):
    """A tensor in the graph: a volume (N, C, *size), or where it is `flat` one of one position as (N, C)."""

    name: str
    flat: bool = False


class Operator(NamedTuple):
    """One operator: its type, its name, which is its layer's, and what it reads, writes and is told."""

    type: str
    name: str
    inputs: tuple[str, ...]
    output: str
    attributes: dict[str, Any]


class Graph:
    """Operators and arrays. `weights` are arrays that were learned or are made of such; `constants` are all others.

    In a `hollow` graph weights are zeros that take no memory.
    """

    def __init__(self, *, hollow: bool = False) -> None:
        self.hollow = hollow
        self.operators: list[Operator] = []
        self.weights: dict[str, NDArray[Any]] = {}
        self.constants: dict[str, NDArray[Any]] = {}
        self._counts: Counter[tuple[str, str]] = Counter()

    @property
    def arrays(self) -> dict[str, NDArray[Any]]:
        """All of them by name."""
        return self.weights | self.constants

    def add(self, type_: str, scope: str, inputs: Sequence[str], attributes: dict[str, Any]) -> str:
        """Append an operator of a layer; the name of what it gives."""
        self._counts[scope, type_] += 1
        name = f"{scope}/{type_}{self._counts[scope, type_]}"
        self.operators.append(Operator(type_, name, tuple(inputs), name, attributes))
        return name

    def constant(self, scope: str, what: str, array: ArrayLike, dtype: type = np.float32) -> str:
        """An array that depends on the network's text alone, under the layer's name; the same again is not stored."""
        made: NDArray[Any] = np.ascontiguousarray(array, dtype)
        name = f"{scope}/{what}"
        while name in self.constants and not np.array_equal(self.constants[name], made):
            name += "'"
        self.constants[name] = made
        return name

    def weight(self, name: str, shape: Sequence[int], make: Callable[[], NDArray[Any]]) -> str:
        """An array of the model, `<node>.<parameter>`, or what is made of it."""
        zero = np.float32(0)
        self.weights[name] = np.broadcast_to(zero, shape) if self.hollow else make().astype(np.float32, copy=False)
        return name

    def call(self, value: Value, name: str) -> Value:
        """Give the operator that made a value last the name of its layer, and the value too."""
        last = self.operators[-1]
        if last.output != value.name:
            return value
        self.operators[-1] = last._replace(name=name, output=name)
        return Value(name, value.flat)

    def finish(self, value: Value) -> None:
        """Make a value the output."""
        if self.operators and self.operators[-1].output == value.name:
            self.operators[-1] = self.operators[-1]._replace(output=SCORES)
        else:
            self.operators.append(Operator("Identity", SCORES, (value.name,), SCORES, {}))

    def proto(self, inputs: Any, output: Any) -> Any:
        """The whole as an `onnx.GraphProto`; of a hollow one it has no arrays."""
        from onnx import helper, numpy_helper

        nodes = [
            helper.make_node(op.type, list(op.inputs), [op.output], name=op.name, **op.attributes)
            for op in self.operators
        ]
        arrays = {} if self.hollow else self.arrays
        stored = [numpy_helper.from_array(np.ascontiguousarray(array), name) for name, array in arrays.items()]
        return helper.make_graph(nodes, "neocog", [inputs], [output], initializer=stored)
