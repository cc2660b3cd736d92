r"""Making an image that a network answers as it is asked to: gradient steps on the pixels themselves.

An image is z in [0, 1] for each pixel and colour, x its numbers as the network reads them. Steps are Adam's on

    value(x) - variation * sum of |z's differences|^2 / pixels

After each, z is clipped to [0, 1]: it stays an image, and is rounded to bytes only when it is done. Optional: steps see
the image shifted by a few pixels at random, and every few steps it is blurred, both so that what comes up does not live
on single pixels; and it decays to grey.

Sources: Simonyan et al., arXiv 1312.6034, section 2; Yosinski et al., arXiv 1506.06579, section 3 (decay, blur);
Mahendran and Vedaldi, CVPR 2015 (variation); Mordvintsev et al., "Inceptionism", 2015 (shifts).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..errors import RunError
from ..feed import Pixels
from .subject import Subject

Value = Callable[[Tensor, slice], Tensor]
"""What is to grow: for images x (n, C, H, W), which are that slice of all, one number each (n,)."""


@dataclass(frozen=True)
class Climb:
    """How steps are taken; `blur` is a deviation in pixels, `rate` and `decay` are shares of the range of a pixel."""

    steps: int
    rate: float
    jitter: int = 0
    blur: float = 0.0
    blur_every: int = 4
    decay: float = 0.0
    variation: float = 0.0


@dataclass(frozen=True, eq=False)
class Canvas:
    """Images z (N, C, H, W) in [0, 1], as a model's numbers and as bytes."""

    pixels: Pixels
    device: torch.device

    def numbers(self, z: Tensor) -> Tensor:
        """X (N, C, H, W)."""
        scale, shift = (torch.from_numpy(a).to(z).view(1, -1, 1, 1) for a in (self.pixels.scale, self.pixels.shift))
        return 255 * scale * z + shift

    def of(self, images: NDArray[np.uint8]) -> Tensor:
        """Z of images (N, H, W, C)."""
        return torch.from_numpy(images).to(self.device).movedim(-1, 1).float() / 255

    def bytes(self, z: Tensor) -> NDArray[np.uint8]:
        """Images (N, H, W, C)."""
        images: NDArray[np.uint8] = (z * 255).round().clamp(0, 255).byte().movedim(1, -1).cpu().numpy()
        return images

    def rounded(self, z: Tensor) -> Tensor:
        """X of the image as it is saved."""
        return self.numbers(self.of(self.bytes(z)))

    def noise(self, count: int, shape: tuple[int, ...], seed: int) -> Tensor:
        """Grey with a little noise; each image's depends on the seed and its number alone."""
        drawn = [np.random.default_rng([seed, n]).standard_normal(shape) for n in range(count)]
        return torch.from_numpy(np.stack(drawn)).float().mul(0.1).add(0.5).clamp(0, 1).to(self.device)


def climb(
    subject: Subject, canvas: Canvas, start: Tensor, value: Value, how: Climb, seed: int, at: Collection[int] = ()
) -> list[Tensor]:
    """The images z after each number of steps in `at`, and at the end; as many at once as memory allows."""
    parts = [
        _climbed(canvas, start[part], value, part, how, seed, at) for part in subject.batches(len(start), backward=True)
    ]
    return [torch.cat(frames) for frames in zip(*parts, strict=True)]


def reached(subject: Subject, canvas: Canvas, z: Tensor, value: Value) -> list[float]:
    """The value of each image z, rounded to bytes as it is saved. Raises RunError where it overflows."""
    parts = subject.batches(len(z), backward=False)
    values = [number for part in parts for number in value(canvas.rounded(z[part]), part).tolist()]
    if not np.isfinite(values).all():
        raise RunError("the values that the image is made for overflow")
    return values


def _climbed(
    canvas: Canvas, start: Tensor, value: Value, part: slice, how: Climb, seed: int, at: Collection[int]
) -> list[Tensor]:
    z = start.detach().clone().requires_grad_()
    adam = torch.optim.Adam([z], lr=how.rate)
    rng = np.random.default_rng(seed)
    frames = []
    for step in range(how.steps):
        if step in at:
            frames.append(z.detach().clone())
        shift = tuple(int(n) for n in rng.integers(-how.jitter, how.jitter + 1, 2))
        with torch.enable_grad():
            seen = canvas.numbers(z.roll(shift, dims=(2, 3)))
            loss = how.variation * variation(z).sum() - value(seen, part).sum()
        (z.grad,) = torch.autograd.grad(loss, z)
        adam.step()
        with torch.no_grad():
            z.lerp_(torch.full_like(z, 0.5), how.decay)
            if how.blur and step % how.blur_every == 0:
                z.copy_(blurred(z, how.blur))
            z.clamp_(0, 1)
    return [*frames, z.detach()]


def variation(z: Tensor) -> Tensor:
    """The mean of the squared differences to the next pixel down and to the right: (N,)."""
    down, right = z.diff(dim=2), z.diff(dim=3)
    return (down.square().flatten(1).sum(1) + right.square().flatten(1).sum(1)) / z[0].numel()


def blurred(z: Tensor, sigma: float) -> Tensor:
    """Under a Gaussian of that deviation, the edge going on behind the image."""
    reach = max(1, int(3 * sigma + 0.5))
    at = torch.arange(-reach, reach + 1, device=z.device, dtype=z.dtype)
    weights = torch.exp(-(at**2) / (2 * sigma**2))
    weights = weights / weights.sum()
    count = z.shape[1]
    padded = F.pad(z, (reach,) * 4, mode="replicate")
    rows = F.conv2d(padded, weights.view(1, 1, -1, 1).expand(count, 1, -1, 1), groups=count)
    return F.conv2d(rows, weights.view(1, 1, 1, -1).expand(count, 1, 1, -1), groups=count)
