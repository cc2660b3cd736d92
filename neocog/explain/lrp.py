r"""Layer-wise relevance propagation: the score is handed back layer by layer, and none of it gets lost.

Each output j of a layer hands its relevance R_j to its inputs i in proportion to what they gave it:

    R_i = sum over j of  z_ij / (sum over i of z_ij + bias part) * R_j

| layer                              | z_ij                                                                     |
|------------------------------------|--------------------------------------------------------------------------|
| CONV, LOCAL, DECONV, SUBSAMPLE     | the positive part of x_i w_ij, and of the bias (alpha 1, beta 0)         |
| FC                                 | x_i w_ij and the bias, the sum moved from 0 by epsilon                   |
| POOL, SPP                          | all to the largest value                                                 |
| L2POOL, others that are linear     | x_i times its derivative, epsilon as for FC                              |
| RBF                                | (x_i - c_ij)^2, the terms of the distance                                |
| ADD, AVGPOOL, GAP                  | the magnitude of each value                                              |
| CONCAT                             | its own channels                                                         |
| activations, LRN, LCN, GN, any BN  | passed on as it is (BN: where it is multiplied into no weights)          |

BN behind a convolution or FC is multiplied into its weights first. What biases receive, and what no input argued for,
is counted, so that conservation can be checked: inputs + biases = score. With a layer, the relevance of its maps is
shown in place of the input's.

Sources: Bach et al., PLoS ONE 10 (7), 2015; Montavon et al., "Layer-wise relevance propagation: an overview", 2019
(which rule where).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from ..errors import NeocogError
from ..layers.add import Add
from ..layers.avgpool import AvgPool
from ..layers.batchnorm import BatchNorm
from ..layers.concat import Concat
from ..layers.conv import Conv
from ..layers.deconv import Deconv
from ..layers.fc import FullyConnected
from ..layers.gap import GlobalAvgPool
from ..layers.groupnorm import GroupNorm
from ..layers.lcn import LocalContrastNorm
from ..layers.local import LocallyConnected
from ..layers.lrn import LocalResponseNorm
from ..layers.rbf import RBF
from ..layers.subsample import Subsample
from ..network import fused
from ..wording import Text
from .guided_backprop import bends
from .method import Asked, Attributed, Attribution
from .placing import onto_image, spatial
from .subject import Subject, Target, scale_and_offset

EPSILON = 1e-6
BIASES = Text("biases hold {0:.0%} of the score", "偏置占得分的 {0:.0%}")
WEIGHTED = (Conv, LocallyConnected, Deconv, Subsample)
PASSED = (BatchNorm, GroupNorm, LocalResponseNorm, LocalContrastNorm)


class Handed(NamedTuple):
    """The relevance of a layer's inputs, and (n,) of what its biases received."""

    inputs: tuple[Tensor, ...]
    biases: Tensor | float = 0.0


def attribute(subject: Subject, x: Tensor, asked: Asked) -> Attributed:
    """The relevance of the input's values, or of a layer's maps over the image."""
    place = asked.layer or 0
    row = spatial(subject, place, METHOD.name)
    found, gaps, notes = [], [], []
    for part in subject.batches(len(x), backward=True):
        relevance, biases, score = propagate(subject, x[part], asked.target.of(part), place)
        total = relevance.flatten(1).double().sum(1)
        gaps.append((total + biases - score).abs() / score.abs().clamp(min=1e-12))
        found.append(relevance)
        shares = biases / torch.where(score == 0, 1.0, score)
        notes += [BIASES.filled(abs(share)) for share in shares.tolist()]
    values = torch.cat(found)
    if place:
        values = onto_image(values.sum(1), row.field, tuple(x.shape[2:]))[:, None]
    return Attributed(values, torch.cat(gaps).cpu().numpy().astype(np.float64), notes)


def propagate(subject: Subject, x: Tensor, target: Target, place: int) -> tuple[Tensor, Tensor, Tensor]:
    """The relevance at a position (n, K, *size), what biases held by then (n,), and the score (n,).

    The images run at once. Raises NeocogError where the score does not depend on the position.
    """
    nodes, end = subject.network.nodes, target.position
    order = [k for k in subject.order if k <= end]
    norms = {host: k for k, host in fused(subject.network).items() if isinstance(nodes[k].layer, BatchNorm)}
    passed = {k for k in order if k in norms.values() or isinstance(nodes[k].layer, PASSED) or bends(nodes[k])}
    with torch.no_grad():
        volumes = subject.volumes(x, _read(subject, order, passed) | {end})
    score = target.score(volumes[end]).double()
    relevance = {end: _at_target(volumes[end], target, score)}
    biases = torch.zeros_like(score)
    for k in reversed(order):
        volumes.pop(k, None)  # whoever reads it was before
        if k == place or k not in relevance or not nodes[k].inputs:
            continue
        handed = _hand(subject, k, norms.get(k), passed, volumes, relevance.pop(k))
        biases = biases + handed.biases
        for i, one in zip(nodes[k].inputs, handed.inputs, strict=True):
            relevance[i] = relevance[i] + one if i in relevance else one
    if place not in relevance:
        raise NeocogError("the score does not depend on this layer", where=nodes[place].name)
    for k, one in relevance.items():  # what went around the layer
        biases = biases + (0 if k == place else _sum(one))
    return relevance[place], biases, score


def _at_target(volume: Tensor, target: Target, score: Tensor) -> Tensor:
    """The score, spread evenly over the positions of the target's map."""
    start, rows = torch.zeros_like(volume), torch.arange(len(volume), device=volume.device)
    maps = torch.from_numpy(target.maps).to(volume.device)
    start[rows, maps] = (score / volume[0, 0].numel()).to(volume).view(-1, *(1,) * (volume.dim() - 2))
    return start


def _read(subject: Subject, order: Sequence[int], passed: Collection[int]) -> set[int]:
    """The volumes that steps back read."""
    nodes = subject.network.nodes
    return {i for k in order for i in nodes[k].inputs if k not in passed and not isinstance(nodes[k].layer, Concat)}


def _hand(
    subject: Subject,
    k: int,
    norm: int | None,
    passed: Collection[int],
    volumes: Mapping[int, Tensor],
    relevance: Tensor,
) -> Handed:
    """One layer's step back."""
    node = subject.network.nodes[k]
    layer, module = node.layer, subject.module.get_submodule(node.name)
    if k in passed:
        return Handed((relevance,))
    if isinstance(layer, Concat):
        return Handed(torch.split(relevance, [subject.network.shapes[i].channels for i in node.inputs], dim=1))
    inputs = tuple(volumes[i] for i in node.inputs)
    if isinstance(layer, RBF):
        return Handed((_by_distance(module, inputs[0], relevance),))
    if isinstance(layer, Add):
        total = torch.stack([x.abs() for x in inputs]).sum(0)
        share = relevance / torch.where(total == 0, 1.0, total)
        return Handed(tuple(torch.where(total == 0, relevance / len(inputs), x.abs() * share) for x in inputs))
    (x,) = inputs
    if isinstance(layer, (*WEIGHTED, FullyConnected)):
        behind = None if norm is None else subject.module.get_submodule(subject.network.nodes[norm].name)
        arrays = _arrays(module, behind)
        step = _positive if isinstance(layer, WEIGHTED) else _epsilon
        return step(module, arrays, x, relevance)
    if isinstance(layer, AvgPool | GlobalAvgPool):
        x = x.abs()  # values may cancel in a mean as in a sum, so their magnitudes count
    return Handed((_shares(module, x, relevance),))


def _arrays(module: nn.Module, norm: Any) -> tuple[Tensor, Tensor | None]:
    """Weight and bias, with a normalization multiplied in. The bias is (K,) or as the layer has it."""
    weight, bias = module.get_parameter("weight"), getattr(module, "bias", None)
    if norm is None:
        return weight, bias
    scale, offset = scale_and_offset(norm)
    shift = offset if bias is None else offset + bias * scale
    pairs = getattr(module, "pairs", None)  # a connection table: one kernel for each pair of maps
    rows = scale if pairs is None else scale[pairs[0]]
    return weight * rows.view(-1, *(1,) * (weight.dim() - 1)), shift


def _linear(module: nn.Module, weight: Tensor) -> Callable[[Tensor], Tensor]:
    """The layer with another weight and without its bias."""
    own: Mapping[str, Tensor] = {"weight": weight}
    bias = getattr(module, "bias", None)
    if bias is not None:
        own = {**own, "bias": torch.zeros_like(bias)}
    return lambda x: functional_call(module, dict(own), (x,))


def _beside(bias: Tensor | None, like: Tensor) -> Tensor | float:
    """The bias, to be added to the layer's output (n, K, *size)."""
    if bias is None:
        return 0.0
    return bias.view(-1, *(1,) * (like.dim() - 2)) if bias.dim() == 1 else bias


def _epsilon(module: nn.Module, arrays: tuple[Tensor, Tensor | None], x: Tensor, relevance: Tensor) -> Handed:
    weight, bias = arrays
    function = _linear(module, weight)
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = function(x)
    z = y.detach() + _beside(bias, y)
    s = relevance / _off_zero(z)
    (dx,) = torch.autograd.grad(y, x, s)
    return Handed((x.detach() * dx,), _sum(s * _beside(bias, y)))


def _positive(module: nn.Module, arrays: tuple[Tensor, Tensor | None], x: Tensor, relevance: Tensor) -> Handed:
    weight, bias = arrays
    signs = (1, -1) if bool((x < 0).any()) else (1,)  # behind RELU nothing is negative
    parts = [(x * sign).clamp(min=0) for sign in signs]
    with torch.enable_grad():
        leaves = [one.detach().requires_grad_() for one in parts]
        ys = [_linear(module, (weight * sign).clamp(min=0))(leaf) for sign, leaf in zip(signs, leaves, strict=True)]
        y = ys[0] if len(ys) == 1 else ys[0] + ys[1]
    above = _beside(None if bias is None else bias.clamp(min=0), y)
    z = y.detach() + above
    s = torch.where(z > 0, relevance / torch.where(z > 0, z, 1.0), 0.0)
    dxs = torch.autograd.grad(y, leaves, s)
    lost = _sum(torch.where(z > 0, 0.0, relevance))  # nothing argued for it but a negative bias
    handed = torch.zeros_like(x)
    for leaf, dx in zip(leaves, dxs, strict=True):
        handed = handed + leaf.detach() * dx
    return Handed((handed,), _sum(s * above) + lost)


def _by_distance(module: Any, x: Tensor, relevance: Tensor) -> Tensor:
    """A squared distance is a sum over the inputs, so each has its own term of it."""
    terms = (x.flatten(1)[:, None] - module.codes).square()  # (n, K, D)
    shares = terms / terms.sum(2, keepdim=True).clamp(min=EPSILON)
    handed: Tensor = (relevance.flatten(1)[:, :, None] * shares).sum(1).reshape(x.shape)
    return handed


def _shares(module: nn.Module, x: Tensor, relevance: Tensor) -> Tensor:
    """For what is linear or picks a value: x times its derivative is its share of the output."""
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        y = module(x)
    (dx,) = torch.autograd.grad(y, x, relevance / _off_zero(y.detach()))
    return x.detach() * dx


def _off_zero(z: Tensor) -> Tensor:
    return z + torch.where(z < 0, -EPSILON, EPSILON)


def _sum(values: Tensor) -> Tensor:
    return values.flatten(1).double().sum(1)


METHOD = Attribution(
    name="lrp",
    says=Text(
        "layer-wise relevance propagation: the score handed back to the pixels, conserved",
        "逐层相关性传播：得分守恒地交还给像素",
    ),
    source="Bach et al., 2015; Montavon et al., 2019",
    attribute=attribute,
    layer="may",
)
