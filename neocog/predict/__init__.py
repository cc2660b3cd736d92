"""Using a model: classify images, and measure it on data."""

from __future__ import annotations

from .classify import Prediction as Prediction
from .classify import predict as predict
from .evaluate import Evaluation as Evaluation
from .evaluate import evaluate as evaluate
from .exporting import export as export

__all__ = ["Evaluation", "Prediction", "evaluate", "export", "predict"]
