"""The torch modules that torch.nn lacks. Imported only inside `Layer.module`, so that planning never loads torch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..spelling import Dims
from . import _tiles

Index = tuple[list[int], list[int]]


class _SpecialConv(nn.modules.conv._ConvNd):
    """A convolution with a connection table, a flipped kernel, or a last window that hangs over the edge."""

    pairs: Tensor | None

    def __init__(self, *, index: Index | None, flip: bool, hang: tuple[int, ...], **arguments: Any) -> None:
        super().__init__(**arguments)
        self.flip, self.hang = flip, hang
        pairs = None if index is None else torch.tensor(index, device="cpu")  # numbers, though weights may be none yet
        self.register_buffer("pairs", pairs, persistent=False)
        if index is not None:
            self.weight = nn.Parameter(torch.zeros(len(index[0]), *self.weight.shape[2:]))  # one kernel per pair

    def kernel(self, weight: Tensor | None = None) -> Tensor:
        """The weight, or another array of its shape, as cross-correlation uses it: (K, C/G, *F)."""
        weight = self.weight if weight is None else weight
        if self.pairs is not None:
            dense = weight.new_zeros(self.out_channels, self.in_channels, *weight.shape[1:])
            weight = dense.index_put(self.pairs.unbind(), weight)
        return weight.flip(tuple(range(2, weight.dim()))) if self.flip else weight

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, *size) -> y (N, K, *size')."""
        ends = [end for hang in reversed(self.hang) for end in (0, hang)]
        return self._conv_forward(F.pad(x, ends), self.kernel(), self.bias)


class Conv1d(_SpecialConv, nn.Conv1d):
    """`nn.Conv1d` with what `_SpecialConv` adds."""


class Conv2d(_SpecialConv, nn.Conv2d):
    """`nn.Conv2d` with what `_SpecialConv` adds."""


class TilePool2d(nn.MaxPool2d):
    """`nn.MaxPool2d` of windows that touch each other; training on a GPU is by `_tiles`."""

    def __init__(self, tile: tuple[int, int]) -> None:
        super().__init__(tile)
        self.tile = tile

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) -> y (N, C, H', W')."""
        if self.training and _tiles.can(x, self.tile):
            return _tiles.pooled(x, self.tile)
        y: Tensor = super().forward(x)
        return y


class LocallyConnected(nn.Module):
    """A convolution whose kernels and biases differ from position to position."""

    def __init__(self, shape: Dims, stride: Dims, padding: Dims, *, hang: Dims, bias: bool) -> None:
        super().__init__()
        rank = len(stride)
        self.stride, self.kernel_size = stride, shape[-rank:]
        self.ends = _ends(padding, hang)
        self.weight = nn.Parameter(torch.zeros(shape))  # (K, C, *size', *F)
        self.bias = nn.Parameter(torch.zeros(shape[0], *shape[2 : 2 + rank])) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        """One small matrix product for each position: x (N, C, *size) -> y (N, K, *size')."""
        taps = _unfolded(F.pad(x, self.ends), self.kernel_size, self.stride)
        weight = self.weight.flatten(-len(self.stride)).flatten(2, -2)
        y = torch.einsum("ncpt,kcpt->nkp", taps.flatten(2, -2), weight)
        y = y.reshape(*y.shape[:2], *taps.shape[2:-1])
        return y if self.bias is None else torch.add(y, self.bias)


class Filter(nn.Module):
    """One fixed kernel slid over every channel by itself."""

    kernel: Tensor

    def __init__(self, kernel: NDArray[np.float64], stride: Dims, padding: Dims, *, hang: Dims) -> None:
        super().__init__()
        self.stride = stride
        self.ends = _ends(padding, hang)
        self.register_buffer("kernel", torch.from_numpy(kernel).to(torch.get_default_dtype()))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, H, W) -> y (N, C, H', W')."""
        channels = x.shape[1]
        return F.conv2d(
            F.pad(x, self.ends), self.kernel.expand(channels, 1, -1, -1), stride=self.stride, groups=channels
        )


def _ends(padding: Dims, hang: Dims) -> list[int]:
    """What `F.pad` is told: the last axis first, padding before and padding with overhang behind."""
    return [end for p, h in zip(reversed(padding), reversed(hang), strict=True) for end in (p, p + h)]


def _unfolded(padded: Tensor, kernel: Dims, stride: Dims) -> Tensor:
    """The values of each window side by side: (N, C, *size', F*F)."""
    for axis, (size, step) in enumerate(zip(kernel, stride, strict=True), start=2):
        padded = padded.unfold(axis, size, step)  # in the end (N, C, *size', *F)
    return padded.flatten(-len(kernel))


class StochasticPool(nn.Module):
    """One value of each window, drawn in proportion to what is positive of it; the mean of the draw in evaluation."""

    def __init__(self, kernel: Dims, stride: Dims, padding: Dims, *, hang: Dims) -> None:
        super().__init__()
        self.kernel, self.stride, self.ends = kernel, stride, _ends(padding, hang)

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, *size) -> y (N, C, *size'); 0 for a window without a positive value."""
        a = _unfolded(F.pad(x.relu(), self.ends), self.kernel, self.stride)
        if not self.training:
            total = a.sum(-1)
            return (a * a).sum(-1) / total.masked_fill(total <= 0, 1.0)
        running = a.detach().cumsum(-1)
        shares = torch.rand_like(running[..., :1]) * running[..., -1:]
        switches = torch.searchsorted(running, shares, right=True).clamp(max=a.shape[-1] - 1)
        return a.gather(-1, switches).squeeze(-1)


class SpatialPyramid(nn.Module):
    """Adaptive max pooling at several levels, flattened and concatenated: (N, C, *size) -> (N, C * bins, 1, ...)."""

    def __init__(self, levels: Dims, rank: int) -> None:
        super().__init__()
        pool = nn.AdaptiveMaxPool1d if rank == 1 else nn.AdaptiveMaxPool2d
        self.pools = nn.ModuleList(pool(n) for n in levels)

    def forward(self, x: Tensor) -> Tensor:
        """Levels in order; within a level channels, within a channel rows."""
        return _as_volume(torch.cat([pool(x).flatten(1) for pool in self.pools], dim=1), like=x)


class GroupNorm(nn.GroupNorm):
    """`nn.GroupNorm` for images too: its backward pass (torch 2.13) crashes where they are channels last."""

    def forward(self, input: Tensor) -> Tensor:
        """In training, an input that needs no gradient, as images do not, is laid out channels first."""
        crashes = torch.is_grad_enabled() and not input.requires_grad
        return super().forward(input.contiguous() if crashes else input)


class Linear(nn.Linear):
    """`nn.Linear` on a flattened volume: (N, C, *size) -> (N, K, 1, ...)."""

    def forward(self, input: Tensor) -> Tensor:
        """Flatten in the order channels, rows, columns; keep the number of axes."""
        return _as_volume(super().forward(input.flatten(1)), like=input)


class Flatten(nn.Module):
    """(N, C, *size) -> (N, C * positions, 1, ...)."""

    def forward(self, x: Tensor) -> Tensor:
        """Reshape, keeping the number of axes."""
        return _as_volume(x.flatten(1), like=x)


def _as_volume(y: Tensor, like: Tensor) -> Tensor:
    """(N, K) -> (N, K, 1, ...) with as many axes as `like`."""
    return y.reshape(*y.shape, *(1,) * (like.dim() - 2))


def _window_sums(x: Tensor, kernel: Dims, stride: Dims, padding: Dims, ceil: bool) -> Tensor:
    """The sum of each window. `avg_pool1d` cannot give sums, so a sequence is pooled as an image of one row."""
    if x.dim() == 4:
        return F.avg_pool2d(x, kernel, stride, padding, ceil_mode=ceil, divisor_override=1)
    row = F.avg_pool2d(x.unsqueeze(2), (1, *kernel), (1, *stride), (0, *padding), ceil_mode=ceil, divisor_override=1)
    return row.squeeze(2)


class L2Pool(nn.Module):
    """The Euclidean norm of each window, with derivative 0 where the whole window is 0."""

    def __init__(self, kernel: Dims, stride: Dims, padding: Dims, *, ceil: bool) -> None:
        super().__init__()
        self.window = (kernel, stride, padding, ceil)

    def forward(self, x: Tensor) -> Tensor:
        """The root of the sum of squares."""
        sums = _window_sums(x * x, *self.window)
        positive = sums > 0
        return torch.where(positive, sums.masked_fill(~positive, 1.0).sqrt(), 0.0)


class Subsample(nn.Module):
    """Window sums times one weight plus one bias a map."""

    def __init__(self, channels: int, kernel: Dims, stride: Dims, padding: Dims, *, ceil: bool) -> None:
        super().__init__()
        self.window = (kernel, stride, padding, ceil)
        self.weight = nn.Parameter(torch.full((channels,), 1 / math.prod(kernel)))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """w * sums + b."""
        each = (-1, *(1,) * (x.dim() - 2))
        return torch.addcmul(self.bias.view(each), self.weight.view(each), _window_sums(x, *self.window))


class ScaledTanh(nn.Module):
    """amplitude * tanh(slope * x)."""

    def __init__(self, amplitude: float, slope: float) -> None:
        super().__init__()
        self.amplitude, self.slope = amplitude, slope

    def forward(self, x: Tensor) -> Tensor:
        """The scaled hyperbolic tangent."""
        return self.amplitude * torch.tanh(self.slope * x)


class ResponseNormWithin(nn.Module):
    """x / (k + alpha * energy of n x n positions of the same map)^beta."""

    def __init__(self, size: int, alpha: float, beta: float, k: float) -> None:
        super().__init__()
        self.size, self.alpha, self.beta, self.k = size, alpha, beta, k

    def forward(self, x: Tensor) -> Tensor:
        """Divide by the energy around each position."""
        rank = x.dim() - 2
        energy = _window_sums(x * x, (self.size,) * rank, (1,) * rank, (self.size // 2,) * rank, ceil=False)
        return x * (self.k + self.alpha * energy) ** -self.beta


class LocalContrastNorm(nn.Module):
    """(x - local mean) / max(c, local deviation), both weighted by `kernel` over all maps; `least` 0 is c by image."""

    kernel: Tensor

    def __init__(self, kernel: NDArray[np.float64], least: float, flat: float) -> None:
        super().__init__()
        self.least, self.flat = least, flat
        self.register_buffer("kernel", torch.from_numpy(kernel).to(torch.get_default_dtype()))

    def forward(self, x: Tensor) -> Tensor:
        """x (N, C, *size), unchanged in shape."""
        weight = x.shape[1] * self._sums(torch.ones_like(x[:1, :1]))
        v = x - self._sums(x.sum(1, keepdim=True)) / weight
        squares = self._sums((v * v).sum(1, keepdim=True)) / weight
        s = torch.where(squares > 0, squares.masked_fill(squares <= 0, 1.0).sqrt(), 0.0)  # derivative 0 at 0
        c = s.new_tensor(self.least) if self.least else s.flatten(1).mean(1).clamp(min=self.flat)
        c = c.view(-1, *(1,) * (x.dim() - 1))
        return v / torch.where(s > c, s, c)

    def _sums(self, maps: Tensor) -> Tensor:
        """The weighted sum of each position's window: (N, 1, *size)."""
        conv = F.conv1d if maps.dim() == 3 else F.conv2d
        return conv(maps, self.kernel[None, None], padding=self.kernel.shape[0] // 2)


class RBF(nn.Module):
    """Squared distances to fixed codes: (N, D, 1, ...) -> (N, K, 1, ...)."""

    codes: Tensor

    def __init__(self, codes: NDArray[np.float64]) -> None:
        super().__init__()
        self.register_buffer("codes", torch.from_numpy(codes).to(torch.get_default_dtype()))

    def forward(self, x: Tensor) -> Tensor:
        """|x|^2 - 2 x c + |c|^2, which needs no (N, K, D) array."""
        flat = x.flatten(1)
        squares = (flat * flat).sum(1, keepdim=True) + (self.codes * self.codes).sum(1)
        return _as_volume(squares - 2 * flat @ self.codes.T, like=x)


class Shortcut(nn.Module):
    """Every S-th position, and zero maps up to K channels."""

    def __init__(self, stride: Dims, channels: int) -> None:
        super().__init__()
        self.stride, self.channels = stride, channels

    def forward(self, x: Tensor) -> Tensor:
        """Slice and pad."""
        picked = x[(slice(None), slice(None), *(slice(None, None, s) for s in self.stride))]
        return F.pad(picked, (0, 0) * len(self.stride) + (0, self.channels - x.shape[1]))


class Add(nn.Module):
    """The sum of all inputs."""

    def forward(self, *xs: Tensor) -> Tensor:
        """Add from left to right."""
        y = xs[0]
        for x in xs[1:]:
            y = y + x
        return y


class Concat(nn.Module):
    """The channels of all inputs, one after another."""

    def forward(self, *xs: Tensor) -> Tensor:
        """Concatenate along channels."""
        return torch.cat(xs, dim=1)
