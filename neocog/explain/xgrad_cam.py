r"""XGrad-CAM: a map's weight is the mean of its gradients, weighted by where the map is active.

    w_k = sum over i,j of  A_k[i,j] / (sum of A_k) * G_k[i,j],       M = max(0, sum_k w_k A_k)

So the sum of w_k sum(A_k) is the sum of G * A, as sensitivity and conservation ask for. Maps that sum to 0 count 0.

Source: Fu et al., "Axiom-based Grad-CAM", BMVC 2020, equation 7.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..wording import Text
from .cam import cam, weighted


def by_active_gradient(maps: Tensor, gradients: Tensor) -> Tensor:
    """sum_k w_k A_k."""
    totals = maps.flatten(2).sum(2)
    moments = (maps * gradients).flatten(2).sum(2)
    return weighted(torch.where(totals == 0, 0.0, moments / torch.where(totals == 0, 1.0, totals)), maps)


METHOD = cam(
    name="xgrad-cam",
    says=Text(
        "Grad-CAM whose weights are means over where each map is active",
        "Grad-CAM，权重取每张特征图活跃处的平均",
    ),
    source="Fu et al., 2020",
    weighting=by_active_gradient,
)
