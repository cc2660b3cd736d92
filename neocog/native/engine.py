"""The compiled network: its weights, and the steps that it makes and predicts with."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..average import share
from ..chance import words
from ..errors import ModelFileError, RunError
from ..feed import Course, Taken
from ..network import Network
from ..resources import available_memory
from .blocks import Blocks
from .feeding import MOVE
from .footprint import Footprint
from .jit import Compiled, Machine, machine
from .layout import aligned
from .memory import Floats, Memory
from .one_image_tasks import covers
from .optimizers import OPTIMIZERS
from .parameters import read, write
from .program import Program
from .runtime import (
    BYTES,
    DECAYING,
    LEARN,
    LOSS,
    MOVED,
    NOT_DECAYING,
    NUMBERS,
    POINTERS,
    SCORE,
    SETTINGS,
    SHARE,
    runtime,
    slot,
)
from .single import SinglePlan, SingleScorer
from .step_calls import step_calls
from .steps import Steps
from .workers import Workers

REMEMBERED = ("weights", "velocity", "squares", "average")
"""Memory, where there is such, whose numbers outlast a step."""

Fed = dict[str, tuple[NDArray[Any], int]]
"""Arrays of a call by the buffers that they are: each holds so many values for each block, by its place."""


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
        self.memory = Memory()
        self._workers = Workers(self.code, self.memory.shared, threads)
        self._allocate()
        self._blocks: Blocks | None = None
        self._context = self.memory.shared  # of the last step
        self._in_use: list[NDArray[Any]] = []  # what it points to, beside what is kept
        self._packed = False  # whether the plan for few images has the weights as they are

    # -- memory ------------------------------------------------------------------------------------------------

    def _allocate(self) -> None:
        p, keep = self.program, self.memory.keep
        self.weights = keep(
            "weights", p.parameters + self.machine.whole.lanes
        )  # a vector may begin at the last of them
        keep("velocity", p.parameters)
        if self.optimizer.states == 2:
            keep("squares", p.parameters)
        keep("packed", max(1, p.packed))
        keep("coefficients", max(1, p.coefficients))
        keep("there", p.parameters if any(region.masked for region in p.regions) else 1)
        if self.ema:
            keep("average", p.parameters + self.machine.whole.lanes)
        for name, size in (("scratch", self.sizes.scratch), ("halved", self.sizes.halved)):
            keep(name, max(1, self.threads * size // 4))
        keep("staged", -(-self.threads * self.sizes.staged // 4))

    @property
    def served(self) -> Floats:
        """The memory of the weights that prediction goes by."""
        return self.memory.kept["average"] if self.ema else self.weights

    def _room(self, buffer: str, use: str, size: int, batch: int) -> None:
        """Memory of so many bytes, the more the larger the batch. Raises RunError where it is short."""
        if self.memory.lacks(use, size):
            self._check_fits(batch, training=use != "predicting")
            self.memory.grow(use, size)
        self.memory.use(buffer, use)

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

    # -- training ----------------------------------------------------------------------------------------------

    def train(
        self,
        x: Floats,
        labels: NDArray[np.int64],
        lr: float,
        momentum: float,
        decay: float,
        seed: int = 0,
        step: int = 0,
        threads: int | None = None,
    ) -> tuple[float, int]:
        """One update of the weights: mean loss and how many were right. Layers that draw do so by seed and step.

        `threads` may be 1: then the others are left alone.
        """
        blocks = self._placed(np.array([len(x)]))
        self._images(x, blocks.total)
        self.memory.set("fed", NUMBERS)
        settings = self._settings(np.array([lr]), momentum, decay)
        taken = self._run(blocks, settings, {"labels": self._labels(labels, blocks)}, seed, step, threads)
        return float(taken.losses[0]), int(taken.right[0])

    def learn(
        self,
        course: Course,
        momentum: float,
        decay: float,
        seed: int = 0,
        step: int = 0,
        threads: int | None = None,
    ) -> Taken:
        """The steps of a course, or those up to the first whose loss is not finite. `step` is the first one's number.

        Weights become what `train` makes of `course.batches()`, to the last bit.
        """
        blocks, pixels = self._placed(course.sizes), course.pixels
        self.memory.set("fed", BYTES if course.moves is None else MOVED)
        self.memory.point("pixels", np.ascontiguousarray(pixels.images))
        self.memory.point("coding", np.concatenate([pixels.scale, pixels.shift], dtype=np.float32))
        rows = blocks.spread(course.rows, np.zeros(blocks.places, np.int64))
        fed: Fed = {"labels": self._labels(course.labels, blocks), "rows": (rows, self.lanes)}
        if course.moves is not None:
            fed["moves"] = self._moves(course.moves, blocks)
        return self._run(blocks, self._settings(course.rates, momentum, decay), fed, seed, step, threads)

    def _placed(self, sizes: NDArray[np.int64]) -> Blocks:
        """Where images of steps of these sizes lie: mostly as in the call before."""
        if self._blocks is None or not np.array_equal(self._blocks.sizes, sizes):
            self._blocks = Blocks(sizes, self.program)
        return self._blocks

    def _images(self, x: Floats, blocks: int) -> None:
        images = np.ascontiguousarray(x, np.float32)
        if len(x) % self.lanes:
            padded = np.zeros((blocks * self.lanes, *x.shape[1:]), np.float32)
            padded[: len(x)] = images
            images = padded
        self.memory.point("images", images)

    def _labels(self, labels: NDArray[np.int64], blocks: Blocks) -> tuple[NDArray[Any], int]:
        """Of each image, -1 where a block has none."""
        padded = aligned(blocks.places).view(np.int32)
        padded[:] = -1
        return blocks.spread(labels, padded), self.lanes

    def _moves(self, moves: NDArray[np.int32], blocks: Blocks) -> tuple[NDArray[Any], int]:
        """Of each image its move, and where it begins among those of its block, side by side as in the lanes."""
        placed = aligned(blocks.total * MOVE * self.lanes).view(np.int32).reshape(blocks.total, MOVE, self.lanes)
        spread = blocks.spread(moves, np.zeros((blocks.places, MOVE - 1), np.int32))
        placed[:, : MOVE - 1] = spread.reshape(blocks.total, self.lanes, MOVE - 1).transpose(0, 2, 1)
        placed[:, MOVE - 1] = np.arange(self.lanes) * self.sizes.image
        return placed, MOVE * self.lanes

    def _settings(self, rates: NDArray[np.float64], momentum: float, decay: float) -> Floats:
        """What the optimizer and the average want of each step, and room for its loss: (steps, SETTINGS)."""
        settings = aligned(SETTINGS * len(rates)).reshape(-1, SETTINGS)
        for k, (row, lr) in enumerate(zip(settings, rates.tolist(), strict=True), start=self.updates):
            for place, part in ((DECAYING, decay), (NOT_DECAYING, 0.0)):
                row[place : place + 3] = self.optimizer.rates(k + 1, lr, momentum, part)
            row[SHARE] = share(self.ema, k)
        return settings

    def _run(
        self, blocks: Blocks, settings: Floats, fed: Fed, seed: int, step: int, threads: int | None = None
    ) -> Taken:
        """All steps of a call."""
        self.memory.set("threads", threads or self.threads)
        batch = int(blocks.sizes.max())
        self._room("arena", "training", self.threads * self.sizes.arena, batch)
        self._room("kept", "kept", blocks.most * self.sizes.kept, batch)
        self._room("group", "groups", max(blocks.groups) * self.sizes.group, batch)
        self.memory.point("weights", self.weights)
        contexts = self._contexts(blocks, settings, fed)
        self._context, self._in_use = contexts[-1], [settings, *(array for array, _ in fed.values())]
        self._in_use += self._chance(contexts, seed, step, blocks.most)
        self.memory.set("contexts", contexts.ctypes.data)
        self.memory.set("steps", len(settings))
        if threads == 1:
            self._workers.alone()
        else:
            self._workers.run(LEARN)
        self._packed = False
        return self._taken(settings, blocks)

    def _contexts(self, blocks: Blocks, settings: Floats, fed: Fed) -> NDArray[np.int64]:
        """What threads share, for each step: where its own parts of arrays begin, and how many blocks it has."""
        contexts = self.memory.shared[None].repeat(len(settings), axis=0)
        for name, (array, each) in fed.items():
            contexts[:, slot(name)] = array.ctypes.data + blocks.starts * (each * array.itemsize)
        for name, array, each in (("settings", settings, SETTINGS), ("scale", blocks.scale, 1)):
            contexts[:, slot(name)] = array.ctypes.data + blocks.steps * (each * array.itemsize)
        for name, column in (("blocks", blocks.counts), ("groups", blocks.groups), ("starts", blocks.borders)):
            contexts[:, slot(name)] = column
        return contexts

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

    def _taken(self, settings: Floats, blocks: Blocks) -> Taken:
        """What the steps came to, up to the first whose loss is not finite: it left the weights as they were."""
        sums = settings[:, LOSS : LOSS + 2].astype(np.float64)
        bad = np.flatnonzero(~np.isfinite(sums[:, 0]))
        made = int(bad[0]) + 1 if len(bad) else len(sums)
        self.updates += made - bool(len(bad))
        sums[made - 1, 1] *= not len(bad)
        return Taken(sums[:made, 0] / blocks.sizes[:made], sums[:made, 1].astype(np.int64))

    # -- predicting --------------------------------------------------------------------------------------------

    def score(self, x: Floats) -> Floats:
        """Scores (N, K)."""
        if 0 < len(x) < self.machine.whole.lanes and self.few and len(x) <= self.few.most:
            if not self._packed:
                self.few.pack()
                self._packed = True
            return self.few.score(x)
        blocks = -(-len(x) // self.lanes)
        self._room("arena", "predicting", self.threads * self.sizes.predicting, len(x))
        self._images(x, blocks)
        classes = self.network.shapes[-1].channels
        scores = aligned(blocks * classes * self.lanes)
        self.memory.point("scores", scores)
        self.memory.set("blocks", blocks)
        self.memory.set("threads", self.threads)
        self.memory.set("weights", self.served.ctypes.data)
        self._workers.run(SCORE)
        return scores.reshape(blocks, classes, self.lanes).transpose(0, 2, 1).reshape(-1, classes)[: len(x)].copy()

    @cached_property
    def few(self) -> SingleScorer | None:
        """The plan for few images, compiled when it is first needed; None where there is none."""
        if not covers(self.network):
            return None
        plan = SinglePlan(self.machine.whole, self.network, self.program.regions)
        return SingleScorer(plan, self.served) if plan.most else None

    # -- looking at it -----------------------------------------------------------------------------------------

    def addresses(self, block: int, *, training: bool) -> dict[str, int]:
        """Where each buffer of a call begins for the first thread and its group, at a block of the last step."""
        found = {name: int(self._context[slot(name)]) for name in POINTERS}
        found |= {name: array.ctypes.data for name, array in self.memory.kept.items()}
        found["arena"] = self.memory.rooms["training" if training else "predicting"].ctypes.data
        found["kept"] = self.memory.rooms["kept"].ctypes.data + block * self.sizes.kept
        sizes = {"images": self.sizes.images, "labels": self.sizes.labels, "numbers": self.sizes.labels}
        for name, size in sizes.items():
            found[name] += block * size
        found["result"] = found["group"]
        found["gradients"] = found["result"] + 2 * self.lanes * 4
        found["sums"] = found["gradients"] + self.program.parameters * 4
        return found

    def close(self) -> None:
        """End the threads, which happens by itself when the network goes; another step would start them again."""
        self._workers.close()

    # -- weights -----------------------------------------------------------------------------------------------

    def write_weights(self, weights: Mapping[str, NDArray[Any]]) -> None:
        """Set all weights, by `<node>.<parameter>`."""
        self._packed = False
        write(self.network, self.program.regions, self.weights, weights)
        masked = [region for region in self.program.regions if region.masked]
        there = {region.name: np.ones_like(weights[region.name]) for region in masked}
        write(self.network, masked, self.memory.kept["there"], there)
        self.served[:] = self.weights

    def read_weights(self, *, latest: bool = False) -> dict[str, Floats]:
        """Copies of all weights that prediction goes by, or of the `latest`, which training has come to."""
        return read(self.network, self.program.regions, self.weights if latest else self.served)

    def read_state(self) -> dict[str, NDArray[Any]]:
        """Copies of all that the next step depends on: `<memory>/<node>.<parameter>`, and the number of updates."""
        found: dict[str, NDArray[Any]] = {"updates": np.array(self.updates)}
        for name, memory in self._remembered().items():
            arrays = read(self.network, self.program.regions, memory)
            found |= {f"{name}/{parameter}": array for parameter, array in arrays.items()}
        return found

    def write_state(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Become what the state was read from. Raises ModelFileError for that of something else."""
        own = self.read_state()
        for name in sorted(own.keys() ^ state.keys()):
            raise ModelFileError("the state is not that of this training", received=name[:80])
        for name, array in own.items():
            if (state[name].shape, state[name].dtype) != (array.shape, array.dtype):
                raise ModelFileError("the state does not fit the network", received=name)
        regions = self.program.regions
        self.write_weights({region.name: state[f"weights/{region.name}"] for region in regions})
        for name, memory in self._remembered().items():
            write(self.network, regions, memory, {region.name: state[f"{name}/{region.name}"] for region in regions})
        self.updates = int(state["updates"])

    def _remembered(self) -> dict[str, Floats]:
        return {name: self.memory.kept[name] for name in REMEMBERED if name in self.memory.kept}

    def gradients(self) -> dict[str, Floats]:
        """Copies of the last step's gradients, by name, where the optimizer is `sgd`: it keeps them as they are."""
        trained = [region for region in self.program.regions if region.trainable]
        return read(self.network, trained, self.memory.kept["velocity"])
