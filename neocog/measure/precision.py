"""Running in another precision than float32, as mixed-precision training does."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from ..errors import NeocogError
from ..torch_engine.trainer import TorchTrainer

DTYPES = ("float32", "bfloat16")


def check_dtype(dtype: str) -> None:
    """Raise NeocogError for one that the engine does not compute in."""
    if dtype not in DTYPES:
        raise NeocogError(f"times are measured in {' or '.join(DTYPES)}", received=f"dtype={dtype}")


def autocast(dtype: str, device: torch.device) -> AbstractContextManager[object]:
    """The precision that layers run in; parameters stay float32."""
    return nullcontext() if dtype == "float32" else torch.autocast(device.type, dtype=getattr(torch, dtype))


def set_precision(trainer: TorchTrainer, dtype: str) -> None:
    """Let a trainer's network run in that precision, and give float32 to the loss."""
    if dtype == "float32":
        return
    device, module = torch.device(trainer.device), trainer.module
    forward, outputs = module.forward, module.outputs

    def scores(x: Tensor) -> Tensor:
        with autocast(dtype, device):
            return forward(x).float()

    def learned_from(x: Tensor) -> dict[str, Tensor]:
        with autocast(dtype, device):
            return {name: y.float() for name, y in outputs(x).items()}

    module.forward, module.outputs = scores, learned_from  # type: ignore[method-assign]
