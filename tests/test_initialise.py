"""Starting weights (fact A4): their spread, that they can be drawn again, and why zeros and small ones fail."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from neocog import NeocogError, Network, reference
from neocog.initialise import METHODS, initialise, whitened
from neocog.losses import LOSSES

NET = Network.parse("INPUT[8x8x16] -> CONV3-32 -> BN -> PRELU -> SUBSAMPLE2 -> FC40 -> FC84 -> RBF10")
CONV_IN, CONV_OUT = 3 * 3 * 16, 3 * 3 * 32


@pytest.mark.parametrize(
    ("method", "std"),
    [
        ("auto", (2 / CONV_IN) ** 0.5),  # PRELU is behind
        ("gaussian", 0.01),
        ("he", (2 / CONV_IN) ** 0.5),
        ("he-out", (2 / CONV_OUT) ** 0.5),
        ("xavier", (2 / (CONV_IN + CONV_OUT)) ** 0.5),
        ("lecun", (1 / CONV_IN) ** 0.5),
    ],
)
def test_weights_have_the_spread_of_the_formula(method: str, std: float) -> None:  # fact A4
    weight = initialise(NET, 0, method)["conv1.weight"]
    assert_allclose(weight.std(), std, rtol=0.03)
    assert abs(weight.mean()) < 0.05 * std


def test_every_method_is_tested_above_or_is_zeros() -> None:
    assert set(METHODS) == {"auto", "zeros", "gaussian", "he", "he-out", "xavier", "lecun", "dirac"}  # dirac: below


def test_fully_connected_weights_count_the_whole_volume_as_inputs() -> None:
    assert_allclose(initialise(NET, 0, "he")["fc1.weight"].std(), (2 / (4 * 4 * 32)) ** 0.5, rtol=0.03)


@pytest.mark.parametrize(
    ("layers", "gains"),
    [
        ("CONV3-8 -> RELU -> FC10", [2, 1]),  # the scores are no rectifier's
        ("CONV3-8 -> BN -> POOL2 -> GELU -> DROPOUT -> FC10", [2, 1]),
        ("CONV3-8 -> TANH -> CONV3-8 -> SIGMOID -> FC10 -> SOFTMAX", [1, 1, 1]),
        ("CONV3-8 -> CONV3-8 -> RELU -> FC10", [1, 2, 1]),
        ("CONV3-8 -> ADD[ CONV3-8 -> BN | ID ] -> RELU -> FC10", [2, 2, 1]),  # the shortcut leads to the rectifier
    ],
)
def test_by_itself_a_weight_is_drawn_for_the_activation_function_that_is_next(layers, gains):
    network = Network.parse(f"INPUT[8x8x16] -> {layers}")
    found = [initialise(network, 0, method) for method in ("auto", "lecun")]
    weights = [name for name, array in found[0].items() if array.ndim > 1]
    squares = [(found[0][name] / found[1][name]).mean() ** 2 for name in weights]
    assert_allclose(squares, gains, rtol=1e-5)


def test_what_is_no_weight_starts_at_its_declared_value() -> None:
    arrays = initialise(NET)
    assert_array_equal(arrays["conv1.bias"], 0)
    assert_array_equal(arrays["bn1.weight"], 1)
    assert_array_equal(arrays["bn1.running_var"], 1)
    assert set(np.unique(arrays["rbf1.codes"])) == {-1.0, 1.0}
    assert arrays["rbf1.codes"].shape == (10, 84)


def test_names_and_shapes_are_those_of_the_layers_parameters_in_float32() -> None:
    arrays = initialise(NET)
    expected = {
        f"{node.name}.{name}": p.shape
        for node in NET.nodes
        for name, p in node.layer.parameters(*NET.input_shapes(node)).items()
    }
    assert {name: a.shape for name, a in arrays.items()} == expected
    assert {a.dtype for a in arrays.values()} == {np.dtype(np.float32)}


def test_one_seed_gives_the_same_bits_and_another_gives_others() -> None:
    first, again, other = initialise(NET, 7), initialise(NET, 7), initialise(NET, 8)
    for name in first:
        assert_array_equal(first[name], again[name])
    assert not np.array_equal(first["conv1.weight"], other["conv1.weight"])
    assert not np.array_equal(first["conv1.weight"].ravel()[:100], first["fc1.weight"].ravel()[:100])


def test_layers_added_at_the_end_leave_the_weights_before_them_as_they_were() -> None:
    short = initialise(Network.parse("INPUT[8x8x1] -> CONV3-4 -> FC5"), 3)
    long = initialise(Network.parse("INPUT[8x8x1] -> CONV3-4 -> FC5 -> BN -> FC2"), 3)
    for name, array in short.items():
        assert_array_equal(array, long[name])


def test_arrays_can_be_written_to_and_share_no_memory() -> None:
    first = initialise(NET)
    first["bn1.weight"] += 1
    first["rbf1.codes"][:] = 0
    assert_array_equal(initialise(NET)["bn1.weight"], 1)
    assert initialise(NET)["rbf1.codes"].any()


def test_unknown_method_is_refused_with_the_known_ones() -> None:
    with pytest.raises(NeocogError, match="no such initialiser") as refusal:
        initialise(NET, 0, "kaiming")
    assert "he-out" in str(refusal.value)
    with pytest.raises(NeocogError, match="a seed is a whole number from 0"):
        initialise(NET, -1)


def trained_filters(method: str, steps: int = 5) -> np.ndarray:
    """First-layer filters (K, C, F, F) of a small network after a few steps of gradient descent."""
    network = Network.parse("INPUT[6x6x1] -> CONV3-4 -> TANH -> FC6 -> TANH -> FC3")
    rng = np.random.default_rng(0)
    x, target = rng.standard_normal((8, 1, 6, 6)), rng.integers(0, 3, 8)
    weights = {name: a.astype(np.float64) for name, a in initialise(network, 0, method).items()}
    for _ in range(steps):
        trace = reference.forward(network, weights, x)
        _, grads = reference.backward(trace, LOSSES["cross-entropy"].gradient(trace.output, target))
        weights = {name: w - 0.5 * grads[name] for name, w in weights.items()}
    return weights["conv1.weight"]


def test_filters_that_start_as_zeros_never_become_different() -> None:  # fact A4: symmetry
    filters = trained_filters("zeros")
    assert_array_equal(filters, np.broadcast_to(filters[:1], filters.shape))


def test_filters_that_start_at_random_stay_different() -> None:  # fact A4
    filters = trained_filters("he").reshape(4, -1)
    assert all(np.abs(filters[i] - filters[j]).max() > 0.01 for i in range(4) for j in range(i))


def test_equal_filters_get_equal_gradients() -> None:  # fact A4: why zeros, or any constant, cannot learn
    network = Network.parse("INPUT[6x6x1] -> CONV3-4 -> TANH -> FC3")
    weights = {name: np.full(a.shape, 0.1) for name, a in initialise(network).items()}
    trace = reference.forward(network, weights, np.random.default_rng(0).standard_normal((8, 1, 6, 6)))
    _, grads = reference.backward(trace, LOSSES["cross-entropy"].gradient(trace.output, np.arange(8) % 3))
    gradient = grads["conv1.weight"]
    assert np.abs(gradient).max() > 0
    assert_allclose(gradient, np.broadcast_to(gradient[:1], gradient.shape), rtol=1e-12)


def test_small_gaussian_fades_out_in_a_deep_network_and_he_does_not() -> None:  # fact A4
    network = Network.parse("INPUT[8x8x16] -> [CONV3-16 -> RELU]*12")
    x = np.random.default_rng(0).standard_normal((2, 16, 8, 8))
    sizes = {m: reference.forward(network, initialise(network, 0, m), x).output.std() for m in ("gaussian", "he")}
    assert sizes["gaussian"] < 1e-9
    assert 0.05 < sizes["he"] < 5


def test_dirac_filters_hand_their_channels_on():
    network = Network.parse("INPUT[5x4x2] -> CONV3-3 -> FC100")
    weights = initialise(network, 3, "dirac")
    x = np.random.default_rng(0).standard_normal((2, 2, 5, 4)).astype(np.float32)
    y = reference.forward(network, weights, x).outputs[1]
    np.testing.assert_allclose(y[:, :2], x, rtol=1e-6)
    assert weights["conv1.weight"][2].std() > 0  # there is no third channel to hand on
    assert_allclose(weights["fc1.weight"].std(), 0.25 / 60**0.5, rtol=0.05)  # so that no class is sure at first


def test_whitening_filters_have_responses_of_variance_one_that_do_not_go_together():
    network = Network.parse("INPUT[12x10x3] -> CONV2-24(P=0, S=2) -> RELU -> FC4")
    rng = np.random.default_rng(0)
    smooth = rng.standard_normal((300, 3, 12, 10)).cumsum(axis=2).cumsum(axis=3) / 10
    x = (smooth - smooth.mean()).astype(np.float32)
    weights = initialise(network, 0) | whitened(network, x)
    volumes = reference.forward(network, weights, x).outputs
    responses = volumes[1].transpose(1, 0, 2, 3).reshape(24, -1)
    moments = responses[:12] @ responses[:12].T / responses.shape[1]
    off = moments - np.diag(np.diag(moments))
    assert np.abs(off).max() < 1e-4
    assert np.diag(moments).max() < 1.0001
    assert np.diag(moments)[0] > 0.99  # the eps counts only where there is hardly any variance
    np.testing.assert_allclose(responses[12:], -responses[:12], atol=1e-5)


@pytest.mark.parametrize(
    "text",
    ["INPUT[8x8x3] -> FC4", "INPUT[8x8x1] -> CONV3-24 -> FC4", "INPUT[8x8x3] -> CONV2-5(P=0) -> FC4", "INPUT[8x8x3]"],
)
def test_what_cannot_be_whitened_is_refused(text):
    network = Network.parse(text)
    shape = network.input_shape
    x = np.zeros((2, shape.channels, *shape.spatial), np.float32)
    with pytest.raises(NeocogError, match="two filters for each direction"):
        whitened(network, x)
