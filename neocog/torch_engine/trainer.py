"""What one training step is in torch, and in which format its volumes lie in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..average import share
from ..errors import ModelFileError
from ..feed import Course, Moves, Pixels, Shares, Taken
from ..losses import Loss, training_loss
from ..network import Network
from .allocator import keep_memory
from .device import check_dtype, pick_device, pick_threads, precision, seeded, threads
from .faster import faster
from .feed import Feed
from .graph import Recorded
from .inference import InferenceModule
from .module import NetworkModule, build, read_weights
from .optimizers import make_optimizer
from .rates import freeze
from .state import read_state, write_state


class TorchTrainer:
    """A network, its weights and an optimizer on one device, changed one mini-batch at a time.

    Chance inside the network (DROPOUT) is drawn anew for each step from (seed, step), and the caller's random
    state is left alone. On a CPU two trainers given the same arguments end with the same bits, if torch was given
    the same number of threads. `batch_size` is only to choose how many of them to use, and how to keep memory.

    With `dtype` bfloat16 the parameters stay float32: autocast makes the copies and the volumes that are bfloat16. With
    `ema` above 0 a moving average of the weights is kept with that decay (`neocog/average.py`), and scores and weights
    are its own.

    `label_smoothing` is for the loss cross-entropy; `factors` are on the learning rates of arrays by name; `clip` is
    the largest norm that the gradient of all parameters may have, 0 for any. With `accumulate` a mini-batch goes
    through the network in so many parts, whose gradients are added up: the step is the same, unless a layer mixes the
    batch. `cuts` divide the network into pieces that are computed twice, for less memory (`plan/recomputing.py`).
    """

    name = "torch"

    def __init__(
        self,
        network: Network,
        weights: Mapping[str, NDArray[Any]],
        *,
        loss: str,
        optimizer: str = "nesterov",
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        batch_size: int = 64,
        device: str = "auto",
        seed: int = 0,
        dtype: str = "float32",
        ema: float = 0.0,
        label_smoothing: float = 0.0,
        factors: Mapping[str, float] | None = None,
        clip: float = 0.0,
        accumulate: int = 1,
        cuts: Sequence[int] = (),
        threads: int | None = None,
    ) -> None:
        check_dtype(dtype)
        self.dtype = dtype
        self.device = str(pick_device(device))
        self.loss = training_loss(loss, label_smoothing)
        self.seed, self.steps = seed, 0
        self.threads = threads or pick_threads(network, batch_size)
        if self.device == "cpu":
            at_once = -(-batch_size // accumulate)
            needed = network.plan(batch=at_once, dtype=dtype, optimizer=optimizer).memory["training_bytes"]
            keep_memory(needed)
        self.module = build(network, weights=weights).to(self.device)
        self._format = torch.channels_last if network.input_shape.rank == 2 else torch.contiguous_format
        self.module.to(memory_format=self._format)  # type: ignore[call-overload]  # torch's stubs lack this form
        for node in network.nodes:
            plain = self.module.get_submodule(node.name)
            self.module.add_module(node.name, faster(plain, node.layer, network.input_shapes(node), dtype))
        freeze(self.module, factors or {})
        self.module.cuts = tuple(cuts)
        self.optimizer = make_optimizer(self.module, optimizer, momentum, weight_decay, factors or {})
        self.clip, self.accumulate = clip, accumulate
        self.failed = torch.zeros((), device=self.device)
        """1 from a loss that is not finite on, until it has been told: it keeps the optimizer from changing weights."""
        self.optimizer.found_inf = self.failed  # type: ignore[attr-defined]  # torch's name for it
        self.ema, self.updates = ema, 0
        self.served = deepcopy(self.module) if ema else self.module
        place = torch.device(self.device)
        self._feed, self._on_gpu = Feed(place), place.type == "cuda"
        self._update = Recorded(self._updated, place) if self._on_gpu else self._updated
        self._predicting: InferenceModule | None = None

    def step(
        self, x: NDArray[np.float32], labels: NDArray[np.int64], lr: float, shares: Shares | None = None
    ) -> tuple[float, int]:
        """One update from x (N, C, H, W) and labels (N,): the batch's mean loss before it, and how many were right.

        `shares` say where labels do not all count alike. When the loss is not finite the weights are left as they are.
        """
        with threads(self.threads):
            taken = self._taken([self._step(self._tensor(x), self._tensor(labels), lr, shares)])
        return float(taken.losses[0]), int(taken.right[0])

    def learn(self, course: Course) -> Taken:
        """The steps of a course, up to the first whose loss is not finite: that one leaves the weights as they are.

        A GPU is not waited for before the last of them.
        """
        made: list[_Step] = []
        with threads(self.threads):
            for k, (x, labels, lr) in enumerate(self._feed.batches(course)):
                made.append(self._step(x, labels, lr, course.shares(k)))
                if self.device == "cpu" and not math.isfinite(made[-1].loss):
                    break
            return self._taken(made)

    def _step(self, x: Tensor, labels: Tensor, lr: float, shares: Shares | None) -> _Step:
        self.steps += 1
        self._learn()
        part = share(self.ema, self.updates) if self.ema else 1.0
        with seeded(torch.device(self.device), _mixed(self.seed, self.steps)):
            counted = [] if shares is None else [self._tensor(array) for array in shares]
            placed = x.contiguous(memory_format=self._format)
            loss, scores = self._update(placed, labels, self._number(lr), self._number(part), *counted)
        self.updates += 1
        return _Step(loss, scores, labels)

    def _updated(self, x: Tensor, labels: Tensor, lr: Tensor, part: Tensor, *shares: Tensor) -> tuple[Tensor, Tensor]:
        """One update at a learning rate, of which an average takes in such a part: loss and scores before it.

        `shares` are those of `feed.Shares`, or none.
        """
        slices = _slices(len(x), self.accumulate)
        made = [self._gradients(x, labels, chosen, shares) for chosen in slices]
        loss = made[0][0] if len(made) == 1 else torch.stack([one for one, _ in made]).sum()
        scores = made[0][1] if len(made) == 1 else torch.cat([y for _, y in made])
        torch.maximum(self.failed, (~torch.isfinite(loss)).float(), out=self.failed)
        if self.clip:
            torch.nn.utils.clip_grad_norm_(self.module.parameters(), self.clip)
        for group in self.optimizer.param_groups:
            rate = lr * group["factor"]
            group["lr"] = group["lr"].copy_(rate) if self._on_gpu else float(rate)
        self.optimizer.step()
        if self.ema:
            self._average(part)
        self.optimizer.zero_grad(set_to_none=True)  # now, so that no gradients lie beside the next batch's volumes
        return loss, scores

    def _gradients(self, x: Tensor, labels: Tensor, chosen: slice, shares: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Add the gradients of some images of a mini-batch: their part of the mean loss, and their scores."""
        with precision(self.dtype, torch.device(self.device)):
            outputs = self.module.outputs(x[chosen])
        own = [share[chosen] for share in shares]
        loss = self._loss(outputs, labels[chosen], own) * (len(labels[chosen]) / len(x))
        torch.autograd.backward(loss)
        return loss.detach(), outputs[self.module.network.nodes[-1].name].detach().float()

    def _number(self, value: float) -> Tensor:
        return torch.tensor(value, dtype=torch.float64).to(self.device)

    def _taken(self, made: Sequence[_Step]) -> Taken:
        """What steps came to, up to the first whose loss is not finite. The next steps are a new beginning."""
        self.failed.zero_()
        losses = torch.stack([step.loss for step in made]).double().cpu().numpy()
        finite = np.isfinite(losses)
        good = len(losses) if finite.all() else int(finite.argmin())
        right = np.zeros(min(good + 1, len(losses)), np.int64)
        right[:good] = _hits(self.loss, made[:good])
        return Taken(losses[: len(right)], right)

    def _loss(self, outputs: Mapping[str, Tensor], labels: Tensor, shares: Sequence[Tensor]) -> Tensor:
        """The loss of the network's scores, and of each side output by its weight."""
        network = self.module.network
        loss = self._mean(outputs[network.nodes[-1].name].float(), labels, shares)
        for name, weight in network.side_outputs.items():
            loss = loss + weight * self._mean(outputs[name].float(), labels, shares)
        return loss

    def _mean(self, y: Tensor, labels: Tensor, shares: Sequence[Tensor]) -> Tensor:
        """The mean loss of scores (N, K), where each label counts by its share if there are any."""
        if not shares:
            return self.loss.torch_value(y, labels)
        own, others, theirs = shares
        return (own * self.loss.torch_each(y, labels) + theirs * self.loss.torch_each(y, others)).mean()

    def _average(self, part: Tensor) -> None:
        """Have the average take in such a part of the weights and running statistics, unless the step failed."""
        with torch.no_grad():
            for a, w in zip(self.served.state_dict().values(), self.module.state_dict().values(), strict=True):
                new = a.lerp(w, part.to(a.dtype)) if a.is_floating_point() else w
                a.copy_(torch.where(self.failed > 0, a, new))

    def scores(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's output (N, K) as at prediction, for x (N, C, H, W)."""
        with threads(self.threads):
            return self._scores(self._tensor(x))

    def _scores(self, x: Tensor) -> NDArray[np.float32]:
        with torch.inference_mode(), precision(self.dtype, torch.device(self.device)):
            y: Tensor = self.predicting(x)
        found: NDArray[np.float32] = y.float().cpu().numpy()
        return found

    def answers(self, pixels: Pixels, moves: Moves | None = None) -> NDArray[np.float32]:
        """The network's output (N, K) as at prediction for images as bytes, each by its own move (N, 6) if given."""
        with threads(self.threads):
            return self._scores(self._feed.numbers(pixels, moves))

    @property
    def predicting(self) -> InferenceModule:
        """The network as it predicts, with the weights that it has now."""
        if self._predicting is None:
            self._predicting = InferenceModule(self.served, self.dtype)
        return self._predicting

    def weights(self) -> dict[str, NDArray[np.float32]]:
        """Copies of all arrays by name, running statistics included: their averages, if those are kept."""
        return read_weights(self.served)

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies of all that the next step depends on, by name: see `state.py`."""
        counts = {"steps": self.steps, "updates": self.updates}
        return read_state(self._modules(), self.optimizer) | {name: np.array(n) for name, n in counts.items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Become what `state` was read from, bit for bit. Raises ModelFileError for the state of something else."""
        self._learn()
        rest = write_state(self._modules(), self.optimizer, state)
        if rest.keys() != {"steps", "updates"} or any(n.shape for n in rest.values()):
            raise ModelFileError("the state does not say how many steps were made")
        self.steps, self.updates = int(rest["steps"]), int(rest["updates"])

    def _modules(self) -> dict[str, NetworkModule]:
        return {"weights": self.module} | ({"average": self.served} if self.ema else {})

    def first_non_finite(self, x: NDArray[np.float32]) -> str | None:
        """The name of the first layer whose output for x holds an infinity or a NaN; None if there is none."""
        self._learn()
        with torch.no_grad(), precision(self.dtype, torch.device(self.device)):
            outputs = self.module.run(self._tensor(x).contiguous(memory_format=self._format))
        for node, y in zip(self.module.network.nodes, outputs, strict=True):
            if not bool(torch.isfinite(y).all()):
                return node.name
        return None

    def _learn(self) -> None:
        """Let go of what predicts: its weights will be old, its memory is needed, and it has told layers to predict."""
        if self._predicting is not None:
            self._predicting = None
            self.module.train()

    def _tensor(self, x: NDArray[Any]) -> Tensor:
        return torch.from_numpy(x).to(self.device)


class _Step(NamedTuple):
    """What a step leaves to be counted: its mean loss, and its scores (N, K) with the labels (N,) they should give."""

    loss: Tensor
    scores: Tensor
    labels: Tensor


def _slices(count: int, parts: int) -> list[slice]:
    """So many images in parts, which differ in size by one at most; none is empty."""
    borders = [count * k // parts for k in range(parts + 1)]
    return [slice(a, b) for a, b in pairwise(borders) if a < b]


def _hits(loss: Loss, made: Sequence[_Step]) -> NDArray[np.int64]:
    """How many labels each step's scores say. They come from a GPU together."""
    if not made:
        return np.zeros(0, np.int64)
    scores, labels = (torch.cat([getattr(step, kind) for step in made]).cpu().numpy() for kind in ("scores", "labels"))
    right = loss.posterior(scores).argmax(axis=1) == labels
    begins = np.cumsum([0, *(len(step.labels) for step in made[:-1])])
    counts: NDArray[np.int64] = np.add.reduceat(right.astype(np.int64), begins)
    return counts


def _mixed(seed: int, step: int) -> int:
    """32 bits for each pair of numbers: torch's generator on the CPU looks at no more."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1)[0])
