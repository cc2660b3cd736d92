"""exp, log and the activation functions as expressions of the kernel language: the same on every processor.

Polynomials are those of Cephes (Moshier, 1992) for single precision; errors are of about one unit in the last place.
The error function's are those of Eigen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from ..layer import Layer
from ..layers.lrelu import LeakyReLU
from ..layers.scaledtanh import AMPLITUDE, SLOPE
from .expressions import Type, Value, bits, constant, convert, floor, fma, largest, root, select, smallest
from .kernel import Function

LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4
_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
_LOG = (
    *(7.0376836292e-2, -1.1514610310e-1, 1.1676998740e-1, -1.2420140846e-1, 1.4249322787e-1),
    *(-1.6668057665e-1, 2.0000714765e-1, -2.4999993993e-1, 3.3333331174e-1),
)
_TANH = (-5.70498872745e-3, 2.06390887954e-2, -5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1)
_ERF_OVER = (
    *(-2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05),
    *(-7.34990630326855e-04, -2.95459980854025e-03, -1.60960333262415e-02),
)
_ERF_UNDER = (
    *(-1.45660718464996e-05, -2.13374055278905e-04, -1.68282697438203e-03),
    *(-7.37332916720468e-03, -1.42647390514189e-02),
)
BITS_OF_FRACTION = 1 << 23


def _like(x: Value, number: float) -> Value:
    return constant(x.type, number)


def _polynomial(x: Value, coefficients: Sequence[float]) -> Value:
    """Horner's rule, the highest power first."""
    sum_ = _like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        sum_ = fma(sum_, x, _like(x, coefficient))
    return sum_


def exp(f: Function, x: Value) -> Value:
    """e^x: 2^n e^r with n = round(x / ln 2). Below -87.3 it is the smallest normal number, above 88.7 the largest."""
    x = f.let(largest(_like(x, -87.3), smallest(x, _like(x, 88.7))))
    n = f.let(floor(fma(x, _like(x, math.log2(math.e)), _like(x, 0.5))))
    r = f.let(fma(n, _like(x, -LN2_LOW), fma(n, _like(x, -LN2_HIGH), x)))
    fraction = fma(_polynomial(r, _EXP) * r, r, r) + _like(x, 1.0)
    whole = Type("i32", x.type.lanes)
    power = (convert(n, "i32") + constant(whole, 127)) * constant(whole, BITS_OF_FRACTION)
    return fraction * bits(power, "f32")


def log(f: Function, x: Value) -> Value:
    """The natural logarithm of a normal number above 0: of 2^n m with m from 0.707 to 1.414.

    Infinity stays infinity, and what is no number none: a loss must show them.
    """
    x = f.let(x)
    whole = Type("i32", x.type.lanes)
    pattern = f.let(bits(x, "i32"))
    exponent = f.let(pattern / constant(whole, BITS_OF_FRACTION))
    fraction = pattern - exponent * constant(whole, BITS_OF_FRACTION) + constant(whole, 126 * BITS_OF_FRACTION)
    m = f.let(bits(fraction, "f32"))  # from 0.5 to 1
    small = f.let(_like(x, math.sqrt(0.5)) > m)
    n = f.let(convert(exponent - constant(whole, 126), "f32") - select(small, _like(x, 1.0), _like(x, 0.0)))
    r = f.let(m + select(small, m, _like(x, 0.0)) - _like(x, 1.0))
    square = f.let(r * r)
    tail = _polynomial(r, _LOG) * r * square
    rest = fma(n, _like(x, LN2_LOW), tail) - _like(x, 0.5) * square
    return select((x - x).equals(_like(x, 0.0)), fma(n, _like(x, LN2_HIGH), r + rest), x)


def log1p(f: Function, x: Value) -> Value:
    """log(1 + x) for finite x from 0. The sum 1 + x loses digits of x; the ratio of x to what it kept brings them back.

    Source: Higham, Accuracy and Stability of Numerical Algorithms, section 1.14.1.
    """
    x = f.let(x)
    sum_ = f.let(_like(x, 1.0) + x)
    kept = f.let(sum_ - _like(x, 1.0))
    return select(kept > _like(x, 0.0), log(f, sum_) * (x / kept), x)


def power(f: Function, x: Value, exponent: float) -> Value:
    """x^exponent of normal numbers above 0. Quarters from -1 to 0 are made of square roots."""
    quarters = -4 * exponent
    if quarters not in range(5):
        return exp(f, log(f, x) * _like(x, exponent))
    made = _like(x, 1.0)
    if quarters == 4:
        made = x
    elif quarters:
        half = f.let(root(x))
        made = {1: root(half), 2: half, 3: half * root(half)}[int(quarters)]
    return _like(x, 1.0) / made


def absolute(x: Value) -> Value:
    """x without its sign."""
    return largest(x, _like(x, 0.0) - x)


def tanh(f: Function, x: Value) -> Value:
    """Near 0 by a polynomial, where 1 - 2 / (e^2x + 1) would lose digits."""
    x = f.let(x)
    size = f.let(absolute(x))
    square = f.let(x * x)
    near = fma(_polynomial(square, _TANH) * square, x, x)
    far = f.let(_like(x, 1.0) - _like(x, 2.0) / (exp(f, size + size) + _like(x, 1.0)))
    signed = select(_like(x, 0.0) > x, _like(x, 0.0) - far, far)
    return select(_like(x, 0.625) > size, near, signed)


def sigmoid(f: Function, x: Value) -> Value:
    """1 / (1 + e^-x)."""
    return _like(x, 1.0) / (_like(x, 1.0) + exp(f, _like(x, 0.0) - x))


def erf(f: Function, x: Value) -> Value:
    """The error function, an odd rational function up to 4, where it is 1 in single precision."""
    x = f.let(largest(_like(x, -4.0), smallest(x, _like(x, 4.0))))
    square = f.let(x * x)
    return x * _polynomial(square, _ERF_OVER) / _polynomial(square, _ERF_UNDER)


class ActivationCode(NamedTuple):
    """An activation function, and its derivative as a factor on a gradient, from the function's value y alone."""

    forward: Callable[[Function, Value], Value]
    backward: Callable[[Function, Value, Value], Value]


def _relu_backward(f: Function, y: Value, dy: Value) -> Value:
    return select(y > _like(y, 0.0), dy, _like(y, 0.0))


@cache
def _leaky(slope: float) -> ActivationCode:
    def forward(f: Function, x: Value) -> Value:
        x = f.let(x)
        return select(x > _like(x, 0.0), x, x * _like(x, slope))

    def backward(f: Function, y: Value, dy: Value) -> Value:
        return dy * select(y > _like(y, 0.0), _like(y, 1.0), _like(y, slope))

    return ActivationCode(forward, backward)


def _scaled_tanh(amplitude: float, slope: float) -> ActivationCode:
    def forward(f: Function, x: Value) -> Value:
        return _like(x, amplitude) * tanh(f, x * _like(x, slope))

    def backward(f: Function, y: Value, dy: Value) -> Value:
        t = f.let(y * _like(y, 1 / amplitude))
        return dy * _like(y, amplitude * slope) * (_like(y, 1.0) - t * t)

    return ActivationCode(forward, backward)


def _sigmoid_backward(f: Function, y: Value, dy: Value) -> Value:
    return dy * y * (_like(y, 1.0) - y)


SIMPLE = {
    "RELU": ActivationCode(lambda f, x: largest(_like(x, 0.0), x), _relu_backward),
    "SIGMOID": ActivationCode(sigmoid, _sigmoid_backward),
    "TANH": _scaled_tanh(1.0, 1.0),
    "SCALEDTANH": _scaled_tanh(AMPLITUDE, SLOPE),
}
"""Those without parameters, each once: kernels with the same one are equal."""


def activation(layer: Layer) -> ActivationCode | None:
    """The code of an activation layer whose derivative follows from its output; None for any other layer."""
    if isinstance(layer, LeakyReLU) and layer.slope >= 0:
        return _leaky(layer.slope)
    return SIMPLE.get(layer.op)
