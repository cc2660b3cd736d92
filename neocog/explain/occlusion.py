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
from ..wording import Text, counted
from .cam import PASSES
from .method import Asked, Attributed, Attribution
from .subject import Subject

SQUARES = Text("squares of {0} pixels, {1} apart, {2}", "方块边长 {0} 像素，相距 {1}，{2}")


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
    starts = torch.tensor(corners, device=x.device)
    falls = torch.zeros(len(x), *size, device=x.device)
    times = torch.zeros(len(x), *size, device=x.device)
    each, held = x[0].nbytes + 3 * x[0, 0].nbytes, falls.nbytes + times.nbytes
    for images, squares in subject.variants(len(x), len(corners), backward=False, each=each, held=held):
        covered = inside(starts[squares], side, size)
        score = subject.scores(x[images] * ~covered[:, None], asked.target.of(images.cpu().numpy()))
        fall = (whole[images] - score).view(-1, *(1,) * len(size))
        falls.index_add_(0, images, fall * covered)
        times.index_add_(0, images, covered.float())
    notes = (SQUARES.filled(side, stride, counted(len(corners), *PASSES)),) * len(x)
    return Attributed((falls / times)[:, None], notes=notes)


def inside(starts: Tensor, side: int, size: Dims) -> Tensor:
    """Whether a pixel lies in a square, for squares that start at (n, axes): (n, *size)."""
    found = torch.ones(len(starts), *size, dtype=torch.bool, device=starts.device)
    for axis, pixels in enumerate(size):
        at = torch.arange(pixels, device=starts.device) - starts[:, axis, None]
        found &= ((at >= 0) & (at < side)).view(-1, *(pixels if k == axis else 1 for k in range(len(size))))
    return found


METHOD = Attribution(
    name="occlusion",
    says=Text(
        "how much the score falls when a square is covered",
        "遮住一个方块时得分下降多少",
    ),
    source="Zeiler and Fergus, 2014",
    attribute=attribute,
)
