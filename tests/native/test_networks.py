"""Whole networks as machine code against the reference: scores, loss and the gradient of every weight."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from random_networks import IMAGES, network_of

from neocog import Network, zoo
from neocog.chance import Draws
from neocog.initialise import initialise
from neocog.losses import LOSSES
from neocog.native.engine import NativeNetwork
from neocog.native.groups import GROUPS, Grouping
from neocog.native.jit import Machine
from neocog.native.places import kind_of
from neocog.native.program import Call, Program
from neocog.native.stages import stages_of, uncovered
from neocog.reference import backward, forward, updated

EXACT = 1e-5


def drawn(network, seed):
    """Weights, biases and statistics that are nobody's start; the kernels of FILTER and LCN are what they are."""
    rng = np.random.default_rng(seed)
    weights = initialise(network, seed)
    moved = {k: (w + 0.1 * rng.standard_normal(w.shape)).astype(np.float32) for k, w in weights.items()}
    return {k: weights[k] if k.endswith(".kernel") else w for k, w in moved.items()}


def batch_for(network, count, seed):
    rng = np.random.default_rng(seed)
    shape = network.input_shape
    x = rng.standard_normal((count, shape.channels, *shape.spatial)).astype(np.float32)
    return x, rng.integers(0, network.shapes[-1].channels, count)


def assert_agrees(network, count=21, threads=1, seed=0, on=None, exact=EXACT, beside=0.0):
    """Scores, the gradients that one step of plain descent with rate 1 subtracts, and running statistics.

    A gradient may be off by `exact` of its norm, and by `beside` of that of the largest one: some are sums that cancel.
    """
    weights, (x, labels) = drawn(network, seed), batch_for(network, count, seed)
    compiled = NativeNetwork(network, threads, "sgd", on=on)
    compiled.write_weights(weights)
    loss = LOSSES["cross-entropy"]
    assert far(compiled.score(x), forward(network, weights, x).output) < exact
    trace = forward(network, weights, x, rng=Draws(0, 0))
    value, right = compiled.train(x, labels, 1.0, 0.0, 0.0)
    sides = [(name, weight, trace.side_outputs[name]) for name, weight in network.side_outputs.items()]
    whole = loss.value(trace.output, labels) + sum(weight * loss.value(y, labels) for _, weight, y in sides)
    np.testing.assert_allclose(value, whole, rtol=exact, atol=1e-6)
    assert right == (trace.output.argmax(axis=1) == labels).sum()
    dsides = {name: weight * loss.gradient(y, labels) for name, weight, y in sides}
    _, gradients = backward(trace, loss.gradient(trace.output, labels), dsides)
    after = compiled.read_weights()
    least = 1e-6 + beside * max(np.linalg.norm(gradient) for gradient in gradients.values())
    for name, gradient in gradients.items():
        off = np.linalg.norm(weights[name] - after[name] - gradient)
        assert off < exact * np.linalg.norm(gradient) + least, name
    for name, moved in updated(trace).items():
        assert far(after[name], moved) < exact, name
    compiled.close()


def far(found, expected):
    """The norm of the difference, relative to that of what is expected."""
    return np.linalg.norm(found - expected) / np.linalg.norm(expected)


@pytest.mark.parametrize(
    "text",
    [
        "INPUT[5x6x2] -> FC4",
        "INPUT[5x6x2] -> FC17 -> RELU -> FC4(BIAS=no)",
        "INPUT[8x8x1] -> CONV3-3 -> RELU -> POOL2 -> FC4",
        "INPUT[8x8x1] -> CONV3-3 -> POOL2 -> RELU -> FC4",
        "INPUT[8x9x1] -> CONV3-3 -> TANH -> CONV3-5 -> SIGMOID -> FC9 -> SCALEDTANH -> FC4",
        "fit=floor INPUT[19x17x3] -> CONV3-7(S=2) -> RELU -> CONV5-13 -> LRELU(0.1) -> CONV4-33(S=3, P=2) -> FC21",
        "fit=ceil INPUT[8x8x3] -> CONV3-7(S=2, P=0) -> RELU -> CONV3-4(S=2, P=0) -> FC5",
        "INPUT[8x8x4] -> CONV3-8(G=2) -> RELU -> CONV3-8(G=4, D=2) -> POOL2 -> FC4",
        "INPUT[9x7x2] -> CONV1x3-4(S=1x2, P=0x1, FLIP=yes) -> RELU -> CONV3x1-20(D=2x1) -> FLATTEN -> FC4",
        "fit=floor INPUT[7x7x2] -> CONV2-6(S=3, P=1) -> RELU -> CONV1-9(S=2) -> FC3",  # no window reads some inputs
        "fit=floor INPUT[3x1] -> CONV1-3(S=2, P=0) -> CONV2-3(S=2, P=1, D=2) -> FC2",  # a window as large, not in place
        "INPUT[4x3x2] -> CONV1-4 -> CONV4x3-6(G=2, P=0) -> FC3",
        "INPUT[40x3] -> CONV5-8 -> RELU -> POOL2 -> CONV3-16 -> RELU -> FC4",
        "INPUT[6x6x2] -> CONV3-40 -> RELU -> CONV3-33 -> RELU -> FC5",
        "INPUT[5x9x7] -> CONV1-33 -> RELU -> FC190 -> RELU -> FC1500 -> RELU -> FC3",  # weights that are streamed
        "INPUT[8x8x1] -> ID -> CONV8-12(P=0) -> RELU -> CONV1-6 -> FC3",
        'INPUT[8x8x3] -> CONV3-4(TABLE="0 1; 1 2; 0 2; 0 1 2") -> RELU -> FC4',
        "INPUT[6x7x2] -> RELU -> CONV3-3 -> ID -> RELU -> TANH -> FC3",
        "INPUT[6x7x2] -> CONV3-5 -> BN -> RELU -> CONV3-4(BIAS=no) -> BN(eps=1e-3, m=0.3) -> FC3",
        "INPUT[6x7x2] -> BN(AFFINE=no) -> CONV3-5 -> BN -> BN -> FC3 -> BN",
        "INPUT[6x7x2] -> CONV3-4 -> ADD[CONV3-4 -> BN -> RELU -> CONV3-4 -> BN | ID] -> RELU -> FC3",
        "INPUT[6x7x2] -> CONV3-4 -> ADD[CONV3-9 -> BN | CONV1-9 -> BN] -> RELU -> ADD[ID | ID | TANH] -> FC3",
        "fit=floor INPUT[7x6x2] -> CONV3-4 -> BN -> ADD[CONV3-6(S=2) -> BN | SHORTCUT(K=6)] -> RELU -> GAP -> FC3",
        "INPUT[7x6x2] -> CONV3-4 -> SHORTCUT(K=7) -> SIGMOID -> FC3",
        "INPUT[6x6x2] -> CONV3-4 -> CONCAT[CONV1-3 -> RELU | ID | POOL3(S=1, P=1)] -> CONV3-3 -> BN -> RELU -> FC3",
        "fit=ceil INPUT[9x8x2] -> CONV3-4 -> RELU -> POOL3(S=2) -> CONV3-3 -> AVGPOOL3(S=2, P=1) -> FC3",
        "fit=ceil INPUT[9x8x2] -> CONV3-4 -> AVGPOOL3(S=2, P=1, ZEROS=no) -> L2POOL2(S=1) -> POOL5(S=1, P=2) -> FC3",
        "INPUT[12x12x3] -> POOL3(S=1) -> AVGPOOL5 -> CONV1-4 -> L2POOL2 -> FC3",
        "fit=ceil INPUT[9x8x2] -> TANH -> POOL3(S=2) -> CONV3-4 -> BN -> RELU -> POOL2 -> LRELU(0.2) -> POOL2 -> FC3",
        "INPUT[8x8x3] -> CONV3-4 -> SCALEDTANH -> SUBSAMPLE2 -> SCALEDTANH -> SUBSAMPLE3(S=1, P=1) -> FC3",
        "INPUT[8x8x3] -> SUBSAMPLE2 -> CONV3-8 -> RELU -> POOL2 -> POOL2 -> FC3",
        "INPUT[8x8x3] -> CONV3-5 -> RELU -> GAP",
        "INPUT[6x6x1] -> FC84 -> SCALEDTANH -> RBF10",
        "INPUT[8x8x3] -> PRELU -> CONV3-5 -> GELU -> CONV3-6 -> PRELU -> POOL2 -> SILU -> FC9 -> SOFTMAX -> FC3",
        "INPUT[9x2] -> CONV3-5 -> PRELU -> ADD[SOFTMAX -> GELU | SILU] -> FC3",
        "INPUT[8x8x3] -> CONV3-9 -> RELU -> LRN(alpha=0.1) -> POOL2 -> LRN(n=7, k=1, alpha=0.5, beta=0.6) -> FC3",
        "INPUT[8x9x3] -> LRN(n=3, alpha=0.2) -> CONV3-4 -> LRN(n=5, alpha=0.1, REGION=within) -> LRN(beta=1) -> FC3",
        "INPUT[9x3] -> CONV3-4 -> LRN(n=3, alpha=0.2, REGION=within) -> LRN(n=3, alpha=0.1, beta=0.5) -> FC3",
        "INPUT[8x8x3] -> CONV3-4 -> TANH -> AUX(0.4)[POOL2 -> FC4] -> BN -> AUX(2)[CONV3-2 -> BN -> GAP -> FC4] -> FC4",
        "INPUT[6x2] -> CONV3-4 -> RELU -> AUX[DROPOUT -> FC9 -> RELU -> AUX[FC3] -> FC3] -> FC3 -> AUX[ID] -> ID",
        "INPUT[8x8x3] -> CONV3-8 -> GROUPNORM(G=4) -> RELU -> POOL2 -> CONV3-8 -> GROUPNORM(G=1, eps=0.1) -> FC3",
        "INPUT[9x4] -> GROUPNORM(G=2) -> CONV3-6 -> GROUPNORM(G=3, AFFINE=no) -> ADD[GROUPNORM(G=6) | ID] -> FC3",
        "INPUT[8x8x3] -> LCN5 -> CONV3-8 -> LCN9(sigma=2) -> CONV3-8 -> LCN3(c=0.5) -> FC3",
        "INPUT[9x4] -> CONV3-6 -> LCN3(sigma=1, c=1) -> ADD[LCN7 | ID] -> FC3",
        "INPUT[5x4x2] -> CONV3-3 -> UPSAMPLE2x3 -> CONV3-4 -> UPSAMPLE3x4(MODE=bilinear) -> CONV3-5 -> FC3",
        "INPUT[7x3] -> CONV3-4 -> UPSAMPLE2(MODE=bilinear) -> UPSAMPLE3 -> ADD[ID | TANH] -> UPSAMPLE1 -> FC3",
        "INPUT[1x2x2] -> CONV1-4 -> UPSAMPLE5(MODE=bilinear) -> FC3",
        "INPUT[8x9x2] -> CONV3-4 -> SPP(4, 3, 1) -> FC3",
        "INPUT[3x2x2] -> CONV3-4 -> ADD[ID | RELU] -> SPP(4, 2) -> FC3",
        "INPUT[9x2] -> CONV3-4 -> SPP(5, 2) -> FC3",
        "fit=ceil INPUT[8x7x3] -> FILTER(sobel-x) -> CONV3-4 -> FILTER(edge, S=2, P=0) -> FILTER(sobel-y, S=2) -> FC3",
        "fit=floor INPUT[8x7x3] -> CONV3-4 -> FILTER(gaussian, S=2) -> CONV3-3 -> FILTER(sharpen, P=2) -> FC3",
        "fit=ceil INPUT[8x7x3] -> STOPOOL2(S=1) -> CONV3-4 -> RELU -> STOPOOL3(S=2, P=1) -> DROPOUT -> STOPOOL2 -> FC3",
        "INPUT[8x3] -> CONV3-4 -> ADD[STOPOOL2 | STOPOOL2] -> FC3",
        "fit=ceil INPUT[7x6x2] -> LOCAL3-5 -> LOCAL2x3-9(S=2, P=0x1, BIAS=no) -> ADD[LOCAL1-4 | LOCAL3-4] -> FC3",
        "fit=floor INPUT[9x3] -> LOCAL3-4(S=2) -> RELU -> LOCAL5-17 -> FC3",
        "INPUT[5x4x3] -> DECONV3-5 -> RELU -> DECONV4-40(S=2, P=1) -> CONV3-4 -> DECONV1-3(S=3, P=0) -> FC3",
        "INPUT[4x5x2] -> CONV3-33 -> DECONV2x3-34(S=2x1, P=0, BIAS=no) -> ADD[ID | DECONV3-34(D=2)] -> FC3",
        "INPUT[6x4] -> FC8 -> DECONV5-6(P=0) -> TANH -> DECONV4-3(S=2, P=1) -> FC3",
        "INPUT[8x7x3] -> DROPOUT(0.2) -> CONV3-5 -> TANH -> DROPOUT -> CONV3-4 -> DROPOUT(0) -> FC9 -> DROPOUT -> FC3",
        "INPUT[9x2] -> CONV3-5 -> ADD[CONV3-5 -> DROPOUT(0.3) | ID] -> BN -> RELU -> DROPOUT(0.9) -> FC3 -> DROPOUT",
        "INPUT[20x3] -> CONV5-8 -> BN -> RELU -> POOL3(S=2, P=1, fit=floor) -> ADD[CONV3-8 | ID] -> FC3",
        "fit=floor INPUT[7x7x4] -> CONV3-8 -> BN -> TANH -> ADD[CONV3-8(S=2, G=2) -> BN | SHORTCUT(K=8)] -> SIGMOID"
        " -> ADD[CONV3-8 -> BN -> RELU | ID | ID] -> ADD[ID | CONCAT[CONV1-4 | POOL3(S=1, P=1) -> CONV1-4]] -> FC3",
        "INPUT[5x5x2] -> CONV3-4 -> RELU -> ADD[BN -> RELU -> CONV3-4 | ID] -> TANH -> ADD[ID | BN] -> GELU -> FC3",
    ],
)
def test_scores_loss_and_gradients_are_the_references(text):
    assert_agrees(Network.parse(text))


@pytest.mark.parametrize("lanes", [4, 8, 16])
def test_vectors_of_any_length_agree(lanes):  # NEON, AVX2 and AVX-512 have these
    text = "INPUT[10x8x3] -> CONV3-20 -> RELU -> POOL2 -> CONV3-37(S=2, P=1, fit=floor) -> TANH -> FC5"
    assert_agrees(Network.parse(text), on=Machine(lanes, registers=16))


def test_lenet_and_the_convnetjs_network_agree_too():
    assert_agrees(zoo("lenet5-relu"), 20, threads=2)
    assert_agrees(zoo("convnetjs-cifar10"), 9)
    assert_agrees(zoo("lenet5"), 17, threads=2)


FAST, ALL, HALVES = 36, 536, 12
"""Seeds of every run of the tests; those of the slow ones too; and every so many networks run in bfloat16 too."""
SEEDS = [pytest.param(seed, marks=[pytest.mark.slow] * (seed >= FAST)) for seed in range(ALL)]


@pytest.mark.parametrize("seed", SEEDS)
def test_any_network_that_is_covered_agrees(seed):
    random = Random(seed)
    network, count = network_of(random), random.randint(*IMAGES)
    assert_agrees(network, count, threads=random.choice([1, 1, 2, 3]), seed=seed, exact=10 * EXACT, beside=100 * EXACT)


@pytest.mark.parametrize("seed", SEEDS[::HALVES])
def test_any_network_in_bfloat16_stays_near(seed):
    random = Random(seed)
    network, count = network_of(random), random.randint(*IMAGES)
    weights, (x, labels) = drawn(network, seed), batch_for(network, count, seed)
    compiled = NativeNetwork(network, 2, "sgd", dtype="bfloat16")
    compiled.write_weights(weights)
    scores = compiled.score(x)
    loss, _ = compiled.train(x, labels, 0.1, 0.0, 0.0)
    gradients = compiled.gradients()
    compiled.close()
    exact = forward(network, weights, x).output.reshape(scores.shape)
    assert np.linalg.norm(scores - exact) < 0.1 * np.linalg.norm(exact) + 0.01
    assert np.isfinite(loss)
    assert all(np.isfinite(gradient).all() for gradient in gradients.values())


MIXED = (
    "INPUT[8x8x2] -> LOCAL3-5 -> PRELU -> DROPOUT(0.2) -> DECONV2-6(S=2, P=0) -> GROUPNORM(G=2) -> LRN(alpha=0.1)"
    " -> AUX[SPP(2, 1) -> FC4] -> STOPOOL2 -> GELU -> LCN3 -> FC4"
)


LARGE = (  # what the first convolution and DROPOUT give is made again on the way back
    "INPUT[66x62x2] -> CONV1-5 -> RELU -> CONV3-12 -> RELU -> DROPOUT(0.3) -> CONV3-4 -> RELU -> POOL2 -> CONV3-4"
    " -> GAP -> FC3"
)
WIDE = (
    "INPUT[32x32x3] -> CONV3-8 -> BN -> RELU -> ADD[CONV3-8 -> BN -> RELU -> CONV3-8 -> BN | ID] -> RELU"
    " -> ADD[BN -> RELU -> CONV3-9(S=2, P=1, fit=floor) -> BN -> RELU -> CONV3-9 | SHORTCUT(K=9, S=2)] -> BN -> RELU"
    " -> POOL2 -> CONV3-5 -> BN -> TANH -> CONCAT[CONV1-3 -> BN -> RELU | ID] -> GAP -> FC4"
)


@pytest.mark.parametrize(
    "network", [zoo("lenet5-relu"), Network.parse(MIXED), Network.parse(WIDE)], ids=["lenet", "mixed", "wide"]
)
def test_the_number_of_threads_changes_no_bit(network):
    assert_same_bits(network, (2, 3, 5))


def assert_same_bits(network, counts):
    """Losses and weights of three steps by so many threads are those by one."""
    x, labels = batch_for(network, 70, 1)

    def trained(count):
        compiled = NativeNetwork(network, count, "nesterov")
        compiled.write_weights(drawn(network, 2))
        losses = [compiled.train(x, labels, 0.05, 0.9, 1e-3) for _ in range(3)]
        weights = compiled.read_weights()
        compiled.close()
        return losses, weights

    alone = trained(1)
    for threads in counts:
        np.testing.assert_equal(trained(threads), alone)


NARROW = "INPUT[30x30x2] -> CONV3-5 -> BN -> RELU -> ADD[CONV3-5 -> TANH | ID] -> POOL2 -> GAP -> FC4"


def test_many_groups_share_a_large_batch_of_few_weights():
    network, on = Network.parse(NARROW), Machine(lanes=4, registers=16)
    count = 37 * on.lanes + 3
    x, labels = batch_for(network, count, 1)

    def trained(threads):
        compiled = NativeNetwork(network, threads, "nesterov", on=on)
        assert compiled.program.groups(38) > GROUPS
        compiled.write_weights(drawn(network, 2))
        losses = [compiled.train(x, labels, 0.05, 0.9, 1e-3) for _ in range(2)]
        weights = compiled.read_weights()
        compiled.close()
        return losses, weights

    alone = trained(1)
    for threads in (2, 3, 5):
        np.testing.assert_equal(trained(threads), alone)
    assert_agrees(network, count, threads=2, on=on)


def test_groups_are_as_many_as_are_worth_their_memory():
    narrow, middling, wide = Grouping.of(100, 1_000_000), Grouping.of(1000, 40_000), Grouping.of(10**7, 10**8)
    assert middling == Grouping(few=5, many=20, most=64)  # 4 bytes a number times 50 and 200 multiplications
    assert Grouping.of(10**6, 10**9).most == 33  # 4,000,000 bytes each
    assert [narrow.groups(blocks) for blocks in (1, 2, 3, 7, 8, 9, 64, 1000)] == [1, 2, 2, 4, 8, 8, 64, 64]
    found = [middling.groups(blocks) for blocks in (1, 2, 19, 20, 40, 200, 320, 1280, 9999)]
    assert found == [1, 2, 2, 4, 8, 8, 16, 64, 64]
    assert wide.groups(30) == 2


@pytest.mark.parametrize("text", [WIDE, LARGE])
def test_a_network_whose_margins_are_cleared_agrees(text):
    assert_agrees(Network.parse(text), count=18, threads=2)


@pytest.mark.parametrize(
    "network", [zoo("lenet5"), *map(Network.parse, (MIXED, WIDE, LARGE))], ids=["lenet5", "mixed", "wide", "large"]
)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_what_memory_held_before_changes_no_bit(network, dtype):
    (x, labels), weights = batch_for(network, 35, 1), drawn(network, 2)

    def trained(before):
        compiled = NativeNetwork(network, 2, "sgd", dtype=dtype)
        for images in before:
            compiled.write_weights(weights)
            compiled.score(images)
            compiled.train(images, labels, 0.05, 0.9, 1e-3)
        compiled.write_weights(weights)
        loss, _ = compiled.train(x, labels, 0.05, 0.9, 1e-3)
        return loss, compiled.score(x), compiled.read_weights()

    nothing, no_numbers = trained([]), trained([np.full_like(x, np.nan)])
    assert np.isfinite(nothing[0])
    np.testing.assert_equal(no_numbers, nothing)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("INPUT[8x8x1] -> CONV3-4 -> LRELU(-0.1) -> FC3", "no kernel for LRELU (lrelu1)"),
        ("INPUT[8x8x2] -> POOL8 -> FC3", "max pooling over more than 49 positions (pool1)"),
        ("INPUT[8x8x2] -> STOPOOL8 -> FC3", "stochastic pooling over more than 49 positions (stopool1)"),
        ("INPUT[8x8x2] -> ADD[FLATTEN | FLATTEN] -> FC3", "no kernel for ADD behind FLATTEN (add1)"),
        ("INPUT[8x8x2] -> FLATTEN -> CONV1-3", "no kernel for CONV behind FLATTEN (conv1)"),
        ("INPUT[8x8x2] -> CONV3-2", "ends in a map"),
        ("INPUT[8x8x2] -> AUX[CONV3-2] -> FC2", "no loss for a side output that is a map (aux1)"),
        ("INPUT[8x8x2] -> FC3 -> RELU", ""),
    ],
)
def test_the_layer_that_is_not_covered_is_named(text, says):
    assert says in uncovered(Network.parse(text))
    assert bool(uncovered(Network.parse(text))) == bool(says)


def test_a_residual_block_is_three_stages_and_its_sum_takes_the_normalization_in():
    text = "INPUT[6x6x4] -> ADD[CONV3-4 -> BN -> RELU -> CONV3-4 -> BN | ID] -> RELU -> FC3"
    stages = stages_of(Network.parse(text))
    assert [type(stage).__name__ for stage in stages] == ["Input", "Weighted", "Blend", "Weighted", "Blend", "Weighted"]
    assert [term.source for term in stages[4].terms] == [3, 0]
    assert [term.norm is not None for term in stages[4].terms] == [True, False]
    assert stages[4].activation is not None


def test_the_way_back_through_a_residual_block_is_in_its_convolutions_kernels():
    block = "ADD[CONV3-4 -> BN -> RELU -> CONV3-4 -> BN | ID] -> RELU"
    program = Program(Machine(16, 32), Network.parse(f"INPUT[6x6x4] -> CONV3-4 -> {block} -> {block} -> FC3"), "map")
    kinds = [kind_of(call) for call in program.backward if isinstance(call, Call)]
    assert kinds.count("spread") == 4  # normalization waits for all blocks, and then has a pass
    assert kinds.count("put") == 2  # FC reads the last sum flat, and the first convolution is read twice
    assert "hand" not in kinds
    first, second = program.parts[5], program.parts[9]
    assert first.d is not None
    assert first.d is second.d  # the shortcut's gradient is that of the sum


def test_an_activation_function_in_front_of_max_pooling_moves_behind_it():
    text = "INPUT[9x9x2] -> CONV3-4 -> BN -> RELU -> POOL3(S=2) -> CONV3-4 -> TANH -> POOL2 -> RELU -> POOL2 -> FC3"
    _, _, blend, first, conv, last, _ = stages_of(Network.parse(text))
    assert blend.activation is None
    assert first.activation is not None
    assert conv.ending.activation is not None  # its sums go through both at once
    assert conv.ending.pool == (2, 2)
    assert last.activation is not None


def test_what_follows_a_convolution_runs_in_its_kernel():
    stages = stages_of(zoo("lenet5-relu"))
    assert [type(stage).__name__ for stage in stages] == ["Input", *["Weighted"] * 5]
    assert [stage.ending.pool for stage in stages[1:]] == [(2, 2), (2, 2), (1, 1), (1, 1), (1, 1)]
    assert [stage.ending.activation is not None for stage in stages[1:]] == [True] * 4 + [False]
