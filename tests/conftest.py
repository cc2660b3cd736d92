"""What holds for the whole suite."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from neocog import files


@pytest.fixture(autouse=True, scope="session")
def own_cache(tmp_path_factory):
    """Compiled code and what is known of the machine, for the tests alone: the user's cache decides nothing.

    Processes that share the tests share it, so that none compiles what another has.
    """
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(files.CACHE, str(folder / "cache"))
        yield


_STATES: dict[int, Any] = {}


@pytest.fixture(autouse=True)
def own_chance(request):
    """A module's generator begins anew with each of its tests: none depends on those that ran before."""
    for value in vars(request.module).values():
        if isinstance(value, np.random.Generator):
            value.bit_generator.state = _STATES.setdefault(id(value), value.bit_generator.state)


def pytest_make_parametrize_id(val: object) -> str | None:
    """Bytes name no test: an archive holds the time it was made, so two processes would name one test differently."""
    return "bytes" if isinstance(val, bytes) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests marked `gpu` are not collected where there is none, so that none is ever counted as passed or skipped."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        config.hook.pytest_deselected(items=marked)
        items[:] = [item for item in items if item not in marked]
