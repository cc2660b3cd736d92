"""The compiled network with its memory and its threads."""

from __future__ import annotations

import ctypes
import threading
import weakref
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..average import share
from ..chance import words
from ..errors import ModelFileError, RunError
from ..feed import Course, Taken
from ..layers import Conv
from ..network import Network
from ..torch_engine.allocator import available_memory
from .feeding import MOVE
from .footprint import Footprint
from .jit import Compiled, Machine, machine
from .layout import aligned
from .one_image_tasks import covers
from .optimizers import OPTIMIZERS
from .parameters import as_rows, owner
from .program import Program, Region
from .runtime import (
    BYTES,
    CONTEXT_WORDS,
    DECAYING,
    LEARN,
    LOSS,
    MOVED,
    NOT_DECAYING,
    NUMBERS,
    POINTERS,
    QUIT,
    SCORE,
    SETTINGS,
    SHARE,
    runtime,
    slot,
)
from .single import SinglePlan, SingleScorer
from .step_calls import step_calls
from .steps import Steps

Floats = NDArray[np.float32]

REMEMBERED = ("weights", "velocity", "squares", "average")
"""Memory, where there is such, whose numbers outlast a step."""


class NativeNetwork:
    """A network as machine code for this processor, its weights, and the threads that run it.

    With `ema` above 0 a moving average of the weights is kept with that decay, which prediction goes by.
    `label_smoothing` is for the loss cross-entropy; `factors` are on the learning rates of arrays by name.
    """

    def __init__(
        self,
        network: Network,
        threads: int,
        optimizer: str,
        loss: str = "cross-entropy",
        dtype: str = "float32",
        ema: float = 0.0,
        on: Machine | None = None,
        label_smoothing: float = 0.0,
        factors: Mapping[str, float] | None = None,
    ) -> None:
        self.machine = on or machine()
        self.program = Program(self.machine, network, loss, dtype == "bfloat16", label_smoothing)
        self.optimizer, self.updates = OPTIMIZERS[optimizer], 0
        self.network, self.threads, self.ema = network, threads, ema
        self.lanes = self.machine.lanes
        steps = Steps(self.program, step_calls(self.program, optimizer, factors, averages=ema > 0))
        texts = [*steps.texts(), runtime()]
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
        if self.ema:
            self._keep("average", p.parameters + self.lanes)
        self._rooms: dict[str, Floats] = {}
        for name, size in (("scratch", self.sizes.scratch), ("halved", self.sizes.halved)):
            self._keep(name, max(1, self.threads * size // 4))
        self._keep("staged", -(-self.threads * self.sizes.staged // 4))
        self._plan: _Plan | None = None
        self._context: NDArray[np.int64] = self.shared  # of the last step
        self._in_use: list[NDArray[Any]] = []  # what it points to, beside what is kept
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

    @property
    def served(self) -> Floats:
        """The memory of the weights that prediction goes by."""
        return self._kept["average"] if self.ema else self.weights

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
        plan = self._planned(np.array([len(x)]))
        self._images(x, plan.blocks)
        self._set("fed", NUMBERS)
        taken = self._steps(plan, labels, np.array([lr]), momentum, decay, seed, step, {})
        return float(taken.losses[0]), int(taken.right[0])

    def learn(self, course: Course, momentum: float, decay: float, seed: int = 0, step: int = 0) -> Taken:
        """The steps of a course, or those up to the first whose loss is not finite. `step` is the first one's number.

        Weights become what `train` makes of `course.batches()`, to the last bit.
        """
        plan = self._planned(course.sizes)
        pixels, moves = course.pixels, course.moves
        self._set("fed", BYTES if moves is None else MOVED)
        self._point("pixels", np.ascontiguousarray(pixels.images))
        self._point("coding", np.concatenate([pixels.scale, pixels.shift], dtype=np.float32))
        rows = plan.spread(course.rows, np.zeros(plan.places, np.int64))
        fed = {"rows": (rows, self.lanes)}
        if moves is not None:
            placed = aligned(plan.blocks * MOVE * self.lanes).view(np.int32).reshape(plan.blocks, MOVE, self.lanes)
            spread = plan.spread(moves, np.zeros((plan.places, MOVE - 1), np.int32))
            placed[:, : MOVE - 1] = spread.reshape(plan.blocks, self.lanes, MOVE - 1).transpose(0, 2, 1)
            placed[:, MOVE - 1] = np.arange(self.lanes) * self.sizes.image
            fed["moves"] = (placed, MOVE * self.lanes)
        return self._steps(plan, course.labels, course.rates, momentum, decay, seed, step, fed)

    def _steps(
        self,
        plan: _Plan,
        labels: NDArray[np.int64],
        rates: NDArray[np.float64],
        momentum: float,
        decay: float,
        seed: int,
        step: int,
        fed: dict[str, tuple[NDArray[Any], int]],
    ) -> Taken:
        """All steps of a plan. `fed` are arrays that hold so many values for each block, by their places."""
        batch = int(plan.sizes.max())
        self._room("arena", "training", self.threads * self.sizes.arena, batch)
        self._room("kept", "kept", plan.most * self.sizes.kept, batch)
        self._room("group", "groups", max(plan.groups) * self.sizes.group, batch)
        padded = aligned(plan.places).view(np.int32)
        padded[:] = -1
        fed |= {"labels": (plan.spread(labels, padded), self.lanes)}
        settings = aligned(SETTINGS * len(rates))
        self._rates(settings.reshape(-1, SETTINGS), rates, momentum, decay)
        self._set("weights", self.weights.ctypes.data)
        contexts = self.shared[None].repeat(len(rates), axis=0)
        for name, (array, each) in fed.items():
            contexts[:, slot(name)] = array.ctypes.data + plan.starts * (each * array.itemsize)
        for name, array, each in (("settings", settings, SETTINGS), ("scale", plan.scale, 1)):
            contexts[:, slot(name)] = array.ctypes.data + plan.steps * (each * array.itemsize)
        for name, column in (("blocks", plan.counts), ("groups", plan.groups), ("starts", plan.borders)):
            contexts[:, slot(name)] = column
        self._context, self._in_use = contexts[-1], [array for array, _ in fed.values()]
        self._in_use += [settings, *self._chance(contexts, seed, step, plan.most)]
        self._set("contexts", contexts.ctypes.data)
        self._set("steps", len(rates))
        self._run(LEARN)
        self._packed = False
        sums = settings.reshape(-1, SETTINGS)[:, LOSS : LOSS + 2].astype(np.float64)
        bad = np.flatnonzero(~np.isfinite(sums[:, 0]))
        made = int(bad[0]) + 1 if len(bad) else len(sums)
        self.updates += made - bool(len(bad))  # the weights are as they were before the step of a loss that is not
        sums[made - 1, 1] *= not len(bad)
        return Taken(sums[:made, 0] / plan.sizes[:made], sums[:made, 1].astype(np.int64))

    def _rates(self, settings: Floats, rates: NDArray[np.float64], momentum: float, decay: float) -> None:
        """The numbers that the optimizer and the average want of each step."""
        for k, (row, lr) in enumerate(zip(settings, rates.tolist(), strict=True), start=self.updates):
            for place, part in ((DECAYING, decay), (NOT_DECAYING, 0.0)):
                row[place : place + 3] = self.optimizer.rates(k + 1, lr, momentum, part)
            row[SHARE] = share(self.ema, k)

    def _planned(self, sizes: NDArray[np.int64]) -> _Plan:
        """The plan for steps of these sizes: mostly the one before."""
        if self._plan is None or not np.array_equal(self._plan.sizes, sizes):
            self._plan = _Plan(sizes, self.program)
        return self._plan

    def score(self, x: Floats) -> Floats:
        """Scores (N, K)."""
        if 0 < len(x) < self.lanes and self.few and len(x) <= self.few.most:
            if not self._packed:
                self.few.pack()
                self._packed = True
            return self.few.score(x)
        blocks = -(-len(x) // self.lanes)
        self._room("arena", "predicting", self.threads * self.sizes.predicting, len(x))
        self._images(x, blocks)
        classes = self.network.shapes[-1].channels
        scores = aligned(blocks * classes * self.lanes)
        self._point("scores", scores)
        self._set("blocks", blocks)
        self._set("weights", self.served.ctypes.data)
        self._run(SCORE)
        return scores.reshape(blocks, classes, self.lanes).transpose(0, 2, 1).reshape(-1, classes)[: len(x)].copy()

    def _room(self, buffer: str, use: str, size: int, batch: int) -> None:
        """Memory of so many bytes, the more the larger the batch. Raises RunError where it is short."""
        if use not in self._rooms or size > self._rooms[use].nbytes:
            self._rooms.pop(use, None)
            self._check_fits(batch, training=use != "predicting")
            self._rooms[use] = aligned(size // 4)
        self._set(buffer, self._rooms[use].ctypes.data)

    def _check_fits(self, batch: int, *, training: bool) -> None:
        needed, free = self.footprint(batch, training=training), available_memory()
        if free is not None and needed.total - needed.present > free:
            raise RunError(
                "the native engine would need more memory for such mini-batches than there is",
                received=f"{needed.total / 2**30:.1f} GiB; {free / 2**30:.1f} are free",
                hint="engine=torch, or smaller mini-batches",
            )

    def footprint(self, batch: int, *, training: bool) -> Footprint:
        """What a batch of so many images takes in all."""
        return Footprint.of(
            self.program,
            batch=batch,
            threads=self.threads,
            optimizer=self.optimizer,
            training=training,
            averages=self.ema > 0,
        )

    @cached_property
    def few(self) -> SingleScorer | None:
        """The plan for few images, compiled when it is first needed; None where there is none."""
        if not covers(self.network):
            return None
        plan = SinglePlan(self.machine, self.network, self.program.regions)
        return SingleScorer(plan, self.served) if plan.most else None

    def _images(self, x: Floats, blocks: int) -> None:
        images = np.ascontiguousarray(x, np.float32)
        if len(x) % self.lanes:
            padded = np.zeros((blocks * self.lanes, *x.shape[1:]), np.float32)
            padded[: len(x)] = images
            images = padded
        self._point("images", images)

    def _chance(self, contexts: NDArray[np.int64], seed: int, first: int, blocks: int) -> tuple[NDArray[Any], ...]:
        """The words of each step and the numbers of images, where contexts find them while the arrays live."""
        if not self.program.drawing:
            return ()
        layers = range(len(self.program.drawing))
        drawn = np.array([[words(seed, first + k, layer) for layer in layers] for k in range(len(contexts))])
        numbers = aligned(blocks * self.lanes).view(np.int32)
        numbers[:] = np.arange(len(numbers))
        contexts[:, slot("words")] = drawn.ctypes.data + np.arange(len(contexts)) * (drawn.nbytes // len(contexts))
        contexts[:, slot("numbers")] = numbers.ctypes.data
        return drawn, numbers

    def _run(self, job: int) -> None:
        if not self._workers and self.threads > 1:
            self._start_workers()
        self._start(self.shared.ctypes.data, job)

    def addresses(self, block: int, *, training: bool) -> dict[str, int]:
        """Where each buffer of a call begins for the first thread and its group, at a block of the last step."""
        found = {name: int(self._context[slot(name)]) for name in POINTERS}
        found |= {name: array.ctypes.data for name, array in self._kept.items()}
        found["arena"] = self._rooms["training" if training else "predicting"].ctypes.data
        found["kept"] = self._rooms["kept"].ctypes.data + block * self.sizes.kept
        for name, size in (
            ("images", self.sizes.images),
            ("labels", self.sizes.labels),
            ("numbers", self.sizes.labels),
        ):
            found[name] += block * size
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
            self._rows(region)[:, : region.count] = as_rows(self.network, region, array)
            if region.masked:
                self._rows(region, "there")[:, : region.count] = as_rows(self.network, region, np.ones_like(array))
        self.served[:] = self.weights

    def read_weights(self, *, latest: bool = False) -> dict[str, Floats]:
        """Copies of all weights that prediction goes by, or of the `latest`, which training has come to."""
        return self._read(self.program.regions, "average" if self.ema and not latest else "weights")

    def _read(self, regions: Iterable[Region], memory: str) -> dict[str, Floats]:
        found: dict[str, list[Floats]] = {}
        for region in regions:
            found.setdefault(region.name, []).append(self._from_rows(region, memory))
        return {name: np.concatenate(parts) for name, parts in found.items()}

    def read_state(self) -> dict[str, NDArray[Any]]:
        """Copies of all that the next step depends on: `<memory>/<node>.<parameter>`, and the number of updates."""
        found: dict[str, NDArray[Any]] = {"updates": np.array(self.updates)}
        for memory in REMEMBERED:
            if memory in self._kept:
                read = self._read(self.program.regions, memory)
                found |= {f"{memory}/{name}": array for name, array in read.items()}
        return found

    def write_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Become what the state was read from. Raises ModelFileError for that of something else."""
        own = self.read_state()
        for name in sorted(own.keys() ^ state.keys()):
            raise ModelFileError("the state is not that of this training", received=name[:80])
        for name, array in own.items():
            if (state[name].shape, state[name].dtype) != (array.shape, array.dtype):
                raise ModelFileError("the state does not fit the network", received=name)
        self.write_weights({region.name: state[f"weights/{region.name}"] for region in self.program.regions})
        for memory in REMEMBERED[1:]:
            for region in self.program.regions if memory in self._kept else ():
                rows = as_rows(self.network, region, state[f"{memory}/{region.name}"])
                self._rows(region, memory)[:, : region.count] = rows
        self.updates = int(state["updates"])

    def gradients(self) -> dict[str, Floats]:
        """Copies of the last step's gradients, by name, where the optimizer is `sgd`: it keeps them as they are."""
        trained = [region for region in self.program.regions if region.trainable]
        return self._read(trained, "velocity")

    def _rows(self, region: Region, memory: str = "weights") -> Floats:
        whole: Floats = self._kept[memory]
        return whole[region.start : region.start + region.size].reshape(region.rows, region.padded)

    def _from_rows(self, region: Region, memory: str) -> Floats:
        layer, inputs = owner(self.network, region)
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


class _Plan:
    """Where the images of some steps lie: each step's in blocks of its own, the last of which may have room left.

    For each step `counts` are its blocks and `starts` those before it, `groups` how many parts its blocks are in, and
    `borders` the addresses of where these begin. `places` is how many images there is room for.
    """

    def __init__(self, sizes: NDArray[np.int64], program: Program) -> None:
        lanes = program.machine.lanes
        self.sizes, self.counts, self.steps = sizes, -(-sizes // lanes), np.arange(len(sizes))
        self.scale = (1 / sizes).astype(np.float32)
        self.starts = np.cumsum(self.counts) - self.counts
        self.blocks, self.most = int(self.counts.sum()), int(self.counts.max())
        self.places = self.blocks * lanes
        before = self.starts * lanes - (np.cumsum(sizes) - sizes)
        self._to = np.arange(int(sizes.sum())) + np.repeat(before, sizes)
        counts = self.counts.tolist()
        self.groups = [program.groups(count) for count in counts]
        kinds = {(count, groups) for count, groups in zip(counts, self.groups, strict=True)}
        self._borders = {count: np.arange(groups + 1, dtype=np.int64) * count // groups for count, groups in kinds}
        self.borders = [self._borders[count].ctypes.data for count in counts]

    def spread(self, values: NDArray[Any], into: NDArray[Any]) -> NDArray[Any]:
        """What belongs to each image, at its place; returns `into`."""
        into[self._to] = values
        return into


def _end_workers(code: Compiled, shared: NDArray[np.int64], workers: list[threading.Thread]) -> None:
    code.call("start", [ctypes.c_void_p(shared.ctypes.data), ctypes.c_int64(QUIT)])
    for worker in workers:
        worker.join()
