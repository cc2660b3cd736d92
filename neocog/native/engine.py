"""The compiled network with its memory and its threads."""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..layers import Conv
from ..network import Network
from .jit import Compiled, Machine, machine
from .layout import aligned
from .program import GROUPS, Program, Region
from .runtime import CONTEXT_WORDS, QUIT, SCORE, TRAIN, runtime, slot
from .single import SinglePlan, SingleScorer
from .steps import DECAYING, LOSS, NOT_DECAYING, Steps

Floats = NDArray[np.float32]


class NativeNetwork:
    """A network as machine code for this processor, its weights, and the threads that run it."""

    def __init__(self, network: Network, threads: int, nesterov: bool, on: Machine | None = None) -> None:
        self.machine = on or machine()
        self.program = Program(self.machine, network)
        self.network, self.threads = network, threads
        self.lanes = self.machine.lanes
        steps = Steps(self.program, network, nesterov)
        texts = [steps.train(), steps.score(), runtime()]
        self.sizes = steps.sizes
        self.code = Compiled(self.program.functions.values(), texts)
        self._allocate()
        self._workers: list[threading.Thread] = []

    # -- memory ------------------------------------------------------------------------------------------------

    def _allocate(self) -> None:
        p = self.program
        self.shared = np.zeros(CONTEXT_WORDS, np.int64)
        self._kept: dict[str, NDArray[Any]] = {}
        self.weights = self._keep("weights", p.parameters + self.lanes)  # a vector may begin at the last of them
        self.velocity = self._keep("velocity", p.parameters)
        self._keep("packed", max(1, p.packed))
        self._keep("arena", self.threads * self.sizes.arena // 4)
        self._keep("scratch", max(1, self.threads * self.sizes.scratch // 4))
        self._keep("group", GROUPS * self.sizes.group // 4)
        self.settings = self._keep("settings", 16)
        self.scale = self._keep("scale", 1)
        self._set("threads", self.threads)

    def _keep(self, name: str, floats: int) -> Floats:
        """Aligned memory that starts as zeros, and where threads find it."""
        array = aligned(floats)
        self._point(name, array)
        return array

    def _point(self, name: str, array: NDArray[Any]) -> None:
        self._kept[name] = array
        self._set(name, array.ctypes.data)

    def _set(self, name: str, value: int) -> None:
        self.shared[slot(name)] = value

    # -- running -----------------------------------------------------------------------------------------------

    def train(
        self, x: Floats, labels: NDArray[np.int64], lr: float, momentum: float, decay: float
    ) -> tuple[float, int]:
        """One step of gradient descent: mean loss and how many were right."""
        blocks = -(-len(x) // self.lanes)
        self._images(x, blocks)
        padded = aligned(blocks * self.lanes).view(np.int32)
        padded[:] = -1
        padded[: len(labels)] = labels
        self._point("labels", padded)
        groups = min(blocks, GROUPS)
        self._point("starts", np.arange(groups + 1, dtype=np.int64) * blocks // groups)
        self._set("groups", groups)
        self.scale[0] = 1.0 / len(x)
        self.settings[DECAYING : DECAYING + 3] = lr, momentum, decay
        self.settings[NOT_DECAYING : NOT_DECAYING + 3] = lr, momentum, 0.0
        self._run(TRAIN)
        return float(self.settings[LOSS]) / len(x), int(self.settings[LOSS + 1])

    def score(self, x: Floats) -> Floats:
        """Scores (N, K)."""
        if 0 < len(x) < self.lanes and self._single and len(x) <= self._single.most:
            return self._single.score(x)
        blocks = -(-len(x) // self.lanes)
        self._images(x, blocks)
        classes = self.network.shapes[-1].channels
        scores = aligned(blocks * classes * self.lanes)
        self._point("scores", scores)
        self._set("blocks", blocks)
        self._run(SCORE)
        return scores.reshape(blocks, classes, self.lanes).transpose(0, 2, 1).reshape(-1, classes)[: len(x)].copy()

    @cached_property
    def _single(self) -> SingleScorer | None:
        """The plan for few images, compiled when it is first needed; None where there is none."""
        if not SinglePlan.covers(self.network):
            return None
        plan = SinglePlan(self.machine, self.network, self.program.regions)
        return SingleScorer(plan, self.weights) if plan.most else None

    def _images(self, x: Floats, blocks: int) -> None:
        images = np.ascontiguousarray(x, np.float32)
        if len(x) % self.lanes:
            padded = np.zeros((blocks * self.lanes, *x.shape[1:]), np.float32)
            padded[: len(x)] = images
            images = padded
        self._point("images", images)

    def _run(self, job: int) -> None:
        if not self._workers and self.threads > 1:
            self._start_workers()
        self.code.call("start", [ctypes.c_void_p(self.shared.ctypes.data), ctypes.c_int64(job)])

    def _start_workers(self) -> None:
        seen = int(self.shared[slot("generation")])
        for k in range(1, self.threads):
            arguments = [ctypes.c_void_p(self.shared.ctypes.data), ctypes.c_int64(k), ctypes.c_int64(seen)]
            worker = threading.Thread(target=self.code.call, args=("worker", arguments), daemon=True)
            worker.start()
            self._workers.append(worker)
        self._end = weakref.finalize(self, _end_workers, self.code, self.shared, self._workers)

    def close(self) -> None:
        """End the threads, which happens by itself when the network goes; another step would start them again."""
        if self._workers:
            self._end()
            self._workers = []

    # -- weights -----------------------------------------------------------------------------------------------

    def write_weights(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Set all weights, by `<node>.<parameter>`."""
        for region in self.program.regions:
            self._rows(region)[:, : region.count] = self._as_rows(region, np.asarray(weights[region.name], np.float32))

    def read_weights(self) -> dict[str, Floats]:
        """Copies of all weights."""
        found: dict[str, list[Floats]] = {}
        for region in self.program.regions:
            found.setdefault(region.name, []).append(self._from_rows(region))
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def _rows(self, region: Region) -> Floats:
        return self.weights[region.start : region.start + region.size].reshape(region.rows, region.padded)

    def _as_rows(self, region: Region, array: Floats) -> Floats:
        if region.name.endswith(".bias"):
            return array[None]
        part = array[region.group * region.count : (region.group + 1) * region.count]
        return self._flipped(region, part).reshape(region.count, -1).T

    def _from_rows(self, region: Region) -> Floats:
        rows = self._rows(region)[:, : region.count]
        node = self.network.node(region.name.partition(".")[0])
        shape = node.layer.parameters(*self.network.input_shapes(node))[region.name.partition(".")[2]].shape
        if region.name.endswith(".bias"):
            biases: Floats = rows[0].copy()
            return biases
        weights: Floats = rows.T.reshape(region.count, *shape[1:])
        return self._flipped(region, weights).copy()

    def _flipped(self, region: Region, array: Floats) -> Floats:
        layer = self.network.node(region.name.partition(".")[0]).layer
        if isinstance(layer, Conv) and layer.flip:
            array = np.flip(array, axis=tuple(range(2, array.ndim)))
        return array


def _end_workers(code: Compiled, shared: NDArray[np.int64], workers: list[threading.Thread]) -> None:
    code.call("start", [ctypes.c_void_p(shared.ctypes.data), ctypes.c_int64(QUIT)])
    for worker in workers:
        worker.join()
