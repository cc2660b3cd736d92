"""Network -> torch module -> network: what was built is read back, from nothing but the operations it performs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neocog import NeocogError, Network, ShapeError, zoo
from neocog.interop import from_torch
from neocog.interop.wiring import Vertex, as_chain
from neocog.layers.identity import Identity
from neocog.torch_engine import NetworkModule, read_weights
from neocog.zoo import names

KEEP = (
    *("RELU", "TANH", "LRELU(0.2)", "PRELU", "SIGMOID", "SILU", "GELU", "SOFTMAX", "SCALEDTANH", "DROPOUT(0.3)"),
    *("BN", "BN(eps=1e-3, AFFINE=no)", "GROUPNORM(G=2)", "LRN(n=3)", "LRN(n=3, alpha=0.1, REGION=within)"),
    *("CONV3-4", "CONV1x3-4(BIAS=no)", "CONV3-4(D=2)", "CONV3-4(G=2)", "CONV3-4(FLIP=yes)", "DECONV3-4"),
    *("POOL3(S=1, P=1)", "AVGPOOL3(S=1, P=1)", "AVGPOOL3(S=1, P=1, ZEROS=no)", "SUBSAMPLE3(S=1, P=1)"),
)
"""Layers that leave 16x16x4 as it is."""
CHANGE = (
    *(
        "POOL2(fit=floor)",
        "AVGPOOL2x4(fit=floor)",
        "SUBSAMPLE2(fit=floor)",
        "POOL3(S=2, fit=floor)",
        "AVGPOOL3(S=2, fit=ceil)",
        "SHORTCUT(K=4)",
    ),
    *(
        "CONV3-4(S=2, fit=ceil)",
        "CONV3-4(S=2, P=0, fit=ceil)",
        "CONV5-4(S=3, P=2, fit=floor)",
        "SUBSAMPLE3(S=2, fit=ceil)",
    ),
    *("UPSAMPLE2", "UPSAMPLE2x3(MODE=bilinear)", "DECONV4-4(S=2, P=1)", "SHORTCUT(K=4, S=1x2)"),
)
ENDS = (
    *("GAP -> FC5", "FC6 -> RELU -> FC3(BIAS=no)", "GAP -> BN -> FC4 -> SOFTMAX", "SPP(2, 1) -> FC3", "FLATTEN -> BN"),
    *("CONV3-7 -> PRELU", "FLATTEN", "GAP -> CONV1-3"),
)
READ = {"ADD", "CONCAT", "ID"}
for text in (*KEEP, *CHANGE, *ENDS):
    READ |= {node.layer.op for node in Network.parse(f"INPUT[16x16x4] -> {text}").nodes}


@st.composite
def chains(draw: st.DrawFn, depth: int) -> list[str]:
    """Layers and branches that keep 16x16x4. No branch is nothing but a sum: (a + b) + c is a + b + c in torch too."""
    items = [draw(st.sampled_from(KEEP))]
    for _ in range(draw(st.integers(0, 2))):
        if depth and draw(st.booleans()):
            arms = draw(st.lists(chains(depth - 1), min_size=1, max_size=2))
            arms.insert(draw(st.integers(0, len(arms))), ["ID"])
            joined = " | ".join(" -> ".join(arm) for arm in arms)
            items.append(draw(st.sampled_from((f"ADD[{joined}]", f"CONCAT[{joined}] -> CONV1-4"))))
        else:
            items.append(draw(st.sampled_from(KEEP)))
    return items


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """A chain, up to two changes of size with another chain after each, and an end."""
    items = draw(chains(2))
    for _ in range(draw(st.integers(0, 2))):
        items += [draw(st.sampled_from(CHANGE)), *draw(chains(1))]
    items += draw(st.sampled_from([[], *([end] for end in ENDS)]))
    return Network.parse(" -> ".join(["INPUT[16x16x4]", *items]))


def described(network: Network) -> list[tuple[str, Any, tuple[int, ...]]]:
    """Nodes, with the strictest `fit` that gives as many windows: where they tile it says nothing."""
    return [(node.name, _settled(network, node), node.inputs) for node in network.nodes]


def _settled(network: Network, node: Any) -> Any:
    if not hasattr(node.layer, "fit"):
        return node.layer
    inputs = network.input_shapes(node)
    for fit in ("exact", "floor"):
        stricter = replace(node.layer, fit=fit)
        with contextlib.suppress(ShapeError):
            if stricter.output_shape(*inputs) == node.layer.output_shape(*inputs):
                return stricter
    return node.layer


def check_that_it_is_read_back(network: Network) -> None:
    module = network.build(seed=1)
    found, weights = from_torch(module, network.input_shape)
    assert described(found) == described(network)
    own = read_weights(module)
    assert weights.keys() == own.keys()
    for name, array in own.items():
        np.testing.assert_array_equal(weights[name], array)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(networks())
def test_any_chain_with_branches_is_found_again_among_its_layers(network):
    """The wiring alone, from a list of who reads whom; ID is what a list of layers does not show."""
    source = list(range(len(network.nodes)))
    for k, node in enumerate(network.nodes):
        if isinstance(node.layer, Identity):
            source[k] = source[node.inputs[0]]
    graph = {
        k: Vertex(node.layer, tuple(source[i] for i in node.inputs), node.name)
        for k, node in enumerate(network.nodes)
        if source[k] == k
    }
    chain, behind = as_chain(graph)
    assert described(Network(chain)) == described(network)
    names = [vertex.where for vertex in behind if vertex is not None]
    assert names == [node.name for node in network.nodes if not node.layer.joins and node.layer.op != "ID"]


@settings(max_examples=12, derandomize=True, deadline=None)
@given(networks())
def test_a_network_is_read_back_from_its_module_with_its_weights(network):
    check_that_it_is_read_back(network)


@pytest.mark.slow
@settings(max_examples=150, derandomize=True, deadline=None)
@given(networks())
def test_any_network_is_read_back_from_its_module_with_its_weights(network):
    check_that_it_is_read_back(network)


def sized(names: Iterable[str]) -> Iterator[Any]:
    """Zoo names; what takes more than a second or so is slow, and the largest repeat what smaller ones have."""
    for name in names:
        layers = len(zoo(name).nodes)
        if layers < 700:
            yield pytest.param(name, marks=pytest.mark.slow if layers > 80 else [])


@pytest.mark.parametrize("name", list(sized(names())))
def test_networks_of_the_zoo_are_read_back_from_their_modules(name):
    network = zoo(name)
    with torch.device("meta"):
        module = NetworkModule(network)
    expected = zoo(name.removesuffix("-aux"))  # auxiliary outputs are for training: no prediction depends on them
    tables = any(getattr(node.layer, "table", None) for node in expected.nodes)
    if tables or {node.layer.op for node in expected.nodes} - READ:
        with pytest.raises(NeocogError, match=r"_modules\.py, line [0-9]+"):
            Network.from_torch(module, network.input_shape)
    else:
        assert Network.from_torch(module, network.input_shape) == expected


@pytest.mark.parametrize("text", ["LOCAL3-2", "FILTER(mean)", "L2POOL2", "STOPOOL2", "LCN3", 'CONV3-2(TABLE="0; 1")'])
def test_layers_that_torch_takes_apart_too_far_are_refused(text):
    module = Network.parse(f"INPUT[6x6x2] -> {text}").build()
    with pytest.raises(NeocogError, match=r"_modules\.py, line [0-9]+\): "):
        Network.from_torch(module, "6x6x2")
