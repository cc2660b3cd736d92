r"""Score-CAM: each map of a layer covers all but what it shows, and counts by the score that is left. No gradients.

    H_k = A_k over the image, from 0 to 1,      c_k = s(x * H_k) - s(0)
    w = softmax(c),                             M = max(0, sum_k w_k A_k)

A map that is the same everywhere shows nothing and is left out.

Source: Wang et al., "Score-CAM: score-weighted visual explanations", CVPR Workshops 2020, algorithm 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..wording import Text, counted
from .cam import PASSES, layer_of, weighted
from .method import Asked, Attributed, Attribution
from .placing import onto_image, spatial
from .subject import Subject


def attribute(subject: Subject, x: Tensor, asked: Asked) -> Attributed:
    """One pass for each map and image."""
    layer = layer_of(subject, asked)
    row = spatial(subject, layer, METHOD.name)
    size, maps = tuple(x.shape[2:]), subject.volume(x, layer)
    flat = maps.flatten(2)
    low, range_ = flat.amin(2, keepdim=True), flat.amax(2, keepdim=True) - flat.amin(2, keepdim=True)
    unit = ((flat - low) / range_.clamp(min=1e-12)).reshape(maps.shape)
    count = maps.shape[1]
    gains = torch.zeros(len(x), count, device=x.device)
    each, held = x[0].nbytes + 3 * x[0, 0].nbytes, maps.nbytes + unit.nbytes  # masks, made larger axis by axis
    for images, numbers in subject.variants(len(x), count, backward=False, each=each, held=held):
        masks = onto_image(unit[images, numbers], row.field, size)
        gains[images, numbers] = subject.scores(masks[:, None] * x[images], asked.target.of(images.cpu().numpy()))
    gains -= subject.scores(torch.zeros_like(x), asked.target)[:, None]
    w = torch.softmax(gains.masked_fill(range_[..., 0] == 0, -torch.inf), dim=1).nan_to_num(0)
    found = onto_image(weighted(w, maps).clamp(min=0), row.field, size)
    return Attributed(found[:, None], notes=(counted(count, *PASSES),) * len(x))


METHOD = Attribution(
    name="score-cam",
    says=Text(
        "a layer's maps, weighted by the score of what each shows of the image",
        "某层的特征图，按每张所显示的图像部分的得分加权",
    ),
    source="Wang et al., 2020",
    attribute=attribute,
    signed=False,
    layer="reads",
)
