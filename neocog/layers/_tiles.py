"""Max pooling whose windows are tiles, on a GPU: one kernel there and one back, in either order in memory.

torch keeps a 64-bit number for each output and adds gradients up atomically, as windows that overlap need it. Tiles
need a byte and no sum: each input belongs to one window at most.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

THERE = find_spec("triton") is not None
"""Whether there is Triton to write kernels with; torch brings it where it finds a GPU, but not on every system."""
MOST_ELEMENTS, MOST_TAPS = 2**30, 128
"""From which on the number of an element may need more than 31 bits, and that of a value of a window more than 7."""
BLOCK = 1024


def can(x: Tensor, window: tuple[int, int]) -> bool:
    """Whether x (N, C, H, W) can be pooled here."""
    small = x.numel() < MOST_ELEMENTS and window[0] * window[1] < MOST_TAPS
    return THERE and x.is_cuda and x.dim() == 4 and small


def pooled(x: Tensor, window: tuple[int, int]) -> Tensor:
    """The largest value of each tile of x (N, C, H, W): (N, C, H // F, W // G). On ties the first has the gradient."""
    y: Tensor = _Tiles.apply(x, window)  # type: ignore[no-untyped-call]
    return y


class _Tiles(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, window: tuple[int, int]) -> Tensor:
        last = x.is_contiguous(memory_format=torch.channels_last)
        order = torch.channels_last if last else torch.contiguous_format
        x = x.contiguous(memory_format=order)
        count, channels, height, width = x.shape
        rows, columns = height // window[0], width // window[1]
        y = torch.empty(count, channels, rows, columns, dtype=x.dtype, device=x.device, memory_format=order)
        switches = torch.empty(y.numel(), dtype=torch.int8, device=x.device)
        ctx.order, ctx.shape, ctx.window = order, x.shape, window
        ctx.sizes = (channels if last else 1, height, width, rows, columns)
        ctx.save_for_backward(switches)
        with torch.cuda.device(x.device):
            _kernels().there[_blocks(y)](x, y, switches, y.numel(), *ctx.sizes, *window, BLOCK)
        return y

    @staticmethod
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor, None]:
        (switches,) = ctx.saved_tensors
        dy = dy.contiguous(memory_format=ctx.order)
        dx = torch.empty(ctx.shape, dtype=dy.dtype, device=dy.device, memory_format=ctx.order)
        with torch.cuda.device(dy.device):
            _kernels().back[_blocks(dx)](dy, dx, switches, dx.numel(), *ctx.sizes, *ctx.window, BLOCK)
        return dx, None


def _kernels() -> Any:
    from . import _tile_kernels

    return _tile_kernels


def _blocks(tensor: Tensor) -> tuple[int]:
    return (-(-tensor.numel() // BLOCK),)
