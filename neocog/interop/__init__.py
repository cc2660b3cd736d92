"""Networks and weights from elsewhere: torch modules and ONNX files, other libraries' weights both ways."""

from __future__ import annotations

from .from_onnx import from_onnx as from_onnx
from .from_torch import from_torch as from_torch
from .from_torch import network_of as network_of
from .imported import Imported as Imported
from .weights import export_weights as export_weights
from .weights import import_weights as import_weights
