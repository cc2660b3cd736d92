"""Response normalization of our own gives what torch's gives, both ways, and keeps nothing but its input."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from neocog import Network
from neocog.initialise import initialise
from neocog.torch_engine.response_norm import ResponseNorm
from neocog.torch_engine.trainer import TorchTrainer

NORMS = [
    nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0),
    nn.LocalResponseNorm(3, alpha=0.9, beta=1.5, k=0.5),
    nn.LocalResponseNorm(1, alpha=0.9, beta=0.0),
]
SHAPES = [(3, 7, 4, 5), (2, 2, 3, 3), (2, 6, 9)]


def both(norm, x, dy):
    """Outputs and gradients by torch's module in double precision, and by ours."""
    found = []
    for module, kind in ((norm, torch.float64), (ResponseNorm(norm), x.dtype)):
        own = x.detach().to(kind).requires_grad_()
        y = module(own)
        y.backward(dy.to(kind))
        found.append((y.detach(), own.grad))
    return found


@pytest.mark.parametrize("norm", NORMS, ids=lambda norm: f"n={norm.size}, beta={norm.beta}")
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("kind", "most"), [(torch.float32, 1e-6), (torch.bfloat16, 2**-8)], ids=str)
def test_outputs_and_gradients_are_those_of_torchs_module(norm, shape, kind, most):
    generator = torch.Generator().manual_seed(len(shape))
    x, dy = (torch.randn(shape, generator=generator).to(kind) for _ in range(2))
    exact, ours = both(norm, x, dy)
    for expected, got in zip(exact, ours, strict=True):
        assert got.dtype is kind
        assert float((got - expected).abs().max()) <= most * float(expected.abs().max())


def test_images_stay_channels_last_and_only_they_are_kept():
    x = torch.randn(2, 6, 3, 3).contiguous(memory_format=torch.channels_last).requires_grad_()
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t.data_ptr()) or t, lambda t: t):
        y = ResponseNorm(NORMS[0])(x)
    assert saved == [x.data_ptr()]
    assert y.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_network_trains_with_it(dtype):
    network = Network.parse("INPUT[8x8x3] -> CONV3-8 -> RELU -> LRN(n=3, alpha=0.1) -> POOL2 -> FC4")
    made = TorchTrainer(network, initialise(network, 1), loss="cross-entropy", device="cpu", dtype=dtype, batch_size=8)
    assert isinstance(made.module.get_submodule("lrn1"), ResponseNorm)
    rng = np.random.default_rng(5)
    x, labels = rng.standard_normal((8, 3, 8, 8)).astype(np.float32), rng.integers(0, 4, 8)
    losses = [made.step(x, labels, lr=0.1)[0] for _ in range(20)]
    assert losses[-1] < 0.5 * losses[0]
