"""The planned receptive field of every network in the zoo is what signals really reach.

Each network's trunk is rebuilt with one map where it had many, sums in the place of pooling, and nothing in the place
of layers that look at their own position alone. Windows, strides, paddings and branches stay, so an output position
depends on the same pixels. All weights are 1, and after each layer a value is only asked whether it is 0: no signal
is cancelled, and none fades out on its way through a thousand layers.
"""

from __future__ import annotations

from dataclasses import replace
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


def slacks(plan) -> dict[str, float]:
    """How far each planned view may lie off: behind layers that enlarge, by one position of what they enlarge."""
    found = {}
    for row in plan.rows:
        window = row.node.layer.window(*row.inputs) if row.inputs else None
        own = 0.0
        if window and max(window.upsampling, default=1) > 1:
            own = max(axis.jump for axis in plan[row.input_names[0]].field)
        found[row.name] = own + max((found[name] for name in row.input_names), default=0.0)
    return found


def trunk(network) -> tuple[NetworkModule, list[Row]]:
    """The thin trunk, its weights all 1, and the planned rows of its nodes."""
    plan, kept = network.plan(), []
    thin_network = Network(thinned(network.chain, iter(plan.rows), kept))
    assert [shape.spatial for shape in thin_network.shapes] == [row.output.spatial for row in kept]
    module = NetworkModule(thin_network)
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.fill_(0 if name.endswith("bias") else 1)
    return module, kept


def assert_reached(reached, row, position, off=0.0):
    """The planned view along each axis, where the image has it: the first and last pixel reached, and all between."""
    for k, axis in enumerate(row.field):
        others = tuple(other for other in range(reached.ndim) if other != k)
        seen = np.flatnonzero(reached.any(axis=others))
        low, high = (edge + position[k] * axis.jump for edge in axis.reach)
        low, high = max(0, low), min(reached.shape[k] - 1, high)
        where = (row.name, position, low, high, seen[0], seen[-1])
        assert abs(seen[0] - low) <= off, where
        assert abs(seen[-1] - high) <= off, where
        assert len(seen) == seen[-1] - seen[0] + 1, where


def assert_gradients_reach_the_planned_pixels(network, count):
    """Sent back from the first, the middle and the last position of some layers all along the trunk."""
    module, rows = trunk(network)
    off = slacks(network.plan())
    x = torch.ones((1, 1, *module.network.input_shape.spatial), requires_grad=True)
    volumes = module.run(x)
    for volume in volumes[1:]:
        volume.register_hook(lambda gradient: (gradient > 0).to(gradient.dtype))
    for k in {round(k) for k in np.linspace(0, len(volumes) - 1, count)}:
        spatial = volumes[k].shape[2:]
        for position in {tuple(int(n * at) for n in spatial) for at in (0, 0.5, 1 - 1e-9)}:
            signal = torch.zeros_like(volumes[k])
            signal[(slice(None), slice(None), *position)] = 1
            (arrived,) = torch.autograd.grad([volumes[k]], [x], [signal], retain_graph=True)
            assert_reached((arrived[0, 0] > 0).numpy(), rows[k], position, off[rows[k].name])


DEEP = 320  # nodes in the trunk of Inception-v3, and a few
ALL = [pytest.param(n, marks=pytest.mark.slow) if len(zoo(n).nodes) > DEEP else n for n in names()]


@pytest.mark.parametrize("name", ALL)
def test_gradients_reach_exactly_the_planned_pixels(name):  # fact C11
    assert_gradients_reach_the_planned_pixels(zoo(name), 6)


def test_views_behind_layers_that_enlarge_are_right_to_one_position():  # the shape of FCN-8s
    coarse = "ADD[ CONV3-8 -> POOL2 -> CONV3-4 -> DECONV4-4(S=2, P=1) | CONV1-4 ]"
    text = f"INPUT[48x40x3] -> CONV5-8 -> POOL2 -> ADD[ CONV3-8 -> POOL2 -> {coarse} -> DECONV4-4(S=2, P=1) | CONV1-4 ]"
    assert_gradients_reach_the_planned_pixels(Network.parse(f"{text} -> UPSAMPLE2 -> CONV3-2"), 100)


SMALL = [name for name in names() if zoo(name).input_shape.positions <= 32 * 32 and len(zoo(name).nodes) < 80]


@pytest.mark.parametrize("name", SMALL)
@torch.inference_mode()
def test_changing_a_pixel_changes_exactly_the_positions_that_see_it(name):  # fact C11
    """Brute force: one image for each pixel, lit in it alone, and every position of the last maps."""
    module, rows = trunk(zoo(name))
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
