from __future__ import annotations

from collections.abc import Callable

import pytest
from exports import RESIDUAL, made_model

from neocog import Model, train, zoo


@pytest.fixture(scope="session")
def make() -> Callable[..., Model]:
    return made_model


@pytest.fixture(scope="session")
def residual() -> Model:
    return made_model(RESIDUAL)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> Model:
    """LeNet-5 as published, after two epochs of MNIST."""
    out = tmp_path_factory.mktemp("run") / "lenet5"
    how = {"epochs": 2, "lr": 0.0025, "weight_decay": 0.0, "engine": "native"}
    return train(zoo("lenet5"), "mnist", progress="none", out=out, **how)
