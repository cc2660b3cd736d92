"""The effective receptive field: which pixels really move a layer, measured by gradients (fact C11).

From the centre position of a layer's volume y a signal is sent back to the input x, +1 or -1 at random for each
channel k, and the influence of a pixel is the mean over images n of what arrives there, in absolute value:

    I[h,w] = mean over n of  sum over c of  | d( sum over k of s[n,k] * y[n,k,centre] ) / d x[n,c,h,w] |

The effective field is the pixels whose influence is more than 1 - 95.45 % = 4.55 % of the largest; 95.45 % of a
Gaussian lies within two standard deviations. Its size is the square root of their number (the number itself in 1-D),
and its share is that over the size of the theoretical field. Outside the theoretical field the influence is exactly 0.

The network is in evaluation mode, so dropout rests. Images are noise of mean 0 and variance 1 unless given. Where the
weights are not given they are freshly drawn, and batch normalization takes its statistics from the first images: those
it starts with would not normalise, and the volumes of deep residual networks grow without bound.

Source: Luo, Li, Urtasun and Zemel, "Understanding the effective receptive field in deep convolutional neural
networks", NIPS 2016. They compare with the centre's influence, which is the largest but where kernels have holes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import NeocogError, RunError
from ..network import Network
from ..plan import Plan, Row, plan
from ..plan.receptive_field import Span, as_numbers, view
from ..plan.tables import cells
from ..spelling import Dims
from ..torch_engine import NetworkModule, build
from ..torch_engine.device import pick_device, pick_threads, threads

LEVEL = 1 - 0.9545
IMAGES = 8
MEMORY = 2**30  # bytes that the volumes of images measured together may take, with their gradients

Images = NDArray[np.float32]


@dataclass(frozen=True)
class EffectiveField:
    """What the centre position of one layer sees: in theory, in `row.field`, and really, in `influence`.

    `influence` (H, W) or (L,) has the size of the input; its largest value is 1. `position` is the centre's index.
    """

    row: Row
    position: Dims
    influence: NDArray[np.float64]

    @property
    def seen(self) -> NDArray[np.bool_]:
        """The pixels of the effective field."""
        return self.influence > LEVEL

    @property
    def size(self) -> float:
        """The side of a square, in 1-D the length, that has as many pixels as the effective field."""
        return float(self.seen.sum() ** (1 / self.influence.ndim))

    @property
    def theoretical_size(self) -> float:
        """The side of a square that has as many pixels as the theoretical field, whole even where it is clipped."""
        return float(math.prod(axis.size for axis in self.row.field) ** (1 / self.influence.ndim))

    @property
    def share(self) -> float:
        """The effective size over the theoretical one."""
        return self.size / self.theoretical_size

    @property
    def view(self) -> tuple[Span, ...] | None:
        """The first and the last pixel of the theoretical field on each axis: see `plan.receptive_field.view`."""
        return view(self.row.field, self.position)

    @property
    def clipped(self) -> bool:
        """Whether part of the theoretical field lies beyond the image, on padding."""
        sides = self.influence.shape
        return self.view is not None and any(
            low < 0 or high > side - 1 for (low, high), side in zip(self.view, sides, strict=True)
        )

    def as_dict(self) -> dict[str, Any]:
        """The field as plain numbers and text; `influence` is left out for its size."""
        return {
            "name": self.row.name,
            "token": self.row.node.layer.token,
            "receptive_field": as_numbers(self.row.field),
            "position": list(self.position),
            "effective_size": self.size,
            "share": self.share,
            "clipped": self.clipped,
        }


def effective_fields(
    network: Network,
    weights: Mapping[str, NDArray[Any]] | None = None,
    *,
    layers: Sequence[str] = (),
    images: int | Images = IMAGES,
    seed: int = 0,
    device: str = "auto",
) -> tuple[EffectiveField, ...]:
    """The effective fields of layers, by default of those in `looking`, in running order.

    `images` are preprocessed ones (N, C, H, W), or how many of noise. Few are taken at a time where volumes are large.
    Raises ShapeError when the network does not fit its input, NeocogError for a layer or images that do not fit it,
    and RunError when gradients overflow.
    """
    planned = plan(network)
    names = _known(planned, layers) or looking(planned)
    indices = [k for k, row in enumerate(planned.rows) if row.name in names]
    noise = _noise(network, images, seed) if isinstance(images, int) else _checked(network, images)
    module = build(network, seed=seed, weights=weights).to(pick_device(device)).eval().requires_grad_(False)
    together = max(1, MEMORY // (8 * planned.totals["volumes"]))  # float32 values and gradients
    sums = {k: np.zeros(network.input_shape.spatial) for k in indices}
    with threads(pick_threads(network, min(together, len(noise)))):
        if weights is None:
            settle(module, noise[: max(2, together)])
        for first in range(0, len(noise), together):
            for k, influence in _influences(module, noise[first : first + together], indices, seed, first):
                sums[k] += influence
    return tuple(_field(planned.rows[k], influence) for k, influence in sums.items())


def looking(planned: Plan) -> tuple[str, ...]:
    """The layers that change what a position sees and still give maps: windows larger than 1, and joins.

    Behind them, in a vector such as GAP or FC gives, the one position sees all that the maps before it see.
    """
    found = []
    for row in planned.rows[1:]:
        window = row.node.layer.window(*row.inputs)
        if row.output.positions > 1 and (row.node.layer.joins or (window is not None and max(window.extent) > 1)):
            found.append(row.name)
    return tuple(found)


def _known(planned: Plan, names: Sequence[str]) -> tuple[str, ...]:
    known = [row.name for row in planned.rows]
    for name in names:
        if name not in known:
            near = get_close_matches(name, known, n=3)
            raise NeocogError(
                "the network has no layer of this name",
                received=name,
                hint=", ".join(near) or f"{known[0]} to {known[-1]}",
            )
    return tuple(names)


def _noise(network: Network, count: int, seed: int) -> Images:
    """Images of noise (N, C, H, W), each drawn from the seed and its own number."""
    if count < 1:
        raise NeocogError("at least one image is needed", received=f"images={count}")
    shape = (network.input_shape.channels, *network.input_shape.spatial)
    return np.stack([np.random.default_rng([seed, n]).standard_normal(shape, np.float32) for n in range(count)])


def _checked(network: Network, images: Images) -> Images:
    shape = (network.input_shape.channels, *network.input_shape.spatial)
    if not len(images) or images.shape[1:] != shape:
        raise NeocogError(f"images are an array (N, {', '.join(map(str, shape))})", received=f"an array {images.shape}")
    return images.astype(np.float32)


def settle(module: NetworkModule, images: Images) -> None:
    """Let batch normalization start from the statistics of these images, layer by layer."""
    norms = [own for own in module.modules() if isinstance(own, nn.BatchNorm1d | nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0
        norm.train()
    if norms:
        with torch.no_grad():
            module(_tensor(module, images))
    module.eval()


def _influences(
    module: NetworkModule, images: Images, indices: Sequence[int], seed: int, first: int
) -> Iterator[tuple[int, NDArray[np.float64]]]:
    """For each layer the influence of each pixel, summed over the images, of which the first has that number."""
    x = _tensor(module, images).requires_grad_()
    volumes = module.run(x)
    for k in indices:
        signs = [
            np.random.default_rng([seed, first + n, k]).choice([-1.0, 1.0], volumes[k].shape[1])
            for n in range(len(images))
        ]
        centre = volumes[k].flatten(2)[:, :, _flat_centre(volumes[k].shape[2:])]
        signal = torch.from_numpy(np.array(signs)).to(centre)
        (arrived,) = torch.autograd.grad([centre], [x], [signal], retain_graph=True)
        influence = arrived.abs().sum(dim=(0, 1), dtype=torch.float64).cpu().numpy()
        if not np.isfinite(influence).all():
            raise RunError("the gradients overflow", where=module.network.nodes[k].name)
        yield k, influence


def _tensor(module: NetworkModule, images: Images) -> Tensor:
    device = next((p.device for p in module.parameters()), torch.device("cpu"))
    return torch.from_numpy(images).to(device)


def _centre(spatial: Sequence[int]) -> Dims:
    return tuple(n // 2 for n in spatial)


def _flat_centre(spatial: Sequence[int]) -> int:
    return int(np.ravel_multi_index(_centre(spatial), tuple(spatial)))


def _field(row: Row, influence: NDArray[np.float64]) -> EffectiveField:
    largest = influence.max()
    return EffectiveField(row, _centre(row.output.spatial), influence / largest if largest else influence)


HEADER = ("layer", "written", "sees", "jump", "effective", "share", "note")


def field_cells(field: EffectiveField) -> tuple[str, ...]:
    """One row of the table as text; the last column says where the image is smaller than the field."""
    *_, sees, jump = cells(field.row)
    note = "clipped by the image" if field.clipped else ""
    written = field.row.node.layer.token
    return field.row.name, written, sees, jump, f"{field.size:.1f}", f"{field.share:.0%}", note


def summary(planned: Plan) -> list[str]:
    """What the table means, in words."""
    lines = [
        f"effective: the square root of the number of pixels whose influence on the centre position is more than "
        f"{LEVEL:.2%} of the largest (Luo et al., 2016); share: of what it sees in theory",
    ]
    last_map = planned.rows.index(planned.last_map)
    for row in planned.rows[last_map + 1 : last_map + 2]:
        lines.append(f"from {row.name} on, the one position sees all that the maps before it see")
    return lines
