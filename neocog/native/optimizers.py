"""Optimizers as kernels that update weights `w` from gradients `dw`, and the numbers that each step gives them.

`settings` holds three numbers, which `rates` of an optimizer computes. Where `loss` is not a finite number nothing
changes. Unless gradients are `summed`, they are added up over groups, each `group` vectors long. Numbers: the first
vector, the one after the last, and how many groups there are. `factor` is on the learning rate of these weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from .expressions import F32, Index, Type, Value, constant, fma, load, root, select, splat
from .jit import Machine
from .kernel import Function

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
"""AdamW's memory for gradients and for their squares, and what is added to the root of the latter."""


class Optimizer(NamedTuple):
    """A kernel; how many states it keeps for each weight; its settings of (step from 1, rate, momentum, decay)."""

    kernel: Callable[[str, Machine, int, bool, float], Function]
    states: int
    rates: Callable[[int, float, float, float], tuple[float, float, float]]


class _Update:
    """What updates share: a function under construction, its settings, and whether the loss is sound."""

    def __init__(self, name: str, machine: Machine, states: tuple[str, ...], group: int, summed: bool) -> None:
        self.f = Function(name, ("w", *states, "dw", "settings", "loss"), ("first", "last", "groups"))
        self.vector, self.group, self.summed = Type("f32", machine.lanes), group, summed
        self.settings = [self.f.let(splat(load(F32, "settings", Index(k)), machine.lanes)) for k in range(3)]
        loss = self.f.let(splat(load(F32, "loss", Index()), machine.lanes))
        self.sound = self.f.let((loss - loss).equals(constant(self.vector, 0.0)))

    def gradient(self, k: Index) -> Value:
        """Of the weights of vector k."""
        sum_ = self.f.variable(load(self.vector, "dw", k))
        if not self.summed:
            with self.f.loop(self.f.number("groups"), 1) as g:
                self.f.set(sum_, sum_.value + load(self.vector, "dw", g * self.group + k))
        return sum_.value

    def scaled(self, setting: Value, factor: float) -> Value:
        """A setting times a factor that is known."""
        return setting if factor == 1 else self.f.let(setting * constant(self.vector, factor))

    def keep(self, buffer: str, k: Index, new: Value, old: Value) -> None:
        """Store what is new if the loss is sound."""
        self.f.store(buffer, k, select(self.sound, new, old))


def descent(name: str, machine: Machine, group: int, summed: bool, factor: float, *, nesterov: bool) -> Function:
    """Stochastic gradient descent with velocity `v`; settings are learning rate, momentum and weight decay."""
    update = _Update(name, machine, ("v",), group, summed)
    f, (rate, momentum, decay) = update.f, update.settings
    rate = update.scaled(rate, factor)
    with f.loop(f.number("last"), f.number("first")) as k:
        gradient = update.gradient(k)
        w, velocity = (f.let(load(update.vector, buffer, k)) for buffer in ("w", "v"))
        slope = f.let(fma(decay, w, gradient))
        moved = f.let(fma(momentum, velocity, slope))
        step = fma(momentum, moved, slope) if nesterov else moved
        update.keep("v", k, moved, velocity)
        update.keep("w", k, w - rate * step, w)
    return f


def adamw(name: str, machine: Machine, group: int, summed: bool, factor: float) -> Function:
    """AdamW with means `v` of gradients and `s` of their squares; settings are those of `_adamw_rates`.

    Source: Loshchilov and Hutter, arXiv 1711.05101, algorithm 2, as `torch.optim.AdamW` has it.
    """
    update = _Update(name, machine, ("v", "s"), group, summed)
    f, (rate, correction, decay) = update.f, update.settings
    rate, decay = update.scaled(rate, factor), update.scaled(decay, factor)
    new, kept = constant(update.vector, 1 - BETA1), constant(update.vector, BETA2)
    new_square, epsilon = constant(update.vector, 1 - BETA2), constant(update.vector, EPSILON)
    with f.loop(f.number("last"), f.number("first")) as k:
        gradient = f.let(update.gradient(k))
        w, mean, square = (f.let(load(update.vector, buffer, k)) for buffer in ("w", "v", "s"))
        next_mean = f.let(fma(new, gradient - mean, mean))
        next_square = f.let(fma(new_square * gradient, gradient, kept * square))
        step = next_mean / fma(root(next_square), correction, epsilon)
        update.keep("v", k, next_mean, mean)
        update.keep("s", k, next_square, square)
        update.keep("w", k, w - decay * w - rate * step, w)
    return f


def average(name: str, machine: Machine) -> Function:
    """An average `a` of weights takes in a `share` of what they are now: see `neocog/average.py`.

    Numbers: the first vector, and the one after the last.
    """
    f = Function(name, ("a", "w", "share", "loss"), ("first", "last"))
    vector = Type("f32", machine.lanes)
    share, loss = (f.let(splat(load(F32, buffer, Index()), machine.lanes)) for buffer in ("share", "loss"))
    sound = f.let((loss - loss).equals(constant(vector, 0.0)))
    with f.loop(f.number("last"), f.number("first")) as k:
        a, w = (f.let(load(vector, buffer, k)) for buffer in ("a", "w"))
        f.store("a", k, select(sound, fma(share, w - a, a), a))
    return f


def _adamw_rates(step: int, lr: float, momentum: float, decay: float) -> tuple[float, float, float]:
    """Rate over the mean's bias correction; one over the root of the squares' own; how much of a weight decays."""
    return lr / (1 - BETA1**step), 1 / math.sqrt(1 - BETA2**step), lr * decay


OPTIMIZERS = {
    "sgd": Optimizer(partial(descent, nesterov=False), 1, lambda step, lr, momentum, decay: (lr, 0.0, decay)),
    "momentum": Optimizer(partial(descent, nesterov=False), 1, lambda step, *settings: settings),
    "nesterov": Optimizer(partial(descent, nesterov=True), 1, lambda step, *settings: settings),
    "adamw": Optimizer(adamw, 2, _adamw_rates),
}
"""By the names of training's settings."""
