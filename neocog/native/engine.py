"""The compiled network with its memory and its threads."""

from __future__ import annotations

import ctypes
import math
import threading
import weakref
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..chance import words
from ..errors import RunError
from ..layer import Layer, Shape
from ..layers import Conv
from ..network import Network
from ..torch_engine.allocator import available_memory
from .jit import Compiled, Machine, machine
from .layout import aligned
from .one_image_tasks import covers
from .optimizers import OPTIMIZERS
from .program import GROUPS, Program, Region
from .runtime import CONTEXT_WORDS, QUIT, SCORE, TRAIN, runtime, slot
from .single import SinglePlan, SingleScorer
from .steps import DECAYING, LOSS, NOT_DECAYING, Steps

Floats = NDArray[np.float32]


class NativeNetwork:
    """A network as machine code for this processor, its weights, and the threads that run it."""

    def __init__(
        self,
        network: Network,
        threads: int,
        optimizer: str,
        loss: str = "cross-entropy",
        dtype: str = "float32",
        on: Machine | None = None,
    ) -> None:
        self.machine = on or machine()
        self.program = Program(self.machine, network, loss, pairs=dtype == "bfloat16")
        self.optimizer, self.updates = OPTIMIZERS[optimizer], 0
        self.network, self.threads = network, threads
        self.lanes = self.machine.lanes
        steps = Steps(self.program, network, optimizer)
        texts = [steps.train(), steps.score(), runtime()]
        self.sizes = steps.sizes
        self.code = Compiled(self.program.functions.values(), texts)
        self._start = self.code.function("start", [ctypes.c_void_p, ctypes.c_int64])
        self._allocate()
        self._workers: list[threading.Thread] = []
        self._packed = False  # whether the plan for few images has the weights as they are

    # -- memory ------------------------------------------------------------------------------------------------

    def _allocate(self) -> None:
        p = self.program
        self.shared = np.zeros(CONTEXT_WORDS, np.int64)
        self._kept: dict[str, NDArray[Any]] = {}
        self.weights = self._keep("weights", p.parameters + self.lanes)  # a vector may begin at the last of them
        self._keep("velocity", p.parameters)
        if self.optimizer.states == 2:
            self._keep("squares", p.parameters)
        self._keep("packed", max(1, p.packed))
        self._keep("coefficients", max(1, p.coefficients))
        self._keep("there", p.parameters if any(region.masked for region in p.regions) else 1)
        self.words = self._keep("words", max(1, 2 * len(p.drawing))).view(np.uint32)
        self._point("numbers", np.zeros(1, np.int32))
        self.arenas = 0
        for name, size in (("scratch", self.sizes.scratch), ("halved", self.sizes.halved)):
            self._keep(name, max(1, self.threads * size // 4))
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
        self,
        x: Floats,
        labels: NDArray[np.int64],
        lr: float,
        momentum: float,
        decay: float,
        seed: int = 0,
        step: int = 0,
    ) -> tuple[float, int]:
        """One update of the weights: mean loss and how many were right. Layers that draw do so by seed and step."""
        blocks = -(-len(x) // self.lanes)
        self._room(blocks if self.program.couples else self.threads)
        self._images(x, blocks)
        padded = aligned(blocks * self.lanes).view(np.int32)
        padded[:] = -1
        padded[: len(labels)] = labels
        self._point("labels", padded)
        self._chance(seed, step, blocks)
        groups = self.program.groups(blocks)
        self._point("starts", np.arange(groups + 1, dtype=np.int64) * blocks // groups)
        self._set("groups", groups)
        self._set("blocks", blocks)
        self.scale[0] = 1.0 / len(x)
        for place, part in ((DECAYING, decay), (NOT_DECAYING, 0.0)):
            self.settings[place : place + 3] = self.optimizer.rates(self.updates + 1, lr, momentum, part)
        self._run(TRAIN)
        self._packed = False
        loss = float(self.settings[LOSS])
        if math.isfinite(loss):  # else the weights are as they were
            self.updates += 1
        return loss / len(x), int(self.settings[LOSS + 1])

    def score(self, x: Floats) -> Floats:
        """Scores (N, K)."""
        if 0 < len(x) < self.lanes and self.few and len(x) <= self.few.most:
            if not self._packed:
                self.few.pack()
                self._packed = True
            return self.few.score(x)
        blocks = -(-len(x) // self.lanes)
        self._room(self.threads)
        self._images(x, blocks)
        classes = self.network.shapes[-1].channels
        scores = aligned(blocks * classes * self.lanes)
        self._point("scores", scores)
        self._set("blocks", blocks)
        self._run(SCORE)
        return scores.reshape(blocks, classes, self.lanes).transpose(0, 2, 1).reshape(-1, classes)[: len(x)].copy()

    def _room(self, arenas: int) -> None:
        """Memory for so many blocks at a time; it starts as zeros, which margins stay.

        Raises RunError where there is not so much.
        """
        if arenas > self.arenas:
            needed, free = arenas * self.sizes.arena, available_memory()
            if free is not None and needed > free:
                asked = f"{needed / 2**30:.1f} GiB for {arenas} blocks of {self.lanes}"
                raise RunError(
                    "the native engine keeps the volumes of so many blocks of images at a time, which do not fit",
                    received=f"{asked}; {free / 2**30:.1f} are free",
                    hint="engine=torch, or smaller mini-batches",
                )
            self.arenas = arenas
            self._keep("arena", arenas * self.sizes.arena // 4)

    @cached_property
    def few(self) -> SingleScorer | None:
        """The plan for few images, compiled when it is first needed; None where there is none."""
        if not covers(self.network):
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

    def _chance(self, seed: int, step: int, blocks: int) -> None:
        if drawing := len(self.program.drawing):
            self.words[:] = np.concatenate([words(seed, step, k) for k in range(drawing)])
            numbers = aligned(blocks * self.lanes).view(np.int32)
            numbers[:] = np.arange(len(numbers))
            self._point("numbers", numbers)

    def _run(self, job: int) -> None:
        if not self._workers and self.threads > 1:
            self._start_workers()
        self._start(self.shared.ctypes.data, job)

    def addresses(self, block: int) -> dict[str, int]:
        """Where each buffer of a call begins for the first thread and its group, at a block of the last step."""
        found = {name: array.ctypes.data for name, array in self._kept.items()}
        for name, size in (
            ("images", self.sizes.images),
            ("labels", self.sizes.labels),
            ("numbers", self.sizes.labels),
        ):
            found[name] += block * size
        if self.program.couples:
            found["arena"] += block * self.sizes.arena
        found["result"] = found["group"]
        found["gradients"] = found["result"] + 2 * self.lanes * 4
        found["sums"] = found["gradients"] + self.program.parameters * 4
        return found

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
        self._packed = False
        for region in self.program.regions:
            array = np.asarray(weights[region.name], np.float32)
            self._rows(region)[:, : region.count] = self._as_rows(region, array)
            if region.masked:
                self._rows(region, "there")[:, : region.count] = self._as_rows(region, np.ones_like(array))

    def read_weights(self) -> dict[str, Floats]:
        """Copies of all weights."""
        return self._read(self.program.regions, "weights")

    def _read(self, regions: Iterable[Region], memory: str) -> dict[str, Floats]:
        found: dict[str, list[Floats]] = {}
        for region in regions:
            found.setdefault(region.name, []).append(self._from_rows(region, memory))
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def gradients(self) -> dict[str, Floats]:
        """Copies of the last step's gradients, by name, where the optimizer is `sgd`: it keeps them as they are."""
        trained = [region for region in self.program.regions if region.trainable]
        return self._read(trained, "velocity")

    def _rows(self, region: Region, memory: str = "weights") -> Floats:
        whole: Floats = self._kept[memory]
        return whole[region.start : region.start + region.size].reshape(region.rows, region.padded)

    def _as_rows(self, region: Region, array: Floats) -> Floats:
        layer, inputs = self._layer(region)
        if array.ndim == 1:
            return array[None]
        if isinstance(layer, Conv):
            array = layer.dense(np.asarray(array, np.float64), inputs.channels).astype(np.float32)
        part = array[region.group * region.count : (region.group + 1) * region.count]
        return part.reshape(region.count, -1).T

    def _from_rows(self, region: Region, memory: str) -> Floats:
        layer, inputs = self._layer(region)
        rows = self._rows(region, memory)[:, : region.count]
        shape = layer.parameters(inputs)[region.name.partition(".")[2]].shape
        if len(shape) == 1:
            alone: Floats = rows[0].copy()
            return alone
        if not isinstance(layer, Conv):
            return rows.T.reshape(region.count, *shape[1:]).copy()
        kernel = layer.window(inputs).kernel
        dense: Floats = rows.T.reshape(region.count, -1, *kernel)
        if layer.flip:
            dense = np.flip(dense, axis=tuple(range(2, dense.ndim)))
        return dense[layer.table_index()] if layer.table is not None else dense.copy()

    def _layer(self, region: Region) -> tuple[Layer, Shape]:
        """Whose parameter it is, and what that reads."""
        node = self.network.node(region.name.partition(".")[0])
        return node.layer, self.network.input_shapes(node)[0]


def _end_workers(code: Compiled, shared: NDArray[np.int64], workers: list[threading.Thread]) -> None:
    code.call("start", [ctypes.c_void_p(shared.ctypes.data), ctypes.c_int64(QUIT)])
    for worker in workers:
        worker.join()
