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

from .cam import activation_map, each
from .method import Asked, Attributed, Attribution
from .subject import Subject


def weighted(maps: Tensor, gradients: Tensor) -> Tensor:
    """sum_k w_k A_k."""
    scaled = gradients / gradients.flatten(1).abs().amax(1).clamp(min=1e-30).view(-1, *(1,) * (gradients.dim() - 1))
    squares = scaled**2
    totals = each((maps * scaled**3).flatten(2).sum(2), maps)
    below = 2 * squares + totals
    alpha = torch.where(below == 0, 0.0, squares / torch.where(below == 0, 1.0, below))
    w = (alpha * scaled.clamp(min=0)).flatten(2).sum(2)
    return (each(w, maps) * maps).sum(1)


def attribute(subject: Subject, x: Tensor, asked: Asked) -> Attributed:
    """The class activation map."""
    return activation_map(subject, x, asked, weighted, METHOD.name)


METHOD = Attribution(
    name="grad-cam++",
    says="Grad-CAM whose weights are means over the positions that raise the score",
    source="Chattopadhay et al., 2018",
    attribute=attribute,
    signed=False,
    layer="reads",
)
