"""Connections and macs counted one by one, as a plain loop would execute them. Shares no formula with the layers."""

from __future__ import annotations

from itertools import product

from neocog.layer import Layer, Shape


def counts(layer: Layer, x: Shape) -> tuple[int, int]:
    """(connections, macs) of one image."""
    if layer.op in ("CONV", "LOCAL", "FILTER", "POOL", "AVGPOOL", "L2POOL", "STOPOOL", "SUBSAMPLE"):
        return _windowed(layer, x)
    connections = macs = 0
    if layer.op in ("FC", "RBF"):
        for _ in range(layer.out_channels):
            for _ in product(*map(range, x.as_list())):
                connections += 1
                macs += 1
            connections += getattr(layer, "bias", False)
    if layer.op == "DECONV":
        for _ in product(*map(range, x.as_list()), *map(range, layer.window(x).kernel), range(layer.out_channels)):
            connections += 1
            macs += 1
        for _ in product(*map(range, layer.output_shape(x).as_list())):
            connections += layer.bias
    if layer.op == "UPSAMPLE" and layer.mode == "bilinear":
        for _ in product(*map(range, layer.output_shape(x).as_list())):
            for _ in product(("before", "after"), repeat=x.rank):
                connections += 1
                macs += 1
    if layer.op == "SPP":
        for n in layer.levels:
            for at in product(*(range(n) for _ in x.spatial)):
                for pixel in product(*map(range, x.as_list())):
                    # a bin holds each pixel that lies in it at least in part
                    connections += all(
                        (p + 1) * n > i * size and p * n < (i + 1) * size
                        for i, p, size in zip(at, pixel, x.spatial, strict=False)
                    )
    if layer.op == "LCN":
        for _ in product(*map(range, x.spatial), ("mean", "deviation"), range(x.channels)):
            for _ in product(range(layer.size), repeat=x.rank):
                connections += 1
                macs += 1
    if layer.op == "GAP":
        for _ in product(*map(range, x.as_list())):
            connections += 1
    return connections, macs


def _windowed(layer: Layer, x: Shape) -> tuple[int, int]:
    connections = macs = 0
    window = layer.window(x)
    axes = zip(x.spatial, window.kernel, window.stride, window.padding, window.dilation, strict=True)
    for _ in product(*(starts(*axis, layer.fit) for axis in axes)):
        for maps in maps_seen(layer, x.channels):
            for _ in product(maps, *map(range, window.kernel)):
                connections += 1
                macs += layer.op in ("CONV", "LOCAL", "FILTER")
            if layer.op == "SUBSAMPLE":
                macs += 1  # the sum is multiplied once
            connections += layer.op == "SUBSAMPLE" or getattr(layer, "bias", False)
    return connections, macs


def maps_seen(layer: Layer, channels: int) -> list[list[int]]:
    """For each output map the input maps it is computed from."""
    if layer.op == "LOCAL":
        return [list(range(channels))] * layer.out_channels
    if layer.op != "CONV":
        return [[c] for c in range(channels)]
    if layer.table is not None:
        return [list(row) for row in layer.table]
    group, per_group = channels // layer.groups, layer.out_channels // layer.groups
    return [[c for c in range(channels) if c // group == k // per_group] for k in range(layer.out_channels)]


def starts(size: int, f: int, s: int, p: int, d: int, fit: str) -> list[int]:
    """Where windows begin along one axis, found by sliding one along until it no longer may."""
    found: list[int] = []
    start = -p
    while start + d * (f - 1) <= size - 1 + p:
        found.append(start)
        start += s
    reaches_end = found[-1] + d * (f - 1) == size - 1 + p
    if fit == "ceil" and not reaches_end and start < size:
        found.append(start)
    return found
