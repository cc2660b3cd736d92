"""Weights of other libraries: `layouts` knows their names, `state` reads their files, `exchange` goes both ways."""

from __future__ import annotations

from .exchange import FORMATS as FORMATS
from .exchange import WeightsError as WeightsError
from .exchange import export_weights as export_weights
from .exchange import import_weights as import_weights
