"""What computes a model's outputs: engines of our own and others' runtimes, and which of them is fastest here."""

from __future__ import annotations

from .base import Runtime as Runtime
from .choice import Choice as Choice
from .choice import choose as choose
from .opened import open_model as open_model
from .table import RUNTIMES as RUNTIMES
