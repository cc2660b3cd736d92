from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from studio_requests import RUNNER, Answer, ask, reach

from neocog.data import Splits, load_data
from neocog.studio import Workshop, guarded, workshop
from neocog.studio.security import Keys

PORT = 8765
SMALL = "INPUT[28x28x1] -> POOL2 -> CONV3-4 -> RELU -> POOL2 -> FC10"
"""Learns digits, and a step takes no time."""


@pytest.fixture(autouse=True, scope="session")
def _one_loop() -> Iterator[None]:
    yield
    RUNNER.close()


@pytest.fixture(scope="module")
def few_digits() -> Iterator[None]:
    """Runs get a tenth of the digits, so that they begin at once."""
    whole = load_data("mnist")
    some = Splits(whole.train.subset(np.arange(6000)), whole.test.subset(np.arange(1000)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(workshop, "load_data", lambda name, shape: some if name == "mnist" else load_data(name, shape))
        yield


@pytest.fixture(scope="module")
def shop(few_digits) -> Iterator[Workshop]:
    made = Workshop()
    yield made
    made.close()


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


@pytest.fixture(scope="module")
def app(shop, keys) -> Any:
    return guarded(shop, keys, PORT)


@pytest.fixture(scope="module")
def session(keys) -> str:
    found = keys.exchange(keys.token)
    assert found
    return found


@pytest.fixture(scope="module")
def api(app, session) -> Callable[..., Answer]:
    """A request of somebody who may ask."""

    def asked(method: str, path: str, body: Any = None, **more: Any) -> Answer:
        return ask(app, method, f"/api/{path}", body, key=session, **more)

    return asked


@pytest.fixture(scope="module")
def digits(shop) -> Any:
    """A run that has learned digits for a little while, and rests."""
    live = shop.begin(SMALL, "mnist", {"seed": 1})
    reach(live, 60)
    live.pause(True)
    live.ask(lambda: None).result()
    return live
