"""A step that computes volumes twice learns exactly what the plain step learns."""

from __future__ import annotations

import numpy as np
import pytest

from neocog import Network
from neocog.initialise import initialise
from neocog.plan.recomputing import recomputing
from neocog.torch_engine.trainer import TorchTrainer

NETWORKS = {
    "norms and shortcuts": "INPUT[8x8x2] -> CONV3-4 -> [ADD[ CONV3-4 -> BN -> RELU -> CONV3-4 | ID ] -> BN]*3 -> FC3",
    "dropout": "INPUT[8x8x2] -> [CONV3-4 -> TANH -> DROPOUT(0.3)]*4 -> FC3",
    "side outputs": (
        "INPUT[8x8x2] -> CONV3-4 -> AUX(0.3)[ GAP -> FC3 ] -> [CONV3-4 -> TANH]*3 -> AUX(0.2)[ FC3 ] -> CONV3-4 -> FC3"
    ),
}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("text", NETWORKS.values(), ids=NETWORKS)
def test_every_bit_is_that_of_the_plain_step(text, dtype):
    network = Network.parse(text)
    cuts = recomputing(network, 16, dtype, "momentum").cuts
    assert cuts
    rng = np.random.default_rng(3)
    batches = [(rng.standard_normal((16, 2, 8, 8)).astype(np.float32), rng.integers(0, 3, 16)) for _ in range(3)]
    made = []
    for given in ((), cuts):
        trainer = TorchTrainer(
            network, initialise(network, 1), loss="cross-entropy", device="cpu", dtype=dtype, cuts=given, seed=7
        )
        losses = [trainer.step(x, labels, 0.1)[0] for x, labels in batches]
        made.append((losses, trainer.state()))
    assert made[0][0] == made[1][0]
    for name, array in made[0][1].items():
        np.testing.assert_array_equal(made[1][1][name], array, err_msg=name)
