"""A model as a program of torch: `torch.export`, with a batch of any size.

The file is a zip archive. Its operators are named, and torch looks the names up and calls them; expressions for sizes
are evaluated. So whoever loads one runs what its maker chose, as with a pickle: only load what you trust.
"""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..data import Preprocessing
from ..errors import NeocogError
from ..files import canonical, write_atomically
from ..model import Model

DOCUMENT = "neocog.json"


class Preprocessed(nn.Module):
    """Images (N, H, W, C) of the network's size, as bytes, on their way into a network."""

    scale: Tensor
    shift: Tensor

    def __init__(self, preprocessing: Preprocessing, network: nn.Module) -> None:
        super().__init__()
        for name, values in zip(("scale", "shift"), preprocessing.coding, strict=True):
            self.register_buffer(name, torch.from_numpy(values).reshape(-1, 1, 1))
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """The network's scores."""
        scores: Tensor = self.network(images.permute(0, 3, 1, 2).float() * self.scale + self.shift)
        return scores


def write_program(model: Model, path: Path, *, inside: bool = True) -> None:
    """Write a `.pt2` file: `torch.export.load(path).module()(x)` gives scores of x (N, C, H, W), or with preprocessing
    `inside` of images (N, H, W, C) of bytes.

    Raises NeocogError for a network that torch does not export, and RunError where the file cannot be written.
    """
    module, preprocessing = model.module(), model.preprocessing
    shape = model.network.input_shape
    x = torch.zeros(2, shape.channels, *shape.spatial)
    if inside:
        if not preprocessing.fits:
            raise NeocogError(
                "in a program of torch, images must have the size of the network's input",
                received=f"{preprocessing.source} for {preprocessing.size}",
                hint="--preprocessing beside",
            )
        x = torch.zeros(2, *shape.spatial, shape.channels, dtype=torch.uint8)
        module = Preprocessed(preprocessing, module).eval()
    batch = torch.export.Dim("batch", min=1)
    try:
        with warnings.catch_warnings(action="ignore"), torch.no_grad():
            program = torch.export.export(module, (x,), dynamic_shapes=({0: batch},))
    except Exception as error:  # whatever torch raises, it is not exported
        reason = str(error).split("\n")[0][:200]
        raise NeocogError("torch does not export this network", received=f"{type(error).__name__}: {reason}") from None
    content = io.BytesIO()
    torch.export.save(program, content, extra_files={DOCUMENT: canonical(document(model, inside=inside))})
    write_atomically(path, content.getvalue())


def document(model: Model, *, inside: bool) -> dict[str, Any]:
    """What the model file says beside its arrays, and which torch wrote the program."""
    return model.document() | {"torch": torch.__version__, "inside": inside}
