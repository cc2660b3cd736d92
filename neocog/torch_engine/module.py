"""The module: one submodule per layer under the layer's name, run in the network's order."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ..initialise import initialise
from ..network import Network, Turn, schedule


class NetworkModule(nn.Module):
    """A network as a torch module. Parameters are named `<node>.<parameter>`: `conv1.weight`.

    `x` is (N, C, H, W) or (N, C, L) of any floating type; images need not have the planned size where every
    layer allows another (no FC). `cuts` are those of `plan.recomputing`: pieces of the network whose forward pass
    training makes again instead of keeping what it comes to.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network
        for node in network.nodes:
            self.add_module(node.name, node.layer.module(*network.input_shapes(node)))
        self.frozen: tuple[str, ...] = ()
        self.cuts: tuple[int, ...] = ()
        self._for_scores = schedule(network, training=False)
        self._for_outputs = schedule(network, training=True)

    def train(self, mode: bool = True) -> NetworkModule:
        """Have the layers behave as in training; those in `frozen` always behave as in prediction."""
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).train(False)
        return self

    def run(self, x: Tensor) -> list[Tensor]:
        """Every node's output volume, in the order of `network.nodes`."""
        volumes: list[Tensor] = []
        for node in self.network.nodes:
            inputs = [volumes[i] for i in node.inputs] or [x]
            volumes.append(self.get_submodule(node.name)(*inputs))
        return volumes

    def forward(self, x: Tensor) -> Tensor:
        """Scores (N, K) when the last volume is a vector, else that volume (N, K, H', W'). No side branch is run."""
        return self._run(x, self._for_scores)[self.network.nodes[-1].name]

    def outputs(self, x: Tensor) -> dict[str, Tensor]:
        """What training learns from, by node name: the last node's scores and those of side branches (AUX)."""
        if not self.cuts:
            return self._run(x, self._for_outputs)
        found: dict[str, Tensor] = {}
        turns = self._for_outputs
        for start, end in pairwise((0, *self.cuts, len(turns))):
            piece = turns[start:end]
            if end < len(turns):
                volumes = checkpoint(self._volumes, x, piece, use_reentrant=False, context_fn=self._twice)
                x = volumes.pop(piece[-1].position)
            else:
                volumes = self._volumes(x, piece)
            found |= {self.network.nodes[k].name: as_scores(y) for k, y in volumes.items()}
        return found

    def _twice(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """What the two forward passes of a piece run in."""
        return nullcontext(), self._statistics_kept()

    @contextmanager
    def _statistics_kept(self) -> Iterator[None]:
        """Have running statistics stay as they are: those of a batch are taken in once."""
        norms = [m for m in self.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
        before = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = 0.0
        try:
            yield
        finally:
            for norm, momentum in zip(norms, before, strict=True):
                norm.momentum = momentum

    def _run(self, x: Tensor, turns: Sequence[Turn]) -> dict[str, Tensor]:
        """The volumes that are left after these turns, as scores."""
        return {self.network.nodes[k].name: as_scores(y) for k, y in self._volumes(x, turns).items()}

    def _volumes(self, x: Tensor, turns: Sequence[Turn]) -> dict[int, Tensor]:
        """The volumes that are left after these turns, of which x is what the first reads."""
        volumes = dict.fromkeys(self.network.nodes[turns[0].position].inputs, x)
        for k, dropped in turns:
            node = self.network.nodes[k]
            inputs = [volumes[i] for i in node.inputs] or [x]
            volumes[k] = self.get_submodule(node.name)(*inputs)
            for i in dropped:
                del volumes[i]  # so that inference holds only what is still needed
        return volumes


def as_scores(y: Tensor) -> Tensor:
    """(N, K, 1, 1) -> (N, K); a map stays one."""
    return y.flatten(1) if all(n == 1 for n in y.shape[2:]) else y


def build(
    network: Network, seed: int = 0, init: str = "auto", weights: Mapping[str, NDArray[Any]] | None = None
) -> NetworkModule:
    """A module with freshly initialised weights (`init` as in `initialise`), or with the given ones.

    Raises ShapeError when the network cannot be run on its own input.
    """
    module = NetworkModule(network)
    write_weights(module, initialise(network, seed, init) if weights is None else weights)
    return module


def write_weights(module: nn.Module, weights: Mapping[str, NDArray[Any]]) -> None:
    """Copy arrays into a module's parameters and buffers of the same names."""
    own = module.state_dict()
    with torch.no_grad():
        for name, array in weights.items():
            own[name].copy_(
                torch.from_numpy(np.require(array, requirements=["C", "W"]))
            )  # no copy where none is needed


def read_weights(module: NetworkModule) -> dict[str, NDArray[np.float32]]:
    """Copies of every array that the network's layers own, as float32 on the CPU."""
    own = module.state_dict()
    names = [
        f"{node.name}.{name}"
        for node in module.network.nodes
        for name in node.layer.parameters(*module.network.input_shapes(node))
    ]
    return {name: own[name].detach().to("cpu", torch.float32, copy=True).numpy() for name in names}
