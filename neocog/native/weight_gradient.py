"""Kernels for the gradient of weights: every weight sums products of an input and an output's gradient.

    dw[c, r, s, o] += sum over images and positions i, j of  x[c, S i + r - P, S j + s - P] * g[o, i, j]

Two forms, by what stands in the lanes of a vector:

- images: each weight has a vector of sums, one for each lane, which are added up once a step. It is the natural one,
  and needs as many vectors of memory as there are weights: for few weights. Of pairs of images in bfloat16, two
  neighbouring positions fill a vector.
- output channels: a piece of g is transposed, so that a vector holds one position of one image for as many channels,
  and an input is broadcast. Sums are the weights' own gradients, without lanes to add up: for many channels, and FC.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import product

from .expressions import Index, Type, Value, constant, dot, fma, load, load_from, pair, shuffle, splat
from .gather import Source
from .jit import Machine
from .kernel import Function
from .layout import along
from .tiles import LATENCY, UNHIDDEN

SCRATCH_BYTES = 24 << 10
"""Of transposed gradients, which every block of weights reads again: so much stays in the first-level cache."""
LANE_SUM_BYTES = 512 << 10
"""The most that vectors of sums may take for the first form: they are added to in every block of images."""
NEAR_BYTES = 44 << 10
"""Of planes that a block goes over again and again: so much stays in the first-level cache."""
FAR_BYTES = 256 << 10
"""Of a block's inputs: from here on they are asked for ahead, as other things may have taken their place in a cache."""
STREAMS, STREAM_CYCLES = 6, 4
"""Planes read side by side from beyond it for free, and what each more costs, on Zen 5."""
LEFT_OVER = 0.02
"""By what share a block is worse whose last one is all but empty: tiles that are left over do less for their loads."""


@dataclass(frozen=True)
class WeightGradient:
    """What to compute: the volume x of inputs, the volume g of gradients, and the taps between them.

    `row` is how many numbers a row of weights takes, one for each output and what pads it.
    """

    x: Source
    g: Source
    channels_in: int
    channels_out: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    dilation: tuple[int, int]
    padding: tuple[int, int]
    row: int

    def tap(self, row: Index | int, column: Index | int) -> Index:
        """How far a tap's input is from that of position (0, 0) without padding, in vectors."""
        rows = _times(row, self.dilation[0]) - self.padding[0]
        columns = _times(column, self.dilation[1]) - self.padding[1]
        return rows * self.x.row + columns

    def by_images(self, machine: Machine, pairs: bool = False) -> bool:
        """Whether to use the first form. The second is worth it sooner where it multiplies pairs of bfloat16."""
        weights = self.channels_in * self.channels_out * self.kernel[0] * self.kernel[1]
        enough = machine.lanes if pairs else 2 * machine.lanes
        wide = self.channels_out % machine.lanes == 0 and self.channels_out >= enough
        return not wide and self.g.height * self.g.width > 1 and weights * machine.lanes * 4 <= LANE_SUM_BYTES

    @property
    def even(self) -> bool:
        """Whether positions can be taken two at a time, those of x as those of g."""
        return self.stride[1] == 1 and self.g.width % 2 == 0

    def far(self, numbers: int) -> bool:
        """Whether the inputs of a block of images, so many numbers at each position, may have to come from far away."""
        return self.channels_in * self.x.plane * numbers * 4 >= FAR_BYTES

    def below(self, block: Block, rows: int) -> Iterator[int]:
        """How far from what a block's taps read at a position that is which they read so many rows of outputs below.

        Columns that the next position reads as well are left out.
        """
        columns = range(max(0, block.columns - self.stride[1]), block.columns)
        for channel, row, column in product(range(block.channels), range(block.rows), columns):
            down = (row * self.dilation[0] + rows * self.stride[0]) * self.x.row
            yield channel * self.x.plane + down + column * self.dilation[1]


def _times(value: Index | int, factor: int) -> Index:
    return (value if isinstance(value, Index) else Index(value)) * factor


@dataclass(frozen=True)
class Block:
    """Sums computed together: `outputs` by taps of `channels` x `rows` x `columns`."""

    outputs: int
    channels: int
    rows: int
    columns: int

    @property
    def taps(self) -> int:
        """How many inputs meet each output."""
        return self.channels * self.rows * self.columns


def best_block(machine: Machine, gradient: WeightGradient, outputs: int, left_over: bool, planes: bool) -> Block:
    """The block with the most multiply-adds for its loads; whole rows or columns of taps only.

    `left_over` says whether a last block may be smaller in outputs; `planes` that it goes over whole planes of inputs
    and gradients, of which only few stay near: taps beside each other read the same plane, channels do not.
    """
    kernel_rows, kernel_columns = gradient.kernel
    blocks = [
        Block(o, c, r, s)
        for o in range(1, outputs + 1)
        for c in range(1, min(gradient.channels_in, 12) + 1)
        for r in divisors(kernel_rows)
        for s in divisors(kernel_columns)
        if o * c * r * s + min(o, c * r * s) + 1 <= machine.registers and (left_over or outputs % o == 0)
    ]

    def far(block: Block) -> float:
        touched = block.channels * gradient.x.plane + block.outputs * gradient.g.plane
        streams = max(0, block.channels + block.outputs - STREAMS)
        return STREAM_CYCLES * streams if planes and touched * machine.lanes * 4 > NEAR_BYTES else 0.0

    def cost(block: Block) -> float:
        sums, loads = block.outputs * block.taps, block.outputs + block.taps
        cycles = max(sums, loads, 2 * LATENCY) + UNHIDDEN * loads + far(block)
        last = (outputs % block.outputs or block.outputs) / block.outputs
        last_channels = (gradient.channels_in % block.channels or block.channels) / block.channels
        return cycles / sums * (1 + LEFT_OVER * (1 - last) + LEFT_OVER * (1 - last_channels))

    return min(blocks, key=cost)


def divisors(number: int) -> list[int]:
    """All of a number."""
    return [d for d in range(1, number + 1) if number % d == 0]


def lanes_hold_images(name: str, machine: Machine, gradient: WeightGradient, pairs: bool = False) -> Function:
    """Buffers `x`, `g` and `sums`: [C][rows][columns][outputs] vectors that are added to.

    With `pairs`, x and g hold pairs of images in bfloat16, of which a vector has two positions.
    """
    vector, operand = Type("f32", machine.lanes), Type("i32" if pairs else "f32", machine.lanes)
    step, words = 1 + pairs, machine.lanes // (1 + pairs)
    multiply = dot if pairs else fma

    def taken(buffer: str, at: Index) -> Value:
        """From a position on, so many as fill a vector."""
        return f.let(load_from(operand, buffer, at * words) if pairs else load(operand, buffer, at))

    f = Function(name, ("x", "g", "sums"))
    (rows, columns), outputs = gradient.kernel, gradient.channels_out
    block = best_block(machine, gradient, outputs, left_over=True, planes=True)
    f.form, f.tile = "lanes hold images", asdict(block)
    for o, count in along(f, outputs, block.outputs):
        for c, channels in along(f, gradient.channels_in, block.channels):
            with f.loop(rows // block.rows) as r, f.loop(columns // block.columns) as s:
                taps = list(product(range(channels), range(block.rows), range(block.columns)))
                places = {
                    (k, *tap): (((c + tap[0]) * rows + r * block.rows + tap[1]) * columns + s * block.columns + tap[2])
                    * outputs
                    + (o + k)
                    for k in range(count)
                    for tap in taps
                }
                sums = {key: f.variable(load(vector, "sums", at)) for key, at in places.items()}
                with f.loop(gradient.g.height) as i, f.loop(gradient.g.width // step) as j:
                    at = i * (gradient.stride[0] * gradient.x.row) + j * (step * gradient.stride[1])
                    at = at + gradient.tap(r * block.rows, s * block.columns) + c * gradient.x.plane
                    g = [taken("g", (o + k) * gradient.g.plane + i * gradient.g.row + j * step) for k in range(count)]
                    if gradient.far(words):
                        for ahead in gradient.below(replace(block, channels=channels), rows=1):
                            f.prefetch(Type(operand.kind), "x", (at + ahead) * words)
                    for tap in taps:
                        further = tap[0] * gradient.x.plane + gradient.tap(tap[1], tap[2]) - gradient.tap(0, 0)
                        x = taken("x", at + further)
                        for k in range(count):
                            f.set(sums[(k, *tap)], multiply(g[k], x, sums[(k, *tap)].value))
                for key, at in places.items():
                    f.store("sums", at, sums[key].value)
    return f


class LanesHoldChannels:
    """The second form. Buffers `x`, `g`, `dw` ([C][rows][columns][outputs padded to whole vectors]) and `scratch`.

    With `pairs`, two images at a time are multiplied in bfloat16, and x holds pairs of images.
    """

    def __init__(self, machine: Machine, gradient: WeightGradient, pairs: bool = False) -> None:
        self.machine, self.gradient, self.pairs = machine, gradient, pairs
        self.images = machine.lanes // (1 + pairs)
        """Images, or pairs of them, in a vector of x."""
        self.vector = Type("f32", machine.lanes)
        self.operand = self.vector.of("i32") if pairs else self.vector
        self.multiply = dot if pairs else fma
        self.vectors = -(-gradient.channels_out // machine.lanes)
        self.block = best_block(machine, gradient, self.vectors, left_over=False, planes=False)
        self.columns = max(d for d in divisors(gradient.g.width) if d <= 8 or d == 1)
        row_bytes = self.columns * self.vectors * machine.lanes**2 * 4
        fitting = [d for d in divisors(gradient.g.height) if d * row_bytes <= SCRATCH_BYTES]
        self.rows = max(fitting, default=1)
        self.far = gradient.far(self.images)

    @property
    def scratch(self) -> int:
        """Vectors of scratch that are needed."""
        return self.rows * self.columns * self.machine.lanes * self.vectors

    def build(self, name: str) -> Function:
        """The function."""
        f = Function(name, ("x", "g", "dw", "scratch"))
        f.form, f.tile = "lanes hold channels", asdict(self.block)
        g = self.gradient.g
        with f.loop(g.height // self.rows) as i, f.loop(g.width // self.columns) as j:
            self._transpose(f, i * self.rows, j * self.columns)
            with f.loop(self.vectors // self.block.outputs) as o:
                for c, channels in along(f, self.gradient.channels_in, self.block.channels):
                    self._multiply(f, i * self.rows, j * self.columns, o, c, channels)
        return f

    def _transpose(self, f: Function, i: Index, j: Index) -> None:
        """The piece of g from (i, j) on as [vectors / NV][positions x images][NV] vectors of channels."""
        lanes, last = self.machine.lanes, self.gradient.channels_out % self.machine.lanes
        whole = self.vectors - bool(last)
        if whole:
            with f.loop(whole // self.block.outputs) as o:
                for v in range(self.block.outputs):
                    self._transpose_vector(f, i, j, o * self.block.outputs + v, o, v, lanes)
            for v in range(whole - whole % self.block.outputs, whole):
                self._transpose_vector(f, i, j, Index(v), Index(v // self.block.outputs), v % self.block.outputs, lanes)
        if last:
            v = whole
            self._transpose_vector(f, i, j, Index(v), Index(v // self.block.outputs), v % self.block.outputs, last)

    def _transpose_vector(self, f: Function, i: Index, j: Index, v: Index, o: Index, k: int, channels: int) -> None:
        lanes, g, many = self.machine.lanes, self.gradient.g, self.block.outputs
        with f.loop(self.rows) as a, f.loop(self.columns) as b:
            at = v * (lanes * g.plane) + (i + a) * g.row + j + b
            rows = [
                f.let(load(self.vector, "g", at + channel * g.plane))
                if channel < channels
                else constant(self.vector, 0.0)
                for channel in range(lanes)
            ]
            place = (o * (self.rows * self.columns) + a * self.columns + b) * (self.images * many) + k
            images = transposed(f, rows)
            if self.pairs:
                images = [f.let(pair(*images[n : n + 2])) for n in range(0, lanes, 2)]
            for n, row in enumerate(images):
                f.store("scratch", place + n * many, row)

    def _multiply(self, f: Function, i: Index, j: Index, o: Index, c: Index, channels: int) -> None:
        """Add to the gradients of some vectors of outputs, channels and taps, over the piece of g."""
        gradient, block, (rows, columns) = self.gradient, self.block, self.gradient.kernel
        taps = list(product(range(channels), range(block.rows), range(block.columns)))
        with f.loop(rows // block.rows) as r, f.loop(columns // block.columns) as s:
            places = {
                (v, *tap): (((c + tap[0]) * rows + r * block.rows + tap[1]) * columns + s * block.columns + tap[2])
                * (gradient.row // self.machine.lanes)
                + o * block.outputs
                + v
                for v in range(block.outputs)
                for tap in taps
            }
            sums = {key: f.variable(load(self.vector, "dw", at)) for key, at in places.items()}
            first = (c * gradient.x.plane + gradient.tap(r * block.rows, s * block.columns)) * self.images
            for x, at in self._positions(f, i, j, first, channels):
                x = x + first
                at = (o * (self.rows * self.columns * self.images) + at) * block.outputs
                g = [f.let(load(self.operand, "scratch", at + v)) for v in range(block.outputs)]
                for tap in taps:
                    step = tap[0] * gradient.x.plane + gradient.tap(tap[1], tap[2]) - gradient.tap(0, 0)
                    one = load(Type(self.operand.kind), "x", x + step * self.images)
                    input_ = f.let(splat(one, self.machine.lanes))
                    for v in range(block.outputs):
                        f.set(sums[(v, *tap)], self.multiply(g[v], input_, sums[(v, *tap)].value))
            for key, at in places.items():
                f.store("dw", at, sums[key].value)

    def _positions(self, f: Function, i: Index, j: Index, first: Index, channels: int) -> Iterator[tuple[Index, Index]]:
        """Every position and image of the piece: where its input lies, in numbers, and its place in the scratch.

        From `first` on, so many channels of inputs are asked for that the same taps read in the piece below.
        """
        lanes, (down, right) = self.images, self.gradient.stride
        with f.loop(self.rows) as a:
            x = ((i + a) * (down * self.gradient.x.row) + j * right) * lanes
            at = a * (self.columns * lanes)
            if right == 1 and not self.far:  # images of neighbouring positions follow each other
                with f.loop(self.columns * lanes) as p:
                    yield x + p, at + p
            else:
                with f.loop(self.columns) as b:
                    if self.far:
                        for step in self.gradient.below(replace(self.block, channels=channels), self.rows):
                            f.prefetch(Type(self.operand.kind), "x", x + first + b * (right * lanes) + step * lanes)
                    with f.loop(lanes) as p:
                        yield x + b * (right * lanes) + p, at + b * lanes + p


def transposed(f: Function, rows: list[Value]) -> list[Value]:
    """A square of vectors with rows and lanes exchanged, by log2(lanes) rounds of exchanging halves."""
    lanes = len(rows)
    rows = list(rows)
    distance = lanes // 2
    while distance:
        low = [lane if not lane & distance else lanes + lane - distance for lane in range(lanes)]
        high = [lane + distance if not lane & distance else lanes + lane for lane in range(lanes)]
        for k in range(lanes):
            if not k & distance:
                a, b = rows[k], rows[k + distance]
                rows[k], rows[k + distance] = f.let(shuffle(a, b, low)), f.let(shuffle(a, b, high))
        distance //= 2
    return rows
