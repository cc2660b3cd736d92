r"""Grad-CAM++: positions of a map count by how much they raise the score, so that several objects weigh alike.

    a_k[i,j] = Y'' / (2 Y'' + S_k Y''')                 S_k = sum of A_k over its positions
    w_k      = sum over i,j of a_k[i,j] * max(0, Y'),   M = max(0, sum_k w_k A_k)

with the derivatives of Y = e^s for A_k[i,j]. Where the network is linear behind the layer, they are e^s times G, G^2
and G^3, G being the gradient of the score s, so that

    w_k      = sum over i,j of max(0, G) / (2 + S_k max(0, G))

but for the factor e^s, which all weights of an image share and which is left out. No weight is negative: of maps behind
RELU this is a weighted mean, which looks much the same for other weights of the network. See also Lerma and Lucas,
"Grad-CAM++ is equivalent to Grad-CAM with positive gradients", arXiv 2205.10838.

Source: Chattopadhay et al., "Grad-CAM++", WACV 2018, equations 10, 11 and 19.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..wording import Text
from .cam import cam, weighted


def by_raising_positions(maps: Tensor, gradients: Tensor) -> Tensor:
    """sum_k w_k A_k. A position whose weight has no value, since its divisor is 0, counts nothing."""
    g = gradients.flatten(2).clamp(min=0)
    below = 2 + maps.flatten(2).sum(2, keepdim=True) * g
    return weighted(torch.where(below == 0, 0.0, g / below).sum(2), maps)


METHOD = cam(
    name="grad-cam++",
    says=Text(
        "Grad-CAM whose weights are means over the positions that raise the score",
        "Grad-CAM，权重取使得分升高的位置的平均",
    ),
    source="Chattopadhay et al., 2018",
    weighting=by_raising_positions,
    edges=True,
)
