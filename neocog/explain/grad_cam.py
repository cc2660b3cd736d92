r"""Grad-CAM: a layer's maps, each weighted by the mean of its gradient.

    w_k = mean over i,j of  d s / d A_k[i,j],        M = max(0, sum_k w_k A_k)

On a network that ends in GAP and FC, at the last map, w_k is the FC weight of map k over the number of positions: the
class activation map of Zhou et al. (arXiv 1512.04150).

Source: Selvaraju et al., "Grad-CAM", ICCV 2017, equations 1 and 2.
"""

from __future__ import annotations

from torch import Tensor

from ..wording import Text
from .cam import cam, weighted


def by_mean_gradient(maps: Tensor, gradients: Tensor) -> Tensor:
    """sum_k w_k A_k."""
    return weighted(gradients.flatten(2).mean(2), maps)


METHOD = cam(
    name="grad-cam",
    says=Text(
        "a layer's maps, weighted by their mean gradients",
        "某层的特征图，按平均梯度加权",
    ),
    source="Selvaraju et al., 2017",
    weighting=by_mean_gradient,
)
