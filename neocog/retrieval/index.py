"""An index: features of many images in one file, with their names, labels, and the model and layer they come from.

The file is a sealed safetensors file, as a model's is: arrays, and one JSON document under the key `neocog-index`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ModelFileError, NeocogError
from ..files import (
    Described,
    check_finite,
    check_size,
    read_document,
    read_header,
    read_sealed,
    said_of,
    seal,
    write_atomically,
)
from ..model import Model

FORMAT = 1
KEY = "neocog-index"
MADE_BY = "neocog embed MODEL DATA -o index.safetensors"
FEATURES, LABELS, NAMES = "features", "labels", "names"
LARGEST = 2**40
"""Numbers in an array; a header that says more is damaged."""


@dataclass(frozen=True, eq=False)
class Index:
    """Features (N, D) of N images, with their names and, where these are known, labels (N,) as numbers of `classes`.

    `model` is the fingerprint of the model that made them, `path` where its file was, `layer` and `pool` what they are.
    """

    features: NDArray[np.float32]
    names: tuple[str, ...]
    labels: NDArray[np.int64] | None
    classes: tuple[str, ...]
    model: str
    layer: str
    pool: str
    path: str = ""

    def __len__(self) -> int:
        """How many images there are."""
        return len(self.features)

    def save(self, path: str | Path) -> Path:
        """Write the index to one file, whole or not at all. Raises RunError where it cannot be written."""
        tensors: dict[str, NDArray[Any]] = {FEATURES: self.features, NAMES: _as_bytes(self.names)}
        if self.labels is not None:
            tensors[LABELS] = self.labels
        check_finite({FEATURES: self.features})
        target = Path(path)
        write_atomically(target, seal(KEY, self.described(), tensors))
        return target

    def described(self) -> dict[str, Any]:
        """All but the arrays, as JSON has it."""
        return {
            "format": FORMAT,
            "model": self.model,
            "path": self.path,
            "layer": self.layer,
            "pool": self.pool,
            "classes": list(self.classes),
        }

    def check_model(self, model: Model) -> None:
        """Whether a model is the one that made the features. Raises NeocogError."""
        if (found := model.fingerprint) != self.model:
            raise NeocogError(
                "the index was made by another model, whose features mean something else",
                received=f"fingerprint {found[:12]}, not {self.model[:12]}",
                hint="--model with the file that made it, or neocog embed again",
            )

    def label(self, k: int) -> str | None:
        """The name of an image's class, if it is known."""
        return None if self.labels is None else self.classes[self.labels[k]]


def load_index(path: str | Path) -> Index:
    """The index in a file. Nothing in it is executed, and nothing large is read before it is known to fit.

    Raises ModelFileError for a damaged or foreign file.
    """
    with said_of(path, MADE_BY):
        return _load(Path(path))


def _load(path: Path) -> Index:
    header, stored = read_header(path)
    foreign = ModelFileError("this is no index", hint=MADE_BY)
    document = read_document(header, KEY, FORMAT, foreign)
    count = _check_arrays(header)
    check_size(header, stored)
    tensors = read_sealed(path, document)
    check_finite({FEATURES: tensors[FEATURES]})
    words = {name: document.get(name) for name in ("model", "path", "layer", "pool")}
    classes = document.get("classes")
    if not all(isinstance(word, str) for word in words.values()) or not isinstance(classes, list):
        raise ModelFileError("the description is damaged")
    names, labels = _as_names(tensors[NAMES]), tensors.get(LABELS)
    if len(names) != count or not all(isinstance(name, str) for name in classes):
        raise ModelFileError("the names are damaged")
    if labels is not None and len(labels) and not 0 <= labels.min() <= labels.max() < len(classes):
        raise ModelFileError("labels are numbers of classes, and these are not")
    return Index(tensors[FEATURES], names, labels, tuple(classes), **{name: str(word) for name, word in words.items()})


def _check_arrays(header: Described) -> int:
    """How many images there are. Raises ModelFileError unless the arrays are those of an index."""
    kinds = {FEATURES: ("F32", 2), NAMES: ("U8", 1), LABELS: ("I64", 1)}
    if not {FEATURES, NAMES} <= header.keys() <= kinds.keys():
        raise ModelFileError("the arrays of an index are features, names and labels", received=", ".join(header)[:80])
    for name, entry in header.items():
        shape = entry.get("shape")
        sizes = shape if isinstance(shape, list) else []
        sound = all(isinstance(n, int) and 0 <= n < LARGEST for n in sizes)
        if not sound or (entry.get("dtype"), len(sizes)) != kinds[name]:
            raise ModelFileError(f"{name} is damaged", received=f"{entry.get('dtype')} {shape}"[:80])
    count, width = header[FEATURES]["shape"]
    if min(count, width) < 1 or (LABELS in header and header[LABELS]["shape"] != [count]):
        raise ModelFileError("there are numbers and one label for each of the images, and at least one image")
    return int(count)


def _as_bytes(names: tuple[str, ...]) -> NDArray[np.uint8]:
    """Names one after another; they may hold all but zero."""
    return np.frombuffer("\0".join(names).encode("utf-8", "surrogateescape"), np.uint8)


def _as_names(stored: NDArray[np.uint8]) -> tuple[str, ...]:
    return tuple(stored.tobytes().decode("utf-8", "surrogateescape").split("\0"))
