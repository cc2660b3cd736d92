r"""How well neighbours are of the same class: on images whose classes are known.

    recall@k      the share of queries with at least one image of their class among the k nearest
    precision@k   the share of the k nearest that are of the query's class, averaged over queries

The queries are the index's own images, each looked for among the others; or those of a second index.

Sources: Jegou, Douze and Schmid, "Product quantization for nearest neighbor search", TPAMI 2011, section 5 (recall@k);
Musgrave, Belongie and Lim, "A metric learning reality check", ECCV 2020 (what it hides).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NeocogError
from ..statistics import Interval, share_interval
from .index import Index
from .search import neighbours

AT = (1, 5, 10)


@dataclass(frozen=True)
class Recall:
    """By k, the share of queries that found their class, and the share of neighbours that were of it."""

    queries: int
    images: int
    at: dict[int, float]
    precision: dict[int, float]

    def interval(self, k: int) -> Interval:
        """Where recall@k lies with 95 % confidence, for queries like these (Wilson)."""
        return share_interval(round(self.at[k] * self.queries), self.queries)

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "queries": self.queries,
            "images": self.images,
            "recall": {str(k): share for k, share in self.at.items()},
            "precision": {str(k): share for k, share in self.precision.items()},
        }


def recall(index: Index, queries: Index | None = None) -> Recall:
    """recall@1, 5 and 10 of an index with labels.

    Raises NeocogError where labels are missing, or the two were not made alike.
    """
    asked = index if queries is None else queries
    if index.labels is None or asked.labels is None:
        raise NeocogError("recall needs images whose classes are known", hint="neocog embed MODEL DATA, with labels")
    made = [(one.model, one.layer, one.pool, one.classes) for one in (index, asked)]
    if made[0] != made[1]:
        raise NeocogError("both indexes must come from one model, layer and pooling, with the same classes")
    own = queries is None
    if len(index) <= own:
        raise NeocogError("one image has no neighbours")
    keys, _ = neighbours(index.features, asked.features, max(AT) + own)
    if own:
        keys = _without(keys)
    hits = index.labels[keys] == asked.labels[:, None]
    reached = [k for k in AT if k <= keys.shape[1]] or [keys.shape[1]]
    at = {k: float(hits[:, :k].any(axis=1).mean()) for k in reached}
    return Recall(len(asked), len(index), at, {k: float(hits[:, :k].mean()) for k in reached})


def _without(keys: NDArray[np.int64]) -> NDArray[np.int64]:
    """Each row without its own number; where copies of the image crowded that out, without its last."""
    count, wide = keys.shape
    own = keys == np.arange(count)[:, None]
    own[~own.any(axis=1), -1] = True
    others: NDArray[np.int64] = keys[~own].reshape(count, wide - 1)
    return others
