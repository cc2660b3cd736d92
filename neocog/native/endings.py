"""What kernels do with the values they have computed, before they leave the registers.

Forwards, a tile of sums goes through the activation function and max pooling that follow. Backwards, a gradient for
a volume goes through the same, in reverse, into the sums' gradient: its stage's `Sink`. So neither an activation
function nor 2x2 pooling costs a pass over memory of its own.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby, product

from .elementary import ActivationCode
from .expressions import Index, Type, Value, constant, convert, load, select
from .gather import Accumulators, Place, Reads
from .kernel import Function
from .layout import Volume


@dataclass(frozen=True)
class Ending:
    """What follows a weighted layer's sums in the same kernel: an activation function, then max pooling over `pool`."""

    activation: ActivationCode | None
    pool: tuple[int, int] = (1, 1)

    @property
    def pools(self) -> bool:
        """Whether there is pooling."""
        return self.pool != (1, 1)


@dataclass(frozen=True)
class Finish:
    """The end of a forward kernel: buffers `y`, and `where` for the position of each maximum."""

    ending: Ending
    y: Volume
    lanes: int

    @property
    def buffers(self) -> tuple[str, ...]:
        """Beyond those of the kernel itself."""
        return ("y", "where") if self.ending.pools else ("y",)

    def __call__(self, f: Function, o: Index, i: Index, j: Index, sums: Accumulators) -> None:
        """Store a tile whose first sum is that of channel o at (i, j)."""
        down, right = self.ending.pool
        corners = [(k, a, b) for k, a, b in sums if a % down == 0 and b % right == 0]
        for k, a, b in corners:
            window = [sums[k, a + u, b + v] for u, v in product(range(down), range(right))]
            y, x = i // down + a // down, j // right + b // right
            value = self._pooled(f, window, o + k, y, x) if self.ending.pools else window[0]
            if self.ending.activation:
                value = self.ending.activation.forward(f, value)
            f.store("y", self.y.at(o + k, y, x), value)

    def reads(self, o: Index, i: Index, j: Index, places: Iterable[Place]) -> Reads:
        """Nothing."""
        del o, i, j, places
        return []

    def _pooled(self, f: Function, window: list[Value], channel: Index, y: Index, x: Index) -> Value:
        """The largest of a window; its place is stored. Activation functions that rise keep the order."""
        best = f.let(window[0])
        whole = Type("i32", self.lanes)
        place = constant(whole, 0)
        for k, value in enumerate(window[1:], start=1):
            larger = f.let(value > best)
            best = f.let(select(larger, value, best))
            place = f.let(select(larger, constant(whole, k), place))
        at = channel * self.y.positions + y * self.y.width + x
        f.store("where", at, convert(place, "i8"))
        return best


Position = tuple[Index, Index]
"""A row and a column of a volume."""


class Sink(ABC):
    """Where a gradient for a volume is put, each value once."""

    buffers: tuple[str, ...]

    @abstractmethod
    def put(self, f: Function, channel: Index, values: dict[Position, Value]) -> None:
        """Gradients at some positions of a channel."""

    def reads(self, channel: Index, positions: Iterable[Position]) -> Reads:
        """What it then reads that nothing has brought near."""
        del channel, positions
        return []


@dataclass(frozen=True)
class Into:
    """The end of a gather of gradients: its tiles go into a sink, at positions `stride` apart from `first` on."""

    sink: Sink
    stride: tuple[int, int] = (1, 1)
    first: tuple[int, int] = (0, 0)

    def _at(self, y: Index, x: Index) -> Position:
        return y * self.stride[0] + self.first[0], x * self.stride[1] + self.first[1]

    def __call__(self, f: Function, o: Index, i: Index, j: Index, sums: Accumulators) -> None:
        """Put a tile, channel by channel."""
        for k, places in groupby(sums, key=lambda place: place[0]):
            self.sink.put(f, o + k, {self._at(i + a, j + b): sums[k, a, b] for _, a, b in places})

    def reads(self, o: Index, i: Index, j: Index, places: Iterable[Place]) -> Reads:
        """What the sink does."""
        return [one for k, a, b in places for one in self.sink.reads(o + k, [self._at(i + a, j + b)])]


@dataclass(frozen=True)
class Plain(Sink):
    """A volume of gradients. Where several layers read a volume, all but the first add to it."""

    d: Volume
    lanes: int
    adds: bool = False
    buffers: tuple[str, ...] = ("d",)

    def put(self, f: Function, channel: Index, values: dict[Position, Value]) -> None:
        """Store, or add."""
        for (y, x), value in values.items():
            at = self.d.at(channel, y, x)
            if self.adds:
                value = load(Type("f32", self.lanes), "d", at) + value
            f.store("d", at, value)


@dataclass(frozen=True)
class Nowhere(Sink):
    """For gradients that nobody asks for."""

    buffers: tuple[str, ...] = ()

    def put(self, f: Function, channel: Index, values: dict[Position, Value]) -> None:
        """Nothing."""


@dataclass(frozen=True)
class Through(Sink):
    """A weighted layer's sums: buffers `g` for their gradient, `y`, `where`, and `sums` for the bias's gradient.

    Where g is y itself, gradients take the place of the values that they come after: no buffer may be named twice.
    """

    ending: Ending
    y: Volume
    g: Volume
    bias: bool
    lanes: int
    in_place: bool = False

    @property
    def buffers(self) -> tuple[str, ...]:  # type: ignore[override]  # derived, and as constant as an attribute
        """Only those that are needed."""
        reads_y = self.ending.activation and not self.in_place
        needed = {"g": True, "y": reads_y, "where": self.ending.pools, "sums": self.bias}
        return tuple(name for name, is_needed in needed.items() if is_needed)

    def put(self, f: Function, channel: Index, values: dict[Position, Value]) -> None:
        """Through the activation function, to the position that won its window; summed for the bias."""
        vector = Type("f32", self.lanes)
        sum_: Value | None = None
        for (y, x), value in values.items():
            if self.ending.activation:
                held = f.let(load(vector, "g" if self.in_place else "y", self.y.at(channel, y, x)))
                value = self.ending.activation.backward(f, held, value)
            value = f.let(value)
            self._store(f, channel, y, x, value)
            sum_ = value if sum_ is None else sum_ + value
        if self.bias and sum_ is not None:
            f.store("sums", channel, load(vector, "sums", channel) + sum_)

    def _store(self, f: Function, channel: Index, y: Index, x: Index, value: Value) -> None:
        down, right = self.ending.pool
        if not self.ending.pools:
            f.store("g", self.g.at(channel, y, x), value)
            return
        whole, at = Type("i32", self.lanes), channel * self.y.positions + y * self.y.width + x
        place = f.let(convert(load(Type("i8", self.lanes), "where", at), "i32"))
        for k, (u, v) in enumerate(product(range(down), range(right))):
            mine = select(place.equals(constant(whole, k)), value, constant(value.type, 0.0))
            f.store("g", self.g.at(channel, y * down + u, x * right + v), mine)
