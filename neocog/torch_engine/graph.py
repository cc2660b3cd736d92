"""Many small kernels launched as one: on a GPU a step's launches can take longer than its arithmetic.

A CIFAR-10 network's training step is some 500 kernels. Launched one by one by Python they keep an H200 waiting half of
the time; recorded as a CUDA graph they are one launch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

WARM_UP = 3
"""Calls before the recording, in which libraries choose their kernels and lasting tensors come to be."""

Shapes = tuple[torch.Size, ...]


class Recorded:
    """A function of tensors, recorded for each set of their shapes and played back from then on.

    What it reads or changes besides must stay where it is. A function that waits for the GPU within cannot be recorded;
    it goes on being called.
    """

    def __init__(self, function: Callable[..., Sequence[Tensor]], device: torch.device) -> None:
        self._function = function
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._calls: dict[Shapes, int] = {}
        self._records: dict[Shapes, _Record] = {}
        self._possible = True

    def __call__(self, *inputs: Tensor) -> list[Tensor]:
        """What the function gives for these inputs."""
        shapes = tuple(x.shape for x in inputs)
        if shapes in self._records:
            return self._records[shapes].play(inputs)
        self._calls[shapes] = self._calls.get(shapes, 0) + 1
        if self._calls[shapes] <= WARM_UP or not self._possible:
            return self._aside(inputs)
        try:
            self._records[shapes] = _Record(self._function, inputs, self._stream)
        except RuntimeError:  # what is wrong besides is wrong again when it is called, and is then heard
            self._possible = False
            torch.cuda.synchronize()
            return self._aside(inputs)
        return self._records[shapes].play(inputs)

    def _aside(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        """Call it on the stream of the recording, which what it leaves behind then belongs to."""
        current = torch.cuda.current_stream()
        self._stream.wait_stream(current)
        with torch.cuda.stream(self._stream):
            found = list(self._function(*inputs))
        current.wait_stream(self._stream)
        return found


class _Record:
    """One recording, with the memory that its inputs and outputs have."""

    def __init__(
        self, function: Callable[..., Sequence[Tensor]], inputs: Sequence[Tensor], stream: torch.cuda.Stream
    ) -> None:
        self._inputs = [x.clone() for x in inputs]
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, stream=stream, capture_error_mode="thread_local"):
            self._outputs = list(function(*self._inputs))

    def play(self, inputs: Sequence[Tensor]) -> list[Tensor]:
        for mine, x in zip(self._inputs, inputs, strict=True):
            mine.copy_(x)
        self._graph.replay()
        return [y.clone() for y in self._outputs]
