r"""Layer-CAM: each position of a map weighted by its own positive gradient, so that early layers give sharp maps too.

    M = max(0, sum over k of  max(0, G_k) * A_k)

Source: Jiang et al., "LayerCAM: exploring hierarchical class activation maps", IEEE TIP 30, 2021, equations 5 to 7.
"""

from __future__ import annotations

from torch import Tensor

from ..wording import Text
from .cam import cam


def by_positive_gradient(maps: Tensor, gradients: Tensor) -> Tensor:
    """sum_k max(0, G_k) A_k."""
    return (gradients.clamp(min=0) * maps).sum(1)


METHOD = cam(
    name="layer-cam",
    says=Text(
        "a layer's maps, each position weighted by its positive gradient",
        "某层的特征图，每个位置按其正梯度加权",
    ),
    source="Jiang et al., 2021",
    weighting=by_positive_gradient,
)
