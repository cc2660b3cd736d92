"""The layers that a calibration times, each by itself: which they are, and how."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import cycle

import torch
from torch import Tensor, nn

from ..errors import ShapeError
from ..layer import Layer, Shape
from ..layers import BY_OP, LAYERS
from ..network import Network
from ..plan.work import FREE, PASSES, Work, work
from ..torch_engine.device import precision
from ..torch_engine.faster import faster
from ..torch_engine.inference import ready
from ..torch_engine.winograd import gains
from .clock import repeated, typical

SECONDS = 0.006
"""How long each pass is repeated."""
COLD, COPIES = 128 * 2**20, 8
"""Bytes that copies of a layer take up, but not more than so many copies: small networks stay in the cache."""
KEPT = 16 * 2**20
"""Bytes of outputs that are kept: in training each is written to memory that was last used long ago."""

CONVOLUTIONS = """
1  CONV3-64         112x112x64 | 4  CONV3-64   56x56x64   | 2  CONV3-192  56x56x64   | 1  CONV3-128  80x80x64
4  CONV3-128        28x28x128  | 1  CONV3-512  28x28x256  | 4  CONV3-256  14x14x256  | 1  CONV3-256  14x14x256
2  CONV3-512        7x7x512    | 1  CONV3-512  7x7x512    | 16 CONV3-16   32x32x16   | 64 CONV3-16   32x32x16
16 CONV3-32         16x16x32   | 32 CONV3-64   8x8x64     | 1  CONV3-96   35x35x96   | 4  CONV3-384  13x13x192
1  CONV3-64         224x224x3  | 16 CONV3-16   32x32x3    | 8  CONV3-96   32x32x96   | 8  CONV3-192  16x16x192
4  CONV1-256        56x56x64   | 4  CONV1-64   56x56x256  | 4  CONV1-512  28x28x128  | 4  CONV1-128  28x28x512
4  CONV1-256        14x14x1024 | 4  CONV1-1024 14x14x256  | 4  CONV1-512  7x7x2048   | 1  CONV1-2048 7x7x512
1  CONV1-128        14x14x512  | 1  CONV1-16   28x28x192  | 8  CONV1-160  32x32x192  | 1  CONV1-192  17x17x768
16 CONV1-64         32x32x16   | 8  CONV1-10   8x8x192    | 2  CONV1-32   28x28x256
64 CONV5-6          28x28x1    | 64 CONV5-16(P=0) 14x14x6 | 512 CONV5-16(P=0) 14x14x6 | 32 CONV5-16  32x32x3
32 CONV5-20         16x16x16   | 8  CONV5-192  32x32x3    | 1  CONV5-256  27x27x96   | 2  CONV5-192  16x16x96
2  CONV5-32         28x28x16   | 2  CONV5-64   35x35x48   | 2  CONV1x7-160 17x17x160 | 1  CONV3x1-384 8x8x384
2  CONV7-64(S=2, fit=floor)  224x224x3 | 2  CONV11-96(S=4, P=0)       227x227x3 | 1  CONV3-32(S=2, P=0)       299x299x3
16 CONV3-32(S=2, fit=floor)  32x32x16  | 2  CONV3-128(S=2, fit=floor) 56x56x64  | 2  CONV3-512(S=2, fit=floor) 14x14x256
1  CONV3-8          4x4x8      | 1  CONV1-8   4x4x8      | 1  CONV3-32   4x4x32
2  CONV1-128(S=2, fit=floor) 56x56x64  | 2  CONV1-1024(S=2, fit=floor) 28x28x512 | 2  CONV3-384(S=2, P=0)    35x35x288
2  CONV5-256(G=2) 27x27x96 | 4  CONV3-384(G=2) 13x13x384 | 2  CONV3-64(G=64) 56x56x64 | 2  CONV3-256(G=256) 14x14x256
"""
"""Channels few to many, maps small to large, windows 1 to 11, strides and groups: batch, token, input."""

FULLY_CONNECTED = """
1 FC8    1x1x8    | 1 FC4096 1x1x9216 | 1 FC4096 1x1x4096 | 1 FC1000 1x1x2048 | 2 FC4096 1x1x9216 | 4 FC4096 1x1x4096
32 FC4096 1x1x4096 | 8 FC1000 1x1x4096 | 8 FC1000 1x1x512 | 4 FC8 1x1x8 | 16 FC10 1x1x64 | 64 FC120 1x1x400
512 FC120 1x1x400 | 64 FC84 1x1x120 | 64 FC10 1x1x84 | 512 FC10 1x1x84
"""
"""At batch 1 bound by reading the weights, at 512 by multiplying."""

SIZES = """
1 4x4x16  | 1 8x8x64    | 64 28x28x6 | 16 16x16x64 | 64 32x32x16 | 4 32x32x16 | 2 14x14x256 | 12 16x16x32
8 56x56x64 | 11 112x112x64
"""
"""Volumes for each level of memory, one with few maps; the last has new pages. The first of them for these layers."""
COMMON = {
    "RELU": 10, "BN": 10, "ADD": 10, "CONCAT": 10, "POOL2": 10, "POOL3(S=2, fit=ceil)": 10, "POOL3(S=1, P=1)": 9,
    "AVGPOOL2": 6, "AVGPOOL3(S=1, P=1)": 6, "GAP": 9, "DROPOUT": 9, "SHORTCUT(K=128)": 6, "LRN": 9,
}  # fmt: skip
OTHERS = ((1, "4x4x16"), (4, "16x16x64"))
"""Volumes for the first example of every other layer that does anything; the example's own where these do not fit."""


@dataclass(frozen=True)
class Probe:
    """A layer, and the batch of volumes that it is timed on."""

    layer: Layer
    inputs: tuple[Shape, ...]
    batch: int

    @property
    def output(self) -> Shape:
        """The volume it gives."""
        return self.layer.output_shape(*self.inputs)

    def works(self, dtype: str) -> dict[str, Work]:
        """What each pass of it has to do."""
        return work(self.layer, self.inputs, self.output, self.batch, dtype)

    def __str__(self) -> str:
        return f"{self.layer.token} on {' | '.join(map(str, self.inputs or (self.output,)))}, batch {self.batch}"


def probes(most_macs: int | None = None) -> list[Probe]:
    """All of them, or those with so few operations; the least first, so that a slow machine has some of each kind."""
    found = [*_listed(CONVOLUTIONS), *_listed(FULLY_CONNECTED), *_common(), *_others()]
    macs = {probe: probe.layer.cost(*probe.inputs).macs * probe.batch for probe in found}
    return sorted((p for p in found if most_macs is None or macs[p] <= most_macs), key=lambda p: macs[p])


def _listed(table: str) -> Iterator[Probe]:
    for entry in table.replace("\n", "|").split("|"):
        if entry.strip():
            batch, *token, shape = entry.split()
            yield _probe(" ".join(token), shape, int(batch))


def _common() -> Iterator[Probe]:
    sizes = [size.split() for size in SIZES.strip().replace("\n", "|").split("|")]
    for token, count in COMMON.items():
        yield from (_probe(token, shape, int(batch)) for batch, shape in sizes[:count])


def _others() -> Iterator[Probe]:
    timed = {probe.layer.op for probe in (*_listed(CONVOLUTIONS), *_listed(FULLY_CONNECTED), *_common())}
    for layer in LAYERS:
        if layer.op in timed or FREE.get(layer.op) == PASSES:
            continue
        example = layer.examples[0]
        for batch, shape in OTHERS:
            try:
                yield _probe(example.token, shape, batch)
            except ShapeError:
                yield _probe(example.token, example.inputs[0], batch)


def _probe(token: str, shape: str, batch: int) -> Probe:
    """A layer with two inputs of that shape where it joins several."""
    op = max((op for op in BY_OP if token.startswith(op)), key=len)
    branches = "[ID | ID]" if BY_OP[op].joins else ""
    network = Network.parse(f"INPUT[{shape}]" + f" -> {token}{branches}" * (op != "INPUT"))
    node = network.nodes[-1]
    probe = Probe(node.layer, network.input_shapes(node), batch)
    _ = probe.output  # raises ShapeError
    return probe


def time_probe(probe: Probe, dtype: str, device: torch.device) -> dict[str, float]:
    """Typical seconds of each pass that the layer has, in the memory format and precision of training."""
    passes = _passes(probe, dtype, device)
    return {which: typical(repeated(run, device, SECONDS, least=1)) for which, run in passes}


def _passes(probe: Probe, dtype: str, device: torch.device) -> Iterator[tuple[str, Callable[[], object]]]:
    works = probe.works(dtype)
    if not probe.inputs:  # INPUT stands for bringing a batch of images into the memory format
        images = _values((probe.batch, probe.output.channels, *probe.output.spatial)).to(device)
        for which in ("inference", "forward"):
            yield which, lambda: images.contiguous(memory_format=torch.channels_last)
        return
    xs = [_volume(shape, probe.batch, dtype, device) for shape in probe.inputs]
    copies = [_Copy(probe, xs, dtype, device) for _ in range(_count(probe))]
    turns = cycle(copies)

    def run(module: nn.Module, xs: Sequence[Tensor]) -> Tensor:
        with precision(dtype, device):
            y: Tensor = module(*xs)
        return y

    with torch.inference_mode():
        planned = probe.inputs[0].spatial if gains(probe.layer, probe.inputs, dtype) else ()
        predicting = cycle([ready(copy.module.eval(), dtype, planned=planned) for copy in copies])
        yield "inference", lambda: run(next(predicting), xs)
    for copy in copies:
        copy.module.train()
    kept: deque[Tensor] = deque(maxlen=1 if works["forward"].flops else _kept(probe))
    while len(kept) < (kept.maxlen or 0):
        kept.append(run(copies[0].module, copies[0].xs))

    def forward() -> None:
        copy = next(turns)
        kept.append(run(copy.module, copy.xs))

    yield "forward", forward
    for copy in copies:
        copy.y = run(copy.module, copy.xs)
    dy = torch.empty_like(copies[0].y).copy_(_values(copies[0].y.shape))

    def gradients(of_input: bool) -> None:
        copy = next(turns)
        torch.autograd.grad(copy.y, [*copy.xs * of_input, *copy.owned], dy, retain_graph=True)

    yield "backward", lambda: gradients(True)
    if copies[0].owned and works["parameters"].flops:
        yield "parameters", lambda: gradients(False)


class _Copy:
    """A layer with arrays of its own: in a network it finds its weights and inputs where others have been since."""

    def __init__(self, probe: Probe, xs: Sequence[Tensor], dtype: str, device: torch.device) -> None:
        self.module = probe.layer.module(*probe.inputs).to(device)
        with torch.no_grad():
            for parameter in self.module.parameters():
                parameter.copy_(_values(parameter.shape))
        self.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # torch's stubs lack this form
        self.module = faster(self.module, probe.layer, probe.inputs, dtype)
        self.owned = [p for p in self.module.parameters() if p.requires_grad]
        self.xs = [x.clone(memory_format=torch.preserve_format).requires_grad_() for x in xs]
        self.y = xs[0]


def _count(probe: Probe) -> int:
    """How many copies take up `COLD`."""
    arrays = sum(p.size for p in probe.layer.parameters(*probe.inputs).values())
    arrays += sum(x.elements for x in probe.inputs) * probe.batch
    return min(COPIES, 1 + COLD // (4 * arrays))


def _kept(probe: Probe) -> int:
    """How many outputs fill `KEPT`; of small ones not all, for those stay in the cache."""
    return min(64, 1 + KEPT // (4 * probe.batch * probe.output.elements))


def _volume(shape: Shape, batch: int, dtype: str, device: torch.device) -> Tensor:
    values = _values((batch, shape.channels, *shape.spatial))
    return values.to(device, getattr(torch, dtype)).contiguous(memory_format=torch.channels_last)


def _values(shape: Sequence[int]) -> Tensor:
    """Different numbers around 0. A few thousand are drawn and repeated: what they are does not matter to the time."""
    count = math.prod(shape)
    few = torch.rand(min(count, 4099), generator=torch.Generator().manual_seed(0)) - 0.5
    return few.repeat(count // len(few) + 1)[:count].reshape(shape)
