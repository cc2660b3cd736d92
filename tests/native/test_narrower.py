"""Few images in a step: vectors no wider than they need, half the memory, and the same answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from test_networks import EXACT, MIXED, assert_agrees, batch_for, drawn, far

from neocog import Network, zoo
from neocog.initialise import initialise
from neocog.native.footprint import Footprint
from neocog.native.jit import Machine, machine
from neocog.native.optimizers import OPTIMIZERS
from neocog.native.program import Program
from neocog.native.trainer import NativeTrainer
from neocog.reference import forward

AVX512, AVX2, NEON = Machine(16, 32, dots=True), Machine(8, 16), Machine(4, 32)
PARALLEL = zoo("lenet5-relu")


@pytest.mark.parametrize(
    ("whole", "count", "lanes"),
    [
        *((AVX512, 1, 4), (AVX512, 4, 4), (AVX512, 5, 8), (AVX512, 8, 8), (AVX512, 9, 16), (AVX512, 64, 16)),
        *((AVX2, 3, 4), (AVX2, 5, 8), (NEON, 1, 4), (Machine(1, 16), 1, 1)),
    ],
)
def test_vectors_are_no_wider_than_images_fill(whole, count, lanes):
    used = whole.for_images(count, pairs=True)
    assert used.lanes == lanes
    assert used.whole == whole
    assert used.for_images(count, pairs=True) == used


def test_products_by_tiles_keep_theirs():
    tiles = replace(AVX512, tiles=True)
    assert tiles.for_images(4, pairs=True) == tiles
    assert tiles.for_images(4, pairs=False) == Machine(4, 32, dots=True, wide=4)


@pytest.mark.parametrize("count", [2, 7])
@pytest.mark.parametrize("text", [str(PARALLEL), MIXED], ids=["lenet", "mixed"])
def test_a_step_of_few_images_is_the_reference_step(text, count):
    assert_agrees(Network.parse(text), count, threads=2, on=machine().for_images(count, pairs=False))


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_made_by_narrower_vectors_predict_alike(dtype):
    settings = {"loss": "cross-entropy", "dtype": dtype, "threads": 1}
    weights, (x, _) = drawn(PARALLEL, 1), batch_for(PARALLEL, 40, 2)
    few, many = (NativeTrainer(PARALLEL, weights, batch_size=size, **settings) for size in (3, 64))
    np.testing.assert_equal(few.scores(x[:1]), many.scores(x[:1]))  # one image has a plan of its own
    np.testing.assert_equal(few.state(), many.state())
    scores = forward(PARALLEL, weights, x).output
    for trainer in (few, many):
        assert far(trainer.scores(x), scores) < (EXACT if dtype == "float32" else 0.02)


@pytest.mark.parametrize("batch_size", [3, 8])
def test_a_trainer_of_few_images_learns_as_it_is_taught(batch_size):
    weights, (x, labels) = initialise(PARALLEL), batch_for(PARALLEL, batch_size, 2)
    made = [NativeTrainer(PARALLEL, weights, loss="cross-entropy", batch_size=size) for size in (batch_size, 64)]
    losses = [[trainer.step(x, labels, 0.01)[0] for _ in range(5)] for trainer in made]
    np.testing.assert_allclose(*losses, rtol=1e-3)
    assert losses[0][-1] < losses[0][0]


def test_what_is_kept_of_few_images_takes_half_the_memory():
    network = zoo("resnet20")

    def taken(on):
        program = Program(on, network, "cross-entropy")
        return Footprint.of(program, batch=8, threads=2, optimizer=OPTIMIZERS["nesterov"], training=True)

    whole, narrow = taken(AVX512), taken(AVX512.for_images(8, pairs=False))
    assert narrow.kept == whole.kept / 2
    assert narrow.arenas == whole.arenas / 2
    assert narrow.weights == whole.weights
