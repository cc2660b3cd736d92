from __future__ import annotations

from collections.abc import Callable

import pytest
from exports import RESIDUAL, made_model

from neocog import Model


@pytest.fixture(scope="session")
def make() -> Callable[..., Model]:
    return made_model


@pytest.fixture(scope="session")
def residual() -> Model:
    return made_model(RESIDUAL)
