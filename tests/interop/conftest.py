from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from neocog import Network
from neocog.zoo import text


def at_size(name: str, size: int) -> Network:
    """A network of the zoo for smaller images."""
    return Network.parse(re.sub(r"INPUT\[\d+x\d+", f"INPUT[{size}x{size}", text(name)))


@pytest.fixture(scope="session")
def small() -> Callable[[str, int], Network]:
    return at_size


@pytest.fixture
def witness(tmp_path: Path) -> Path:
    """A file that code in a pickle would make."""
    return tmp_path / "witness"
