"""Operations that slide windows over a volume, or spread it: convolution, pooling, upsampling.

torch leaves unread what its windows do not reach, or lets a last one hang over the edge (`ceil_mode`); where windows
tile, both are the same, and `fit` stays `exact`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..errors import NeocogError, ShapeError
from ..layer import per_axis
from ..layers.avgpool import AvgPool
from ..layers.conv import Conv
from ..layers.deconv import Deconv
from ..layers.gap import GlobalAvgPool
from ..layers.pool import MaxPool
from ..layers.upsample import Upsample
from ..spelling import Dims, uniform, write_dims
from .operations import Recognised, arrays, same, volume
from .torch_graph import Operation


def convolution(op: Operation) -> Recognised:
    """`CONV`, with the zero padding that may stand before it as an operation of its own."""
    flipped = isinstance(op["weight"], Operation) and op["weight"].name == "flip"
    found = arrays(_with_kernel(op) if flipped else op, "weight", "bias")
    kernel = tuple(found["weight"].tensor.shape[2:])
    x, before, after = _padding(op, kernel)
    layer = Conv(
        kernel_size=uniform(kernel),
        out_channels=op.shape[1],
        stride=uniform(tuple(op["stride"])),
        padding=uniform(before),
        dilation=uniform(tuple(op["dilation"])),
        groups=op["groups"],
        bias="bias" in found,
        flip=flipped,
    )
    if (layer := fitted(layer, x, op)) is None:
        raise NeocogError(
            "this convolution pads one side more than the other",
            received=f"{write_dims(before)} before and {write_dims(after)} after",
            hint="equal padding on both sides, or only as much more as the last window needs",
        )
    return Recognised(layer, (x,), found)


def _with_kernel(op: Operation) -> Operation:
    """The convolution with the kernel that it flips on every axis, which makes it a true convolution."""
    kernel, dims = op["weight"]["input"], op["weight"]["dims"]
    if sorted(d % len(op.shape) for d in dims) != list(range(2, len(op.shape))):
        raise NeocogError("a true convolution flips its kernel on every axis and nowhere else", received=f"dims={dims}")
    return replace(op, arguments={**op.arguments, "weight": kernel})


def _padding(op: Operation, kernel: Dims) -> tuple[Operation, Dims, Dims]:
    """What is read, and how many zeros are put before and after it on each axis, by both operations together."""
    x, before, after = _zeros_around(op["input"])
    if op["padding"] == "same":
        total = [d * (f - 1) for d, f in zip(op["dilation"], kernel, strict=True)]
        ends = [(t // 2, t - t // 2) for t in total]
    elif op["padding"] == "valid":
        ends = [(0, 0) for _ in kernel]
    else:
        ends = [(p, p) for p in _per_axis(op, "padding")]
    starts = tuple(b + own for b, (own, _) in zip(before, ends, strict=True))
    return x, starts, tuple(a + own for a, (_, own) in zip(after, ends, strict=True))


def _zeros_around(op: Operation) -> tuple[Operation, Dims, Dims]:
    """What `F.pad` surrounds with zeros, with how many before and after on each axis; the operation itself if none."""
    rank = len(op.shape) - 2
    if op.name == "pad" and op["mode"] == "constant" and op["value"] in (None, 0) and min(op["pad"]) >= 0:
        ends = [*op["pad"], *(0,) * (2 * rank)]  # of the last axis first, those of channels after all positions
        if not any(op["pad"][2 * rank :]):
            return op["input"], tuple(ends[0 : 2 * rank : 2][::-1]), tuple(ends[1 : 2 * rank : 2][::-1])
    return op, (0,) * rank, (0,) * rank


def fitted(layer: Any, x: Operation, op: Operation) -> Any:
    """The layer with the fit that gives as many windows as the operation has; None where there is no such.

    Windows that begin at the same place and are as many see the same, beyond the input too.
    """
    for fit in ("exact", "floor", "ceil"):
        tried = replace(layer, fit=fit)
        try:
            if tried.output_shape(volume(x)).spatial == op.shape[2:]:
                return tried
        except ShapeError:  # they do not tile
            continue
    return None


def transposed_convolution(op: Operation) -> Recognised:
    """`DECONV`."""
    found = arrays(op, "weight", "bias")
    kernel = tuple(found["weight"].tensor.shape[2:])
    if any(op["output_padding"]) or op["groups"] != 1:
        raise NeocogError(
            "DECONV has no output padding and no groups",
            received=f"output_padding={write_dims(op['output_padding'])}, groups={op['groups']}",
            hint="F=4, S=2, P=1 for twice the size",
        )
    stride, dilation = uniform(tuple(op["stride"])), uniform(tuple(op["dilation"]))
    padding = uniform(_per_axis(op, "padding"))
    layer = Deconv(uniform(kernel), op.shape[1], stride, padding, dilation, bias="bias" in found)
    return Recognised(layer, (op["input"],), found)


def max_pool(op: Operation) -> Recognised:
    """`POOL`."""
    kernel = _per_axis(op, "kernel_size")
    layer = MaxPool(
        uniform(kernel),
        uniform(tuple(op["stride"]) or kernel),
        uniform(_per_axis(op, "padding")),
        dilation=uniform(_per_axis(op, "dilation")),
    )
    return _pooling(layer, op["input"], op)


def _pooling(layer: MaxPool | AvgPool, x: Operation, op: Operation) -> Recognised:
    if x.shape == op.shape and set(layer.kernel_size) == {1}:
        return Recognised(None, (x,))
    if (made := fitted(layer, x, op)) is None:
        raise NeocogError(
            "this pooling has other windows than the same padding on both sides gives",
            received=f"{write_dims(op.shape[2:])} from {write_dims(x.shape[2:])} by {layer}",
        )
    return Recognised(made, (x,))


def avg_pool(op: Operation) -> Recognised:
    """`AVGPOOL`: zeros of `F.pad` before it count in the mean, its own padding may not."""
    kernel, own = _per_axis(op, "kernel_size"), _per_axis(op, "padding")
    x, before, after = _zeros_around(op["input"])
    divisor = op.arguments.get("divisor_override")  # which sequences do not have
    counts = not any(own) or op["count_include_pad"]
    if before != after or divisor is not None or (any(before) and not counts):
        raise NeocogError(
            "AVGPOOL pads both sides alike, and either all of its padding counts in the mean or none",
            received=f"{write_dims(before)} before, {write_dims(after)} after, padding={write_dims(own)}, "
            f"count_include_pad={op['count_include_pad']}, divisor_override={divisor}",
            hint="padding in the pooling itself",
        )
    padding = uniform(tuple(p + q for p, q in zip(own, before, strict=True)))
    whole = all(out == 1 and f >= n + p for out, n, f, p in zip(op.shape[2:], x.shape[2:], kernel, own, strict=True))
    layer = AvgPool(uniform(kernel), uniform(tuple(op["stride"]) or kernel), padding, zeros=counts)
    if whole and x is op["input"] and not (any(own) and counts) and fitted(layer, x, op) is None:
        return Recognised(GlobalAvgPool(), (x,))  # what hangs over the volume is not counted
    return _pooling(layer, x, op)


def adaptive_pool(op: Operation) -> Recognised:
    """`GAP`, or windows side by side where the size asked for divides the input's; nothing where it is the input's."""
    x, bins = op["input"], op.shape[2:]
    mean = "avg" in op.name
    if mean and set(bins) == {1}:
        return Recognised(GlobalAvgPool(), (x,))
    if x.shape[2:] == bins:
        return same(op)
    if any(size % n for size, n in zip(x.shape[2:], bins, strict=True)):
        raise NeocogError(
            "adaptive pooling has windows of one size only where the size it gives divides the input's",
            received=f"{write_dims(x.shape[2:])} into {write_dims(bins)}",
            hint="an input whose size is a multiple, or 1 for the mean of all",
        )
    kernel = uniform(tuple(size // n for size, n in zip(x.shape[2:], bins, strict=True)))
    return Recognised(AvgPool(kernel) if mean else MaxPool(kernel), (x,))


def mean(op: Operation) -> Recognised:
    """`GAP`, written as a mean over all positions."""
    _over_positions(op)
    return Recognised(GlobalAvgPool(), (op["input"],))


def largest(op: Operation) -> Recognised:
    """A pooling window that is the whole volume, written as a maximum over all positions."""
    _over_positions(op)
    return Recognised(MaxPool(uniform(op["input"].shape[2:])), (op["input"],))


def _over_positions(op: Operation) -> None:
    axes = len(op["input"].shape)
    dims = op.arguments.get("dim")
    dims = [dims] if isinstance(dims, int) else list(dims or ())
    if axes < 3 or sorted(d % axes for d in dims) != list(range(2, axes)):
        raise NeocogError(
            f"{op.name} is read where it goes over all positions of a volume and nothing else",
            received=f"dim={dims} of {axes} axes",
            hint=f"dim={list(range(2, max(axes, 3)))}",
        )


def upsample(op: Operation) -> Recognised:
    """`UPSAMPLE` by a whole factor; nothing where that is 1."""
    x, mode = op["input"], "nearest" if "nearest" in op.name else "bilinear"
    factors = tuple(large // small for large, small in zip(op.shape[2:], x.shape[2:], strict=True))
    whole = tuple(f * size for f, size in zip(factors, x.shape[2:], strict=True)) == op.shape[2:]
    given = op["scale_factors"]
    if not whole or op.arguments.get("align_corners") or (given is not None and tuple(given) != factors):
        raise NeocogError(
            "UPSAMPLE makes a volume larger by whole factors, with align_corners=False",
            received=f"{write_dims(x.shape[2:])} to {write_dims(op.shape[2:])}",
            hint="scale_factor=2",
        )
    return same(op) if set(factors) == {1} else Recognised(Upsample(uniform(factors), mode), (x,))


def _per_axis(op: Operation, argument: str) -> Dims:
    """One number for each axis, where torch may have been given one for all."""
    return per_axis(tuple(op[argument]), len(op.shape) - 2, op.name)
