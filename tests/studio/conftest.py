from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from studio_requests import Answer, ask, reach

from neocog.studio import Workshop, guarded
from neocog.studio.security import Keys

PORT = 8765
SMALL = "INPUT[28x28x1] -> POOL2 -> CONV3-4 -> RELU -> POOL2 -> FC10"
"""Learns digits, and a step takes no time."""


@pytest.fixture(scope="module")
def workshop() -> Iterator[Workshop]:
    made = Workshop()
    yield made
    made.close()


@pytest.fixture(scope="module")
def keys() -> Keys:
    return Keys()


@pytest.fixture(scope="module")
def app(workshop, keys) -> Any:
    return guarded(workshop, keys, PORT)


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
def digits(workshop) -> Any:
    """A run that has learned digits for a little while, and rests."""
    live = workshop.begin(SMALL, "mnist", {"seed": 1})
    reach(live, 60)
    live.pause(True)
    live.ask(lambda: None).result()
    return live
