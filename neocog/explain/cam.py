"""What class activation maps share: a layer's maps A and their gradients G for the target, weighted into one map.

    M = max(0, sum over k of w_k A_k)         interpolated over the image by the layer's receptive field

A and G are (n, K, *positions). The methods differ in w, which may be one number for a map or one for each position.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from ..errors import NeocogError
from ..wording import Text
from .method import Asked, Attributed, Attribution
from .placing import default_layer, onto_image, spatial
from .subject import Subject, Target

Weighting = Callable[[Tensor, Tensor], Tensor]
"""A and G -> the map (n, *positions), not yet rectified."""
PASSES = "pass", "前馈 {0} 次"
"""What a method notes of the work it was: `counted(n, *PASSES)`."""


def cam(name: str, says: Text, source: str, weighting: Weighting, *, edges: bool = False) -> Attribution:
    """The method that shows a weighting of a layer's maps."""
    attribute = partial(_attribute, weighting=weighting, method=name)
    return Attribution(name, says, source, attribute, signed=False, layer="reads", edges=edges)


def _attribute(subject: Subject, x: Tensor, asked: Asked, weighting: Weighting, method: str) -> Attributed:
    """The rectified map over the image: (N, 1, *size)."""
    layer = layer_of(subject, asked)
    row = spatial(subject, layer, method)
    found = []
    for part in subject.batches(len(x), backward=True):
        maps, gradients = at_layer(subject, x[part], asked.target.of(part), layer)
        found.append(weighting(maps, gradients).clamp(min=0))
    return Attributed(onto_image(torch.cat(found), row.field, tuple(x.shape[2:]))[:, None])


def layer_of(subject: Subject, asked: Asked) -> int:
    """The layer whose maps are read: the one asked for, else the default."""
    return default_layer(subject) if asked.layer is None else asked.layer


def weighted(w: Tensor, maps: Tensor) -> Tensor:
    """Sum over k of w_k A_k, for one weight (n, K) a map: (n, *positions)."""
    return torch.einsum("nk,nk...->n...", w, maps)


def at_layer(subject: Subject, x: Tensor, target: Target, layer: int) -> tuple[Tensor, Tensor]:
    """The layer's maps and the gradients of the targets' scores for them, of images that run at once.

    Raises NeocogError for a layer that the targets are made before.
    """
    if layer > target.position:
        raise NeocogError("the score is made before this layer", where=subject.network.nodes[layer].name)
    with torch.enable_grad():
        volumes = subject.volumes(x, {layer, target.position}, leaf=layer)
        score = target.score(volumes[target.position])
    (gradients,) = torch.autograd.grad(score.sum(), volumes[layer])
    return volumes[layer].detach(), gradients
