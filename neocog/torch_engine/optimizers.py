"""The optimizers that torch trains with, by name."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from ..errors import NeocogError
from .muon import Muon
from .rates import grouped

OPTIMIZERS = ("sgd", "momentum", "nesterov", "adamw", "muon")


def make_optimizer(
    module: nn.Module, name: str, momentum: float, weight_decay: float, factors: Mapping[str, float] | None = None
) -> torch.optim.Optimizer:
    """The optimizer over groups: weights decay, biases and other arrays of one axis do not, and each has its `factor`.

    `sgd` is plain; `momentum` and `nesterov` are Sutskever et al., 2013; `adamw` is Loshchilov and Hutter, arXiv
    1711.05101; `muon` is for the weights before the last layer's, see muon.py. Raises NeocogError for another name.
    """
    if name not in OPTIMIZERS:
        raise NeocogError(f"optimizer is one of {', '.join(OPTIMIZERS)}", received=f"optimizer={name}")
    owned = {name: p for name, p in module.named_parameters() if p.requires_grad}
    kernels = [k for k, p in owned.items() if p.dim() > 1][:-1] if name == "muon" else []
    turned, groups = (
        grouped({k: p for k, p in owned.items() if (k in kernels) == wanted}, weight_decay, factors or {})
        for wanted in (True, False)
    )
    if name == "muon":
        made: torch.optim.Optimizer = Muon(turned, groups, momentum)
    elif name == "adamw":
        made = torch.optim.AdamW(groups, lr=1.0, fused=True)
    else:
        velocity = 0.0 if name == "sgd" else momentum
        made = torch.optim.SGD(groups, lr=1.0, momentum=velocity, nesterov=name == "nesterov", fused=True)
    device = next(iter(owned.values())).device
    for group in made.param_groups if device.type == "cuda" else ():
        group.update(lr=torch.ones((), device=device), capturable=True)  # so that a step can be recorded
    return made
