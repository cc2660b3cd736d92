"""What a layer has to do in one pass, in the numbers that decide how long it takes: operations, bytes, shape."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from ..layer import Layer, Shape
from ..layers.conv import Conv
from .memory import BYTES

PASSES = ("inference", "forward", "backward", "parameters")
"""`forward` is in training; `backward` gives every gradient. Layers that multiply with weights have `parameters` too:
the gradients of those alone."""

NEW_PAGES = 32 * 2**20
"""An array of so many bytes may be given new pages by the system, filled with zeros; smaller ones reuse memory.

The largest value that glibc raises its M_MMAP_THRESHOLD to (mallopt(3)), unless it is told to hold all
(`torch_engine/allocator.py`): new pages then cost nothing, as a calibration finds out.
"""

FREE = {
    "ID": PASSES,
    "AUX": PASSES,
    "DROPOUT": ("inference",),
    "ADD": ("backward",),
    "CONCAT": ("backward",),
}
"""Passes that hand on what they were given: no value moves."""


@dataclass(frozen=True)
class Work:
    """One pass of one layer over a batch. Convolutions that a CPU may filter have an `op` of their own.

    `bytes` are those read and written if each value moves once; `new_bytes` lie in fresh arrays of `NEW_PAGES` or
    more. `features` place the layer among others of its `op`, in powers of two: near ones are expected to reach a
    like share of what the machine can do. They are (output positions, 2 if there are several, multiplications for
    one output value, maps, taps, stride, groups) where the layer multiplies with weights, else (bytes, taps, maps).
    A product with one vector alone is another routine in every library.
    """

    op: str
    flops: float
    bytes: float
    new_bytes: float
    features: tuple[float, ...]


def work(layer: Layer, inputs: Sequence[Shape], output: Shape, batch: int, dtype: str) -> dict[str, Work]:
    """The work of each pass. Volumes have `dtype`; parameters are float32 unless that is float64."""
    value_bytes, master_bytes = BYTES[dtype], max(4, BYTES[dtype])
    read = [x.elements * batch * value_bytes for x in inputs or (output,)]
    written = output.elements * batch * value_bytes
    owned = [p.size * master_bytes for p in layer.parameters(*inputs).values()]
    once = sum(read) + written + sum(owned)
    flops = 2.0 * layer.cost(*inputs).macs * batch
    features = _features(layer, inputs, output, batch, sum(read) + written)
    filtered = isinstance(layer, Conv) and layer.is_filtered(inputs[0], value_bytes)
    op = f"filtered {layer.op}" if filtered else layer.op

    def passing(which: str, times: int, arrays: Sequence[int]) -> Work:
        if which in FREE.get(layer.op, ()):
            return Work(op, 0.0, 0.0, 0.0, features)
        new = sum(size for size in arrays if size >= NEW_PAGES)
        return Work(op, times * flops, float(times * once), float(new), features)

    return {
        "inference": passing("inference", 1, [written]),
        "forward": passing("forward", 1, [written]),
        "backward": passing("backward", 2, [*read, *owned]),
        "parameters": passing("parameters", 1, owned),
    }


def _features(layer: Layer, inputs: Sequence[Shape], output: Shape, batch: int, moved: int) -> tuple[float, ...]:
    window = layer.window(*inputs) if inputs else None
    whole = window is None or window.kernel == inputs[0].spatial  # as FC: one product, whatever the volume's sides
    taps = 1 if window is None or whole else math.prod(window.kernel)
    macs = layer.cost(*inputs).macs
    if not macs:
        return _log2(moved, taps, output.channels)
    groups = getattr(layer, "groups", 1)
    stride = math.prod(window.stride) if window else 1
    rows, depth = batch * output.positions, macs / output.elements
    return _log2(rows, min(rows, 2), depth, output.channels / groups, taps, stride, groups)


def _log2(*values: float) -> tuple[float, ...]:
    return tuple(math.log2(value) for value in values)
