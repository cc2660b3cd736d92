"""Two hundred members of random pattern families: plan, NumPy and torch agree on every shape, count and value."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from neocog import Network, ShapeError, reference
from neocog.check.case import drawn, spaced
from neocog.notation import Family, Member
from neocog.plan import Plan
from neocog.torch_engine import NetworkModule, write_weights

CONVOLUTIONS = (
    *("CONV3-w", "CONV1-w", "CONV5-w(BIAS=no)", "CONV3-w(D=2)", "CONV3-w(S=2)", "CONV2-w(P=0)", "CONV3-w(P=0)"),
    *("CONV3-w(G=c)", "CONV3-w(FLIP=yes)", "LOCAL3-w", "DECONV3-w(P=1)"),
)
NORMS = ("BN", "GROUPNORM(G=1)", "LRN", "ID")
ACTIVATIONS = ("RELU", "LRELU", "PRELU", "SIGMOID", "TANH", "SCALEDTANH", "GELU", "SILU")
BRANCHES = (
    "ADD[ CONV3-w -> BN -> RELU -> CONV3-w | CONV1-w ] -> RELU",
    "ADD[ BN -> RELU | ID ]",
    "ADD[ CONV3-w(S=2) -> BN | SHORTCUT(K=w) ] -> RELU",
    "CONCAT[ CONV1-w | CONV1-c -> RELU -> CONV3-w | POOL3(S=1, P=1) -> CONV1-c ] -> RELU",
    "CONCAT[ ID | CONV3-w -> ADD[ ID | TANH ] ]",
    "CONV3-w -> AUX(0.3)[ GAP -> FC5 ] -> RELU",
)
POOLS = (
    *("POOL2", "POOL3(S=2)", "POOL3(S=1, P=1)", "AVGPOOL2", "AVGPOOL3(S=2)", "L2POOL2", "SUBSAMPLE2"),
    *("POOL2(fit=ceil)", "AVGPOOL3(S=2, fit=ceil)"),
)
HEADS = (
    *("[FC(K=h) -> RELU]*K -> FC5", "GAP -> FC5", "FLATTEN -> FC5 -> SOFTMAX", "SPP(2, 1) -> FC5", "GAP -> FC(K=h)"),
    *("CONV1-5", "UPSAMPLE2 -> CONV1-5"),
)
RANGES = {"N": (0, 1, 2), "M": (1, 2), "K": (0, 1, 2), "p": (0, 1), "w": (2, 4), "h": (3, 8), "c": (1, 2)}


@st.composite
def members(draw: st.DrawFn) -> Member:
    """A member of a family of the form [[unit]*N -> pool?p]*M -> head, for images or sequences."""
    unit = " -> ".join(draw(st.sampled_from(words)) for words in (CONVOLUTIONS, NORMS, ACTIVATIONS))
    if draw(st.integers(0, 2)) == 0:
        unit = draw(st.sampled_from(BRANCHES))
    pool, head = draw(st.sampled_from(POOLS)), draw(st.sampled_from(HEADS))
    size = "x".join(str(draw(st.integers(6, 10))) for _ in range(draw(st.integers(1, 2))))
    fit = draw(st.sampled_from(("exact", "floor", "floor", "ceil")))
    text = f"fit={fit} INPUT[{size}x{draw(st.sampled_from((2, 4)))}] -> [[{unit}]*N -> {pool}?p]*M -> {head}"
    used = {name: values for name, values in RANGES.items() if re.search(rf"[*?=-]{name}\b", text)}
    return draw(st.sampled_from(list(Family.parse(text, **used))))


@pytest.fixture(scope="module", autouse=True)
def _one_thread():
    """Volumes of a few hundred values are sooner computed than handed to other threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@settings(max_examples=200, derandomize=True, deadline=None)
@given(members(), st.integers(0, 2**32 - 1))
def test_members_plan_build_and_run_without_a_disagreement(member, seed):
    try:
        plan = member.network.plan()
    except ShapeError:
        assume(False)  # a size that does not go with the values; such refusals have tests of their own
    rng = np.random.default_rng(seed)
    network = plan.network
    weights = {
        f"{node.name}.{name}": drawn(parameter, rng)
        for node in network.nodes
        for name, parameter in node.layer.parameters(*network.input_shapes(node)).items()
    }
    x = spaced((3, network.input_shape.channels, *network.input_shape.spatial), rng)
    for training in (False, True):
        agree(plan, weights, x, rng if training else None)


def agree(plan: Plan, weights: dict[str, np.ndarray], x: np.ndarray, rng: np.random.Generator | None) -> None:
    """Volumes of plan, reference and module alike in shape and value, parameters in number."""
    network: Network = plan.network
    trace = reference.forward(network, weights, x, rng)
    _, gradients = reference.backward(trace, np.ones_like(trace.output))
    module = NetworkModule(network).double().train(rng is not None)
    write_weights(module, weights)
    with torch.no_grad():
        volumes = module.run(torch.from_numpy(x.copy()))
    for row, y, volume in zip(plan.rows, trace.outputs, volumes, strict=True):
        assert y.shape == tuple(volume.shape) == (len(x), row.output.channels, *row.output.spatial), row.name
        np.testing.assert_allclose(y, volume.numpy(), rtol=1e-8, atol=1e-8, err_msg=row.name)
    assert sum(gradient.size for gradient in gradients.values()) == plan.totals["parameters"]
    assert sum(p.numel() for p in module.parameters() if p.requires_grad) == plan.totals["parameters"]
