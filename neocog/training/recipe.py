"""A whole training run as one small file: network, data and settings, in TOML.

    network = "INPUT[28x28x1] -> CONV5-8 -> RELU -> POOL2 -> FC10"
    data = "mnist"
    epochs = 2
    augment = "shift=1"

The settings are those of `train`, under their names there.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import NeocogError
from ..files import near_name

TEXTS = (
    *("optimizer", "schedule", "rates", "augment", "sampling", "init", "start", "loss", "class_weights"),
    *("tta", "engine", "device", "dtype"),
)
WHOLE = ("epochs", "batch_size", "accumulate", "seed", "validation", "measure_every", "patience")
FLAGS = ("whiten",)
REAL = ("lr", "momentum", "weight_decay", "warmup", "clip", "ema", "label_smoothing", "target_accuracy")
WANTED = {str: "a text in quotes", bool: "true or false", int: "a whole number", float: "a number"}
LARGEST = 1 << 16
"""Bytes of a file."""


@dataclass(frozen=True)
class Recipe:
    """The network and the data as they were written, and the arguments of `train` beside them."""

    network: str
    data: str
    settings: Mapping[str, Any]


def read_recipe(path: str | Path) -> Recipe:
    """The recipe in a file. Raises NeocogError for a file that holds none, with its name."""
    try:
        return _checked(tomllib.loads(_text(Path(path))))
    except tomllib.TOMLDecodeError as error:
        raise NeocogError("a recipe is a TOML file", where=str(path), received=str(error)) from None
    except NeocogError as error:
        raise error.at(str(path)) from None


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
        if len(content) <= LARGEST:
            return content.decode()
        reason = f"more than {LARGEST} bytes"
    except UnicodeDecodeError as error:
        reason = f"no text in UTF-8, at byte {error.start}"
    except (OSError, ValueError) as error:  # ValueError for a name with a zero byte
        reason = getattr(error, "strerror", None) or str(error)
    hint = near_name(path) or "a file of settings, as docs/recipes.md shows some"
    raise NeocogError("this recipe cannot be read", received=reason, hint=hint)


def _checked(values: dict[str, Any]) -> Recipe:
    kinds: dict[str, tuple[type, ...]] = dict.fromkeys(("network", "data", *TEXTS), (str,))
    kinds |= dict.fromkeys(FLAGS, (bool,)) | dict.fromkeys(WHOLE, (int,)) | dict.fromkeys(REAL, (int, float))
    for name, value in values.items():
        if name not in kinds:
            raise NeocogError("a recipe has no such setting", received=name[:40], hint=", ".join(kinds))
        if not isinstance(value, kinds[name]) or isinstance(value, bool) != (name in FLAGS):
            wanted = WANTED[kinds[name][-1]]
            raise NeocogError(f"{name} is {wanted}", received=f"{name} = {value!r}"[:80])
    for name in ("network", "data"):
        if name not in values:
            raise NeocogError(f"a recipe says which {name} it is for", hint=f'{name} = "..."')
    return Recipe(values.pop("network"), values.pop("data"), values)
