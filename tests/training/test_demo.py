"""The main promise, kept in full: LeNet-5 as published learns to read MNIST."""

import re
from pathlib import Path

import pytest

from neocog import load_data, zoo
from neocog.training import train

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_lenet5_reads_ninety_nine_percent_of_the_test_digits(tmp_path):
    """`make demo` with another seed than the documented ones."""
    (recipe,) = re.findall(r"^DEMO = .* train lenet5 mnist (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    words = recipe.split()
    given = {name.lstrip("-").replace("-", "_"): value for name, value in zip(words[::2], words[1::2], strict=True)}
    kinds = {"epochs": int, "augment": str, "lr": float, "weight_decay": float, "init": str}
    settings = {name: kinds[name](value) for name, value in given.items()}
    model = train(zoo("lenet5"), load_data("mnist"), seed=3, out=tmp_path / "run", progress="none", **settings)
    assert model.record["test_images"] == 10_000
    assert model.record["test_accuracy"] >= 0.99
