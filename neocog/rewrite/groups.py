r"""split-groups and merge-groups: a grouped convolution is several side by side, and one with blocks of zeros.

    split-groups    CONV F-K(G=g)  ->  CONCAT[ CONV F-(K/g)(TABLE of its own C/g input maps) | ... ]; where that table
                    is longer than a text may hold, CONV1-(C/g)(TABLE) -> CONV F-(K/g), the first handing its maps on
    merge-groups    the inverse: such a CONCAT, or one of convolutions over the same maps, becomes one CONV
    --dense         merge-groups of CONV F-K(G=g) with G=1: its weight is the blocks on the diagonal, zeros elsewhere

Weights are moved, not changed; parameters and MACs stay the same, but for the zeros of --dense
and the C ones that hand maps on.

Source: Krizhevsky, Sutskever and Hinton, 2012, section 3.5 (two towers, facts C12).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..errors import RewriteError
from ..layers import Conv
from ..layers.concat import Concat
from ..layers.conv import TABLE, Table
from ..network import Network
from ..notation.limits import QUOTED
from .parts import (
    Fork,
    Part,
    Parts,
    Piece,
    Rewritten,
    Weights,
    mapped,
    own_arrays,
    position_of,
    put_together,
    substituted,
    take_apart,
)


def split_groups(network: Network, weights: Weights, layer: str | None = None) -> Rewritten:
    """Every CONV with G > 1, or the one named, as branches. Raises RewriteError where there is none."""
    instead: dict[str, Sequence[Piece]] = {}
    for k in _grouped(network, layer):
        node = network.nodes[k]
        (volume,) = network.input_shapes(node)
        instead[node.name] = (_branches(node.layer, own_arrays(weights, node.name), volume.channels),)
    return substituted(network, weights, instead)


def _grouped(network: Network, layer: str | None) -> list[int]:
    found = (
        [k for k, node in enumerate(network.nodes) if isinstance(node.layer, Conv) and node.layer.groups > 1]
        if layer is None
        else [position_of(network, layer, Conv)]
    )
    grouped = [k for k in found if getattr(network.nodes[k].layer, "groups", 1) > 1]
    if not grouped:
        raise RewriteError("there is no CONV with groups", received=layer or "", hint="CONV3-8(G=2)")
    return grouped


def _branches(layer: object, own: Weights, channels: int) -> Fork:
    """For each group a CONV that reads its own maps by a table, or behind one that hands them on."""
    if not isinstance(layer, Conv):
        raise RewriteError("only CONV has groups", received=str(layer))
    per, maps = layer.out_channels // layer.groups, channels // layer.groups
    arms: list[Parts] = []
    for g in range(layer.groups):
        part, read = slice(g * per, (g + 1) * per), range(g * maps, (g + 1) * maps)
        arrays = {name: array[part] for name, array in own.items()}
        table = (tuple(read),) * per
        if not _is_short(table):
            alone = replace(layer, out_channels=per, groups=1)
            arms.append((_handing_on(read, own["weight"].ndim - 2), Part(alone, arrays)))
        else:
            arrays["weight"] = arrays["weight"].reshape(per * maps, *own["weight"].shape[2:])
            arms.append((Part(replace(layer, out_channels=per, groups=1, table=table), arrays),))
    return Fork(Part(Concat()), tuple(arms))


def _is_short(table: Table) -> bool:
    """Whether a text may hold the table."""
    return len(TABLE.write(table)) <= QUOTED


def _handing_on(read: Sequence[int], rank: int) -> Part:
    """A CONV1 that gives these maps as they are."""
    conv = Conv((1,), len(read), bias=False, table=tuple((k,) for k in read))
    return Part(conv, {"weight": np.ones((len(read), *(1,) * rank), np.float32)})


def merge_groups(network: Network, weights: Weights, layer: str | None = None, dense: bool = False) -> Rewritten:
    """Each CONCAT of convolutions alike as one CONV; with `dense` each CONV with G > 1 as one with G = 1.

    Raises RewriteError where there is nothing to merge.
    """
    if dense:
        instead: dict[str, Sequence[Piece]] = {}
        for k in _grouped(network, layer):
            node = network.nodes[k]
            (volume,) = network.input_shapes(node)
            instead[node.name] = (_block_diagonal(node.layer, own_arrays(weights, node.name), volume.channels),)
        return substituted(network, weights, instead)
    channels = {node.name: network.input_shapes(node)[0].channels for node in network.nodes if node.inputs}
    merged: list[str] = []

    def change(piece: Piece) -> Sequence[Piece]:
        if layer in (None, piece.name) and isinstance(piece, Fork) and (one := _merged(piece, channels)):
            merged.append(piece.name)
            return (one,)
        return (piece,)

    parts = mapped(take_apart(network, weights), change)
    if not merged:
        raise RewriteError(
            "there is no CONCAT of convolutions that are alike", received=layer or "", hint="--dense merges CONV(G=2)"
        )
    return put_together(parts)


def _block_diagonal(layer: object, own: Weights, channels: int) -> Part:
    if not isinstance(layer, Conv):
        raise RewriteError("only CONV has groups", received=str(layer))
    per, maps = layer.out_channels // layer.groups, channels // layer.groups
    weight = np.zeros((layer.out_channels, channels, *own["weight"].shape[2:]), np.float32)
    for g in range(layer.groups):
        weight[g * per : (g + 1) * per, g * maps : (g + 1) * maps] = own["weight"][g * per : (g + 1) * per]
    return Part(replace(layer, groups=1), {**own, "weight": weight})


def _merged(fork: Fork, channels: dict[str, int]) -> Part | None:
    """The one CONV that branches of a CONCAT are; None where they are not."""
    singles = [one for arm in fork.arms if (one := _single(arm)) is not None]
    layers = [part.layer for part in singles if isinstance(part.layer, Conv)]
    if not isinstance(fork.join.layer, Concat) or not len(layers) == len(singles) == len(fork.arms):
        return None
    if any(
        replace(one, out_channels=1, table=None, groups=1) != replace(layers[0], out_channels=1, table=None, groups=1)
        for one in layers
    ):
        return None
    total = sum(one.out_channels for one in layers)
    arrays = {name: np.concatenate([part.arrays[name] for part in singles]) for name in singles[0].arrays}
    inputs = channels[fork.arms[0][0].name]
    if all(one.table is None and one.groups == 1 for one in layers):
        return Part(replace(layers[0], out_channels=total), arrays)
    if any(one.table is None for one in layers):
        return None
    rows = [row for one in layers for row in one.table or ()]
    groups, maps = len(layers), inputs // len(layers)
    in_blocks = [tuple(range(g * maps, (g + 1) * maps)) for g in range(groups) for _ in range(total // groups)]
    if rows == in_blocks and len({one.out_channels for one in layers}) == 1 and inputs % groups == 0:
        weight = arrays["weight"].reshape(total, maps, *arrays["weight"].shape[1:])
        return Part(replace(layers[0], out_channels=total, groups=groups, table=None), {**arrays, "weight": weight})
    table = tuple(rows)
    return Part(replace(layers[0], out_channels=total, table=table), arrays) if _is_short(table) else None


def _single(arm: Parts) -> Part | None:
    """The one CONV that a branch is, its table naming the maps that one before it hands on; None for another branch."""
    parts = [part for part in arm if isinstance(part, Part)]
    if len(parts) == len(arm) == 1:
        return parts[0]
    if len(parts) != len(arm) or len(arm) != 2:
        return None
    first, last = parts[0].layer, parts[1].layer
    if not isinstance(first, Conv) or not isinstance(last, Conv) or first.table is None or last.table is not None:
        return None
    read = [row[0] for row in first.table]
    rank = parts[1].arrays["weight"].ndim - 2
    if first != _handing_on(read, rank).layer or last.groups > 1 or not (parts[0].arrays["weight"] == 1).all():
        return None
    weight = parts[1].arrays["weight"]
    table = (tuple(read),) * last.out_channels
    return Part(replace(last, table=table), {**parts[1].arrays, "weight": weight.reshape(-1, *weight.shape[2:])})
