"""The oldest network of the zoo learns what its author had in mind for it."""

import pytest

from neocog import load_data, zoo
from neocog.training import train


@pytest.mark.slow
def test_neocognitron_reads_nine_of_ten_digits_after_one_epoch(tmp_path):
    """MNIST's 28x28 are made smaller until they fit the paper's 16x16."""
    model = train(zoo("neocognitron"), load_data("mnist"), epochs=1, seed=1, out=tmp_path / "run", progress="none")
    assert model.record["test_images"] == 10_000
    assert model.record["test_accuracy"] >= 0.9
