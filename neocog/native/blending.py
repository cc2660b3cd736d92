"""Batch normalization, sums, shortcuts, concatenation and lone activation functions: sums of terms, channel by channel.

    y = act( sum over terms of  x[stride i, stride j]  or  scale x + shift )

Scale and shift of a normalised term come from a meeting of all blocks: `normalising.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from .elementary import ActivationCode
from .endings import Plain, Sink
from .kernel import F32, Access, Function, Index, Type, Value, constant, fma, load, splat
from .layout import Margins, Volume, rows_of
from .normalising import Norm, column_sums, spread, total_of
from .program import Call, Part, Program
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


def unblend(name: str, lanes: int, mixed: Mixed, d: Volume, plain: tuple[int, Sink] | None, *, again: bool) -> Function:
    """The gradient `dy` for y becomes that for the sum; each term's share goes on from there.

    Into the sink of one `plain` term at once. y is read, or computed `again`. For normalised terms k, with the mean of
    `mean<k>`, vectors of the sums of the gradient and of its product with x - mean are stored in `sum<k>` and
    `product<k>`.
    """
    normed = [k for k, term in enumerate(mixed.terms) if term.norm]
    words = [word for k in normed for word in (f"x{k}", f"mean{k}", f"sum{k}", f"product{k}")]
    again = again and mixed.activation is not None
    held = ["y_"] if mixed.activation and not again else []
    if again:
        held = [f"x{k}" for k in range(len(mixed.terms)) if k not in normed]
        held += [*_normed(mixed.terms, "scale"), *_normed(mixed.terms, "shift")]
    f = Function(name, ("dy", *held, *words, *(plain[1].buffers if plain else ())))
    vector = Type("f32", lanes)
    for first, count, here in mixed.ranges():
        with f.loop(count) as k:
            c = k + first
            sums = {t: (column_sums(f, vector), column_sums(f, vector)) for t in here if t in normed}
            means = {t: f.let(splat(load(F32, f"mean{t}", c), lanes)) for t in sums}
            channel = _Channel(f, lanes, mixed, c, here) if again else None
            for y, xs in rows_of(f, mixed.y):
                gradients = {}
                for column, x in enumerate(xs):
                    value = f.let(load(vector, "dy", d.at(c, y, x)))
                    if mixed.activation:
                        made = channel.value(y, x) if channel else load(vector, "y_", mixed.y.at(c, y, x))
                        value = f.let(mixed.activation.backward(f, f.let(made), value))
                        f.store("dy", d.at(c, y, x), value)
                    gradients[x] = value
                    for t, (sum_, product) in sums.items():
                        off = load(vector, f"x{t}", mixed.x(t, c, y, x)) - means[t]
                        f.set(sum_[column], sum_[column].value + value)
                        f.set(product[column], fma(value, off, product[column].value))
                if plain and plain[0] in here:
                    _put(f, mixed.terms[plain[0]], plain[1], c, y, gradients)
            for t, (sum_, product) in sums.items():
                f.store(f"sum{t}", c - mixed.terms[t].first, total_of(sum_))
                f.store(f"product{t}", c - mixed.terms[t].first, total_of(product))
    return f


def hand_on(name: str, lanes: int, term: Term, d: Volume, sink: Sink) -> Function:
    """The share of `dy` that belongs to a plain term, into its sink."""
    f = Function(name, ("dy", *sink.buffers))
    with f.loop(term.channels) as k:
        c = k + term.first
        for y, xs in rows_of(f, d):
            gradients = {x: f.let(load(Type("f32", lanes), "dy", d.at(c, y, x))) for x in xs}
            _put(f, term, sink, c, y, gradients)
    return f


def _put(f: Function, term: Term, sink: Sink, c: Index, y: Index, gradients: dict[Index, Value]) -> None:
    down, right = term.stride
    sink.put(f, c - term.first, {(y * down, x * right): value for x, value in gradients.items()})


def _buffers(terms: tuple[Term, ...], word: str) -> list[str]:
    return [f"{word}{k}" for k in range(len(terms))]


def _normed(terms: tuple[Term, ...], word: str) -> list[str]:
    return [f"{word}{k}" for k, term in enumerate(terms) if term.norm]


class BlendPart(Part):
    """A blend in a program."""

    def __init__(self, program: Program, stage: Stage, margins: Margins, readers: int) -> None:
        super().__init__(program, stage, margins, readers)
        assert isinstance(stage, Blend)  # noqa: S101
        self.terms = stage.terms
        self.sources = [program.parts[term.source] for term in stage.terms]
        self.norms = {k: Norm(program, term.norm, self.sources[k].y) for k, term in enumerate(stage.terms) if term.norm}
        self.wants = self.wants or any(norm.weight for norm in self.norms.values())
        self.mixed = Mixed(stage.terms, tuple(source.y for source in self.sources), self.y, stage.activation)
        self.margins = margins
        self.light = False  # whether y is made anew rather than kept
        self.again: Volume | None = None
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

    def y_back(self) -> Volume:
        """Computed again, into a volume that its readers share, where all that it is made of is kept in any case."""
        if not self.light:
            return self.y
        if self.again is None:
            self.again = self.program.arena.volume(self.stage.output, self.margins)
            self.program.backward += [*self.program.cleared(self.again), self._blend(self.again)]
        return self.again

    def backwards(self) -> None:
        """First what needs only the gradient, then, where blocks meet for it, what normalization hands on."""
        plain = [k for k, t in enumerate(self.terms) if not t.norm and self.sources[k].wants]
        at_once = next((k for k in plain if self.terms[k].stride == (1, 1)), None)
        self._unblend(at_once)
        for k in plain:
            if k != at_once:
                self._hand_on(k)
        for norm in self.norms.values():
            norm.meet_back()
        for k, norm in self.norms.items():
            if self.sources[k].wants:
                self._spread(k, norm)

    def _unblend(self, at_once: int | None) -> None:
        """Nothing to do where a single plain term has no activation function."""
        mixed, d = self.mixed, self.gradient()
        sink, places = self.sources[at_once].sink() if at_once is not None else (None, {})
        plain = (at_once, sink) if at_once is not None and sink is not None else None
        if not (plain or self.norms or mixed.activation):
            return
        again = self.light or (len(self.norms) == len(self.terms) == 1)
        function = self.program.add("unblend", lambda name: unblend(name, self.lanes, mixed, d, plain, again=again))
        places = places | self._read | {"dy": self.program.at(d), "y_": self.program.at(self.y)}
        for k, norm in self.norms.items():
            places |= {f"mean{k}": norm.mean, f"sum{k}": norm.sums, f"product{k}": norm.products}
        self.program.backward.append(Call(function, places))
        if at_once is not None:
            self.sources[at_once].done()

    def _hand_on(self, k: int) -> None:
        term, source, d = self.terms[k], self.sources[k], self.gradient()
        if term.stride == (1, 1):
            sink, places = source.sink()
        else:  # what the stride steps over has no share
            whole = source.zeroed()
            sink, places = Plain(whole, self.lanes, adds=True), {"d": self.program.at(whole)}
        function = self.program.add("hand", lambda name: hand_on(name, self.lanes, term, d, sink))
        self.program.backward.append(Call(function, places | {"dy": self.program.at(d)}))
        source.done()

    def _spread(self, k: int, norm: Norm) -> None:
        source, d = self.sources[k], self.gradient()
        sink, places = source.sink()
        function = self.program.add("spread", lambda name: spread(name, self.lanes, source.y, d, sink))
        places = places | norm.spread_places(self.program.at(source.y), self.program.at(d))
        self.program.backward.append(Call(function, places))
        source.done()
