"""An engine that is given another's state goes on exactly as that one does."""

from __future__ import annotations

import numpy as np
import pytest

from neocog import ModelFileError, Network
from neocog.initialise import initialise
from neocog.native import optimizers as native
from neocog.native.trainer import NativeTrainer
from neocog.torch_engine.optimizers import OPTIMIZERS
from neocog.torch_engine.trainer import TorchTrainer

TEXTS = {
    "plain": "INPUT[8x8x2] -> CONV3-5 -> RELU -> POOL2 -> DROPOUT(0.3) -> FC4",
    "normalised": "INPUT[8x8x2] -> CONV3-6(G=2) -> BN -> PRELU -> ADD[ CONV3-6 | ID ] -> STOPOOL2 -> FC4",
    "tables": 'INPUT[6x6x4] -> CONV3-6(TABLE="0 1; 1 2; 2 3; 3 0; 0 1 2; 1 2 3") -> TANH -> SUBSAMPLE2 -> FC4',
}
ENGINES = pytest.mark.parametrize("engine", [NativeTrainer, TorchTrainer])
CASES = [
    (engine, text, optimizer, ema)
    for engine, known in ((NativeTrainer, native.OPTIMIZERS), (TorchTrainer, OPTIMIZERS))
    for optimizer, ema in [*((name, 0.0) for name in known), ("adamw", 0.9)]
    for text in TEXTS
    if text == "plain" or ema or optimizer == "nesterov"
]
"""Every optimizer on one network; on the others the one that training takes by itself, and the one with most state."""
RNG = np.random.default_rng(3)


def made(engine, network, seed=1, **settings):
    weights = initialise(network, seed)
    return engine(network, weights, loss="cross-entropy", device="cpu", weight_decay=0.01, seed=5, **settings)


def batches(network, count):
    h, w = network.input_shape.spatial
    size = (count, 20, network.input_shape.channels, h, w)
    return RNG.standard_normal(size).astype(np.float32), RNG.integers(0, 4, (count, 20))


def same(a, b):
    assert a.keys() == b.keys()
    return all(np.array_equal(a[name], b[name]) and a[name].dtype == b[name].dtype for name in a)


@pytest.mark.parametrize(("engine", "text", "optimizer", "ema"), CASES)
@pytest.mark.parametrize("after", [0, 3])
def test_what_is_restored_goes_on_as_what_it_was_read_from(engine, text, optimizer, ema, after):
    network = Network.parse(TEXTS[text])
    first, x_labels = made(engine, network, optimizer=optimizer, ema=ema), batches(network, 6)
    for k in range(after):
        first.step(x_labels[0][k], x_labels[1][k], 0.01)
    second = made(engine, network, seed=2, optimizer=optimizer, ema=ema)
    assert not same(first.weights(), second.weights())
    second.step(x_labels[0][5], x_labels[1][5], 0.3)  # so that all of its state is another
    second.restore(first.state())
    assert same(first.state(), second.state())
    assert same({"x": first.scores(x_labels[0][0])}, {"x": second.scores(x_labels[0][0])})
    for k in range(after, 6):
        results = [one.step(x_labels[0][k], x_labels[1][k], 0.01) for one in (first, second)]
        assert results[0] == results[1]
    assert same(first.state(), second.state())
    assert same(first.weights(), second.weights())


@ENGINES
def test_a_state_is_a_copy(engine):
    network = Network.parse(TEXTS["plain"])
    trainer, (x, labels) = made(engine, network, ema=0.5), batches(network, 2)
    trainer.step(x[0], labels[0], 0.1)
    state = trainer.state()
    before = {name: array.copy() for name, array in state.items()}
    trainer.step(x[1], labels[1], 0.1)
    assert same(state, before)
    assert not same(state, trainer.state())


def without(state):
    return {name: array for name, array in state.items() if name != "weights/fc1.bias"}


@ENGINES
@pytest.mark.parametrize(
    "change",
    [
        without,
        lambda state: state | {"weights/fc9.bias": np.zeros(4, np.float32)},
        lambda state: state | {"weights/fc1.bias": np.zeros(5, np.float32)},
        lambda state: state | {"weights/fc1.bias": np.zeros(4, np.float64)},
        lambda state: state | {"more": np.array(1)},
        lambda state: {name: array for name, array in state.items() if name != "updates"},
        lambda state: {name: array[:1] if array.ndim == 4 else array for name, array in state.items()},
    ],
)
def test_the_state_of_something_else_is_refused_and_changes_nothing(engine, change):
    network = Network.parse(TEXTS["plain"])
    trainer, (x, labels) = made(engine, network), batches(network, 1)
    trainer.step(x[0], labels[0], 0.1)
    before = trainer.state()
    with pytest.raises(ModelFileError, match="state"):
        trainer.restore(change(dict(before)))
    assert same(trainer.state(), before)
