r"""HiResCAM and element-wise Grad-CAM: each position of a map times its own gradient.

    HiResCAM:       M = max(0, sum over k of G_k * A_k)
    element-wise:   M = sum over k of max(0, G_k * A_k)

Where the layers behind are linear, the first is exactly each position's part of the score. The second drops what counts
against the target map by map.

Sources: Draelos and Carin, "Use HiResCAM instead of Grad-CAM", arXiv 2011.08891, equation 4; the element-wise form is
that of Gildenblat's pytorch-grad-cam and Ozbulak's pytorch-cnn-visualizations.
"""

from __future__ import annotations

from torch import Tensor

from ..wording import Text
from .cam import cam


def products(maps: Tensor, gradients: Tensor) -> Tensor:
    """sum_k G_k A_k."""
    return (gradients * maps).sum(1)


def positive_products(maps: Tensor, gradients: Tensor) -> Tensor:
    """sum_k max(0, G_k A_k)."""
    return (gradients * maps).clamp(min=0).sum(1)


METHOD = cam(
    name="hires-cam",
    says=Text(
        "a layer's maps times their gradients, position by position",
        "某层的特征图逐位置乘以梯度",
    ),
    source="Draelos and Carin, 2020",
    weighting=products,
)
BY_ELEMENT = cam(
    name="element-cam",
    says=Text(
        "element-wise Grad-CAM: the positive products of maps and gradients",
        "逐元素 Grad-CAM：特征图与梯度乘积的正部",
    ),
    source="Gildenblat, pytorch-grad-cam",
    weighting=positive_products,
)
