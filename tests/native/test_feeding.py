"""Courses of steps on images that are bytes: what step after step on numbers gives, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest

from neocog import Network
from neocog.feed import ONE, Course, Pixels
from neocog.initialise import initialise
from neocog.native.engine import NativeNetwork
from neocog.native.jit import Machine
from neocog.native.trainer import NativeTrainer

NETS = {
    "narrow": "INPUT[9x3x1] -> CONV3-3 -> BN -> RELU -> DROPOUT(0.3) -> FC4",
    "wide": "INPUT[5x37x3] -> CONV3-4 -> RELU -> FC4",
    "exact": "INPUT[7x16x3] -> CONV3-3(P=0) -> TANH -> FC4",
    "grey": "INPUT[20x18x1] -> CONV3-4 -> RELU -> POOL2 -> FC4",
    "large": "INPUT[45x64x3] -> CONV3-3(S=3, fit=floor) -> BN -> RELU -> FC4",
}
ROWS = 70


def course_for(network, *, moves, sizes=(37, 36, 36), seed=0):
    """Mini-batches of unequal blocks, of images that come up more than once."""
    rng, shape = np.random.default_rng(seed), network.input_shape
    images = rng.integers(0, 256, (ROWS, *shape.spatial, shape.channels), np.uint8)
    scale, shift = rng.random((2, shape.channels)).astype(np.float32) / 100
    total = sum(sizes)
    moved = None
    if moves:
        moved = np.array([0, ONE, 0, 0, 0, ONE], np.int32) + rng.integers(-ONE // 6, ONE // 6, (total, 6), np.int32)
        moved[:, [0, 3]] += rng.integers(-3 * ONE, 3 * ONE, (total, 2), np.int32)
    rows, labels = rng.integers(0, ROWS, total), rng.integers(0, 4, total)
    return Course(Pixels(images, scale, shift - 1), rows, labels, moved, np.array(sizes), np.array([0.02, 0.01, 0.03]))


def trainer(network, **settings):
    return NativeTrainer(
        network, initialise(network, 1), loss="cross-entropy", weight_decay=0.01, **{"threads": 1, **settings}
    )


def assert_same(found, expected):
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)


@pytest.mark.parametrize("moves", [False, True], ids=["as-they-are", "moved"])
@pytest.mark.parametrize(("optimizer", "net"), [*(("nesterov", net) for net in NETS), ("adamw", next(iter(NETS)))])
def test_a_course_is_its_steps_one_by_one(optimizer, net, moves):
    network = Network.parse(NETS[net])
    course = course_for(network, moves=moves)
    at_once, one_by_one = (trainer(network, optimizer=optimizer) for _ in range(2))
    taken = at_once.learn(course)
    expected = [one_by_one.step(x, labels, lr) for x, labels, lr in course.batches()]
    assert list(zip(taken.losses.tolist(), taken.right.tolist(), strict=True)) == expected
    assert_same(at_once.weights(), one_by_one.weights())
    assert at_once.step(*course.batch(0), 0.1) == one_by_one.step(*course.batch(0), 0.1)


@pytest.mark.parametrize(("threads", "moves"), [(2, True), (3, False), (5, True)])
def test_the_number_of_threads_changes_no_bit(threads, moves):
    network = Network.parse(NETS["narrow"])
    alone, together = (trainer(network, threads=count, ema=0.9) for count in (1, threads))
    for seed in range(3):
        course = course_for(network, moves=moves, seed=seed)
        for found, expected in zip(together.learn(course), alone.learn(course), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert_same(together.weights(), alone.weights())
    assert_same(together._network.read_weights(latest=True), alone._network.read_weights(latest=True))


@pytest.mark.parametrize("lanes", [4, 8])
def test_other_processors_are_fed_the_same(lanes):
    network = Network.parse(NETS["wide"])
    course = course_for(network, moves=True)
    made = [NativeNetwork(network, 1, "sgd", on=Machine(lanes, registers=16)) for _ in range(2)]
    for compiled in made:
        compiled.write_weights(initialise(network, 1))
    made[0].learn(course, 0.0, 0.0)
    for x, labels, lr in course.batches():
        made[1].train(x, labels, lr, 0.0, 0.0)
    assert_same(made[0].read_weights(), made[1].read_weights())


@pytest.mark.parametrize("threads", [1, 2])
def test_a_loss_that_is_not_finite_ends_a_course_and_changes_nothing(threads):
    network = Network.parse(NETS["grey"])
    good = course_for(network, moves=False)
    rates = np.array([0.02, 1e30, 0.03])
    bad = Course(good.pixels, good.rows, good.labels, None, good.sizes, rates)
    stopped, before = trainer(network, threads=threads, ema=0.5), trainer(network, ema=0.5)
    taken = stopped.learn(bad)
    assert np.isfinite(taken.losses).tolist() == [True, True, False]
    assert taken.right[2] == 0
    for k in range(2):
        before.step(*bad.batch(k), rates[k])
    assert_same(stopped._network.read_weights(latest=True), before._network.read_weights(latest=True))
    assert_same(stopped.weights(), before.weights())
    assert stopped.steps == before.steps + 1


def test_a_data_set_of_other_bytes_is_read_next():
    """Nothing of the images before is kept."""
    network = Network.parse(NETS["exact"])
    both, second = trainer(network), trainer(network)
    courses = [course_for(network, moves=moves, seed=seed) for seed, moves in ((0, True), (1, False))]
    for x, labels, lr in courses[0].batches():
        second.step(x, labels, lr)
    for course in courses:
        taken = both.learn(course)
    np.testing.assert_array_equal(second.learn(courses[1]).losses, taken.losses)
    assert_same(both.weights(), second.weights())


@pytest.mark.parametrize("text", ["INPUT[20x17x1] -> FC4", "INPUT[20x18x2] -> FC4", "INPUT[360x1] -> FC4"])
def test_images_that_are_no_input_are_refused(text):
    course = course_for(Network.parse(NETS["grey"]), moves=False)
    with pytest.raises(ValueError, match=r"images of \(20, 18, 1\) bytes are no input of"):
        trainer(Network.parse(text)).learn(course)
