"""The convolution layer against the numbers and formulas of the lectures, each worked out here by hand."""

from __future__ import annotations

import re
from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from tokens import layer_of

from neocog import Network, ShapeError
from neocog.layer import Shape
from neocog.layers import Conv
from neocog.signal import convolve, cross_correlate, im2col

RNG = np.random.default_rng(0)


def run(token: str, x: np.ndarray, w: np.ndarray, b: np.ndarray | None = None) -> np.ndarray:
    """The output of a CONV token for one image x (C, *size): (K, *size')."""
    params = {"weight": np.asarray(w, float)} | ({} if b is None else {"bias": np.asarray(b, float)})
    return layer_of(token).forward(params, np.asarray(x, float)[None])[0][0]


def gradients(token: str, x: np.ndarray, w: np.ndarray, dy: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(dx, dw, db) for one image x (C, *size) and dy (K, *size')."""
    layer, params = layer_of(token), {"weight": np.asarray(w, float), "bias": np.zeros(len(w))}
    _, cache = layer.forward(params, np.asarray(x, float)[None])
    (dx,), grads = layer.backward(params, cache, np.asarray(dy, float)[None])
    return dx[0], grads["weight"], grads["bias"]


def size(token: str, x: str) -> str:
    return str(layer_of(token).output_shape(Shape.of(x)))


def test_layer_is_cross_correlation_and_flip_makes_it_convolution() -> None:  # fact C1
    x, w = RNG.standard_normal((5, 6)), RNG.standard_normal((3, 2))
    plain = run("CONV3x2-1(P=0, BIAS=no)", x[None], w[None, None])[0]
    flipped = run("CONV3x2-1(P=0, BIAS=no, FLIP=yes)", x[None], w[None, None])[0]
    assert_allclose(plain, cross_correlate(x, w))
    assert_allclose(flipped, convolve(x, w))


@pytest.mark.parametrize(("padding", "length"), [(0, 8), (1, 10), (2, 12)])
def test_narrow_same_and_wide_lengths(padding: int, length: int) -> None:  # fact C2: n=10, m=3
    assert size(f"CONV3-1(P={padding})", "10x1") == f"{length}x1"


def test_moving_average_and_differencing_filters() -> None:  # fact C2
    x = np.array([[1.0, 2.0, 6.0, 4.0]])
    assert_allclose(run("CONV2-1(P=0, BIAS=no)", x, [[[0.5, 0.5]]]), [[1.5, 4.0, 5.0]])
    assert_allclose(run("CONV3-1(P=0, BIAS=no)", x, [[[-1.0, 0.0, 1.0]]]), [[5.0, 2.0]])


@pytest.mark.parametrize(("stride", "length"), [(1, 5), (2, 3)])
def test_strides_that_tile(stride: int, length: int) -> None:  # fact C3: W=5, F=3, P=1
    assert size(f"CONV3-1(S={stride}, P=1)", "5x1") == f"{length}x1"


@pytest.mark.parametrize(
    ("token", "x", "arithmetic"),
    [
        ("CONV3-1(S=3, P=1)", "5x1", "(5 - 3 + 2)/3 + 1 = 2.333"),
        ("CONV3-1(S=2, P=0)", "10x1", "(10 - 3 + 0)/2 + 1 = 4.5"),
        ("CONV3-1(S=3, P=0)", "7x7x1", "(7 - 3 + 0)/3 + 1 = 2.333"),
    ],
)
def test_strides_that_do_not_tile_are_refused_with_arithmetic_and_fixes(  # fact C3
    token: str, x: str, arithmetic: str
) -> None:
    with pytest.raises(ShapeError) as refusal:
        size(token, x)
    message = str(refusal.value)
    assert arithmetic in message
    assert all(f"{letter}=" in message for letter in "FPS")
    assert "an input of" in message
    assert "fit=floor" in message


@pytest.mark.parametrize(("options", "n"), [("S=3, P=0", 7), ("S=2, P=2", 10), ("S=4, P=1", 11)])
def test_every_fix_that_the_message_offers_works(options: str, n: int) -> None:  # fact C3
    with pytest.raises(ShapeError) as refusal:
        size(f"CONV3-1({options})", f"{n}x1")
    hint = refusal.value.hint
    padding_or_stride = re.findall(r"\b([PS])=(\d+)", hint)
    sizes = re.findall(r"\d+", hint[hint.index("an input of") :])
    assert padding_or_stride
    assert len(sizes) == 2
    for letter, value in padding_or_stride:
        size(f"CONV3-1({re.sub(f'{letter}=.', f'{letter}={value}', options)})", f"{n}x1")
    for value in sizes:
        size(f"CONV3-1({options})", f"{value}x1")
    for fit in ("floor", "ceil"):
        size(f"CONV3-1({options}, fit={fit})", f"{n}x1")


def test_volume_arithmetic_and_weights() -> None:  # fact C4
    layer, x = layer_of("CONV5-7(S=2, P=1)"), Shape.of("13x17x3")
    assert str(layer.output_shape(x)) == f"{(13 - 5 + 2) // 2 + 1}x{(17 - 5 + 2) // 2 + 1}x7"
    shapes = {name: p.shape for name, p in layer.parameters(x).items()}
    assert shapes == {"weight": (7, 3, 5, 5), "bias": (7,)}
    assert layer.cost(x).parameters == 5 * 5 * 3 * 7 + 7


def test_one_filter_and_twelve_on_a_small_image() -> None:  # fact C5
    x = Shape.of("32x32x3")
    one = layer_of("CONV5-1(P=0)")
    assert str(one.output_shape(x)) == "28x28x1"
    assert one.cost(x).parameters == 76
    assert size("CONV5-12", "32x32x3") == "32x32x12"


def test_a_neuron_on_twenty_maps_has_180_connections() -> None:  # fact C5
    layer, x = layer_of("CONV3-1(P=0, BIAS=no)"), Shape.of("16x16x20")
    assert layer.cost(x).connections == 180 * 14 * 14


def test_the_step_through_demonstration() -> None:  # fact C5: 5x5x3, K=2, F=3, S=2, P=1
    assert size("CONV3-2(S=2, P=1)", "5x5x3") == "3x3x2"
    x, w, b = RNG.standard_normal((3, 5, 5)), RNG.standard_normal((2, 3, 3, 3)), np.array([1.0, 0.0])
    y = run("CONV3-2(S=2, P=1)", x, w, b)
    assert_allclose(y[0, 0, 0], np.sum(x[:, :2, :2] * w[0, :, 1:, 1:]) + 1.0)  # the corner reads padding
    assert_allclose(y[1, 1, 2], np.sum(x[:, 1:4, 3:] * w[1, :, :, :2]))


def test_indexing_example() -> None:  # fact C6: X (11, 11, 4), F=5, S=2, P=0; V[x, y, depth]
    volume, w, b = RNG.standard_normal((11, 11, 4)), RNG.standard_normal((2, 5, 5, 4)), np.array([0.3, -0.7])
    v = run("CONV5-2(S=2, P=0)", volume.transpose(2, 0, 1), w.transpose(0, 3, 1, 2), b).transpose(1, 2, 0)
    assert v.shape == (4, 4, 2)
    assert_allclose(v[0, 0, 0], np.sum(volume[:5, :5, :] * w[0]) + b[0])
    assert_allclose(v[2, 0, 0], np.sum(volume[4:9, :5, :] * w[0]) + b[0])
    assert_allclose(v[2, 3, 1], np.sum(volume[4:9, 6:11, :] * w[1]) + b[1])


def test_alexnets_first_layer_with_and_without_sharing() -> None:  # fact C7
    layer, x = layer_of("CONV11-96(S=4, P=0)"), Shape.of("227x227x3")
    y = layer.output_shape(x)
    assert (str(y), y.elements) == ("55x55x96", 290_400)
    weights_of_a_neuron = layer.parameters(x)["weight"].fan[0]
    assert weights_of_a_neuron == 363
    assert y.elements * (weights_of_a_neuron + 1) == 105_705_600  # every neuron with weights of its own
    assert layer.parameters(x)["weight"].size == 34_848
    assert layer.cost(x).parameters == 34_848 + 96 == 34_944


def test_layer_is_one_product_of_im2col() -> None:  # fact C8
    x, w = RNG.standard_normal((3, 19, 19)), RNG.standard_normal((4, 3, 11, 11))
    columns = im2col(x, kernel=11, stride=4)
    assert columns.shape == (363, 9)
    assert_allclose((w.reshape(4, 363) @ columns).reshape(4, 3, 3), run("CONV11-4(S=4, P=0, BIAS=no)", x, w))


def test_dilation_by_one_gap() -> None:  # fact C9: w0 x0 + w1 x2 + w2 x4
    y = run("CONV3-1(D=2, P=0, BIAS=no)", [[1.0, 10.0, 2.0, 20.0, 3.0]], [[[100.0, 10.0, 1.0]]])
    assert_array_equal(y, [[123.0]])


@pytest.mark.parametrize(("f", "d", "effective"), [(3, 1, 3), (3, 2, 5), (3, 4, 9), (5, 3, 13), (1, 7, 1)])
def test_effective_kernel_of_a_dilated_one(f: int, d: int, effective: int) -> None:  # fact C9: D(F-1)+1
    layer = layer_of(f"CONV{f}-1(D={d}, P=0)")
    assert layer.window(Shape.of("20x1")).extent == (effective,)
    assert str(layer.output_shape(Shape.of("20x1"))) == f"{20 - effective + 1}x1"


def test_one_by_one_convolution_is_a_dot_product_along_depth() -> None:  # fact C10
    x, w = RNG.standard_normal((5, 3, 4)), RNG.standard_normal((2, 5, 1, 1))
    y = run("CONV1-2(BIAS=no)", x, w)
    for k, i, j in np.ndindex(y.shape):
        assert_allclose(y[k, i, j], w[k, :, 0, 0] @ x[:, i, j])


@pytest.mark.parametrize("token", ["CONV3-2(P=0)", "CONV3-2", "CONV3-2(S=2)"])
def test_convolution_is_a_fully_connected_layer_with_a_mostly_zero_matrix(token: str) -> None:  # fact C14
    x, w = RNG.standard_normal((2, 5, 5)), RNG.standard_normal((2, 2, 3, 3))
    expected = run(token, x, w, np.zeros(2))
    matrix = toeplitz(w, x.shape, expected.shape, layer_of(token).padding[0], layer_of(token).stride[0])
    assert_allclose(matrix @ x.ravel(), expected.ravel())
    assert np.count_nonzero(matrix) < matrix.size / 2
    fc = {"weight": matrix, "bias": np.zeros(len(matrix))}
    as_fc, _ = layer_of(f"FC{len(matrix)}").forward(fc, x[None])
    assert_allclose(as_fc.ravel(), expected.ravel())
    dy = RNG.standard_normal(expected.shape)
    dx, _, _ = gradients(token, x, w, dy)
    assert_allclose(matrix.T @ dy.ravel(), dx.ravel())  # the backward pass is the transposed matrix


def toeplitz(w: np.ndarray, x: tuple[int, ...], y: tuple[int, ...], padding: int, stride: int) -> np.ndarray:
    """The matrix M with M @ x.ravel() = y.ravel(), one row for each output, filled weight by weight."""
    matrix = np.zeros((*y, *x))
    for k, i, j, c, u, v in product(*map(range, (*y, w.shape[1], *w.shape[2:]))):
        row, column = i * stride + u - padding, j * stride + v - padding
        if 0 <= row < x[1] and 0 <= column < x[2]:
            matrix[k, i, j, c, row, column] = w[k, c, u, v]
    return matrix.reshape(np.prod(y), np.prod(x))


def test_one_dimensional_toeplitz_matrix_has_constant_diagonals() -> None:  # fact C14
    w = np.array([1.0, 2.0, 3.0])
    identity = np.eye(5)
    columns = [run("CONV3-1(P=0, BIAS=no)", e[None], w[None, None])[0] for e in identity]
    assert_array_equal(np.transpose(columns), [[1, 2, 3, 0, 0], [0, 1, 2, 3, 0], [0, 0, 1, 2, 3]])


def test_fully_connected_layer_is_a_convolution_over_the_whole_volume() -> None:  # facts C14, N1
    x, w, b = RNG.standard_normal((3, 4, 5)), RNG.standard_normal((7, 60)), RNG.standard_normal(7)
    fc, _ = layer_of("FC7").forward({"weight": w, "bias": b}, x[None])
    assert_allclose(fc[0], run("CONV4x5-7(P=0)", x, w.reshape(7, 3, 4, 5), b))


def test_backward_of_the_three_by_three_example_term_by_term() -> None:  # fact C15
    """S3 (9)-(10): a 3x3 input a, a 2x2 kernel w, a 2x2 error d; every gradient written out."""
    a, ((w11, w12), (w21, w22)) = RNG.standard_normal((3, 3)), (w := RNG.standard_normal((2, 2)))
    ((d11, d12), (d21, d22)) = d = RNG.standard_normal((2, 2))
    dx, dw, db = gradients("CONV2-1(P=0)", a[None], w[None, None], d[None])
    assert_allclose(
        dx[0],
        [
            [d11 * w11, d11 * w12 + d12 * w11, d12 * w12],
            [
                d11 * w21 + d21 * w11,
                d11 * w22 + d12 * w21 + d21 * w12 + d22 * w11,
                d12 * w22 + d22 * w12,
            ],
            [d21 * w21, d21 * w22 + d22 * w21, d22 * w22],
        ],
    )
    (a11, a12, a13), (a21, a22, a23), (a31, a32, a33) = a
    assert_allclose(
        dw[0, 0],
        [
            [a11 * d11 + a12 * d12 + a21 * d21 + a22 * d22, a12 * d11 + a13 * d12 + a22 * d21 + a23 * d22],
            [a21 * d11 + a22 * d12 + a31 * d21 + a32 * d22, a22 * d11 + a23 * d12 + a32 * d21 + a33 * d22],
        ],
    )
    assert_allclose(db, [d11 + d12 + d21 + d22])


def test_input_gradient_is_the_wide_cross_correlation_with_the_turned_kernel() -> None:  # fact C15
    x, w, dy = RNG.standard_normal((6, 7)), RNG.standard_normal((3, 2)), RNG.standard_normal((4, 6))
    dx, dw, db = gradients("CONV3x2-1(P=0)", x[None], w[None, None], dy[None])
    assert_allclose(dx[0], cross_correlate(dy, np.rot90(w, 2), "wide"))
    assert_allclose(dx[0], convolve(dy, w, "wide"))
    assert_allclose(dw[0, 0], cross_correlate(x, dy))
    assert_allclose(db, [dy.sum()])


def test_with_a_stride_the_error_is_first_dilated() -> None:  # fact C15
    x, w, dy = RNG.standard_normal((7, 7)), RNG.standard_normal((3, 3)), RNG.standard_normal((3, 3))
    dx, dw, _ = gradients("CONV3-1(S=2, P=0)", x[None], w[None, None], dy[None])
    dilated = np.zeros((5, 5))
    dilated[::2, ::2] = dy
    assert_allclose(dx[0], convolve(dilated, w, "wide"))
    assert_allclose(dw[0, 0], cross_correlate(x, dilated))


def test_gradients_of_a_shared_weight_are_summed_over_positions_and_images() -> None:  # facts A5, C15
    layer, params = layer_of("CONV1-1"), {"weight": np.ones((1, 1, 1, 1)), "bias": np.zeros(1)}
    x = np.arange(12.0).reshape(2, 1, 2, 3)
    _, cache = layer.forward(params, x)
    _, grads = layer.backward(params, cache, np.ones_like(x))
    assert grads["weight"].item() == x.sum()
    assert grads["bias"].item() == 12.0


def test_network_of_the_notation_has_the_same_shapes() -> None:  # fact C5
    assert [str(s) for s in Network.parse("INPUT[5x5x3] -> CONV3-2(S=2, P=1)").shapes] == ["5x5x3", "3x3x2"]


def test_grouped_convolution_is_separate_convolutions_side_by_side():  # fact C12: AlexNet's split over two devices
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((2, 4, 6, 6)), rng.standard_normal((6, 2, 3, 3))
    grouped, _ = Conv((3,), 6, groups=2, bias=False).forward({"weight": w}, x)
    half = Conv((3,), 3, bias=False)
    halves = [half.forward({"weight": w[k : k + 3]}, x[:, c : c + 2])[0] for k, c in ((0, 0), (3, 2))]
    np.testing.assert_allclose(grouped, np.concatenate(halves, axis=1))


def test_a_connection_table_has_a_kernel_for_each_pair_and_a_bias_for_each_map():  # fact C12: K u v + n_l
    table = ((0, 1), (1, 2), (0, 2, 3))
    layer = Conv((5, 3), 3, table=table)
    assert layer.cost(Shape.of("8x8x4")).parameters == 7 * 5 * 3 + 3


def test_a_table_of_all_pairs_is_an_ordinary_convolution():  # fact C12
    rng = np.random.default_rng(1)
    x, w = rng.standard_normal((2, 3, 5, 5)), rng.standard_normal((2, 3, 3, 3))
    params = {"weight": w.reshape(6, 3, 3), "bias": np.zeros(2)}
    tabled, _ = Conv((3,), 2, table=((0, 1, 2), (0, 1, 2))).forward(params, x)
    np.testing.assert_allclose(tabled, Conv((3,), 2, bias=False).forward({"weight": w}, x)[0])
