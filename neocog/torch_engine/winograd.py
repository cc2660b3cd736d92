"""Convolutions by 3x3 kernels on a CPU: by Winograd's filtering, not by oneDNN.

oneDNN sums over windows, at nearly what the processor can do; the kernels of `native/winograd.py` need 4/9 of the
products. They take many channels, which come by the block, and vectors of 16 numbers. In bfloat16 they are for
processors that multiply pairs of them but not whole matrices: beside those, transforming volumes would take longer than
all products.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache, cached_property
from itertools import pairwise, product
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..layer import Layer, Shape
from ..layers.conv import Conv, held_rows, sums_apart
from ..native.jit import machine
from ..native.winograd import GROUP, LANES, TILES, TURNING_BYTES, Filtering
from ..native.winograd_gradient import Gradient
from .team import Team, openmp

Tasks = NDArray[np.int64]


class Convolution:
    """y (N, K, H, W) of x (N, C, H, W), both of the dtype that has so many parts in a word, and channels last.

    A `turned` one is back from the gradient of what another gives, with its weights.
    """

    def __init__(self, shape: Filtering, turned: bool) -> None:
        self.shape = shape
        *kernels, convolve = shape.convolution()
        weights = shape.turned_weights() if turned else shape.weights()
        self.team, self.weights = Team([*kernels, convolve, weights], [convolve, weights]), weights.name

    def transformed(self, w: Tensor) -> Tensor:
        """Weights (K, C, 3, 3) as they are multiplied with, or turned ones of (C, K, 3, 3); float32, channels last."""
        u, turning = _bytes(self.shape.weight_bytes), _bytes(torch.get_num_threads() * TURNING_BYTES)
        self.team.run(self.weights, self._weight_tasks, [w, u, turning], TURNING_BYTES)
        return u

    def ending(self, bias: Tensor | None = None, *, relu: bool = False) -> Tensor:
        """What is added to sums, and what they do not fall below then: in the order of the kernels' slots."""
        count, parts = self.shape.outputs, self.shape.parts
        ends = torch.zeros(count + LANES)
        if bias is not None:
            ends[:count] = bias.view(-1, GROUP // parts, parts).mT.reshape(-1)
        ends[count:] = 0.0 if relu else -math.inf
        return ends

    def __call__(self, x: Tensor, u: Tensor, ends: Tensor) -> Tensor:
        """A new volume by transformed weights and `ending`."""
        shape, threads = self.shape, torch.get_num_threads()
        y, own = _volume(len(x), shape.outputs, x), _bytes(threads * shape.own_bytes)
        self.team.run("convolve", self._tasks(len(x), threads), [x, u, ends, y, own], shape.own_bytes)
        return y

    @cached_property
    def _weight_tasks(self) -> Tasks:
        """A group of outputs, and one of inputs."""
        groups = self.shape.inputs // GROUP
        return np.array([(k, k + 1, c, c + 1) for k, c in product(range(self.shape.groups), range(groups))])

    @cache  # noqa: B019  # of objects that stay
    def _tasks(self, images: int, threads: int) -> Tasks:
        """Images from and to, rows of tiles from and to, their number of sets, and groups of outputs from and to.

        Where that would leave threads without work, outputs are shared as well.
        """
        shape = self.shape
        rows = shape.most // shape.columns
        most = rows if rows < shape.rows else min(rows, shape.rows * -(-images // threads))
        parts = _held(images, shape.rows, most)
        sets = [-(-(m - n) * (b - a) * shape.columns // TILES) for n, m, a, b in parts]
        shares = 1
        while len(parts) * shares % threads and shares < min(shape.groups, threads):
            shares += 1
        groups = list(pairwise(_shared(shape.groups, shares)))
        return np.array([(*part, count, *ks) for part, count in zip(parts, sets, strict=True) for ks in groups])


def _shared(count: int, among: int) -> list[int]:
    """Where each one's part of so many begins, and where the last one's ends."""
    return [count * k // among for k in range(among + 1)]


class WeightGradient:
    """dw (K, C, 3, 3) of float32 of x (N, C, H, W) and dy (N, K, H, W), both of one dtype; all channels last.

    Tiles are summed by the thread that has transformed them: cores may be far from each other.
    """

    def __init__(self, shape: Gradient) -> None:
        self.shape = shape
        *functions, add = shape.gradient()
        kernels = shape.kernels()
        self.team = Team([*functions, add, kernels], [add, kernels])

    def __call__(self, x: Tensor, dy: Tensor) -> Tensor:
        """The sums over all tiles, those of some tiles apart from those of others until the end."""
        shape, threads = self.shape, torch.get_num_threads()
        tasks, joining = self._tasks(len(x), threads)
        sums, own = _bytes(int(joining[0, 2]) * shape.sum_bytes), _bytes(threads * shape.own_bytes)
        self.team.run("add_tiles", tasks, [x, dy, sums, own], shape.own_bytes)
        dw = torch.empty(shape.outputs, 3, 3, shape.inputs)
        self.team.run("kernels", joining, [sums, dw])
        return dw.permute(0, 3, 1, 2)

    @cache  # noqa: B019  # of objects that stay
    def _tasks(self, images: int, threads: int) -> tuple[Tasks, Tasks]:
        """Parts of the tiles, as calls in order for tiles that are held at once, and groups of outputs to join them.

        Where that would leave threads without work, panels of outputs are shared as well.
        """
        shape = self.shape
        held = _held(images, shape.rows, shape.sets // shape.sets_in_row)
        parts = sums_apart(shape.inputs, shape.outputs, len(held))
        panels = list(pairwise(_shared(shape.panels, min(shape.panels, -(-threads // parts)))))
        tasks = np.zeros((parts * len(panels), -(-len(held) // parts), 10), np.int64)
        ranges = product(enumerate(pairwise(_shared(len(held), parts))), panels)
        for task, ((part, (start, end)), ks) in zip(tasks, ranges, strict=True):
            for k, (n, m, top, bottom) in enumerate(held[start:end]):
                sets = (m - n) * (bottom - top) * shape.sets_in_row
                task[k] = n, m, top, bottom, sets, *ks, part, k == 0, k > 0
        return tasks, np.array([(k, k + 1, parts) for k in range(shape.groups)])


def _held(images: int, rows: int, most: int) -> list[tuple[int, int, int, int]]:
    """At most so many rows of tiles: images from and to, and of each the rows from and to."""
    if most >= rows:
        size = most // rows
        return [(n, min(n + size, images), 0, rows) for n in range(0, images, size)]
    borders = _shared(rows, -(-rows // most))
    return [(n, n + 1, *part) for n in range(images) for part in pairwise(borders)]


forwards = cache(lambda c, k, h, w, parts: Convolution(Filtering(c, k, h, w, parts), turned=False))
backwards = cache(lambda c, k, h, w, parts: Convolution(Filtering(k, c, h, w, parts), turned=True))
of_weights = cache(WeightGradient)


def weight_gradient(images: int, *sizes: int) -> WeightGradient:
    """For a batch of so many images; others may have the same."""
    inputs, outputs, height, width, parts = sizes
    rows, _ = held_rows(images, Shape((height, width), inputs), outputs, 4 // parts)
    return of_weights(Gradient.of_rows(rows, *sizes))


class _Filter(torch.autograd.Function):
    """A convolution with its gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None) -> Tensor:
        x, w = _last(x), _last(w)
        ctx.save_for_backward(x, w)
        convolve = forwards(*_sizes(x, w))
        return convolve(x, convolve.transformed(w), convolve.ending(bias))

    @staticmethod
    def backward(ctx: Any, *dys: Tensor) -> tuple[Tensor | None, ...]:
        x, w = ctx.saved_tensors
        dy, sizes, (of_x, of_w, of_bias) = _last(dys[0]), _sizes(x, w), ctx.needs_input_grad
        dx = None
        if of_x:
            back = backwards(*sizes)
            dx = back(dy, back.transformed(w), back.ending())
        dw = weight_gradient(len(x), *sizes)(x, dy) if of_w else None
        return dx, dw, _summed(dy) if of_bias else None


def _bytes(count: int) -> Tensor:
    return torch.empty(count, dtype=torch.uint8)


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _sizes(x: Tensor, w: Tensor) -> tuple[int, ...]:
    """Channels in and out, height, width, and numbers in a word."""
    return (x.shape[1], w.shape[0], *x.shape[2:], parts(x.dtype))


def parts(dtype: torch.dtype) -> int:
    """Numbers of a dtype in a word of 32 bits."""
    return 4 // dtype.itemsize


def _volume(images: int, channels: int, like: Tensor) -> Tensor:
    """A new volume of other channels."""
    return torch.empty(images, *like.shape[2:], channels, dtype=like.dtype).permute(0, 3, 1, 2)


def _summed(dy: Tensor) -> Tensor:
    """The sum (K,) over images and places: as a product, several times as fast as torch's sum."""
    rows = dy.permute(0, 2, 3, 1).reshape(-1, dy.shape[1])
    return (rows.new_ones(1, len(rows)) @ rows).view(-1).float()


class FilteredConv2d(nn.Conv2d):
    """Another convolution's weights, by Winograd's filtering: in single precision, or bfloat16 if autocast says so."""

    def __init__(self, of: nn.Conv2d) -> None:
        super().__init__(of.in_channels, of.out_channels, 3, padding=1, bias=of.bias is not None, device="meta")
        self.weight, self.bias = of.weight, of.bias

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) -> y (N, K, H, W)."""
        if torch.is_autocast_enabled("cpu"):
            x = x.to(torch.get_autocast_dtype("cpu"))
        y: Tensor = _Filter.apply(x, self.weight, self.bias)  # type: ignore[no-untyped-call]
        return y


def gains(layer: Layer, inputs: Sequence[Shape], dtype: str) -> bool:
    """Whether a layer is faster by filtering on this processor."""
    return isinstance(layer, Conv) and layer.is_filtered(inputs[0], getattr(torch, dtype).itemsize) and possible(dtype)


@cache
def possible(dtype: str) -> bool:
    """Whether this processor gains by it, and torch has threads to lend."""
    made = machine()
    multiplies = made.dots and not made.tiles if dtype == "bfloat16" else made.lanes == LANES
    return multiplies and openmp() is not None
