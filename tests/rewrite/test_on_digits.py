"""Really trained networks, on all of the test digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from neocog import Model, Network, load_data, train, zoo
from neocog.data import Splits
from neocog.predict import evaluate
from neocog.retrieval import Index, embed, recall
from neocog.rewrite import apply

TEXTS = {
    "lenet5-relu": str(zoo("lenet5-relu")),
    "residual": "INPUT[28x28x1] -> CONV5-8 -> BN -> RELU -> POOL2"
    " -> ADD[CONV3-8(G=2) -> BN -> RELU -> CONV3-8 -> BN | ID] -> RELU -> POOL2"
    " -> CONV3-16(G=2) -> BN -> RELU -> GAP -> FC10",
    "averaging": "INPUT[28x28x1] -> AVGPOOL2 -> CONV5-4 -> TANH -> AVGPOOL2 -> FC10",
}


@pytest.fixture(scope="module")
def digits() -> Splits:
    return load_data("mnist")


@pytest.fixture(scope="module")
def models(digits) -> dict[str, Model]:
    return {name: train(Network.parse(text), digits, epochs=1, progress="none") for name, text in TEXTS.items()}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("network", "rewrite", "options"),
    [
        ("lenet5-relu", "fc-to-conv", {}),
        ("residual", "fc-to-conv", {}),
        ("residual", "fold-batchnorm", {}),
        ("residual", "split-groups", {}),
        ("residual", "merge-groups", {"dense": True}),
        ("averaging", "conv-to-fc", {}),
        ("averaging", "pool-to-stride", {}),
    ],
)
def test_as_many_digits_are_read_as_before(models, digits, network, rewrite, options: dict[str, Any]):
    made, report = apply(models[network], rewrite, **options)
    before, after = evaluate(models[network], digits.test), evaluate(made, digits.test)
    assert after.top1 == before.top1 > 0.9
    np.testing.assert_array_equal(after.confusion, before.confusion)
    assert report.verification.same_class == 1


@pytest.mark.slow
def test_a_quarter_of_the_filters_can_go_and_most_digits_are_still_read(models, digits):
    made, report = apply(models["lenet5-relu"], "prune-channels", layer="conv2", share=0.25)
    figures = {figure.name: figure for figure in report.difference.figures}
    assert (figures["parameters"].b, figures["macs"].b) == (49_102, 344_520)
    assert evaluate(made, digits.test).top1 > 0.97


@pytest.mark.slow
def test_neighbours_are_of_the_same_class_as_often_as_the_network_is_right(models, digits):
    model, test = models["lenet5-relu"], digits.test
    features = np.concatenate([*embed(model, np.array_split(test.images, 40), "relu4")])
    names = tuple(map(str, range(len(test))))
    found = recall(Index(features, names, test.labels, test.classes, "", "relu4", "mean"))
    assert found.at[1] > 0.98
    assert found.at[10] > 0.995
