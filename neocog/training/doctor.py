"""The training doctor: looks at a run as it goes, and says what is the matter with it and what to do.

| when | what it looks at | a healthy run |
|------|------------------|---------------|
| before the first step | the data: copies across splits, classes that are rare or not there | none |
| after the first step | the loss | about that of a network that knows nothing, ln C for cross-entropy |
| after the first step of an epoch | how far the step moved each array of weights | about a thousandth of their size |
| after the first epoch with `ENOUGH` steps made, and the last | ReLUs that give 0 for every image | few |
| then too, with batch normalization | accuracy as in training and as at prediction, on the same images | equal |
| after that first epoch, if nothing was learned | whether a new copy can learn one mini-batch by heart | it can |

It watches as progress does, and changes nothing: what it runs, it runs on copies. The rules of thumb are from
Karpathy's lecture notes for CS231n, "Neural networks part 3: learning and evaluation".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..data import Dataset, Splits
from ..data.doctor import first_look
from ..feed import Course
from ..finding import Finding
from ..initialise import initialise
from ..losses import LOSSES
from ..network import Network
from ..torch_engine import build
from ..torch_engine.device import seeded
from ..wording import count_of
from .batches import Batches
from .engine import Engine
from .metrics import Epoch, Meter
from .progress import Progress
from .rates import rate_factors
from .run import RunFolder, read_metrics
from .settings import Settings

HIGH, LOW = 4.0, 0.5
"""Times the loss of a network that knows nothing, between which a first loss is healthy."""
LARGEST_STEP, SMALLEST_STEP = 1e-1, 1e-5
"""Of a step's length over that of the weights: beyond these it is not healthy."""
DEAD = 0.4
"""Share of a layer's ReLUs that may be dead before it is said."""
GAP = 0.1
"""Accuracy that may be lost from training mode to prediction."""
MOST_IMAGES, LEAST_IMAGES, BUDGET = 256, 16, 5_000_000_000
"""How many images are looked at: as many as take so many multiplications, within limits."""
ENOUGH = 50
"""Steps after which a run may be judged: a small set has epochs of one or two."""
BY_HEART, FEW = 200, 32
"""Steps in which one mini-batch should be learned by heart, and how many images of it at most."""

Weights = Mapping[str, NDArray[np.float32]]


@dataclass
class Doctor:
    """Watches a run in the place of `progress`, which it tells all it is told, and of its findings too."""

    network: Network
    data: Splits
    batches: Batches
    settings: Settings
    engine: Engine
    folder: RunFolder
    progress: Progress
    _before: Weights | None = None
    _told: set[str] = field(default_factory=set)
    _steps: int = 0
    _judged: bool = False

    def take_up(self, step: int, done: int) -> None:
        """Go on after a step, the `done`-th of its epoch, as if all before had been watched."""
        epochs, lines = self.folder.epochs(), read_metrics(self.folder.path)
        self._told = {line["finding"]["name"] for line in lines if line["kind"] == "finding"}
        self._steps, self._judged = step, any(epoch.steps >= ENOUGH for epoch in epochs)
        if epochs and done == 0 and epochs[-1].lr > self.settings.lr / 10:
            self._before = self.engine.weights()

    def started(self, headline: str, epochs: int, steps: int) -> None:
        """Look at the data."""
        self.progress.started(headline, epochs, steps)
        splits = (self.data.train, self.data.validation, self.data.test)
        self._tell(first_look([split for split in splits if split]))

    def stepped(self, epoch: int, meter: Meter, steps: int) -> None:
        """Look at the first loss, and at the first step of an epoch if that was made alone."""
        self.progress.stepped(epoch, meter, steps)
        self._steps += steps
        if self._steps == steps == 1 and epoch == 1:
            self._tell(first_loss(meter.loss, self.network, self.settings.loss))
        if self._before is not None and steps == 1 and not self.settings.ema:  # else it is an average that moved
            asked = rate_factors(self.settings.rates, self.network)  # their steps are as somebody wants them
            before = {name: w for name, w in self._before.items() if name not in asked}
            self._tell(step_sizes(before, self.engine.weights()))
        self._before = None

    def epoch_done(self, epoch: Epoch, epochs: int) -> None:
        """Look inside, after the first that is measured with enough steps made and the last."""
        self.progress.epoch_done(epoch, epochs)
        weights = self.engine.weights()
        last = epoch.epoch == epochs
        first = not self._judged and (last or epoch.steps >= ENOUGH)
        self._judged |= first
        if first or last:
            self._tell(self._look_inside(weights))
        if first and not has_learned(epoch, self.batches.dataset):
            self._tell([self._by_heart()])
        if epoch.lr > self.settings.lr / 10:  # the small steps that end a schedule are meant
            self._before = weights

    def found(self, finding: Finding) -> None:
        """What others found."""
        self._tell([finding])

    def finished(self) -> None:
        """The run is over."""
        self.progress.finished()

    def _tell(self, findings: Sequence[Finding] | Iterator[Finding]) -> None:
        """Show and log each matter once."""
        for finding in findings:
            if finding.name not in self._told:
                self._told.add(finding.name)
                self.folder.log("finding", {"finding": finding.as_dict()})
                self.progress.found(finding)

    def _look_inside(self, weights: Weights) -> Iterator[Finding]:
        dataset, batch = self.batches.dataset, self.settings.batch_size
        macs = max(1, self.network.plan().totals["macs"])
        count = min(len(dataset), max(LEAST_IMAGES, min(MOST_IMAGES, BUDGET // macs)))
        x, labels = self.batches.preprocessing(dataset.images[:count]), dataset.labels[:count]
        yield from dead_relus(self.network, weights, x)
        if any(node.layer.couples_batch for node in self.network.nodes) and count > batch // 2:
            yield from mode_gap(self.network, weights, x, labels, batch)

    def _by_heart(self) -> Finding:
        settings = self.settings
        engine = type(self.engine)(  # type: ignore[call-arg]  # every engine is made so
            self.network,
            initialise(self.network, settings.seed, settings.init),
            loss=settings.loss,
            optimizer=settings.optimizer,
            momentum=settings.momentum,
            batch_size=settings.batch_size,
            device=self.engine.device,
            seed=settings.seed,
            dtype=settings.dtype,
        )
        losses = learn_by_heart(engine, self.batches, settings.lr)
        course = f"its loss went from {losses[0]:.3g} to {losses[-1]:.3g} in {count_of(len(losses), 'step')}"
        said = "when first measured it names the commonest class at best"
        if losses[-1] < losses[0] / 4:
            return Finding(
                "not learning",
                f"{said}, though it can learn one mini-batch by heart: {course}",
                "look whether labels belong to their images; then another learning rate, and more epochs",
            )
        rose = not math.isfinite(losses[-1]) or max(losses) > 1.5 * losses[0]
        return Finding(
            "not learning",
            f"{said}, and cannot even learn one mini-batch by heart: {course}",
            f"a smaller learning rate, lr={settings.lr / 10:.2g}"
            if rose
            else f"init=auto, a larger learning rate, lr={settings.lr * 10:.2g}, or BN behind each convolution",
        )


def first_loss(loss: float, network: Network, name: str) -> Iterator[Finding]:
    """Whether the first mini-batch's loss is about that of a network whose scores are all 0."""
    classes = network.shapes[-1].channels
    if network.nodes[-1].layer.op in ("RBF", "SOFTMAX") or not math.isfinite(loss):
        return  # what these give is never 0 for all classes
    blank = LOSSES[name].value(np.zeros((1, classes)), np.zeros(1, np.int64))
    told = f"the first loss is {loss:.3g}; a network that knows nothing has {blank:.3g}"
    if name == "cross-entropy":
        told += f" = ln {classes}"
    if loss > HIGH * blank:
        yield Finding("first loss", told, "smaller weights at first: init=lecun, or BN; and see mean and deviation")
    elif loss < LOW * blank:
        yield Finding("first loss", told, "nothing if weights were learned before; else do images give the label away?")


def step_sizes(before: Weights, after: Weights) -> Iterator[Finding]:
    """Whether a step moved each array of weights by about a thousandth of its size."""
    matrices = [name for name, w in before.items() if name.endswith(".weight") and w.ndim > 1 and np.any(w)]
    moved = {n: float(np.linalg.norm(after[n] - before[n]) / np.linalg.norm(before[n])) for n in matrices}
    far = {name: ratio for name, ratio in moved.items() if ratio > LARGEST_STEP}
    near = {name: ratio for name, ratio in moved.items() if ratio < SMALLEST_STEP}
    for name, some, action in (
        ("steps too large", far, "a smaller learning rate, or a longer warm-up"),
        ("steps too small", near, "a larger learning rate; in early layers alone: BN or shortcuts, gradients vanish"),
    ):
        if some:
            says = "a step moves weights by about a thousandth of their size; these by other shares"
            yield Finding(name, says, action, tuple((f"{layer} {ratio:.1e}",) for layer, ratio in some.items()))


@torch.no_grad()
def dead_relus(network: Network, weights: Weights, x: NDArray[np.float32]) -> Iterator[Finding]:
    """ReLUs that give 0 at every position of every image: no gradient passes them any more."""
    alive: dict[str, Any] = {}

    def note(name: str) -> Any:
        def hook(module: torch.nn.Module, inputs: object, y: torch.Tensor) -> None:
            alive[name] = (y > 0).transpose(0, 1).flatten(1).any(dim=1)

        return hook

    with torch.random.fork_rng(devices=()):
        module = build(network, weights=weights).eval()
    relus = [node.name for node in network.nodes if node.layer.op == "RELU"]
    for name in relus:
        module.get_submodule(name).register_forward_hook(note(name))
    module(torch.from_numpy(x))
    counts = {name: (int((~found).sum()), len(found)) for name, found in alive.items()}
    places = tuple((f"{name} {dead} of {count}",) for name, (dead, count) in counts.items() if dead > DEAD * count)
    if places:
        yield Finding(
            "dead ReLUs",
            f"in {len(places)} of {count_of(len(relus), 'layer')} many ReLUs give 0 for all of "
            f"{count_of(len(x), 'image')}",
            "a smaller learning rate, LRELU in place of RELU, or BN before it",
            places,
        )


@torch.no_grad()
def mode_gap(
    network: Network, weights: Weights, x: NDArray[np.float32], labels: NDArray[np.int64], batch: int
) -> Iterator[Finding]:
    """Whether statistics kept for prediction give what those of mini-batches give in training."""
    shares = []
    with seeded(torch.device("cpu"), 0):  # so that a run that is resumed says what another does
        for training in (True, False):
            module = build(network, weights=weights).train(training)
            parts = [x[k : k + batch] for k in range(0, len(x) - 1, batch)]  # none of one image, which has no deviation
            said = np.concatenate([module(torch.from_numpy(part)).flatten(1).argmax(dim=1).numpy() for part in parts])
            shares.append(float((said == labels[: len(said)]).mean()))
    in_training, at_prediction = shares
    if in_training - at_prediction > GAP:
        yield Finding(
            "training mode",
            f"on the same {len(x)} images {in_training:.1%} are right in training mode, "
            f"{at_prediction:.1%} as at prediction",
            "more steps, for BN's running statistics lag behind; or larger mini-batches",
        )


def has_learned(epoch: Epoch, dataset: Dataset) -> bool:
    """Whether more was right in training than by always naming the commonest class."""
    commonest = float(np.bincount(dataset.labels).max() / len(dataset))
    return epoch.train_accuracy > commonest + 0.02 + 2 * math.sqrt(commonest * (1 - commonest) / len(dataset))


def learn_by_heart(engine: Engine, batches: Batches, lr: float) -> list[float]:
    """Losses of an engine that is given the first mini-batch again and again, as it is, until it knows it.

    Of a large one it is the first `FEW` images, so that this takes less time than an epoch.
    """
    one = batches.epoch(1).course(0, [lr])
    few = min(FEW, int(one.sizes[0]))
    losses: list[float] = []
    while len(losses) < BY_HEART and (not losses or losses[-1] > losses[0] / 10):
        again = BY_HEART // 10
        taken = engine.learn(
            Course(
                one.pixels,
                np.tile(one.rows[:few], again),
                np.tile(one.labels[:few], again),
                None,
                np.full(again, few),
                np.repeat(one.rates, again),
            )
        )
        losses += taken.losses.tolist()
        if not math.isfinite(losses[-1]):
            break
    return losses
