"""The network as machine code against the reference: scores, loss and the gradients of one step."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .. import reference
from ..chance import Draws
from ..layer import Array
from ..losses import Loss, default_loss
from ..native.engine import NativeNetwork
from ..native.trainer import not_covered
from ..network import Network
from ..reference import as_scores
from .case import Comparison, Finding, difference

SINGLE = 1e-5
"""Relative error allowed for single precision where a network does not magnify it."""
MAGNIFIED, TORCH_ERRORS = 30.0, 2.0
"""Else so many times what changes where weights and images move by what single precision rounds off once, or so many
times as torch's gradients in single precision are from those in double, where nothing is drawn at random."""
SMALL = 1e-1
"""What share of the largest gradient the others are measured by at least: one that is zero by mathematics, as a bias
before BN, is what rounding leaves of large terms, some units in their last place."""
MOST_PARAMETERS, MOST_MACS = 2_000_000, 400_000_000
"""Larger networks are left out: compiling and running them here would take minutes."""
SEED, STEP = 0, 1
"""Of the numbers that layers draw in both."""


class _Case(NamedTuple):
    """A network with float32 weights, images and labels, and its loss."""

    network: Network
    weights: dict[str, Array]
    x: Array
    labels: NDArray[np.int64]
    loss: Loss

    def step(self) -> tuple[float, dict[str, Array]]:
        """The reference's loss of a training step, side outputs included, and every gradient."""
        trace = reference.forward(self.network, self.weights, self.x, Draws(SEED, STEP))
        scores, sides = as_scores(trace.output), trace.side_outputs
        loss, parts = self.loss, self.network.side_outputs
        value = loss.value(scores, self.labels) + sum(w * loss.value(sides[k], self.labels) for k, w in parts.items())
        dsides = {k: w * loss.gradient(sides[k], self.labels) for k, w in parts.items()}
        dy = loss.gradient(scores, self.labels).reshape(trace.output.shape)
        return value, reference.backward(trace, dy, dsides)[1]

    def nudged(self, rng: np.random.Generator) -> _Case:
        """The same with every number moved by up to half a unit in its last place."""

        def moved(values: Array) -> Array:
            return values * (1 + rng.uniform(-1, 1, values.shape) * 2.0**-24)

        return self._replace(weights={k: moved(w) for k, w in self.weights.items()}, x=moved(self.x))


def native_check(network: Network, weights: dict[str, Array], x: Array, rng: np.random.Generator) -> Finding | None:
    """Every comparison; None where the native engine does not cover the network, or that is large."""
    totals, loss = network.plan().totals, default_loss(network)
    large = totals["parameters"] > MOST_PARAMETERS or totals["macs"] * len(x) > MOST_MACS
    if large or not_covered(network, loss.name, "sgd"):
        return None
    single = {name: w.astype(np.float32).astype(float) for name, w in weights.items()}
    labels = rng.integers(0, network.shapes[-1].channels, len(x))
    case = _Case(network, single, x.astype(np.float32).astype(float), labels, loss)
    return Finding.worst("native", _comparisons(case, rng))


def _comparisons(case: _Case, rng: np.random.Generator) -> Iterator[Comparison]:
    compiled = NativeNetwork(case.network, 1, "sgd", case.loss.name)
    compiled.write_weights(case.weights)
    images = case.x.astype(np.float32)
    scores = compiled.score(images).astype(float)
    value, _ = compiled.train(images, case.labels, 0.0, 0.0, 0.0, SEED, STEP)
    mine = compiled.gradients()
    nudged = case.nudged(rng)
    plain, near = (as_scores(reference.forward(case.network, c.weights, c.x).output) for c in (case, nudged))
    yield Comparison("scores", difference(scores, plain), _allowed(difference(near, plain)))
    (loss, gradients), (near_loss, others) = case.step(), nudged.step()
    size = max(1.0, abs(loss))
    yield Comparison("loss", abs(value - loss) / size, _allowed(abs(near_loss - loss) / size))
    floor = SMALL * max((float(np.abs(g).max(initial=0.0)) for g in gradients.values()), default=0.0)
    changes = (difference(others[name], gradient, floor) for name, gradient in gradients.items())
    single, double = ({} if compiled.program.drawing else _by_torch(case, dtype) for dtype in ("float", "double"))
    errors = (difference(gradient, double[name], floor) for name, gradient in single.items())
    allowed = max(_allowed(max(changes, default=0.0)), TORCH_ERRORS * max(errors, default=0.0))
    for name, gradient in gradients.items():
        yield Comparison(f"d{name}", difference(mine[name].astype(float), gradient, floor), allowed)


def _allowed(change: float) -> float:
    return max(SINGLE, MAGNIFIED * change)


def _by_torch(case: _Case, dtype: str) -> dict[str, Array]:
    """The gradients of torch in that precision."""
    import torch

    from ..torch_engine import NetworkModule, write_weights

    module = NetworkModule(case.network).train().to(getattr(torch, dtype))
    write_weights(module, case.weights)
    x, labels = torch.from_numpy(case.x).to(getattr(torch, dtype)), torch.from_numpy(case.labels)
    outputs = module.outputs(x)
    loss = case.loss.torch_value(outputs[case.network.nodes[-1].name], labels)
    for name, weight in case.network.side_outputs.items():
        loss = loss + weight * case.loss.torch_value(outputs[name], labels)
    torch.autograd.backward(loss)
    return {name: p.grad.double().numpy() for name, p in module.named_parameters() if p.grad is not None}
