"""Learning rates that differ within a network: which parameters an optimizer gets, and in which groups."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from ..network import Network
from .module import NetworkModule


def frozen_statistics(network: Network, factors: Mapping[str, float]) -> tuple[str, ...]:
    """The layers that take statistics of a batch, but not where the factors of all their arrays are 0."""
    coupled = [node for node in network.nodes if node.layer.couples_batch]
    kinds = [node.layer.parameters(*network.input_shapes(node)) for node in coupled]
    return tuple(
        node.name
        for node, own in zip(coupled, kinds, strict=True)
        if not any(factors.get(f"{node.name}.{kind}", 1.0) for kind in own)
    )


def freeze(module: NetworkModule, factors: Mapping[str, float]) -> None:
    """Have parameters with the factor 0 stay as they are, and their layers' running statistics too."""
    for name, parameter in module.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and factors.get(name, 1.0) != 0)
    module.frozen = frozen_statistics(module.network, factors)
    module.train(module.training)


def grouped(
    parameters: Mapping[str, nn.Parameter], weight_decay: float, factors: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Parameters by weight decay and by factor on the learning rate: arrays of one axis do not decay."""
    groups: dict[tuple[bool, float], dict[str, Any]] = {}
    for name, parameter in parameters.items():
        decays, factor = parameter.dim() > 1, factors.get(name, 1.0)
        fresh = {"params": [], "weight_decay": weight_decay if decays else 0.0, "factor": factor}
        groups.setdefault((decays, factor), fresh)["params"].append(parameter)
    return sorted(groups.values(), key=lambda group: (-group["factor"], group["params"][0].dim() <= 1))
