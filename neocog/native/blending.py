"""Batch normalization, sums, shortcuts, concatenation and lone activation functions: sums of terms, channel by channel.

    y = act( sum over terms of  x[stride i, stride j]  or  scale x + shift )

Scale and shift of a normalised term come from a meeting of all blocks: `batch_norm.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise

from . import passes
from .batch_norm import Norm, spread
from .elementary import ActivationCode
from .endings import Plain, Position, Sink
from .expressions import F32, Access, Index, Type, Value, constant, fma, load, splat
from .gather import Reads
from .kernel import Function
from .layout import Margins, Volume, rows_of
from .part import Part
from .program import Call, Program
from .stages import Blend, Stage, Term


@dataclass(frozen=True)
class Mixed:
    """What a kernel knows of a blend: the terms with the volumes that they read, and the volume that is made."""

    terms: tuple[Term, ...]
    xs: tuple[Volume, ...]
    y: Volume
    activation: ActivationCode | None

    def ranges(self) -> Iterator[tuple[int, int, list[int]]]:
        """Channels with the same terms: the first, how many, and which terms."""
        ends = {0, self.y.channels}
        for term in self.terms:
            ends |= {term.first, term.first + term.channels}
        places = sorted(ends)
        for first, last in pairwise(places):
            here = [k for k, t in enumerate(self.terms) if t.first <= first < t.first + t.channels]
            yield first, last - first, here

    def x(self, k: int, channel: Index, y: Index, x: Index) -> Index:
        """Where a term reads for a place of the output."""
        down, right = self.terms[k].stride
        return self.xs[k].at(channel - self.terms[k].first, y * down, x * right)


def blend(name: str, lanes: int, mixed: Mixed) -> Function:
    """Buffers: `y`, for each term k `x<k>`, and where it is normalised `scale<k>` and `shift<k>`."""
    f = Function(
        name, ("y", *_buffers(mixed.terms, "x"), *_normed(mixed.terms, "scale"), *_normed(mixed.terms, "shift"))
    )
    for first, count, here in mixed.ranges():
        with f.loop(count) as k:
            channel = _Channel(f, lanes, mixed, k + first, here)
            for y, xs in rows_of(f, mixed.y):
                for x in xs:
                    f.store("y", mixed.y.at(channel.c, y, x), channel.value(y, x))
            if mixed.y.cleared:
                passes.clear_around(f, lanes, mixed.y, channel.c)
    return f


class _Channel:
    """One channel of a blend inside a kernel, which has what normalised terms are multiplied by in registers."""

    def __init__(self, f: Function, lanes: int, mixed: Mixed, c: Index, here: list[int]) -> None:
        self.f, self.vector, self.mixed, self.c, self.here = f, Type("f32", lanes), mixed, c, here
        self.factors = {
            t: [f.let(splat(load(F32, f"{word}{t}", c), lanes)) for word in ("scale", "shift")]
            for t in here
            if mixed.terms[t].norm
        }

    def value(self, y: Index, x: Index) -> Value:
        """Of the blend at a position."""
        sum_: Value | None = None
        for t in self.here:
            value = load(self.vector, f"x{t}", self.mixed.x(t, self.c, y, x))
            if t in self.factors:
                value = value * self.factors[t][0] + self.factors[t][1]
            sum_ = value if sum_ is None else sum_ + value
        made, activation = self.f.let(sum_ or constant(self.vector, 0.0)), self.mixed.activation
        return activation.forward(self.f, made) if activation else made


@dataclass(frozen=True)
class Unblend(Sink):
    """Back through a blend's activation function into its volume `d`, for its last reader: `adds` to what others put.

    Of normalised terms k, with the mean of `mean<k>`, vectors of the sums of the gradient and of its product with
    x - mean grow in `sum<k>` and `product<k>`. y is read as `made`, or where it is `again`, computed from a single one.
    """

    activation: ActivationCode | None
    y: Volume
    xs: tuple[tuple[int, Volume], ...]
    again: bool
    d: Volume
    adds: bool
    lanes: int

    @property
    def buffers(self) -> tuple[str, ...]:  # type: ignore[override]  # derived, and as constant as an attribute
        """Only those that are needed."""
        held = ("scale0", "shift0") if self.again else ("made",) if self.activation else ()
        return ("d", *held, *(f"{word}{k}" for k, _ in self.xs for word in ("x", "mean", "sum", "product")))

    def reads(self, channel: Index, positions: Iterable[Position]) -> Reads:
        """What was computed on the way forward, and what others have put."""
        volumes = [(f"x{k}", x) for k, x in self.xs] + ([("d", self.d)] if self.adds else [])
        return [(buffer, volume.at(channel, y, x)) for y, x in positions for buffer, volume in volumes]

    def put(self, f: Function, channel: Index, values: dict[Position, Value]) -> None:
        """Store, and sum for the normalised terms."""
        vector = Type("f32", self.lanes)

        def known(word: str) -> Value:
            return f.let(splat(load(F32, word, channel), self.lanes))

        factors = [known("scale0"), known("shift0")] if self.again else []
        means = {k: known(f"mean{k}") for k, _ in self.xs}
        sums = {k: [constant(vector, 0.0)] * 2 for k in means}
        for (y, x), value in values.items():
            at = self.d.at(channel, y, x)
            read = {k: f.let(load(vector, f"x{k}", volume.at(channel, y, x))) for k, volume in self.xs}
            if self.adds:
                value = load(vector, "d", at) + value
            if self.activation:
                if self.again:
                    made = self.activation.forward(f, f.let(read[0] * factors[0] + factors[1]))
                else:
                    made = load(vector, "made", self.y.at(channel, y, x))
                value = self.activation.backward(f, f.let(made), f.let(value))
            value = f.let(value)
            f.store("d", at, value)
            for k, (sum_, product) in sums.items():
                sums[k] = [f.let(sum_ + value), f.let(fma(value, read[k] - means[k], product))]
        for k, pair in sums.items():
            for word, sum_ in zip(("sum", "product"), pair, strict=True):
                f.store(f"{word}{k}", channel, load(vector, f"{word}{k}", channel) + sum_)


def hand_on(name: str, lanes: int, term: Term, d: Volume, sink: Sink) -> Function:
    """The share of `dy` that belongs to a plain term, into its sink."""
    f, (down, right) = Function(name, ("dy", *sink.buffers)), term.stride
    with f.loop(term.channels) as k:
        c = k + term.first
        for y, xs in rows_of(f, d):
            gradients = {x: f.let(load(Type("f32", lanes), "dy", d.at(c, y, x))) for x in xs}
            sink.put(f, k, {(y * down, x * right): value for x, value in gradients.items()})
    return f


def _buffers(terms: tuple[Term, ...], word: str) -> list[str]:
    return [f"{word}{k}" for k in range(len(terms))]


def _normed(terms: tuple[Term, ...], word: str) -> list[str]:
    return [f"{word}{k}" for k, term in enumerate(terms) if term.norm]


class BlendPart(Part):
    """A blend in a program."""

    clears = True

    def __init__(self, program: Program, stage: Stage, margins: Margins, readers: int) -> None:
        super().__init__(program, stage, margins, readers)
        assert isinstance(stage, Blend)  # noqa: S101
        self.terms = stage.terms
        self.sources = [program.parts[term.source] for term in stage.terms]
        self.norms = {k: Norm(program, term.norm, self.sources[k].y) for k, term in enumerate(stage.terms) if term.norm}
        self.wants = self.wants or any(norm.weight for norm in self.norms.values())
        self.mixed = Mixed(stage.terms, tuple(source.y for source in self.sources), self.y, stage.activation)
        self.through = False  # whether the last reader puts its gradient through what this does
        for k in self.norms:
            self.sources[k].lasts = True

    def forwards(self) -> None:
        """Moments and their meeting where there is normalization, then the blend."""
        for norm in self.norms.values():
            norm.measure()
        for norm in self.norms.values():
            norm.meet()
        self.program.forward.append(self._blend(self.y))
        self.light = not self.lasts and all(map(self._stays, range(len(self.terms))))

    def _stays(self, k: int) -> bool:
        """Whether what a term reads is there on the way back in any case; of blends those are that are not light."""
        source = self.sources[k]
        return k in self.norms or (isinstance(source, BlendPart) and not source.light)

    def _blend(self, y: Volume) -> Call:
        """The call that makes y in a volume like it."""
        function = self.program.add("blend", lambda name: blend(name, self.lanes, self.mixed))
        return Call(function, self._read | {"y": self.program.at(y)})

    @property
    def _read(self) -> dict[str, Access]:
        """Where the terms lie, and what normalised ones are multiplied by."""
        places = {f"x{k}": self.program.at(source.y) for k, source in enumerate(self.sources)}
        for k, norm in self.norms.items():
            places |= {f"scale{k}": norm.scale, f"shift{k}": norm.shift}
        return places

    def remade(self, y: Volume) -> list[Call]:
        """All that it is made of is kept in any case."""
        return [self._blend(y)]

    def direct(self, channel: int, *, alone: bool) -> tuple[Sink, dict[str, Access]] | None:
        """Where there is more to do than to store: through the activation function, summed for normalization."""
        del alone
        return self._through(channel, adds=self.written) if self.norms or self.mixed.activation else None

    def _through(self, channel: int, *, adds: bool) -> tuple[Sink, dict[str, Access]]:
        mixed, d, at = self.mixed, self.gradient(), self.program.at
        if not self.through:
            self.through = True
            for norm in self.norms.values():
                norm.clear_sums()
        again = mixed.activation is not None and len(self.norms) == len(self.terms) == 1
        y = self.y if again or not mixed.activation else self.y_back()
        xs = tuple((k, self.sources[k].y) for k in self.norms)
        sink = Unblend(mixed.activation, y, xs, again, d, adds, self.lanes)
        places = {"d": at(d, channel), "made": at(y, channel)}
        for k, norm in self.norms.items():
            places |= {f"x{k}": at(self.sources[k].y, channel)} | norm.places_back(k, channel)
        return sink, places

    def backwards(self) -> None:
        """First what needs only the gradient, then, where blocks meet for it, what normalization hands on."""
        if not self.through and (self.norms or self.mixed.activation):
            d, (sink, places) = self.gradient(), self._through(0, adds=False)
            function = self.program.add("put", lambda name: passes.put_all(name, self.machine, d, sink))
            self.program.backward.append(Call(function, places))
        for k, term in enumerate(self.terms):
            if not term.norm and self.sources[k].wants:
                self._hand_on(k)
        for norm in self.norms.values():
            norm.meet_back()
        for k, norm in self.norms.items():
            if self.sources[k].wants:
                self._spread(k, norm)

    def _hand_on(self, k: int) -> None:
        """A plain term's share: the gradient's own memory where the source can go on with that, else a copy."""
        term, source, d = self.terms[k], self.sources[k], self.gradient()
        whole, once = source.y.channels == d.channels, self.stage.sources.count(term.source) == 1
        if not (term.stride == (1, 1) and whole and once and source.adopt(d)):
            self._copy(term, source, d)
        source.done()

    def _copy(self, term: Term, source: Part, d: Volume) -> None:
        if term.stride == (1, 1):
            sink, places = source.sink()
        else:  # what the stride steps over has no share
            whole = source.zeroed()
            sink, places = Plain(whole, self.lanes, adds=True), {"d": self.program.at(whole)}
        function = self.program.add("hand", lambda name: hand_on(name, self.lanes, term, d, sink))
        self.program.backward.append(Call(function, places | {"dy": self.program.at(d)}))

    def _spread(self, k: int, norm: Norm) -> None:
        source, d = self.sources[k], self.gradient()
        sink, places = source.sink()
        function = self.program.add("spread", lambda name: spread(name, self.lanes, source.y, d, sink))
        places = places | norm.spread_places(self.program.at(source.y), self.program.at(d))
        self.program.backward.append(Call(function, places))
        source.done()
