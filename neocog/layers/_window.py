"""How many windows fit: the one copy of (W - F + 2P)/S + 1 (facts C2-C4), and what to type when it is not whole.

NumPy forward passes must not call this module: there the size falls out of the arrays, which makes the two
independent witnesses.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from ..errors import ShapeError, SpellingError
from ..layer import Shape, Window, per_axis
from ..spelling import Dims, choice, uniform, write_dims

FIT = choice("exact", "floor", "ceil")

ONEDNN_KERNELS = 300 * 1024
"""Bytes of code and tables that oneDNN keeps to train one shape of convolution; measured, half of it to predict."""


def windows(shape: Shape, window: Window, fit: str, layer: object) -> Dims:
    """How many windows fit on each axis.

    `fit` says what happens when they do not tile the padded input: `exact` refuses, `floor` leaves the rest
    unread, `ceil` adds a last window that hangs over the edge (as Caffe's pooling does).
    Raises ShapeError.
    """
    return tuple(_along_axis(shape, window, axis, fit, layer) for axis in range(shape.rank))


def settled(fit: str, stride: Dims) -> str:
    """The fit that a layer keeps: windows one position apart always tile, so there is nothing to be said of them."""
    return "exact" if set(stride) == {1} else fit


def window_at(rank: int, layer: object, kernel: Dims, stride: Dims, padding: Dims, dilation: Dims = (1,)) -> Window:
    """The window of a layer on a volume of `rank` axes. Raises ShapeError where it was written for another rank."""
    return Window(*(per_axis(dims, rank, layer) for dims in (kernel, stride, padding, dilation)))


def overhang(shape: Shape, window: Window, outputs: Dims) -> Dims:
    """How far the last window reaches past the padded input: not zero only where `fit=ceil` added a window."""
    reach = zip(outputs, window.stride, window.extent, shape.spatial, window.padding, strict=True)
    return tuple(max(0, (n - 1) * s + e - (w + 2 * p)) for n, s, e, w, p in reach)


def padded_shape(shape: Shape, window: Window, hang: Dims) -> Shape:
    """The input with its padding and what the last windows hang over: what `F.pad` makes."""
    sides = zip(shape.spatial, window.padding, hang, strict=True)
    return Shape(tuple(n + 2 * p + h for n, p, h in sides), shape.channels)


def whole_input(x: Shape) -> Window:
    """The window of a layer whose every output position sees all of the input: from end to end, seen from each."""
    ones = (1,) * x.rank
    return Window(tuple(2 * n - 1 for n in x.spatial), ones, tuple(n - 1 for n in x.spatial), ones)


def same_padding(op: str, kernel_size: Dims, dilation: Dims = (1,)) -> Dims:
    """The padding that keeps the size at stride 1: D(F - 1)/2. Raises SpellingError where that is not whole."""
    if (padding := padding_left_out(kernel_size, dilation)) is None:
        raise SpellingError(
            f"{op} with F={write_dims(kernel_size)} has no default padding: P=(F-1)/2 is not a whole number",
            hint="say P=, for instance P=0",
        )
    return padding


def padding_left_out(kernel_size: Dims, dilation: Dims = (1,)) -> Dims | None:
    """What P is when the text leaves it out: the same-size padding, or None where there is none."""
    rank = max(len(kernel_size), len(dilation))
    pairs = zip(per_axis(kernel_size, rank, "F"), per_axis(dilation, rank, "D"), strict=True)
    doubled = [d * (f - 1) for f, d in pairs]
    return None if any(p % 2 for p in doubled) else uniform(tuple(p // 2 for p in doubled))


def _along_axis(shape: Shape, window: Window, axis: int, fit: str, layer: object) -> int:
    size, extent = shape.spatial[axis], window.extent[axis]
    stride, padding = window.stride[axis], window.padding[axis]
    room = size - extent + 2 * padding
    if room < 0:
        raise _too_large(shape, window, axis, layer)
    if room % stride and fit == "exact":
        raise _does_not_tile(shape, window, axis, layer)
    count = room // stride + 1
    hangs = fit == "ceil" and room % stride and count * stride < size + padding  # it must start on the input
    return count + 1 if hangs else count


def _axis_name(shape: Shape, axis: int) -> str:
    return "L" if shape.rank == 1 else "HW"[axis]


def _too_large(shape: Shape, window: Window, axis: int, layer: object) -> ShapeError:
    size, extent, padding = shape.spatial[axis], window.extent[axis], window.padding[axis]
    dilated = f" (dilated from {window.kernel[axis]})" if window.dilation[axis] > 1 else ""
    enough = -(-(extent - size) // 2)
    return ShapeError(
        f"the window of {layer} is larger than its input: F={extent}{dilated} on "
        f"{_axis_name(shape, axis)}={size} with P={padding}",
        received=f"{shape}",
        hint=f"F={size + 2 * padding} or smaller, P={enough} or larger, or an input of at least {extent - 2 * padding}",
    )


def _does_not_tile(shape: Shape, window: Window, axis: int, layer: object) -> ShapeError:
    size, extent = shape.spatial[axis], window.extent[axis]
    stride, padding = window.stride[axis], window.padding[axis]
    room = size - extent + 2 * padding
    exact = Decimal(room) / stride + 1
    shown = f"{exact:.{max(3, len(str(stride)))}f}".rstrip("0")  # so many digits that it does not look whole
    name = _axis_name(shape, axis)
    return ShapeError(
        f"the windows of {layer} do not tile its input: "
        f"({name} - F + 2P)/S + 1 = ({size} - {extent} + {2 * padding})/{stride} + 1 = {shown}",
        received=f"{shape}, so {name}={size}, F={extent}, P={padding}, S={stride}",
        hint=", ".join(_fixes(size, extent, stride, padding, name)),
    )


def _fixes(size: int, extent: int, stride: int, padding: int, name: str) -> list[str]:
    """The nearest changes, of one number each, that make the windows tile."""
    room = size - extent + 2 * padding
    fixes = []
    if (p := _nearest(padding, extent - 1, lambda p: (size - extent + 2 * p) % stride == 0)) is not None:
        fixes.append(f"P={p}")
    if s := _nearest(stride, room, lambda s: s > 0 and room % s == 0):
        fixes.append(f"S={s}")
    smaller, larger = size - room % stride, size + stride - room % stride
    sizes = [str(w) for w in (smaller, larger) if w > 0]
    fixes.append(f"an input of {name}={' or '.join(sizes)}")
    fixes.append("fit=floor (leaves the rest unread) or fit=ceil (a last window hangs over the edge)")
    return fixes


def _nearest(wanted: int, largest: int, good: Callable[[int], bool]) -> int | None:
    """The number nearest to `wanted`, from 0 to `largest`, that is good; None when none is near."""
    for distance in range(1, 64):
        for candidate in (wanted - distance, wanted + distance):
            if 0 <= candidate <= largest and good(candidate):
                return candidate
    return None
