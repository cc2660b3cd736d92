r"""Ablation-CAM: a map counts by the part of the score that goes when it is set to 0. No gradients.

    w_k = (s - s without A_k) / s,      M = max(0, sum_k w_k A_k)

The network runs once for each map.

Source: Desai and Ramaswamy, "Ablation-CAM", WACV 2020, equation 4; |s| in the denominator keeps the sign of a fall.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ..network import Node
from ..wording import Text, counted
from .cam import PASSES, layer_of, weighted
from .method import Asked, Attributed, Attribution
from .placing import onto_image, spatial
from .subject import Function, Subject


def attribute(subject: Subject, x: Tensor, asked: Asked) -> Attributed:
    """One pass for each map and image."""
    layer = layer_of(subject, asked)
    row, node = spatial(subject, layer, METHOD.name), subject.network.nodes[layer]
    whole, maps = subject.scores(x, asked.target), subject.volume(x, layer)
    count = maps.shape[1]
    left = torch.zeros(len(x), count, device=x.device)
    with torch.no_grad():
        each, held = x[0].nbytes + maps[0].nbytes, maps.nbytes
        for images, numbers in subject.variants(len(x), count, backward=False, each=each, held=held):

            def without(at: Node, run: Function, inputs: Sequence[Tensor], numbers: Tensor = numbers) -> Tensor:
                y = run(*inputs)
                if at is node:
                    y = y.clone()
                    y[torch.arange(len(y), device=y.device), numbers] = 0
                return y

            left[images, numbers] = subject.score(x[images], asked.target.of(images.cpu().numpy()), without)
    w = (whole[:, None] - left) / whole[:, None].abs().clamp(min=1e-12)
    found = onto_image(weighted(w, maps).clamp(min=0), row.field, tuple(x.shape[2:]))
    return Attributed(found[:, None], notes=(counted(count, *PASSES),) * len(x))


METHOD = Attribution(
    name="ablation-cam",
    says=Text(
        "a layer's maps, weighted by how much of the score goes without each",
        "某层的特征图，按去掉每张后得分下降多少加权",
    ),
    source="Desai and Ramaswamy, 2020",
    attribute=attribute,
    signed=False,
    layer="reads",
)
