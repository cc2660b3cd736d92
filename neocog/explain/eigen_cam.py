r"""Eigen-CAM: what a layer's maps have most in common, without any class.

    M = max(0, A v),      v the first right singular vector of A as a matrix (positions, maps)

Its sign is the one for which the projection sums to something positive. The target does not matter, and what stands out
in the image stands out in maps of random filters too.

Source: Muhammad and Yeasin, "Eigen-CAM: class activation map using principal components", IJCNN 2020, section III.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..wording import Text
from .cam import cam


def projected(maps: Tensor, gradients: Tensor) -> Tensor:
    """A v, with the sign of its sum."""
    flat = maps.flatten(2).transpose(1, 2)  # (n, positions, K)
    _, _, right = torch.linalg.svd(flat, full_matrices=False)
    along = (flat @ right[:, 0, :, None])[..., 0]
    along = along * torch.where(along.sum(1, keepdim=True) < 0, -1.0, 1.0)
    shaped: Tensor = along.reshape(len(maps), *maps.shape[2:])
    return shaped


METHOD = cam(
    name="eigen-cam",
    says=Text(
        "the first principal component of a layer's maps; of no class in particular",
        "某层特征图的第一主成分，不针对某一类",
    ),
    source="Muhammad and Yeasin, 2020",
    weighting=projected,
    edges=True,
)
