"""One operator of an ONNX file, on its way to being an operation as a pass of a torch module records it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import NeocogError
from ..spelling import Dims
from .torch_graph import Operation, Stored


class Array(NamedTuple):
    """Numbers of the file under their name."""

    name: str
    values: NDArray[Any]


Value = Operation | Array | None


@dataclass(frozen=True, eq=False)
class Call:
    """One operator: what it reads and is told, and the shape of what it gives, batch first.

    `alone` says of each input whether nothing else reads it; `opset` is the version of operators in the file.
    """

    type: str
    where: str
    position: int
    inputs: tuple[Value, ...]
    alone: tuple[bool, ...]
    told: Mapping[str, Any]
    shape: tuple[int, ...]
    opset: int

    @property
    def rank(self) -> int:
        """How many axes of positions the result has. Raises NeocogError where windows have none to slide over."""
        if len(self.shape) not in (3, 4):
            size = "x".join(map(str, self.shape)) or "a size that ONNX cannot tell"
            raise NeocogError("windows slide over one or two axes behind batch and channels", received=size)
        return len(self.shape) - 2

    def input(self, k: int) -> Value:
        """The k-th input; None where it is left out."""
        return self.inputs[k] if k < len(self.inputs) else None

    def op(self, name: str, **arguments: Any) -> Operation:
        """An operation of that name on the first input, giving what this operator gives."""
        return Operation(name, {"input": self.input(0), **arguments}, self.shape, self.where, self.position)

    def stored(self, k: int, *, learned: bool = True, turned: bool = False, flat: bool = False) -> Any:
        """An array among the inputs, as a tensor of the module would be; what is computed stays an operation.

        Exporters store equal arrays once, so two operators that read one array are not known to share it: each has its
        own.
        """
        value = self.input(k)
        if not isinstance(value, Array):
            return value
        values = value.values.T if turned else value.values.reshape(-1) if flat else value.values
        return Stored(f"{value.name} of {self.where}", torch.from_numpy(np.array(values, np.float32)), learned)

    def whole(self, name: str, default: int) -> Dims:
        """Numbers that are told for each axis of positions."""
        return tuple(self.told.get(name) or (default,) * self.rank)

    def numbers(self, name: str, k: int) -> list[Any] | None:
        """Numbers that are told as an attribute, or in later versions as an input."""
        value = self.input(k)
        if isinstance(value, Array):
            return [*value.values.reshape(-1).tolist()]
        if value is not None:
            raise NeocogError(f"the {name} of {self.type} are computed", where=self.where)
        found = self.told.get(name)
        return None if found is None else [*found] if isinstance(found, Sequence) else [found]


def single(value: Any) -> float:
    """A number of single precision as people write it: 1e-05, not 9.999999747378752e-06."""
    return float(str(np.float32(value)))
