"""A network as explanations run it: node by node, so that no layer needs a hook and nothing of the model is changed.

The modules share the memory of the model's weights but belong to this room, are in evaluation mode for good, and none
of their parameters takes a gradient. How many images run at once follows from the plan.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cached_property, partial
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import NeocogError, RunError
from ..initialise import initialise
from ..losses import LOSSES, SigmoidCrossEntropy
from ..measure.field import settle
from ..model import Model
from ..network import Network, Node, schedule
from ..plan import Plan, plan
from ..resources import available_memory
from ..torch_engine import InferenceModule, NetworkModule
from ..torch_engine.device import pick_device, pick_threads, threads

MOST = 256
"""Images that run at once where memory would allow more: larger batches are no faster."""
SHARE = 0.5
"""Of the memory that is free, where the caller sets no limit."""

Function = Callable[..., Tensor]
"""A layer as prediction runs it: its inputs -> its output."""
Rule = Callable[[Node, Function, Sequence[Tensor]], Tensor]
"""What stands for a layer in a pass: its node, its function and its inputs -> its output."""


class Target(NamedTuple):
    """What a map explains: for each image one map of a layer's volume, averaged over its positions, times a sign.

    A class's score is the target of the last layer; a unit, that of any other. `maps` and `signs` are (N,).
    """

    position: int
    maps: NDArray[np.int64]
    signs: NDArray[np.float32]

    def of(self, images: Any) -> Target:
        """The targets of some of the images."""
        return Target(self.position, self.maps[images], self.signs[images])

    def score(self, volume: Tensor) -> Tensor:
        """(N,) from the layer's volume (N, K, *size)."""
        rows = torch.arange(len(volume), device=volume.device)
        chosen = volume[rows, torch.from_numpy(self.maps).to(volume.device)].reshape(len(volume), -1).mean(1)
        return chosen * torch.from_numpy(self.signs).to(volume)


class Subject:
    """A network with weights under examination, on one device.

    `loss` says how its outputs become probabilities; `memory_limit` is how many bytes a batch may take by the plan,
    of which `beside` are taken already. It refuses one image that needs more; more than one at once keep within it.
    """

    def __init__(self, module: NetworkModule, loss: str, memory_limit: int | None = None) -> None:
        self.module, self.loss, self.memory_limit = module.eval().requires_grad_(False), loss, memory_limit
        self.beside = 0
        self.network = module.network
        self.turns = schedule(self.network, training=False)
        self.order = [k for k, _ in self.turns]

    @classmethod
    def of(cls, model: Model, device: str = "cpu", memory_limit: int | None = None) -> Subject:
        """The network of a model. Raises NeocogError for a device that is not there."""
        return cls.from_arrays(model.network, model.weights, model.loss, device, memory_limit)

    @classmethod
    def from_arrays(
        cls,
        network: Network,
        weights: Mapping[str, NDArray[Any]],
        loss: str = "cross-entropy",
        device: str = "cpu",
        memory_limit: int | None = None,
    ) -> Subject:
        """A network with its weights, whose memory is shared where the device is the CPU."""
        with torch.device("meta"):
            module = NetworkModule(network)
        own = {name: torch.from_numpy(np.require(array, requirements=["C", "W"])) for name, array in weights.items()}
        module.load_state_dict(own, strict=False, assign=True)
        for name, buffer in module.named_buffers():  # what no file holds, such as a count of batches
            if buffer.is_meta:
                owner, _, key = name.rpartition(".")
                module.get_submodule(owner).register_buffer(key, torch.zeros(buffer.shape, dtype=buffer.dtype))
        return cls(module.to(pick_device(device)), loss, memory_limit)

    def randomised(self, x: Tensor, seed: int) -> Subject:
        """The same network before it learned anything; batch normalization starts from the statistics of x."""
        device = str(self.device)
        random = Subject.from_arrays(self.network, initialise(self.network, seed), self.loss, device, self.memory_limit)
        settle(random.module, x.cpu().numpy())
        random.beside = 2 * sum(one.nbytes for one in self.module.parameters())  # as they are and as they predict
        return random

    @property
    def device(self) -> torch.device:
        """Where it runs. A network of fixed layers has no parameters but may have buffers."""
        held = chain(self.module.parameters(), self.module.buffers())
        return next((one.device for one in held), torch.device("cpu"))

    @cached_property
    def planned(self) -> Plan:
        """What is known of the network before it runs."""
        return plan(self.network)

    @cached_property
    def predicting(self) -> InferenceModule:
        """The same scores without gradients, as prediction computes them."""
        return InferenceModule(self.module)

    @property
    def end(self) -> int:
        """The position whose volume holds the score of each class: the last, but for a SOFTMAX."""
        last = self.order[-1]
        return self.network.nodes[last].inputs[0] if self.network.nodes[last].layer.op == "SOFTMAX" else last

    @property
    def says_yes_or_no(self) -> bool:
        """Whether its one output is the score of class 1, and minus that the score of class 0."""
        return self.network.shapes[self.end].channels == 1 and self.loss == SigmoidCrossEntropy.name

    def position(self, name: str) -> int:
        """Where the layer of that name stands. Raises NeocogError, also for one that prediction does not run."""
        names = {self.network.nodes[k].name: k for k in self.order}
        if name in names:
            return names[name]
        aside = name in {node.name for node in self.network.nodes}
        rule = "no output depends on this layer" if aside else "the network has no layer of this name"
        near = get_close_matches(name, names, n=3) or [next(reversed(names))]
        raise NeocogError(rule, received=name[:80], hint=", ".join(near))

    def classes(self, chosen: Sequence[int]) -> Target:
        """A class for each image."""
        maps = np.array(chosen, np.int64)
        sign = -1.0 if self.loss == "map" else 1.0  # a penalty: the smallest wins
        signs = np.full(len(maps), sign, np.float32)
        if self.says_yes_or_no:
            signs, maps = np.where(maps == 0, -signs, signs).astype(np.float32), np.zeros_like(maps)
        return Target(self.end, maps, signs)

    def units(self, position: int, chosen: Sequence[int]) -> Target:
        """A map of a layer for each image. Raises NeocogError where the layer has no such map."""
        maps, known = np.array(chosen, np.int64), self.network.shapes[position].channels
        if maps.size and (maps.min() < 0 or maps.max() >= known):
            where = self.network.nodes[position].name
            raise NeocogError(f"its maps are numbered 0 to {known - 1}", where=where, received=f"unit {maps.max()}")
        return Target(position, maps, np.ones(len(maps), np.float32))

    def tensor(self, x: NDArray[np.float32]) -> Tensor:
        """Images (N, C, *size) on the device, in the order of memory that convolutions like."""
        moved = torch.from_numpy(np.ascontiguousarray(x)).to(self.device)
        return moved.contiguous(memory_format=torch.channels_last) if moved.dim() == 4 else moved

    def volumes(
        self, x: Tensor, wanted: Collection[int], *, leaf: int | None = None, rule: Rule | None = None
    ) -> dict[int, Tensor]:
        """The volumes of the positions wanted; what lies behind the last of them does not run.

        Autograd records what happens behind `leaf`, whose volume then takes a gradient; without one, all of it. `rule`
        stands for every layer.
        """
        found: dict[int, Tensor] = {}
        last = max(wanted)
        if torch.is_grad_enabled():  # the weights that prediction keeps make room for what the way back needs
            self.__dict__.pop("predicting", None)
        with torch.set_grad_enabled(torch.is_grad_enabled() and leaf is None):
            for k, dropped in self.turns:
                node = self.network.nodes[k]
                run, inputs = _function(self.module.get_submodule(node.name)), [found[i] for i in node.inputs] or [x]
                found[k] = run(*inputs) if rule is None else rule(node, run, inputs)
                if k == leaf:
                    found[k] = found[k].detach().requires_grad_()
                    torch.set_grad_enabled(True)
                for i in dropped:
                    if i not in wanted:
                        del found[i]
                if k == last:
                    break
        return {k: found[k] for k in wanted}

    def volume(self, x: Tensor, position: int) -> Tensor:
        """The volume (N, K, *size) of a position for any number of images, without gradients. Raises as `finite`."""
        with torch.no_grad():
            parts = self.batches(len(x), backward=False)
            return self.finite(torch.cat([self.volumes(x[part], [position])[position] for part in parts]), position)

    def finite(self, values: Tensor, position: int) -> Tensor:
        """What was made of a layer's values, as it is. Raises RunError where it is infinite, or no number."""
        if not torch.isfinite(values).all():
            raise RunError("the values of this layer overflow", where=self.network.nodes[position].name)
        return values

    def score(self, x: Tensor, target: Target, rule: Rule | None = None) -> Tensor:
        """The targets' scores (N,), with what autograd needs where gradients are on."""
        return target.score(self.volumes(x, [target.position], rule=rule)[target.position])

    def gradient(self, x: Tensor, target: Target, rule: Rule | None = None) -> Tensor:
        """The gradient of each image's score for its input: (N, C, *size). All images at once."""
        return self.score_and_gradient(x, target, rule)[1]

    def score_and_gradient(self, x: Tensor, target: Target, rule: Rule | None = None) -> tuple[Tensor, Tensor]:
        """The targets' scores (N,), and the gradient of each for its input: (N, C, *size). All images at once."""
        x = x.detach().requires_grad_()
        with torch.enable_grad():
            score = self.score(x, target, rule)
        (dx,) = torch.autograd.grad(score.sum(), x)
        return score.detach(), dx

    def scores(self, x: Tensor, target: Target) -> Tensor:
        """The targets' scores (N,) of any number of images, without gradients. Raises as `finite`."""
        found = []
        with torch.no_grad():
            for part in self.batches(len(x), backward=False):
                if target.position == self.end == self.order[-1]:
                    found.append(target.of(part).score(self.predicting(x[part])))
                else:
                    found.append(self.score(x[part], target.of(part)))
        return self.finite(torch.cat(found), target.position)

    def probabilities(self, x: Tensor) -> NDArray[np.float64]:
        """The probability of each class (N, K); of a network that gives a map, that of its scores' mean.

        Raises RunError where the scores overflow.
        """
        with torch.no_grad():
            rows = [
                self.predicting(x[part]).flatten(2).mean(2).cpu().numpy()
                if self.network.shapes[-1].positions > 1
                else self.predicting(x[part]).cpu().numpy()
                for part in self.batches(len(x), backward=False)
            ]
        scores = np.concatenate(rows)
        if not np.isfinite(scores).all():
            raise RunError("the network's scores overflow, so nothing can be said about them")
        return np.asarray(LOSSES[self.loss].posterior(scores), np.float64)

    def at_once(self, *, backward: bool, each: int = 0, held: int = 0) -> int:
        """How many images may run together, by the plan, where `held` bytes are taken besides and `each` for every one.

        Raises RunError where the limit allows not even one.
        """
        (one, two), limit = self._forward_and_back if backward else self._forward, self.memory_limit
        if limit is not None and one > limit:
            raise RunError(
                "one image needs more memory than it may take",
                received=f"{one:,} bytes by the plan, limit {limit:,}",
                hint=f"a limit of {one:,} bytes",
            )
        free = available_memory() if self.device.type == "cpu" else torch.cuda.mem_get_info(self.device)[0]
        room = (limit if limit is not None else int(SHARE * (free or 2**31))) - self.beside - held
        return max(1, min(MOST, 1 + (room - one - each) // max(1, two - one + each)))

    @cached_property
    def _forward(self) -> tuple[int, int]:
        """The bytes that one and two images take by the plan."""
        one, two = (plan(self.network, batch=n).memory["inference_bytes"] for n in (1, 2))
        return one, two

    @cached_property
    def _forward_and_back(self) -> tuple[int, int]:
        one, two = (plan(self.network, batch=n, optimizer="sgd").memory["training_bytes"] for n in (1, 2))
        return one, two

    def batches(self, images: int, *, backward: bool, each: int = 0, held: int = 0) -> Iterator[slice]:
        """Slices of so many images that run at once: see `at_once`."""
        size = self.at_once(backward=backward, each=each, held=held)
        for start in range(0, images, size):
            yield slice(start, min(start + size, images))

    def variants(
        self, images: int, variants: int, *, backward: bool, each: int = 0, held: int = 0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """All pairs (image, variant) in parts that run at once (`at_once`): two (n,) of numbers for each part."""
        for part in self.batches(images * variants, backward=backward, each=each, held=held):
            flat = torch.arange(part.start, part.stop, device=self.device)
            yield flat // variants, flat % variants

    @contextmanager
    def working(self) -> Iterator[None]:
        """With as many threads as a batch keeps busy."""
        with threads(pick_threads(self.network, self.at_once(backward=False))):
            yield


def _function(module: nn.Module) -> Function:
    """A layer as prediction runs it; a normalization as a product and a sum, whose way back needs no volume kept."""
    return partial(_normalised, module) if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d) else module


def _normalised(norm: Any, x: Tensor) -> Tensor:
    """x (N, C, *size) by the running statistics."""
    each = (-1, *(1,) * (x.dim() - 2))
    scale, offset = (array.view(each) for array in scale_and_offset(norm))
    return torch.addcmul(offset, x, scale)


def scale_and_offset(norm: Any) -> tuple[Tensor, Tensor]:
    """What a normalization by running statistics multiplies each channel by, and then adds: two (C,)."""
    scale = (norm.running_var + norm.eps).rsqrt()
    scale, bias = (scale * norm.weight, norm.bias) if norm.affine else (scale, 0.0)
    return scale, bias - norm.running_mean * scale
