"""The checks of one layer, each a comparison of two or more witnesses. They are meant to be read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..layer import Array, Layer, Shape, Window
from .case import (
    Case,
    Comparison,
    Finding,
    difference,
    mode_name,
    spaced,
    torch_backward,
    torch_forward,
    torch_inputs,
    torch_module,
    torch_seeded,
)

Positions = NDArray[np.intp]
EXACT = 1e-10
"""Relative error allowed between two float64 computations of one formula: only the order of sums differs."""
SMALL_STEP = 1e-6
"""Relative error allowed for finite differences of a curved function, and their largest step."""
HEIGHTS = (1.0, 1e6)
"""How far an input is raised to see what it moves: a little, which saturates nothing, or beyond any threshold."""


class Check(NamedTuple):
    """A named comparison of the witnesses of one layer on given input volumes."""

    name: str
    compare: Callable[[Case], Iterator[Comparison]]

    def __call__(self, layer: Layer, inputs: tuple[Shape, ...], seed: int = 0) -> Finding:
        """Run the check on inputs and parameters drawn from `seed`."""
        with torch_seeded(seed):
            return Finding.worst(self.name, self.compare(Case.draw(layer, inputs, seed)))


def shapes(case: Case) -> Iterator[Comparison]:
    """The output volume: the rule's, against the arrays that NumPy and torch give. Fact C4."""
    rule = case.layer.output_shape(*case.inputs)
    expected = (len(case.xs[0]), rule.channels, *rule.spatial)
    for witness, output in (("reference", case.forward()), ("torch", torch_forward(case, training=False))):
        what = f"rule says {expected}, {witness} gives {output.shape}"
        yield Comparison(what, float(output.shape != expected), 0.0)


def parameters(case: Case) -> Iterator[Comparison]:
    """How many numbers training changes, by cost, by declaration and in torch; and the names of all arrays."""
    declared = case.layer.parameters(*case.inputs)
    module = case.layer.module(*case.inputs)
    rule = case.layer.cost(*case.inputs).parameters
    counts = {
        "declared": sum(p.size for p in declared.values() if p.trainable),
        "in torch": sum(p.numel() for p in module.parameters() if p.requires_grad),
    }
    for witness, count in counts.items():
        yield Comparison(f"{rule} parameters by cost, {count} {witness}", abs(rule - count), 0.0)
    in_torch = {name: (tuple(p.shape), p.requires_grad) for name, p in module.named_parameters()}
    in_torch |= {name: (tuple(b.shape), False) for name, b in module.named_buffers() if b.is_floating_point()}
    in_rule = {name: (p.shape, p.trainable) for name, p in declared.items()}
    differing = {pair[0] for pair in in_torch.items() ^ in_rule.items()}
    yield Comparison(f"names and shapes {', '.join(sorted(differing))}".strip(), len(differing), 0.0)


def values(case: Case) -> Iterator[Comparison]:
    """The output itself, NumPy against torch. What training draws at random is compared by its distribution."""
    for training in case.modes():
        if training and case.is_random():
            many, draws = _many_draws(case)
            in_numpy, in_torch = many.forward(training), torch_forward(many, training)
            yield _same_law("values drawn in training", in_numpy, in_torch, draws)
        else:
            error = difference(case.forward(training), torch_forward(case, training))
            yield Comparison(mode_name(training), error, EXACT)


def gradients_autograd(case: Case) -> Iterator[Comparison]:
    """The gradient for every input and every trainable parameter, NumPy against torch's autograd. Fact C15.

    Where training draws at random, the gradient of an input is a draw too, and is compared by its distribution.
    """
    for training in case.modes():
        random = training and case.is_random()
        many, draws = _many_draws(case) if random else (case, 1)
        like = many.forward(training)
        one = np.random.default_rng(case.seed).standard_normal((len(like) // draws, *like.shape[1:]))
        dy = np.concatenate([one] * draws)
        in_numpy, in_torch = many.backward(dy, training), torch_backward(many, dy, training)
        for name in many.input_names() if random else many.arguments():
            both = name in in_numpy and name in in_torch
            if random and both:
                yield _same_law(f"d{name} drawn in training", in_numpy[name], in_torch[name], draws)
                continue
            error = difference(in_numpy[name], in_torch[name]) if both else float("inf")
            yield Comparison(f"d{name}, {mode_name(training)}", error, EXACT)


def _many_draws(case: Case) -> tuple[Case, int]:
    """The case with its images many times over, and how many times. A large volume is cut to a few of its maps."""
    some = tuple(replace(x, channels=min(x.channels, max(1, 512 // x.positions))) for x in case.inputs)
    few = case if some == case.inputs else Case.draw(case.layer, some, case.seed)
    draws = min(2048, max(64, 2**19 // sum(x.size for x in few.xs)))
    return few.repeated(draws), draws


def _same_law(what: str, a: Array, b: Array, draws: int) -> Comparison:
    """Whether each value of the batch is distributed alike in a and b, which hold `draws` draws of it.

    The engines draw different numbers, so they can agree only in what values occur, and how often. The distance is
    that of Kolmogorov and Smirnov: the largest difference between the shares of draws up to any number, here averaged
    over values. Equal laws are less than 1.3 / sqrt(draws) apart on average. Equal numbers are equal up to rounding.
    """
    if a.shape != b.shape or not np.isfinite([a, b]).all():
        return Comparison(what, float("inf"), 0.0)
    both = np.concatenate([a, b]).reshape(2 * draws, -1)
    order = both.argsort(axis=0)
    apart = np.where(order < draws, 1.0, -1.0).cumsum(axis=0) / draws
    ends = np.diff(np.take_along_axis(both, order, axis=0), axis=0) > 1e-9  # the last of a run of equal numbers
    error = np.abs(apart[:-1] * ends).max(axis=0).mean()
    return Comparison(what, float(error), 3.0 * draws**-0.5)


def gradients_finite(case: Case) -> Iterator[Comparison]:
    """The same gradients against differences of the forward pass, along one random direction v for each argument.

    With J the derivative of the output, <dy, J v> must equal <J' dy, v>: J v is a difference of two forward
    passes and J' dy is what `backward` gives. One direction tests the whole array at once, whatever its size,
    because a wrong entry of J' dy shows in the sum unless v happens to be zero there.
    """
    rng = np.random.default_rng(case.seed)
    for training in case.modes():
        dy = rng.standard_normal(case.forward(training).shape)
        gradients = case.backward(dy, training)
        for name, argument in case.arguments().items():
            if name not in gradients:
                yield Comparison(f"no d{name}", float("inf"), EXACT)
                continue
            direction = rng.standard_normal(argument.shape)
            moved, tolerance = _directional(case, name, direction, training)
            slope = float(np.vdot(gradients[name], direction))
            # dy has unit variance, so <dy, J v> is about as large as |J v|.
            size = max(float(np.linalg.norm(moved)), abs(slope))
            error = abs(float(np.vdot(dy, moved)) - slope) / size if size else 0.0
            yield Comparison(f"d{name}, {mode_name(training)}", error, tolerance)


def _directional(case: Case, name: str, direction: Array, training: bool) -> tuple[Array, float]:
    """J v by central differences, and how exact that is.

    A function that is linear along v has f(x + v) + f(x - v) = 2 f(x); then a step of 1 is exact but for
    rounding. Otherwise the step is small, and smaller than the spacing of the inputs, so that no maximum
    changes hands and no ReLU changes side.
    """

    def at(step: float) -> Array:
        return case.moved(name, step * direction).forward(training)

    ahead, behind = at(1.0), at(-1.0)
    if difference(ahead + behind, 2.0 * case.forward(training)) < EXACT:
        return (ahead - behind) / 2.0, EXACT
    step = min(SMALL_STEP, 0.1 / direction.size)
    return (at(step) - at(-step)) / (2.0 * step), SMALL_STEP


def receptive_field(case: Case) -> Iterator[Comparison]:
    """What one output position sees: nothing outside the window moves it, everything inside does. Fact C11."""
    layer = case.layer
    params = {name: np.where(value == 0.0, 1.0, value) for name, value in case.params.items()}
    one = replace(case, params=params, xs=tuple(x[:1] for x in case.xs))  # zeros of a fixed kernel lie inside too
    before = one.forward()
    size = before.shape[2:]
    for at in {tuple(n // 2 for n in size), tuple(n - 1 for n in size)}:
        for name, x in zip(one.input_names(), one.xs, strict=True):

            def moves(changed: Array, name: str = name, x: Array = x, at: tuple[int, ...] = at) -> bool:
                after = one.moved(name, changed - x).forward()
                return difference(_column(after, at), _column(before, at)) > EXACT

            seen = _seen(layer.window(*one.inputs), at, x.shape[2:])
            other = spaced(x.shape, np.random.default_rng((case.seed, 1)))
            wrong = [f"something outside the window moves output {at}"] if moves(np.where(seen, x, other)) else []
            for tap in _some(np.argwhere(seen)):
                if not any(moves(_raised(x, tap, height)) for height in HEIGHTS):
                    wrong.append(f"input {tuple(map(int, tap))} does not move output {at}")
            yield Comparison("; ".join(wrong) or f"output {at}", len(wrong), 0.0)


def _column(y: Array, at: tuple[int, ...]) -> Array:
    """All channels of one position: (N, C)."""
    for n in at:
        y = y[:, :, n]
    return y


def _seen(window: Window | None, at: tuple[int, ...], size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which input positions (True) the rule says that output position `at` sees; None is its own position only."""
    window = window or Window(*[(n,) * len(size) for n in (1, 1, 0, 1)])
    spread = window.upsampling or (1,) * len(size)
    rule = zip(at, size, window.kernel, window.stride, window.padding, window.dilation, spread, strict=True)
    taps = [
        [t // u for t in (s * o - p + d * i for i in range(f)) if t % u == 0 and 0 <= t < n * u]
        for o, n, f, s, p, d, u in rule
    ]
    seen = np.zeros(size, bool)
    seen[np.ix_(*taps)] = True
    return seen


def _some(taps: Positions, most: int = 25) -> Positions:
    """All of them, or `most` spread evenly from the first to the last where the window is large."""
    some: Positions = taps[np.unique(np.linspace(0, len(taps) - 1, min(most, len(taps))).astype(int))]
    return some


def _raised(x: Array, tap: Positions, height: float) -> Array:
    """x with every channel of one position raised above all other values, each to its own."""
    changed = x.copy()
    changed[(slice(None), slice(None), *tap)] = height * np.linspace(3.0, 4.0, x.shape[1])
    return changed


def batch(case: Case) -> Iterator[Comparison]:
    """Several images at once are the same images one by one, unless the layer says that training couples them."""
    for training in case.modes():
        if training and (case.layer.couples_batch or case.is_random()):
            continue
        together = case.forward(training)
        singles = [replace(case, xs=tuple(x[i : i + 1] for x in case.xs)) for i in range(len(together))]
        alone = np.concatenate([single.forward(training) for single in singles])
        yield Comparison(mode_name(training), difference(together, alone), EXACT)


def buffers(case: Case) -> Iterator[Comparison]:
    """What a training pass changes besides gradients (running statistics), NumPy against torch."""
    _, cache = case.layer.forward(case.params, *case.xs, rng=np.random.default_rng((case.seed, 0)))
    updated = case.layer.updated(case.params, cache)
    module = torch_module(case, training=True)
    module(*torch_inputs(case))
    in_torch = dict(module.named_parameters()) | dict(module.named_buffers())
    for name, parameter in case.layer.parameters(*case.inputs).items():
        if not parameter.trainable:
            after = updated.get(name, case.params[name])
            yield Comparison(name, difference(after, in_torch[name].detach().numpy()), EXACT)


layer_checks: tuple[Check, ...] = (
    Check("shapes", shapes),
    Check("parameters", parameters),
    Check("values", values),
    Check("gradients-autograd", gradients_autograd),
    Check("gradients-finite", gradients_finite),
    Check("receptive-field", receptive_field),
    Check("batch", batch),
    Check("buffers", buffers),
)
