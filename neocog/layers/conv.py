r"""Convolution: K filters slide over a volume, each giving one feature map.

    y[n,k,i,j] = b[k] + sum over c,u,v of  w[k,c,u,v] * x[n, c, S*i + D*u - P, S*j + D*v - P]

| letter | meaning                                             | default        |
|--------|-----------------------------------------------------|----------------|
| F      | kernel size; `CONV1x7-64` is 1 high and 7 wide      | required       |
| K      | number of filters = output channels                 | required       |
| S      | stride                                              | 1              |
| P      | zero padding on each side                           | D(F-1)/2, same |
| D      | dilation; 1 is a dense kernel                       | 1              |
| G      | groups: each sees C/G input and makes K/G maps      | 1              |
| BIAS   | whether each filter has a bias                      | yes            |
| FLIP   | yes: the kernel is flipped, the true convolution    | no             |
| TABLE  | in quotes, the input maps that each output map sees | all            |
| fit    | when windows do not tile: exact, floor or ceil      | exact          |

Shapes: x (N, C, H, W), w (K, C/G, F, F), y (N, K, H', W') with H' = (H - D(F-1) - 1 + 2P)/S + 1. On a 1-D volume
(N, C, L) the same with one axis. With a table of T pairs, w is (T, F, F).

Gradient, from dy. The forward pass is linear in x and in w, so each gradient is its transpose:

    db[k]       = sum over n,i,j of dy[n,k,i,j]
    dw[k,c,u,v] = sum over n,i,j of dy[n,k,i,j] * x[n, c, S*i + D*u - P, S*j + D*v - P]
    dx          = every dy[n,k,i,j] * w[k,c,u,v] added where x was read

For S = D = 1 these are again convolutions: dw is the valid cross-correlation of x with dy, and dx is the full
cross-correlation of dy with w turned by 180 degrees (facts C14, C15).

Sources: LeCun et al., "Gradient-based learning applied to document recognition", 1998 (tables, eq. of C3);
Dumoulin and Visin, arXiv 1603.07285 (arithmetic); Yu and Koltun, arXiv 1511.07122 (dilation).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from ..errors import ShapeError, SpellingError
from ..layer import MASTER, Array, Arrays, BadExample, Cost, Example, Footprint, Layer, Parameter, Pass, Shape, Window
from ..spelling import COUNT, FLAG, SIZE, SIZE0, Dims, Kind, setting, whole
from ..wording import count_of
from ._slide import slide, unslide
from ._window import FIT, ONEDNN_KERNELS, overhang, padding_left_out, same_padding, settled, window_at, windows

if TYPE_CHECKING:
    from torch import nn

Table = tuple[tuple[int, ...], ...]


def _read_table(text: str) -> Table:
    rows = tuple(tuple(whole(i) for i in row.split()) for row in text.strip('"').split(";"))
    if any(not row or len(set(row)) < len(row) for row in rows):
        raise ValueError
    return rows


def _write_table(table: Table) -> str:
    return '"' + "; ".join(" ".join(map(str, row)) for row in table) + '"'


TABLE = Kind('rows of input maps in quotes, as in "0 1; 1 2"', _read_table, _write_table)

FILTERED = 32
"""Channels that the kernels of Winograd's filtering take at once (`native/winograd.py`)."""
MOST_PRODUCTS = {2: 0.5, 4: 0.55}
"""The share of a convolution's products, by the size of a value, up to which it is filtered.

With more of them it is not worth what transforming takes, nor, in bfloat16, what rounding once more costs.
"""
HELD_BYTES = 1 << 20, 8 << 20
"""Transformed tiles that a thread holds at once for the gradient of filtered weights, at least and at most.

The second-level cache is to keep them; but half as much as the sums, which are read and written for each lot of them.
"""
SUMS_BYTES = 4 << 20
"""Sums over different tiles that the gradient of filtered weights keeps apart, at most, where one is not larger."""
MOST_TILES = 98
"""Tiles that a thread transforms and multiplies at once: its second-level cache keeps them."""


@dataclass(frozen=True)
class Conv(Layer):
    """K filters of F x F x C sliding over a volume: `CONV3-64`. The module's docstring has the formulas."""

    op: ClassVar[str] = "CONV"
    kernel_size: Dims = setting("F", SIZE, position="head")
    out_channels: int = setting("K", COUNT, position="dash")
    stride: Dims = setting("S", SIZE, default=(1,))
    padding: Dims = setting("P", SIZE0, default=None)
    dilation: Dims = setting("D", SIZE, default=(1,))
    groups: int = setting("G", COUNT, default=1)
    bias: bool = setting("BIAS", FLAG, default=True)
    flip: bool = setting("FLIP", FLAG, default=False)
    table: Table | None = setting("TABLE", TABLE, default=None)
    fit: str = setting("fit", FIT, default="exact")

    examples = (
        Example("CONV3-4", "5x6x2"),
        Example("CONV3-2(S=2, P=1)", "5x5x3"),
        Example("CONV1x3-4(S=2x1)", "5x4x2"),
        Example("CONV3-4(D=2, P=1)", "7x8x2"),
        Example("CONV3-4(G=2, BIAS=no)", "4x5x6"),
        Example("CONV2-3(P=0, FLIP=yes)", "4x3x2"),
        Example('CONV3-3(P=0, TABLE="0 1; 1 2; 0 2")', "5x4x3"),
        Example("CONV3-2(S=2, fit=floor)", "6x5x2"),
        Example("CONV3-2(S=2, P=0, fit=ceil)", "6x5x2"),
        Example("CONV3-4(S=2)", "9x3"),
    )
    bad_examples = (
        BadExample("CONV3-4(S=3, P=0)", "7x7x1", says="(7 - 3 + 0)/3 + 1 = 2.333"),
        BadExample("CONV5-4(P=0)", "4x4x1", says="larger than its input"),
        BadExample("CONV2-4", says="P=(F-1)/2 is not a whole number"),
        BadExample("CONV3-4(G=2)", "5x5x3", says="does not divide"),
        BadExample("CONV3-3(G=2)", says="G=2 does not divide K=3"),
        BadExample('CONV3-2(TABLE="0 1; 3")', "5x5x3", says="input map 3"),
        BadExample('CONV3-3(TABLE="0 1; 1 2")', says="2 rows"),
        BadExample("CONV3x5-4", "9x3", says="spatial axis"),
        BadExample("CONV3x3x3-4", says="one for each axis"),
        BadExample("CONV3", says="CONV needs K"),
        BadExample("CONV0-4", says="whole number from 1"),
    )

    def __post_init__(self) -> None:
        if self.padding is None:
            object.__setattr__(self, "padding", same_padding(self.op, self.kernel_size, self.dilation))
        object.__setattr__(self, "fit", settled(self.fit, self.stride))
        if self.out_channels % self.groups:
            raise SpellingError(f"G={self.groups} does not divide K={self.out_channels}", hint="a divisor of K")
        if self.table is not None:
            self._check_table(self.table)

    def _check_table(self, table: Table) -> None:
        if len(table) != self.out_channels:
            raise SpellingError(
                f"TABLE has {count_of(len(table), 'row')} for K={self.out_channels}",
                hint="one row for each output map",
            )
        if self.groups != 1:
            raise SpellingError("TABLE and G both say which maps are connected", hint="one of them")

    def default_of(self, name: str, declared: Any) -> Any:
        """Padding left out means the same-size padding, where there is one."""
        return padding_left_out(self.kernel_size, self.dilation) if name == "padding" else declared

    def window(self, *inputs: Shape) -> Window:
        """The kernel at this rank."""
        return window_at(inputs[0].rank, self, self.kernel_size, self.stride, self.padding, self.dilation)

    def output_shape(self, *inputs: Shape) -> Shape:
        """(H - D(F-1) - 1 + 2P)/S + 1 on each axis, K channels."""
        (x,) = inputs
        window = self.window(x)
        if x.channels % self.groups:
            raise ShapeError(
                f"G={self.groups} of {self} does not divide its {count_of(x.channels, 'input channel')}",
                received=str(x),
                hint=f"a G that divides both {x.channels} and K={self.out_channels}",
            )
        if self.table and (largest := max(max(row) for row in self.table)) >= x.channels:
            raise ShapeError(
                f"TABLE of {self} names input map {largest}, but the input has maps 0 to {x.channels - 1}",
                received=str(x),
            )
        return Shape(windows(x, window, self.fit, self), self.out_channels)

    def _pairs(self, x: Shape) -> int:
        """How many (input map, output map) pairs have a kernel."""
        if self.table is not None:
            return sum(map(len, self.table))
        return self.out_channels * x.channels // self.groups

    def cost(self, *inputs: Shape) -> Cost:
        """F*F weights for each connected pair of maps; each is used once at every output position."""
        (x,) = inputs
        weights = self._pairs(x) * math.prod(self.window(x).kernel)
        biases = self.out_channels if self.bias else 0
        positions = self.output_shape(x).positions
        return Cost(
            parameters=weights + biases,
            connections=(weights + biases) * positions,
            macs=weights * positions,
            kept=x.elements,
        )

    def unrolled(self, *inputs: Shape) -> int:
        """F*F*C rows and one column for each output position (fact C8)."""
        (x,) = inputs
        return math.prod(self.window(x).kernel) * x.channels * self.output_shape(x).positions

    def parameters(self, *inputs: Shape) -> dict[str, Parameter]:
        """`weight` (K, C/G, *F), or (pairs, *F) with a table, and `bias` (K,)."""
        (x,) = inputs
        kernel = self.window(x).kernel
        pairs, taps = self._pairs(x), math.prod(kernel)
        fan = (taps * pairs // self.out_channels, taps * pairs // x.channels)
        maps = (pairs,) if self.table else (self.out_channels, x.channels // self.groups)
        found = {"weight": Parameter((*maps, *kernel), fan=fan)}
        if self.bias:
            found["bias"] = Parameter((self.out_channels,))
        return found

    def dense(self, weight: Array, channels: int) -> Array:
        """The kernel as cross-correlation uses it: (K, C/G, *F), zeros where the table has no pair."""
        if self.table is not None:
            dense = np.zeros((self.out_channels, channels, *weight.shape[1:]))
            dense[self.table_index()] = weight
            weight = dense
        return np.flip(weight, axis=tuple(range(2, weight.ndim))) if self.flip else weight

    def table_index(self) -> tuple[list[int], list[int]]:
        """Output and input map of every pair in the table."""
        pairs = [(k, c) for k, row in enumerate(self.table or ()) for c in row]
        return [k for k, _ in pairs], [c for _, c in pairs]

    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """x (N, C, *size) -> y (N, K, *size')."""
        (x,) = xs
        window = self.window(Shape(x.shape[2:], x.shape[1]))
        views = slide(x, window, self.fit)  # (N, C, *size', *F)
        weight = self.dense(params["weight"], x.shape[1])
        taps = list(range(-len(window.kernel), 0))
        maps = [
            np.moveaxis(np.tensordot(v, w, axes=([1, *taps], [1, *taps])), -1, 1)
            for v, w in zip(np.split(views, self.groups, axis=1), np.split(weight, self.groups), strict=True)
        ]
        y = np.concatenate(maps, axis=1)
        if self.bias:
            y += params["bias"].reshape(-1, *(1,) * len(window.kernel))
        return y, (x.shape, window, views, weight)

    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """The transposes of the forward pass: windows times dy, and dy spread back through the kernel."""
        shape, window, views, weight = cache
        rank = len(window.kernel)
        summed = [0, *range(2, 2 + rank)]
        dys = np.split(dy, self.groups, axis=1)
        dw = np.concatenate(
            [
                np.tensordot(d, v, axes=(summed, summed))
                for d, v in zip(dys, np.split(views, self.groups, axis=1), strict=True)
            ]
        )  # (K, C/G, *F)
        dviews = np.concatenate(
            [
                np.moveaxis(np.tensordot(d, w, axes=([1], [0])), 1 + rank, 1)  # (N, C/G, *size', *F)
                for d, w in zip(dys, np.split(weight, self.groups), strict=True)
            ],
            axis=1,
        )
        dx = unslide(dviews, shape[2:], window, self.fit)
        if self.flip:
            dw = np.flip(dw, axis=tuple(range(2, dw.ndim)))
        grads = {"weight": dw[self.table_index()] if self.table is not None else dw}
        if self.bias:
            grads["bias"] = dy.sum(axis=tuple(summed))
        return (dx,), grads

    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """Keeps its input. oneDNN lays out the weights anew: once forwards, twice backwards; to predict, for good.

        Sequences, and dilated kernels on the way back, have their volumes laid out anew too.
        """
        (x,) = inputs
        y = self.output_shape(x)
        weights = self.out_channels * (x.channels // self.groups) * math.prod(self.window(x).kernel)
        if self.is_filtered(x, run.value_bytes):
            return self._filtered_footprint(run, x, weights)
        made = run.cast(weights) if run.training else 0
        hang = overhang(x, self.window(x), y.spatial)
        if special := self._is_special(hang):
            made += run.volume(Shape(tuple(n + h for n, h in zip(x.spatial, hang, strict=True)), x.channels))
        if run.training and (self.flip or self.table is not None):
            made += 0 if run.cast(weights) else MASTER * weights
        ready = run.value_bytes * weights
        anew = ready if run.training or x.rank == 1 else 0
        volumes = run.volume(x) + run.volume(y)
        return Footprint(
            keeps_input=not special,
            extra=made,
            forward=anew + (max(run.volume(x), run.volume(y)) if x.rank == 1 else 0),
            backward=2 * anew + (volumes if x.rank == 1 or max(self.dilation) > 1 else 0),
            kernels=ONEDNN_KERNELS if run.training else ONEDNN_KERNELS // 2,
            ready=ready,
            relaid=run.volume(y),
        )

    def _filtered_footprint(self, run: Pass, x: Shape, weights: int) -> Footprint:
        """Weights are transformed into 16 numbers for every 9, tiles into 16 for each channel; two threads have some.

        The gradients of weights are sums over tiles, in single precision. Where nothing is filtered, as with AMX,
        autocast's copies of the weights take about as much.
        """
        transformed = run.value_bytes * weights * 16 // 9
        rows, row_bytes = held_rows(run.images, x, self.out_channels, run.value_bytes)
        lots = -(-run.images * -(-x.spatial[0] // 2) // rows)
        sums = sums_apart(x.channels, self.out_channels, lots) * filtered_sums(x.channels, self.out_channels)
        tiles = min(2 * MOST_TILES, run.images * _tiles(x))

        def own(channels: int) -> int:
            return 16 * tiles * (run.value_bytes * channels + MASTER * FILTERED)

        return Footprint(
            keeps_input=True,
            extra=run.cast(weights) if run.training else 0,
            forward=own(x.channels) + (transformed if run.training else 0),
            backward=max(own(self.out_channels) + transformed, min(lots, 2) * rows * row_bytes + sums),
            kernels=2 * (ONEDNN_KERNELS if run.training else ONEDNN_KERNELS // 2),
            ready=transformed,
            relaid=run.volume(self.output_shape(x)),
        )

    def is_filtered(self, x: Shape, value_bytes: int) -> bool:
        """Whether a CPU may compute it by Winograd's filtering: 3x3, with an output for each place.

        16 products take the place of the 36 of 2x2 windows, but tiles may hang over an edge.
        """
        same = Window((3, 3), (1, 1), (1, 1), (1, 1))
        if self.window(x) != same or self.groups > 1 or self.table is not None or self.flip:
            return False
        whole = not (x.channels % FILTERED or self.out_channels % FILTERED)
        return whole and 16 * _tiles(x) <= MOST_PRODUCTS.get(value_bytes, 0) * 9 * x.positions

    def _is_special(self, hang: Dims) -> bool:
        """Whether an option asks for what `nn.Conv2d` cannot do."""
        return self.table is not None or self.flip or any(hang)

    def module(self, *inputs: Shape) -> nn.Module:
        """`nn.Conv1d` or `nn.Conv2d` itself, unless an option asks for what they cannot do."""
        from torch import nn

        from . import _modules

        (x,) = inputs
        window = self.window(x)
        arguments: dict[str, Any] = {
            "in_channels": x.channels,
            "out_channels": self.out_channels,
            "kernel_size": window.kernel,
            "stride": window.stride,
            "padding": window.padding,
            "dilation": window.dilation,
            "groups": self.groups,
            "bias": self.bias,
        }
        hang = overhang(x, window, self.output_shape(x).spatial)
        if not self._is_special(hang):
            return (nn.Conv1d if x.rank == 1 else nn.Conv2d)(**arguments)
        index = self.table_index() if self.table is not None else None
        return (_modules.Conv1d if x.rank == 1 else _modules.Conv2d)(
            index=index, flip=self.flip, hang=hang, **arguments
        )


def held_rows(images: int, x: Shape, outputs: int, value_bytes: int) -> tuple[int, int]:
    """Rows of transformed tiles of a filtered convolution that a thread holds at once, and the bytes of each.

    They are a power of two where those of all images are few, so that few sizes of batches need code of their own.
    """
    height, width = x.spatial
    row_bytes = value_bytes * 16 * -(-width // 2) * (x.channels + outputs)
    wanted = images * -(-height // 2)
    least, most = HELD_BYTES
    held = min(most, max(least, filtered_sums(x.channels, outputs) // 2))
    return max(1, min(1 << (wanted - 1).bit_length(), held // row_bytes)), row_bytes


def filtered_sums(channels: int, outputs: int) -> int:
    """Bytes of the gradient of weights while it is one of transformed weights: 16 numbers for each kernel."""
    return 16 * MASTER * channels * outputs


def sums_apart(channels: int, outputs: int, lots: int) -> int:
    """How many sums of so many lots of tiles are kept apart until the end, each for any thread to work on."""
    return min(lots, max(1, SUMS_BYTES // filtered_sums(channels, outputs)))


def _tiles(x: Shape) -> int:
    """Squares of 2x2 outputs; the last ones may hang over the edge."""
    return math.prod(-(-n // 2) for n in x.spatial)
