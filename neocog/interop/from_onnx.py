"""An ONNX file of anybody's read into the notation: its network, and its weights under the network's names."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import ModelFileError
from ..layer import Shape
from ..model import weight_shapes
from .from_torch import shape_of
from .imported import Imported, imported
from .onnx_graph import read


def from_onnx(path: str | os.PathLike[str], shape: Shape | str | None = None) -> Imported:
    """The network that the graph in a file is, with its weights.

    The graph takes (N, C, H, W) or (N, C, L) and gives scores or a map. `shape` is one image's, as in INPUT; without it
    the file must say. Nothing in the file is run. Raises ModelFileError for a file that cannot be used, and NeocogError
    naming an operator that is no layer, weights used twice, and branches that cross.
    """
    network, weights = imported(read(Path(path), None if shape is None else shape_of(shape)))
    for name, described in weight_shapes(network).items():
        if list(weights[name].shape) != described["shape"]:
            raise ModelFileError(
                f"{name} does not fit its layer, which has {described['shape']}",
                where=str(path),
                received=str(list(weights[name].shape)),
            )
    return Imported(network, weights)
