"""The network as machine code against the reference: scores, loss and the gradients of one step."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from .. import reference
from ..layer import Array
from ..losses import LOSSES, default_loss
from ..native.engine import NativeNetwork
from ..native.trainer import not_covered
from ..network import Network
from .case import Comparison, Finding, difference

SINGLE = 1e-5
"""Relative error allowed for single precision, where torch's own is not larger."""
TORCH_ERRORS = 2.0
"""Else so many times the largest error that torch makes with the same numbers in single precision."""
MOST_PARAMETERS, MOST_MACS = 2_000_000, 400_000_000
"""Larger networks are left out: compiling and running them here would take minutes."""


def native_check(network: Network, weights: dict[str, Array], x: Array, rng: np.random.Generator) -> Finding | None:
    """Every comparison; None where the native engine does not cover the network, or that is large."""
    totals, loss = network.plan().totals, default_loss(network).name
    large = totals["parameters"] > MOST_PARAMETERS or totals["macs"] * len(x) > MOST_MACS
    if large or not_covered(network, loss, "sgd"):
        return None
    single = {name: w.astype(np.float32) for name, w in weights.items()}
    images = x.astype(np.float32)
    labels = rng.integers(0, network.shapes[-1].channels, len(x))
    return Finding.worst("native", _comparisons(network, single, images, labels, loss))


def _comparisons(
    network: Network, weights: dict[str, np.ndarray], x: np.ndarray, labels: np.ndarray, loss: str
) -> Iterator[Comparison]:
    compiled = NativeNetwork(network, 1, "sgd", loss)
    compiled.write_weights(weights)
    scores = compiled.score(x)
    value, _ = compiled.train(x, labels, 0.0, 0.0, 0.0)
    mine = compiled.gradients()
    trace = reference.forward(network, weights, x)
    yield Comparison("scores", difference(scores.reshape(trace.output.shape).astype(float), trace.output), SINGLE * 10)
    trace = reference.forward(network, weights, x, np.random.default_rng(0))
    expected = LOSSES[loss].value(trace.output.reshape(len(x), -1), labels)
    yield Comparison("loss", abs(value - expected) / max(1.0, abs(expected)), SINGLE * 10)
    dy = LOSSES[loss].gradient(trace.output.reshape(len(x), -1), labels)
    _, gradients = reference.backward(trace, dy.reshape(trace.output.shape))
    theirs = _by_torch(network, weights, x, labels, loss)
    floor = 1e-6 * max(float(np.abs(g).max(initial=0.0)) for g in gradients.values())
    torch_errors = (difference(theirs[name].astype(float), gradient, floor) for name, gradient in gradients.items())
    allowed = max(SINGLE, TORCH_ERRORS * max(torch_errors, default=0.0))
    for name, gradient in gradients.items():
        yield Comparison(f"d{name}", difference(mine[name].astype(float), gradient, floor), allowed)


def _by_torch(
    network: Network, weights: dict[str, np.ndarray], x: np.ndarray, labels: np.ndarray, loss: str
) -> dict[str, np.ndarray]:
    """The gradients of torch in single precision."""
    import torch

    from ..torch_engine import NetworkModule, write_weights

    module = NetworkModule(network).train()
    write_weights(module, weights)
    scores = module(torch.from_numpy(x)).reshape(len(x), -1)
    torch.autograd.backward(LOSSES[loss].torch_value(scores, torch.from_numpy(labels)))
    return {name: p.grad.numpy() for name, p in module.named_parameters() if p.grad is not None}
