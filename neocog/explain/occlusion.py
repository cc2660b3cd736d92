r"""Occlusion: how much the score falls when a square of the image is covered.

    M[i,j] = mean over the squares q that cover (i, j) of  s(x) - s(x covered by q)

A square has the mean colour (x = 0). Its side is an eighth of the image's shorter one, at least 3 pixels; squares lie
half a side apart, the last ones at the edge, so that every pixel is covered.

Source: Zeiler and Fergus, "Visualizing and understanding convolutional networks", ECCV 2014, section 4.2.
"""

from __future__ import annotations

from itertools import product

import torch
from torch import Tensor

from ..spelling import Dims
from .method import Asked, Attributed, Attribution
from .subject import Subject


def square(size: Dims) -> tuple[int, int]:
    """The side of a square and how far apart squares lie, in pixels, for an image of this size."""
    side = min(*size, max(3, min(size) // 8)) if len(size) > 1 else max(1, size[0] // 8)
    return side, max(1, side // 2)


def places(size: Dims, side: int, stride: int) -> list[Dims]:
    """The first pixel of each square."""
    axes = [[*range(0, max(1, n - side), stride), max(0, n - side)] for n in size]
    return sorted(set(product(*axes)))


def attribute(subject: Subject, x: Tensor, asked: Asked) -> Attributed:
    """One pass for each square and image."""
    size: Dims = tuple(x.shape[2:])
    side, stride = square(size)
    corners = places(size, side, stride)
    whole = subject.scores(x, asked.target)
    falls = torch.zeros(len(x), *size, device=x.device)
    covered = torch.zeros(size, device=x.device)
    for corner in corners:
        covered[_at(corner, side)] += 1
    for images, squares in subject.variants(len(x), len(corners), backward=False):
        changed = x[images]
        for copy, number in zip(changed, squares.tolist(), strict=True):
            copy[:, *_at(corners[number], side)] = 0
        score = subject.scores(changed, asked.target.of(images.cpu().numpy()))
        for image, number, fall in zip(images.tolist(), squares.tolist(), whole[images] - score, strict=True):
            falls[image, *_at(corners[number], side)] += fall
    notes = (f"squares of {side} pixels, {stride} apart, {len(corners)} passes",) * len(x)
    return Attributed((falls / covered)[:, None], notes=notes)


def _at(corner: Dims, side: int) -> tuple[slice, ...]:
    return tuple(slice(start, start + side) for start in corner)


METHOD = Attribution(
    name="occlusion",
    says="how much the score falls when a square is covered",
    source="Zeiler and Fergus, 2014",
    attribute=attribute,
)
