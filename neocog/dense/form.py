"""A network in the form that slides: `rewrite.fc_to_conv`, on images of any size, with RBF behind it if it ends so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..errors import NeocogError, RewriteError, ShapeError
from ..layers.auxiliary import Auxiliary
from ..layers.rbf import RBF
from ..network import Network
from ..rewrite.fc_to_conv import fc_to_conv
from ..rewrite.parts import Fork, Part, Piece, Weights, at_size, mapped, put_together, take_apart
from ..spelling import Dims
from .cuts import NONE, Cuts, cuts_for, hangs, macs, most_alive
from .reach import Reach, reach
from .sight import Sight

if TYPE_CHECKING:
    from torch import nn

Volume = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Form:
    """A network whose every layer slides, its weights, what its cells see, and the RBF that ends the original, if any.

    `cuts` take strides out: then the map is finer by `factor` along each axis. `sight` is that of the network as it is.
    """

    network: Network
    weights: Weights
    sight: Sight
    codes: NDArray[np.float32] | None = None
    """Of an RBF layer (K, D): K squared distances are taken at each position, which is what it does to one."""
    factor: Dims = ()
    cuts: Cuts = NONE

    @classmethod
    def of(cls, network: Network, weights: Weights) -> Form:
        """Raises RewriteError naming a layer that cannot slide, NeocogError for a network that gives a map."""
        sight = Sight.of(network)
        parts, codes = mapped(take_apart(network, weights), _without_sides), None
        if isinstance(last := parts[-1], Part) and isinstance(last.layer, RBF):
            parts, codes = parts[:-1], np.asarray(last.arrays["codes"], np.float32)
        sliding = fc_to_conv(*put_together(parts))
        return cls(sliding.network, sliding.weights, sight, codes, (1,) * len(sight.jump))

    def finer(self, factor: Dims) -> Form:
        """With its last strides taken out. Raises RewriteError where they do not multiply to the factor."""
        return replace(self, factor=factor, cuts=cuts_for(self.network, factor))

    @cached_property
    def stride(self) -> Dims:
        """How many pixels the cells of a map are apart."""
        return tuple(j // f for j, f in zip(self.sight.jump, self.factor, strict=True))

    def cells(self, size: Sequence[int]) -> Dims:
        """How many cells an image gives. Raises DataError for one that is smaller than the window."""
        return self.sight.at(self.stride).cells(size)

    def whole(self, cells: Dims) -> Dims:
        """The size of image that is run for so many cells: every part is as large as the largest."""
        full = tuple(-(-n // f) * f for n, f in zip(cells, self.factor, strict=True))
        return self.sight.at(self.stride).pixels(full)

    def sized(self, cells: Dims) -> Network:
        """The network for that size."""
        return at_size(self.network, self.whole(cells))

    def macs(self, cells: Dims) -> int:
        """The multiply-adds of a pass that gives so many cells."""
        own = macs(self.sized(cells), self.cuts)
        return own + (0 if self.codes is None else self.codes.size * math.prod(cells))

    def bytes(self, cells: Dims) -> int:
        """What a pass holds at its fullest moment: with parameters, images and workspace, as the plan has it.

        With cuts, of which a plan knows nothing, the volumes alive without workspace.
        """
        network = self.sized(cells)
        if not self.cuts.at:
            return network.plan().memory["inference_bytes"]
        return 4 * (most_alive(network, self.cuts) + sum(array.size for array in self.weights.values()))

    def reach(self, cells: Dims, axis: int) -> list[tuple[slice, Reach]]:
        """For each part of a map of so many cells: which of the axis' cells it has, and which of them see padding."""
        network, real = self.sized(cells), self.sight.at(self.stride).pixels(cells)[axis]
        factor = self.factor[axis]
        return [(slice(part, None, factor), reach(network, axis, self.cuts, part, real)) for part in range(factor)]

    def scores(self, x: Volume) -> Volume:
        """One pass: x (N, C, *size) -> (N, K, *cells); what lies behind the last cell's window is not read."""
        import torch

        from .parted import put_together as joined

        cells = self.cells(x.shape[2:])
        real, size = self.sight.at(self.stride).pixels(cells), self.whole(cells)
        read = first(x, real)
        if size != real:
            read = np.pad(read, [(0, 0), (0, 0), *((0, n - m) for n, m in zip(size, real, strict=True))])
        with torch.inference_mode():
            y = self._module(size)(torch.from_numpy(np.ascontiguousarray(read))).numpy()
        full = tuple(-(-n // f) for n, f in zip(cells, self.factor, strict=True))
        y = joined(y.reshape(-1, y.shape[1], *full), self.cuts.order, len(x))
        y = first(y, cells)
        return y if self.codes is None else _distances(y, self.codes)

    @cached_property
    def _modules(self) -> dict[Dims, nn.Module]:
        return {}

    def _module(self, size: Dims) -> nn.Module:
        """One module is for all sizes, unless a convolution hangs over the edge: that one pads for its own size."""
        from torch import nn

        from ..torch_engine import InferenceModule
        from .parted import Parted

        key = size if any(hangs(node) for node in self.network.nodes) else ()
        if key not in self._modules:
            self._modules.clear()
            network = at_size(self.network, size)
            module = InferenceModule.of(network, self.weights)
            for k, cut in self.cuts.at.items():
                name = network.nodes[k].name
                module.add_module(name, nn.Sequential(Parted(cut), module.get_submodule(name)))
            self._modules[key] = module
        return self._modules[key]


def of_one_cell(network: Network) -> Network:
    """The network on images of one window: itself, or where it gives a map, on the size that a single cell takes.

    Raises NeocogError for a map of which no smaller image gives a single cell.
    """
    last = network.shapes[-1]
    if last.positions == 1:
        return network
    refusal = NeocogError(
        "a score map is made of windows that have one score for each class, and this network gives a map of whose "
        "cells no image has a single one",
        received=str(last),
    )
    jumps = [axis.jump for axis in network.plan().rows[-1].field]
    sides = zip(network.input_shape.spatial, last.spatial, jumps, strict=True)
    size = [n - (cells - 1) * int(jump or n) for n, cells, jump in sides]
    if min(size) < 1:
        raise refusal
    try:
        single = at_size(network, size)
        if single.shapes[-1].positions == 1:
            return single
    except (RewriteError, ShapeError):
        pass
    raise refusal


def _without_sides(piece: Piece) -> tuple[Piece, ...]:
    """Nothing for a side branch (AUX), which does not run at prediction."""
    return () if isinstance(piece, Fork) and isinstance(piece.join.layer, Auxiliary) else (piece,)


def first(volume: Volume, size: Sequence[int]) -> Volume:
    """The part of a volume (N, C, *larger) that lies before that size."""
    part = (slice(None), slice(None), *(slice(n) for n in size))
    return volume[part]


def _distances(y: Volume, codes: Volume) -> Volume:
    """Squared distances of each position's D values to K codes: (N, D, *cells) -> (N, K, *cells)."""
    squares = (y * y).sum(1, keepdims=True) + (codes * codes).sum(1).reshape(1, -1, *(1,) * (y.ndim - 2))
    return np.asarray(squares - 2 * np.moveaxis(np.tensordot(codes, y, ([1], [1])), 0, 1), np.float32)
