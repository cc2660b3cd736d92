r"""Grad-CAM++: positions of a map count by how much they raise the score, so that several objects weigh alike.

    a_k[i,j] = G^2 / (2 G^2 + sum over all positions of A_k * G^3)      (0 where G = 0)
    w_k      = sum over i,j of a_k[i,j] * max(0, G_k[i,j]),             M = max(0, sum_k w_k A_k)

with G the gradient of the score. This is the paper's closed form for e^s as the score, whose second and third
derivatives are powers of the first where the network is linear behind the layer.

Source: Chattopadhay et al., "Grad-CAM++", WACV 2018, equations 10, 11 and 19.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..wording import Text
from .cam import cam, weighted


def by_raising_positions(maps: Tensor, gradients: Tensor) -> Tensor:
    """sum_k w_k A_k. Gradients are scaled to 1 at most, which keeps their cubes within float32."""
    largest = gradients.flatten(1).abs().amax(1).clamp(min=1e-30)
    g = gradients.flatten(2) / largest[:, None, None]
    below = 2 * g**2 + (maps.flatten(2) * g**3).sum(2, keepdim=True)
    alpha = torch.where(below == 0, 0.0, g**2 / torch.where(below == 0, 1.0, below))
    return weighted((alpha * g.clamp(min=0)).sum(2), maps)


METHOD = cam(
    name="grad-cam++",
    says=Text(
        "Grad-CAM whose weights are means over the positions that raise the score",
        "Grad-CAM，权重取使得分升高的位置的平均",
    ),
    source="Chattopadhay et al., 2018",
    weighting=by_raising_positions,
)
