"""All that torch's next training step depends on, as arrays by name: `<kind>/<node>.<parameter>`.

Kinds are those of modules, as `weights`, and the optimizer's own names, as `momentum_buffer`. What an optimizer has not
made yet, since no step was taken or no gradient came, has no array.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..errors import ModelFileError
from .module import NetworkModule, read_weights, write_weights
from .muon import Muon

MOMENTS: dict[type[torch.optim.Optimizer], tuple[set[str], ...]] = {
    torch.optim.SGD: ({"momentum_buffer"},),
    torch.optim.AdamW: ({"exp_avg", "exp_avg_sq", "step"},),
    Muon: ({"momentum_buffer"}, {"exp_avg", "exp_avg_sq", "step"}),
}
"""What an optimizer keeps for a parameter that has had a gradient: one of these sets, or nothing."""


def read_state(modules: Mapping[str, NetworkModule], optimizer: torch.optim.Optimizer) -> dict[str, NDArray[Any]]:
    """Copies of the arrays of modules, by kind, and of what the optimizer keeps for the parameters of `weights`."""
    found = {f"{kind}/{name}": array for kind, one in modules.items() for name, array in read_weights(one).items()}
    for name, parameter in modules["weights"].named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor):
                found[f"{key}/{name}"] = value.detach().to("cpu", copy=True).contiguous().numpy()
    return found


def write_state(
    modules: Mapping[str, NetworkModule], optimizer: torch.optim.Optimizer, state: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    """Set modules and optimizer to what `read_state` found; returns what else there is.

    Raises ModelFileError, before anything is changed, where that was read from something else.
    """
    rest = dict(state)
    arrays = {kind: _taken(rest, kind, read_weights(one)) for kind, one in modules.items()}
    parameters = dict(modules["weights"].named_parameters())
    moments = {name: _moments(rest, name, one, MOMENTS[type(optimizer)]) for name, one in parameters.items()}
    if unknown := sorted(name for name in rest if "/" in name):
        raise ModelFileError("the state has arrays that this training does not", received=unknown[0][:80])
    for kind, module in modules.items():
        write_weights(module, arrays[kind])
    for name, kept in moments.items():
        _set(optimizer.state[parameters[name]], kept, parameters[name])
    return rest


def _taken(rest: dict[str, NDArray[Any]], kind: str, own: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """The arrays of a module, which must have them all, out of the rest."""
    found = {name: rest.pop(f"{kind}/{name}", None) for name in own}
    for name, array in found.items():
        if array is None or array.shape != own[name].shape or array.dtype != own[name].dtype:
            raise ModelFileError("the state lacks an array of the network", received=f"{kind}/{name}")
    return {name: array for name, array in found.items() if array is not None}


def _moments(
    rest: dict[str, NDArray[Any]], name: str, parameter: Tensor, kept: tuple[set[str], ...]
) -> dict[str, NDArray[Any]]:
    """What the optimizer keeps for one parameter, out of the rest."""
    found = {key: rest.pop(f"{key}/{name}") for key in sorted(set().union(*kept)) if f"{key}/{name}" in rest}
    shapes = {array.shape for array in found.values()} - {tuple(parameter.shape), ()}
    if shapes or found.keys() not in (set(), *kept) or any(array.dtype != np.float32 for array in found.values()):
        raise ModelFileError("the optimizer's state does not fit a parameter", received=name)
    return found


def _set(held: dict[str, Any], kept: Mapping[str, NDArray[Any]], parameter: Tensor) -> None:
    """Make what the optimizer holds for a parameter what was kept; where it holds such a tensor, the same one.

    A new one lies in memory as the parameter does, which fused optimizers take for granted.
    """
    for key in held.keys() - kept.keys():
        del held[key]
    for key, array in kept.items():
        if key not in held:
            made = torch.empty_like(parameter.detach())
            held[key] = made if array.shape == parameter.shape else torch.empty((), device=parameter.device)
        held[key].copy_(torch.from_numpy(np.array(array)))
