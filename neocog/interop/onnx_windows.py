"""Operators of ONNX that slide windows, or spread a volume, as ATen has them."""

from __future__ import annotations

from ..errors import NeocogError
from ..spelling import Dims
from .onnx_call import Call
from .torch_graph import Operation, Stored


def _ends(call: Call, kernel: Dims) -> tuple[Dims, Dims]:
    """How much padding stands before and after, on each axis."""
    auto = call.told.get("auto_pad", b"NOTSET").decode()
    rank = call.rank
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        x = call.input(0)
        sizes = x.shape[2:] if isinstance(x, Operation) else ()
        axes = zip(sizes, call.shape[2:], call.whole("strides", 1), call.whole("dilations", 1), kernel, strict=True)
        total = [max(0, (out - 1) * s + d * (f - 1) + 1 - n) for n, out, s, d, f in axes]
        less, more = [t // 2 for t in total], [t - t // 2 for t in total]
        return (tuple(less), tuple(more)) if auto == "SAME_UPPER" else (tuple(more), tuple(less))
    pads = (0,) * (2 * rank) if auto == "VALID" else tuple(call.told.get("pads") or (0,) * (2 * rank))
    if min(pads) < 0:
        raise NeocogError("windows cannot leave out the border", received=f"pads={list(pads)}", hint="pads from 0 up")
    return pads[:rank], pads[rank:]


def _padded(call: Call, before: Dims, after: Dims) -> Operation:
    """The input with zeros around it, as an operation of its own."""
    x = call.input(0)
    if not isinstance(x, Operation):
        raise NeocogError(f"{call.type} reads a volume", where=call.where)
    around = [n for pair in zip(reversed(before), reversed(after), strict=True) for n in pair]
    sides = zip(x.shape[2:], before, after, strict=True)
    shape = (*x.shape[:2], *(n + b + a for n, b, a in sides))
    return Operation("pad", {"input": x, "pad": around, "mode": "constant", "value": 0}, shape, call.where, x.position)


def conv(call: Call) -> Operation:
    """Padding that differs at the two ends is an operation of its own, as `F.pad` is."""
    weight = call.stored(1)
    kernel = tuple(weight.tensor.shape[2:]) if isinstance(weight, Stored) else ()
    before, after = _ends(call, kernel)
    even = before == after
    return call.op(
        f"conv{call.rank}d",
        input=call.input(0) if even else _padded(call, before, after),
        weight=weight,
        bias=call.stored(2),
        stride=call.whole("strides", 1),
        padding=before if even else (0,),
        dilation=call.whole("dilations", 1),
        groups=call.told.get("group", 1),
    )


def transposed(call: Call) -> Operation:
    """The transpose of a convolution."""
    weight = call.stored(1)
    before, after = _cut_off(call, tuple(weight.tensor.shape[2:]) if isinstance(weight, Stored) else ())
    if before != after or min(before, default=0) < 0:
        raise NeocogError(
            "DECONV cuts off both sides alike",
            received=f"{list(before)} before, {list(after)} after",
            hint="pads that are equal: F=4, S=2, P=1 for twice the size",
        )
    return call.op(
        f"conv_transpose{call.rank}d",
        weight=weight,
        bias=call.stored(2),
        stride=call.whole("strides", 1),
        padding=before,
        output_padding=call.whole("output_padding", 0),
        groups=call.told.get("group", 1),
        dilation=call.whole("dilations", 1),
    )


def _cut_off(call: Call, kernel: Dims) -> tuple[Dims, Dims]:
    """What a transposed convolution leaves out before and after; where that is said by the size it gives, what is."""
    auto = call.told.get("auto_pad", b"NOTSET").decode()
    x = call.input(0)
    if (auto in ("NOTSET", "VALID") and "output_shape" not in call.told) or not isinstance(x, Operation):
        return _ends(call, kernel)
    steps = (call.whole(name, default) for name, default in (("strides", 1), ("dilations", 1), ("output_padding", 0)))
    axes = zip(x.shape[2:], call.shape[2:], kernel, *steps, strict=True)
    total = [(n - 1) * s + d * (f - 1) + 1 + more - out for n, out, f, s, d, more in axes]
    less, rest = tuple(t // 2 for t in total), tuple(t - t // 2 for t in total)
    return (less, rest) if auto == "SAME_UPPER" else (rest, less)


def max_pool(call: Call) -> Operation:
    """Where the last window ends decides how many there are, and nothing else: padding never wins."""
    kernel = call.whole("kernel_shape", 1)
    before, _ = _ends(call, kernel)
    return call.op(
        f"max_pool{call.rank}d",
        kernel_size=kernel,
        stride=call.whole("strides", 1),
        padding=before,
        dilation=call.whole("dilations", 1),
    )


def avg_pool(call: Call) -> Operation:
    """Where padding does not count, what stands behind the volume only decides how many windows there are."""
    kernel, counts = call.whole("kernel_shape", 1), bool(call.told.get("count_include_pad", 0))
    before, after = _ends(call, kernel)
    if set(call.whole("dilations", 1)) != {1}:
        raise NeocogError("AVGPOOL has no dilation", received=f"dilations={list(call.whole('dilations', 1))}")
    apart = counts and before != after
    return call.op(
        f"avg_pool{call.rank}d",
        input=_padded(call, before, after) if apart else call.input(0),
        kernel_size=kernel,
        stride=call.whole("strides", 1),
        padding=(0,) if apart else before,
        count_include_pad=counts,
        divisor_override=None,
    )


def resize(call: Call) -> Operation:
    """By whole factors; of nearest positions those conventions that agree there."""
    x, mode = call.input(0), call.told.get("mode", b"nearest").decode()
    if not isinstance(x, Operation) or not call.shape:
        raise NeocogError("UPSAMPLE makes a volume larger, by factors that the file says", where=call.where)
    where = call.told.get("coordinate_transformation_mode", b"half_pixel").decode()
    nearest = call.told.get("nearest_mode", b"round_prefer_floor").decode()
    if call.type == "Upsample":
        where, nearest = ("asymmetric", "floor") if mode == "nearest" else ("asymmetric", "")
    known = {
        "nearest": {("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"), ("half_pixel", "round_prefer_ceil")},
        "linear": {("half_pixel", nearest), ("pytorch_half_pixel", nearest)},
    }
    if (where, nearest) not in known.get(mode, ()):
        raise NeocogError(
            "UPSAMPLE repeats values, or interpolates between their middles",
            received=", ".join(filter(None, (mode, where, nearest))),
            hint="opset 11 or later, with align_corners=False",
        )
    name = f"upsample_nearest{call.rank}d" if mode == "nearest" else "upsample_bilinear2d"
    factors = tuple(large // small for large, small in zip(call.shape[2:], x.shape[2:], strict=True))
    return call.op(name, scale_factors=factors)


def pad(call: Call) -> Operation:
    """ATen lists the last axis first."""
    pads, value, axes = call.numbers("pads", 1) or [], call.numbers("value", 2), call.numbers("axes", 3)
    half, mode = len(pads) // 2, call.told.get("mode", b"constant").decode()
    ends = {axis: (int(pads[k]), int(pads[half + k])) for k, axis in enumerate(axes or range(half))}
    around = [n for axis in reversed(range(2 + call.rank)) for n in ends.get(axis, (0, 0))]
    return call.op("pad", pad=around, mode=mode, value=(value or [0])[0])
