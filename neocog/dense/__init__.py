"""Dense evaluation: a model's scores for every window of an image of any size, in one pass or a few."""

from __future__ import annotations

from .average import Averaging as Averaging
from .average import averaged as averaged
from .boxes import Found as Found
from .boxes import boxes as boxes
from .prove import Proof as Proof
from .prove import prove as prove
from .scoremap import ScoreMap as ScoreMap
from .scoremap import score as score

__all__ = ["Averaging", "Found", "Proof", "ScoreMap", "averaged", "boxes", "prove", "score"]
