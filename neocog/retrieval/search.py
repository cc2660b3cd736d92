"""The images of an index whose features are nearest to those of others, by the angle between them.

The search is exact: every image of the index is looked at, so what is found depends on the features alone. faiss does
it block by block, by products of matrices, so that no matrix of all similarities is ever there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NeocogError
from ..wording import count_of
from .index import Index

Features = NDArray[np.float32]


@dataclass(frozen=True)
class Neighbour:
    """An image of the index, and the cosine of the angle between its features and the query's: 1 is the same."""

    name: str
    label: str | None
    similarity: float

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"name": self.name, "label": self.label, "similarity": self.similarity}


def nearest(index: Index, queries: Features, top: int = 5) -> list[list[Neighbour]]:
    """For each row of features (Q, D) the nearest images of the index, the most similar first.

    Raises NeocogError where the rows are of another length than the index's.
    """
    keys, similarities = neighbours(index.features, queries, top)
    return [
        [Neighbour(index.names[k], index.label(k), float(s)) for k, s in zip(row, found, strict=True)]
        for row, found in zip(keys.tolist(), similarities, strict=True)
    ]


def neighbours(features: Features, queries: Features, top: int) -> tuple[NDArray[np.int64], Features]:
    """The rows of `features` (N, D) that are nearest to each query (Q, D), and their cosines, both (Q, top).

    Raises NeocogError where the rows have different lengths, or queries are not finite.
    """
    if top < 1:
        raise NeocogError("top is how many images to find, from 1", received=f"top={top}")
    if queries.ndim != 2 or queries.shape[1] != features.shape[1]:
        raise NeocogError(
            f"the index has {count_of(features.shape[1], 'number')} for an image",
            received=f"{queries.shape[-1]:,}",
            hint="the same layer and pooling",
        )
    if not np.isfinite(queries).all():
        raise NeocogError("numbers that are not finite are near to nothing", hint="a layer that does not overflow")
    try:
        import faiss
    except ImportError:
        raise NeocogError("searching needs the package faiss-cpu", hint="pip install 'neocog[retrieval]'") from None
    products = faiss.METRIC_INNER_PRODUCT
    similarities, keys = faiss.knn(unit(queries), unit(features), min(top, len(features)), metric=products)
    return keys, similarities


def unit(features: Features) -> Features:
    """Rows of length 1; a row of zeros stays one. The largest value becomes 1 first, for its square may overflow."""
    largest = np.maximum(features.max(axis=1, keepdims=True), -features.min(axis=1, keepdims=True))
    scaled: Features = np.ascontiguousarray(features / np.where(largest > 0, largest, 1), np.float32)
    scaled /= np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), 1)
    return scaled
