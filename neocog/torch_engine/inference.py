r"""A network as prediction runs it: what can be done to its weights once is not done in every call.

Batch normalization by running statistics multiplies and shifts each channel, so it goes into the weights before it:

    w' = w g / sqrt(v + eps),   b' = (b - m) g / sqrt(v + eps) + beta

A RELU behind that is applied where the sums were written. Weights are rounded to bfloat16 once; autocast, under which
the other layers run, would do so in each call. On a CPU oneDNN lays out the weights of convolutions of images for the
processor once, and applies RELU before the sums leave the registers (`torch.ops.mkldnn`: what torch's compiler calls);
some of 3x3 run by kernels that need 4/9 of the products (`winograd.py`).
Convolutions of very many weights are one product, and LRN takes one image after the other (`response_norm.py`).

`network.fused` says which layers run in another one's pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from ..layers import _modules
from ..network import Network, fused, schedule
from .module import NetworkModule, as_scores
from .response_norm import ResponseNorm
from .winograd import forwards, gains, parts

CAST = (nn.modules.conv._ConvTransposeNd, _modules.LocallyConnected)
"""Layers that stay as they are, but for the type of their weights."""
UNCACHED = 2**23
"""Weights of a convolution that no cache holds: what takes time is how often they are read."""


class InferenceModule(nn.Module):
    """The scores of a module's network for images x (N, C, H, W) or (N, C, L), with the weights it has now.

    Weights that must be changed are copied, all others are shared. `dtype` is float32 or bfloat16, in which products
    multiply; the caller gives it images on the module's device, under `trainer.precision` of that dtype. A `plain` one
    leaves to a compiler how weights are laid out and sums are ordered.
    """

    def __init__(self, module: NetworkModule, dtype: str = "float32", *, plain: bool = False) -> None:
        super().__init__()
        self.plain = plain
        self.nodes, self.hosts = module.network.nodes, fused(module.network)
        self.turns = schedule(module.network, training=False)
        followers: dict[int, list[int]] = {k: [] for k, _ in self.turns}
        for k, host in self.hosts.items():
            followers[host].append(k)
        for k, _ in self.turns:
            if k not in self.hosts:
                ends = [module.get_submodule(self.nodes[j].name) for j in followers[k]]
                norms = [end for end in ends if not isinstance(end, nn.ReLU)]
                relu = len(norms) < len(ends)
                inputs = module.network.input_shapes(self.nodes[k])
                planned = inputs[0].spatial if gains(self.nodes[k].layer, inputs, dtype) else ()
                layer = module.get_submodule(self.nodes[k].name)
                made = ready(layer, dtype, *norms, relu=relu, plain=plain, planned=planned)
                self.add_module(self.nodes[k].name, made)
        self.eval()

    @classmethod
    def of(cls, network: Network, weights: Mapping[str, NDArray[Any]], *, plain: bool = False) -> InferenceModule:
        """In float32 on the CPU, sharing the memory of the arrays as far as it can."""
        with torch.device("meta"):  # nothing is drawn that would be replaced
            module = NetworkModule(network)
        own = {name: torch.from_numpy(np.require(array, requirements=["C", "W"])) for name, array in weights.items()}
        module.load_state_dict(own, strict=False, assign=True)
        return cls(module, plain=plain)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (N, K) when the last volume is a vector, else that volume (N, K, H', W')."""
        volumes: dict[int, Tensor] = {}
        x = x if self.plain else _channels_last(x)
        for k, dropped in self.turns:
            inputs = [volumes[i] for i in self.nodes[k].inputs] or [x]
            volumes[k] = inputs[0] if k in self.hosts else self.get_submodule(self.nodes[k].name)(*inputs)
            for i in dropped:
                del volumes[i]
        return as_scores(volumes[self.turns[-1].position])


def ready(
    module: nn.Module,
    dtype: str,
    *norms: nn.Module,
    relu: bool = False,
    plain: bool = False,
    planned: tuple[int, ...] = (),
) -> nn.Module:
    """A layer's module for predicting in a dtype, taking in a batch normalization and RELU if such follow.

    A convolution that gains by filtering has a `planned` size. The module itself where there is nothing to do.
    """
    kind: torch.dtype = getattr(torch, dtype)
    with torch.no_grad():
        if isinstance(module, nn.Conv1d | nn.Conv2d):
            if not plain and planned and _is_on_cpu(module):
                return _FilteredConv(module, kind, norms, relu, planned)
            made = _Conv if plain else _convolving(module, kind)
            return made(module, kind, norms, relu)
        if isinstance(module, nn.Linear):
            return _Linear(module, kind, norms, relu)
        if isinstance(module, nn.LocalResponseNorm) and not plain:
            return ResponseNorm(module)
        if isinstance(module, CAST) and kind is not torch.float32:
            module = deepcopy(module).requires_grad_(requires_grad=False)
            module.weight = nn.Parameter(module.weight.to(kind), requires_grad=False)
    return module


class _Weighted(nn.Module):
    """What a convolution or FC and those behind it do to a volume, with weights and biases (K,) that are ready."""

    weight: Tensor
    bias: Tensor | None

    def __init__(self, module: Any, kind: torch.dtype, norms: tuple[nn.Module, ...], relu: bool) -> None:
        super().__init__()
        self.source = (module, norms)  # a pair, so that its modules do not become part of this one
        self.kind, self.relu = kind, relu

    def make_ready(self) -> None:
        """Take the weights as they are now."""
        weight, bias = self.taken()
        self.register_buffer("weight", weight.to(self.kind))
        self.register_buffer("bias", None if bias is None else bias.to(self.kind))

    def taken(self) -> tuple[Tensor, Tensor | None]:
        """Weights and biases with the normalizations in them."""
        module, norms = self.source
        weight, bias = module.weight, module.bias
        if isinstance(module, _modules.Conv1d | _modules.Conv2d):
            weight = module.kernel()
        for norm in norms:
            weight, bias = folded(weight, bias, norm)
        return weight.detach(), None if bias is None else bias.detach()


class _Linear(_Weighted):
    """Neurons on a flattened volume: (N, C, *size) -> (N, K, 1, ...)."""

    def __init__(self, module: nn.Linear, kind: torch.dtype, norms: tuple[nn.Module, ...], relu: bool) -> None:
        super().__init__(module, kind, norms, relu)
        self.make_ready()

    def forward(self, x: Tensor) -> Tensor:
        """A product and, in place, RELU."""
        y = F.linear(x.flatten(1).to(self.kind), self.weight, self.bias)
        y = y.relu_() if self.relu else y
        return y.reshape(*y.shape, *(1,) * (x.dim() - 2))


class _Conv(_Weighted):
    """A convolution by torch's own function: (N, C, *size) -> (N, K, *size')."""

    def __init__(
        self, module: nn.Conv1d | nn.Conv2d, kind: torch.dtype, norms: tuple[nn.Module, ...], relu: bool
    ) -> None:
        super().__init__(module, kind, norms, relu)
        padding: list[int] = [int(p) for p in module.padding]
        self.window = (list(module.stride), padding, list(module.dilation), module.groups)
        hang = module.hang if isinstance(module, _modules.Conv1d | _modules.Conv2d) else ()
        self.ends = [end for hung in reversed(hang) for end in (0, hung)] if any(hang) else []
        self.make_ready()

    def make_ready(self) -> None:
        """Those of images lie channels last."""
        super().make_ready()
        if self.weight.dim() == 4:
            self.weight = self.weight.contiguous(memory_format=torch.channels_last)

    def forward(self, x: Tensor) -> Tensor:
        """Windows that hang over the edge see zeros there."""
        return self.convolved((F.pad(x, self.ends) if self.ends else x).to(self.kind))

    def convolved(self, x: Tensor) -> Tensor:
        """The sums and, in place, RELU."""
        convolve: Any = F.conv2d if x.dim() == 4 else F.conv1d
        y: Tensor = convolve(x, self.weight, self.bias, *self.window)
        return y.relu_() if self.relu else y


class _PackedConv(_Conv):
    """A convolution of images by oneDNN, with weights in the order that it likes for the size of the batch.

    They are laid out when that size is first seen: in another order than the right one they would be copied value by
    value in each call, which takes longer than the convolution.
    """

    def make_ready(self) -> None:
        """Wait for a batch."""
        self.size: torch.Size | None = None

    def convolved(self, x: Tensor) -> Tensor:
        """The sums after RELU."""
        stride, padding, dilation, groups = self.window
        if x.shape != self.size:
            super().make_ready()
            pack: Any = torch._C._nn.mkldnn_reorder_conv2d_weight
            self.weight = pack(self.weight.to_mkldnn(), padding, stride, dilation, groups, x.shape)
            self.size = x.shape
        after = "relu" if self.relu else "none"
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self.weight, self.bias, padding, stride, dilation, groups, after, [], ""
        )
        return y


class _FilteredConv(_PackedConv):
    """A 3x3 convolution by Winograd's filtering, where volumes have the planned size.

    For each size there must be kernels, which take a moment to be made; at any other one oneDNN convolves.
    """

    def __init__(
        self,
        module: nn.Conv1d | nn.Conv2d,
        kind: torch.dtype,
        norms: tuple[nn.Module, ...],
        relu: bool,
        planned: tuple[int, ...],
    ) -> None:
        super().__init__(module, kind, norms, relu)
        self.planned = planned
        self.added = torch.empty(0)

    def convolved(self, x: Tensor) -> Tensor:
        """The sums after RELU."""
        if x.shape[2:] != self.planned:
            return super().convolved(x)
        layer = self.source[0]
        convolve = forwards(layer.in_channels, layer.out_channels, *self.planned, parts(self.kind))
        if self.size is None or self.size[2:] != self.planned:
            weight, bias = self.taken()
            self.register_buffer("weight", convolve.transformed(weight.contiguous(memory_format=torch.channels_last)))
            self.added = convolve.ending(bias, relu=self.relu)
            self.size = x.shape
        return convolve(x.contiguous(memory_format=torch.channels_last), self.weight, self.added)


class _ProductConv(_Conv):
    """A convolution of images by many weights, as an FC that slides has, as one product with all its windows.

    It reads the weights once; oneDNN's reads them for each row of windows, in an order that depends on the size.
    """

    def make_ready(self) -> None:
        """A row (F F C) of the matrix for each output."""
        _Weighted.make_ready(self)
        _, channels, *self.sizes = self.weight.shape
        self.weight = self.weight.permute(0, 2, 3, 1).reshape(-1, math.prod(self.sizes) * channels)

    def convolved(self, x: Tensor) -> Tensor:
        """The sums and, in place, RELU; channels last. The windows never take more memory than the weights."""
        stride, padding, dilation, groups = self.window
        reach = [d * (f - 1) for f, d in zip(self.sizes, dilation, strict=True)]
        counts = [(n + 2 * p - r - 1) // s + 1 for n, p, r, s in zip(x.shape[2:], padding, reach, stride, strict=True)]
        if len(x) * math.prod(counts) > len(self.weight):
            weight = self.weight.view(len(self.weight), *self.sizes, -1).movedim(-1, 1)
            y = F.conv2d(x, weight, self.bias, stride, padding, dilation, groups)
            return y.relu_() if self.relu else y
        x = F.pad(x, [p for p in reversed(padding) for _ in range(2)]).movedim(1, -1)
        for axis, (r, s, d) in enumerate(zip(reach, stride, dilation, strict=True), start=1):
            x = x.unfold(axis, r + 1, s)[..., ::d]
        y = F.linear(x.movedim(3, -1).flatten(3), self.weight, self.bias)
        return (y.relu_() if self.relu else y).movedim(-1, 1)


def folded(weight: Tensor, bias: Tensor | None, norm: Any) -> tuple[Tensor, Tensor]:
    """Weights (K, ...) and biases (K,) that give what `norm`, an `nn.BatchNorm1d` or `2d`, gives of theirs."""
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = scale * norm.weight
    shift = -norm.running_mean if bias is None else bias - norm.running_mean
    shift = shift * scale
    if norm.bias is not None:
        shift = shift + norm.bias
    return weight * scale.view(-1, *(1,) * (weight.dim() - 1)), shift


def _convolving(module: nn.Conv1d | nn.Conv2d, kind: torch.dtype) -> type[_Conv]:
    """What runs a convolution fastest."""
    if _is_product(module):
        return _ProductConv
    return _PackedConv if _packs(module, kind) else _Conv


def _is_product(module: nn.Module) -> bool:
    """Whether a convolution's weights are too many for a CPU's caches, so that it is best one product."""
    if not isinstance(module, nn.Conv2d) or module.groups > 1:
        return False
    return _is_on_cpu(module) and module.weight.numel() > UNCACHED


def _is_on_cpu(module: nn.Conv1d | nn.Conv2d) -> bool:
    return module.weight.device.type == "cpu"


def _packs(module: nn.Module, kind: torch.dtype) -> bool:
    """Whether oneDNN lays out a convolution's weights here: of images, on a CPU."""
    if not isinstance(module, nn.Conv2d) or not _is_on_cpu(module):
        return False
    there: bool = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]  # torch's
    return there and (kind is torch.float32 or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))


def _channels_last(x: Tensor) -> Tensor:
    """Images in that order; those of one channel with the strides that say so, which kernels go by."""
    if x.dim() != 4:
        return x
    x = x.contiguous(memory_format=torch.channels_last)
    _, channels, height, width = x.shape
    return x.as_strided(x.shape, (height * width * channels, 1, width * channels, channels))
