r"""fold-batchnorm: normalization by running statistics goes into the weights beside it, where that is exact.

At prediction BN multiplies each channel by s = g / sqrt(v + eps) and adds t = beta - m s. In the CONV, FC, DECONV or
LOCAL before it, whose output nobody else reads:

    w'[k] = s[k] w[k],   b'[k] = s[k] b[k] + t[k]

In the CONV or FC behind it, where all that read it are such and none pads, since a padded zero is not normalised:

    w'[k,c] = w[k,c] s[c],   b'[k] = b[k] + sum over c,u,v of w[k,c,u,v] t[c]

Any other BN stays; `unfolded` says which, and why. The new weights are computed in float64 and rounded to float32.

Source: Jacob et al., "Quantization and training of neural networks for efficient integer-arithmetic-only inference",
CVPR 2018, section 3.2.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RewriteError
from ..layer import Array
from ..layers import Conv
from ..layers.batchnorm import BatchNorm
from ..layers.deconv import Deconv
from ..layers.fc import FullyConnected
from ..layers.local import LocallyConnected
from ..network import Network
from .parts import Part, Rewritten, Weights, own_arrays, readers_of, substituted

Weighted = Conv | FullyConnected | Deconv | LocallyConnected


def fold_batchnorm(network: Network, weights: Weights) -> Rewritten:
    """The network without those BN that can go. Raises RewriteError where there is none, with the reasons."""
    folding = _Folding(network, weights)
    if not folding.gone:
        reasons = "; ".join(f"{name}: {why}" for name, why in folding.kept.items())
        raise RewriteError("no BN can be folded into weights", received=reasons or "a network without BN")
    return folding.rewritten()


def unfolded(network: Network, weights: Weights) -> Iterator[str]:
    """Why each BN that stays does."""
    for name, why in _Folding(network, weights).kept.items():
        yield f"{name} stays: {why}"


class _Folding:
    """The layers and arrays as they are while one BN after another is folded."""

    def __init__(self, network: Network, weights: Weights) -> None:
        self.network, self.weights, self.readers = network, weights, readers_of(network)
        self.layers = [node.layer for node in network.nodes]
        self.arrays: list[dict[str, Array]] = [
            {name: array.astype(np.float64) for name, array in own_arrays(weights, node.name).items()}
            if isinstance(node.layer, Weighted | BatchNorm)
            else {}
            for node in network.nodes
        ]
        self.sources: dict[int, int] = {}
        """What gives the volume of a BN that is gone."""
        self.gone: list[int] = []
        self.kept: dict[str, str] = {}
        self.changed: set[int] = set()
        for k, layer in enumerate(self.layers):
            if isinstance(layer, BatchNorm):
                self._fold(k, layer)

    def _fold(self, k: int, norm: BatchNorm) -> None:
        scale, shift = factors(norm, self.arrays[k])
        (before,) = self.network.nodes[k].inputs
        host = self.sources.get(before, before)
        if self.readers[before] == [k] and isinstance(self.layers[host], Weighted):
            self._into_before(host, scale, shift)
            self.sources[k] = host
        elif why := self._why_not_behind(k):
            place = f"behind {self.network.nodes[before].name}"
            others = ", which others read too" if len(self.readers[before]) > 1 else ""
            self.kept[self.network.nodes[k].name] = f"{place}{others}, and {why}"
            return
        else:
            for reader in self.readers[k]:
                self._into_behind(reader, scale, shift)
        self.gone.append(k)

    def _why_not_behind(self, k: int) -> str:
        """What keeps a BN from going into its readers; empty where nothing does."""
        if not self.readers[k]:
            return "nothing reads it"
        for reader in self.readers[k]:
            layer, name = self.layers[reader], self.network.nodes[reader].name
            if not isinstance(layer, Conv | FullyConnected):
                return f"read by {name}, which is neither CONV nor FC"
            if isinstance(layer, Conv) and (any(layer.padding) or layer.fit == "ceil"):
                return f"read by {name}, which pads with zeros"
        return ""

    def _into_before(self, k: int, scale: Array, shift: Array) -> None:
        layer: Any = self.layers[k]
        own = self.arrays[k]
        tabled = isinstance(layer, Conv) and layer.table is not None
        factor = scale[layer.table_index()[0]] if tabled else scale
        axis = 1 if isinstance(layer, Deconv) else 0
        own["weight"] *= _along(factor, axis, own["weight"].ndim)
        outputs = self.network.shapes[k]
        biases = (outputs.channels, *outputs.spatial) if isinstance(layer, LocallyConnected) else (outputs.channels,)
        bias = own.get("bias", np.zeros(biases))
        own["bias"] = bias * _along(scale, 0, bias.ndim) + _along(shift, 0, bias.ndim)
        self._with_bias(k)

    def _into_behind(self, k: int, scale: Array, shift: Array) -> None:
        layer: Any = self.layers[k]
        own = self.arrays[k]
        (volume,) = self.network.input_shapes(self.network.nodes[k])
        if isinstance(layer, FullyConnected):
            scale, shift = (np.repeat(one, volume.positions) for one in (scale, shift))
            added = own["weight"] @ shift
            own["weight"] *= scale
        elif layer.table is not None:
            outputs, inputs = layer.table_index()
            added = np.zeros(layer.out_channels)
            np.add.at(added, outputs, own["weight"].reshape(len(inputs), -1).sum(axis=1) * shift[inputs])
            own["weight"] *= _along(scale[inputs], 0, own["weight"].ndim)
        else:
            group = np.arange(layer.out_channels) * layer.groups // layer.out_channels
            maps = own["weight"].shape[1]
            each = group[:, None] * maps + np.arange(maps)  # (K, C/G), the input maps of each filter
            added = (own["weight"].reshape(*each.shape, -1).sum(axis=2) * shift[each]).sum(axis=1)
            own["weight"] *= scale[each].reshape(*each.shape, *(1,) * (own["weight"].ndim - 2))
        own["bias"] = own.get("bias", 0.0) + added
        self._with_bias(k)

    def _with_bias(self, k: int) -> None:
        layer: Any = self.layers[k]
        self.layers[k] = replace(layer, bias=True)
        self.changed.add(k)

    def rewritten(self) -> Rewritten:
        nodes = self.network.nodes
        instead: dict[str, tuple[Part, ...]] = {nodes[k].name: () for k in self.gone}
        for k in self.changed:
            rounded: dict[str, NDArray[np.float32]] = {
                name: array.astype(np.float32) for name, array in self.arrays[k].items()
            }
            instead[nodes[k].name] = (Part(self.layers[k], rounded),)
        return substituted(self.network, self.weights, instead)


def factors(norm: BatchNorm, arrays: dict[str, Array]) -> tuple[Array, Array]:
    """s and t of y = s x + t, each (C,)."""
    scale = arrays.get("weight", 1.0) / np.sqrt(arrays["running_var"] + norm.eps)
    return scale, arrays.get("bias", 0.0) - arrays["running_mean"] * scale


def _along(values: Array, axis: int, rank: int) -> Array:
    """One value for each position along an axis of an array of so many axes."""
    return values.reshape([-1 if k == axis else 1 for k in range(rank)])
