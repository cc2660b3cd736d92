"""The planned receptive field of every network in the zoo is what signals really reach.

Each network's trunk is rebuilt with one map where it had many, sums in the place of pooling, and nothing in the place
of layers that look at their own position alone. Windows, strides, paddings and branches stay, so an output position
depends on the same pixels. All weights are 1, and after each layer a value is only asked whether it is 0: no signal
is cancelled, and none fades out on its way through a thousand layers.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from itertools import product

import numpy as np
import pytest
import torch

from neocog import Network, zoo
from neocog.layers import Auxiliary
from neocog.layers.avgpool import AvgPool
from neocog.layers.identity import Identity
from neocog.network import Branch, Step, layers_of
from neocog.plan import Row
from neocog.torch_engine import NetworkModule
from neocog.zoo import names


def thin(row):
    """The layer with one map and the same geometry."""
    layer = row.node.layer
    if layer.joins:
        return layer
    if layer.op == "INPUT":
        return replace(layer, shape=replace(layer.shape, channels=1))
    if layer.op in ("POOL", "L2POOL", "AVGPOOL"):
        return AvgPool(layer.kernel_size, layer.stride, layer.padding, layer.fit)
    if layer.op == "CONV":
        return replace(layer, out_channels=1, groups=1, table=None)
    if hasattr(layer, "out_channels"):
        return replace(layer, out_channels=1)
    return layer if layer.window(*row.inputs) else Identity()


def thinned(chain, rows, kept):
    """The chain up to where vectors begin, without side outputs; `rows` are taken in running order."""
    found = []
    for item in chain:
        if isinstance(item, Branch) and isinstance(item.join, Auxiliary):
            for _ in layers_of((item,)):
                next(rows)
            continue
        arms = () if isinstance(item, Step) else tuple(thinned(arm, rows, kept) for arm in item.arms)
        row = next(rows)
        if row.output.positions == 1:
            break
        kept.append(row)
        found.append(Branch(thin(row), arms) if arms else Step(thin(row)))
    return tuple(found)


@cache
def trunk(name) -> tuple[NetworkModule, list[Row]]:
    """The thin trunk, its weights all 1, and the planned rows of its nodes."""
    plan, kept = zoo(name).plan(), []
    network = Network(thinned(plan.network.chain, iter(plan.rows), kept))
    assert [shape.spatial for shape in network.shapes] == [row.output.spatial for row in kept]
    module = NetworkModule(network)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.fill_(0 if name.endswith("bias") else 1)
    return module, kept


def expected(axis, position, side) -> tuple[float, float]:
    """The first and the last pixel of the planned view that the image has."""
    low, high = (edge + position * axis.jump for edge in axis.reach)
    return max(0, low), min(side - 1, high)


def assert_reached(reached, row, position):
    """The planned view along each axis: from the first to the last pixel reached, and every one between."""
    for k, axis in enumerate(row.field):
        others = tuple(other for other in range(reached.ndim) if other != k)
        seen = np.flatnonzero(reached.any(axis=others))
        low, high = expected(axis, position[k], reached.shape[k])
        assert (seen[0], seen[-1], len(seen)) == (low, high, high - low + 1), (row.name, position)


DEEP = 320  # nodes in the trunk of Inception-v3, and a few
ALL = [pytest.param(n, marks=pytest.mark.slow) if len(zoo(n).nodes) > DEEP else n for n in names()]


@pytest.mark.parametrize("name", ALL)
def test_gradients_reach_exactly_the_planned_pixels(name):  # fact C11
    """Sent back from the first, the middle and the last position of layers all along the trunk."""
    module, rows = trunk(name)
    x = torch.ones((1, 1, *module.network.input_shape.spatial), requires_grad=True)
    volumes = module.run(x)
    for volume in volumes[1:]:
        volume.register_hook(lambda gradient: (gradient > 0).to(gradient.dtype))
    for k in {round(k) for k in np.linspace(1, len(volumes) - 1, 6)}:
        spatial = volumes[k].shape[2:]
        for position in {tuple(int(n * at) for n in spatial) for at in (0, 0.5, 1 - 1e-9)}:
            signal = torch.zeros_like(volumes[k])
            signal[(slice(None), slice(None), *position)] = 1
            (arrived,) = torch.autograd.grad([volumes[k]], [x], [signal], retain_graph=True)
            assert_reached((arrived[0, 0] > 0).numpy(), rows[k], position)


SMALL = [name for name in names() if zoo(name).input_shape.positions <= 32 * 32 and len(zoo(name).nodes) < 80]


@pytest.mark.parametrize("name", SMALL)
@torch.inference_mode()
def test_changing_a_pixel_changes_exactly_the_positions_that_see_it(name):  # fact C11
    """Brute force: one image for each pixel, lit in it alone, and every position of the last maps."""
    module, rows = trunk(name)
    sides = module.network.input_shape.spatial
    pixels = np.prod(sides)
    volumes = [torch.eye(int(pixels)).reshape(-1, 1, *sides)]
    for node in module.network.nodes[1:]:
        given = module.get_submodule(node.name)(*(volumes[i] for i in node.inputs))
        volumes.append((given > 0).float())
    lit = volumes[-1].amax(dim=1).numpy() > 0  # (pixels, h, w)
    for position in product(*map(range, lit.shape[1:])):
        assert_reached(lit[(slice(None), *position)].reshape(sides), rows[-1], position)


def test_the_small_networks_are_many():
    assert {"lenet1", "lenet5", "nin", "all-cnn-c", "resnet20", "convnetjs-cifar10"} <= set(SMALL)
