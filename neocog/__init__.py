"""neocog: a convolutional network as one line of text, known completely before it runs.

    >>> from neocog import Network
    >>> net = Network.parse("INPUT[28x28x1] -> CONV5-6 -> RELU -> POOL2 -> FC10")
    >>> net.plan().totals["parameters"]
    11926

The names below are the public ones. Those that need torch load it when first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import DataError as DataError
from .errors import ModelFileError as ModelFileError
from .errors import NeocogError as NeocogError
from .errors import NotationError as NotationError
from .errors import RewriteError as RewriteError
from .errors import RunError as RunError
from .errors import ShapeError as ShapeError
from .errors import SpellingError as SpellingError
from .network import Network as Network
from .zoo import zoo as zoo

if TYPE_CHECKING:
    from .data import load_data as load_data
    from .model import Model as Model
    from .model import load as load
    from .training import resume as resume
    from .training import train as train

__version__ = "0.1.0"

_LATER = {"load_data": "data", "Model": "model", "load": "model", "train": "training", "resume": "training"}


def __getattr__(name: str) -> Any:
    """Load the rooms that need torch or data only when they are asked for (PEP 562)."""
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f".{_LATER[name]}", __name__), name)
