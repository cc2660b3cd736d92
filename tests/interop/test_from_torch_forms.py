"""The many ways to write one layer in torch: each is read as that layer, with equal outputs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch_models import Forward, agreement

from neocog import Network
from neocog.interop.recognise import SINGLE

FORMS: dict[str, tuple[str, nn.Module, str]] = {
    "one more zero in front, where the last window leaves one unread": (
        "8x8x2",
        nn.Sequential(nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(2, 3, 3, 2)),
        "fit=floor CONV3-3(S=2)",
    ),
    "upsampling to the same size": ("4x4x2", Forward(lambda x: F.interpolate(x, size=4).tanh()), "TANH"),
    "unflattened vector": (
        "2x2x2",
        nn.Sequential(nn.Flatten(), nn.Unflatten(1, (8, 1, 1)), nn.Conv2d(8, 2, 1), nn.Flatten()),
        "FLATTEN -> CONV1-2",
    ),
    "same padding": ("9x8x2", nn.Conv2d(2, 3, 3, padding="same", dilation=2), "CONV3-3(D=2)"),
    "valid padding": ("9x8x2", nn.Conv2d(2, 3, 3, padding="valid"), "CONV3-3(P=0)"),
    "zeros around a convolution": (
        "8x8x2",
        nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(2, 3, (3, 5), padding=(0, 1))),
        "CONV3x5-3",
    ),
    "one more zero at the end": (
        "8x8x2",
        nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(2, 3, 3, 2)),
        "fit=ceil CONV3-3(S=2, P=0)",
    ),
    "an uneven rest": ("8x7x2", nn.Conv2d(2, 3, 3, 2, 1, groups=1), "fit=floor CONV3-3(S=2)"),
    "depthwise": ("8x8x4", nn.Conv2d(4, 4, 3, padding=1, groups=4, bias=False), "CONV3-4(G=4, BIAS=no)"),
    "a flipped kernel": (
        "6x6x1",
        Forward(lambda x, c: F.conv2d(x, c.weight.flip(-1, 2)), nn.Conv2d(1, 2, 3)),
        "CONV3-2(P=0, BIAS=no, FLIP=yes)",
    ),
    "transposed": ("5x4x2", nn.ConvTranspose2d(2, 3, 4, 2, 1), "DECONV4-3(S=2, P=1)"),
    "transposed sequence": ("5x2", nn.ConvTranspose1d(2, 3, 3, bias=False), "DECONV3-3(P=0, BIAS=no)"),
    "indices that nobody reads": (
        "8x8x2",
        Forward(lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True)[0]),
        "fit=floor POOL3(S=2, P=1)",
    ),
    "dilated pooling": ("8x8x2", nn.MaxPool2d(3, 1, 1, dilation=2), "POOL3(S=1, P=1, D=2)"),
    "a vector of channels last": (
        "4x5x2",
        Forward(lambda x, f: f(x.permute(0, 2, 3, 1).flatten(1)), nn.Linear(40, 3)),
        "FC3",
    ),
    "ceil mode": ("8x8x2", nn.MaxPool2d(3, 2, ceil_mode=True), "fit=ceil POOL3(S=2)"),
    "a mean with its padding": ("6x6x2", nn.Sequential(nn.ZeroPad2d(1), nn.AvgPool2d(2)), "AVGPOOL2(P=1)"),
    "a mean without its padding": (
        "6x6x2",
        nn.AvgPool2d(3, 1, 1, count_include_pad=False),
        "AVGPOOL3(S=1, P=1, ZEROS=no)",
    ),
    "a mean without padding": ("6x6x2", nn.AvgPool2d(2, count_include_pad=False), "AVGPOOL2"),
    "a mean that hangs": ("8x8x2", nn.AvgPool2d(3, 2, ceil_mode=True), "fit=ceil AVGPOOL3(S=2)"),
    "adaptive mean that divides": ("6x8x2", nn.AdaptiveAvgPool2d((3, 2)), "AVGPOOL2x4"),
    "adaptive maximum that divides": ("6x6x2", nn.AdaptiveMaxPool2d(2), "POOL3"),
    "adaptive mean that changes nothing": ("6x6x2", nn.Sequential(nn.AdaptiveAvgPool2d(6), nn.Tanh()), "TANH"),
    "mean over positions": ("6x5x2", Forward(lambda x: x.mean((2, 3), keepdim=True).flatten(1)), "GAP"),
    "mean over time": ("6x2", Forward(lambda x: torch.mean(x, -1)), "GAP"),
    "largest of all": ("6x5x2", Forward(lambda x: torch.amax(x, dim=(-1, -2))), "POOL6x5"),
    "largest over time": ("6x2", Forward(lambda x: x.max(dim=2)[0]), "POOL6"),
    "upsampling by size": ("3x4x2", Forward(lambda x: F.interpolate(x, size=(6, 12))), "UPSAMPLE2x3"),
    "bilinear": ("3x4x2", nn.Upsample(scale_factor=2, mode="bilinear"), "UPSAMPLE2(MODE=bilinear)"),
    "linear upsampling": ("4x2", nn.Upsample(scale_factor=3, mode="linear"), "UPSAMPLE3(MODE=bilinear)"),
    "normalization of a vector": (
        "4x4x2",
        nn.Sequential(nn.Flatten(), nn.Linear(32, 3, bias=False), nn.BatchNorm1d(3, eps=0.01, momentum=0.2)),
        "FC3(BIAS=no) -> BN(eps=0.01, m=0.2)",
    ),
    "normalization without scale": ("4x4x2", nn.BatchNorm2d(2, affine=False), "BN(AFFINE=no)"),
    "group normalization": ("4x4x4", nn.GroupNorm(2, 4, eps=0.1), "GROUPNORM(G=2, eps=0.1)"),
    "instance normalization": ("4x4x4", nn.InstanceNorm2d(4), "GROUPNORM(G=4, AFFINE=no)"),
    "instance normalization with scale": ("6x4", nn.InstanceNorm1d(4, affine=True), "GROUPNORM(G=4)"),
    "response normalization": (
        "4x4x6",
        nn.LocalResponseNorm(3, 0.3, 0.5, k=1.5),
        "LRN(n=3, k=1.5, alpha=0.1, beta=0.5)",
    ),
    "response normalization of sequences": ("4x6", nn.LocalResponseNorm(5), "LRN(k=1, alpha=2e-5)"),
    "clamped": ("4x4x2", Forward(lambda x: x.clamp(min=0)), "RELU"),
    "clamped in place": ("4x4x2", Forward(lambda x: x.clamp_min_(0.0)), "RELU"),
    "activations": (
        "4x4x2",
        nn.Sequential(nn.LeakyReLU(0.2), nn.PReLU(2), nn.Sigmoid(), nn.GELU(), nn.SiLU(True), nn.Softmax(1)),
        "LRELU(0.2) -> PRELU -> SIGMOID -> GELU -> SILU -> SOFTMAX",
    ),
    "softmax of a vector": ("2x2x2", nn.Sequential(nn.Flatten(), nn.Softmax(dim=-1)), "FLATTEN -> SOFTMAX"),
    "copies": ("4x4x2", Forward(lambda x: x.contiguous().clone().to(torch.float32)[:].tanh()), "TANH"),
    "reshapes of a vector": (
        "4x4x2",
        Forward(
            lambda x, f: f(F.adaptive_avg_pool2d(x, 1).squeeze())[:, :, None, None].view(x.shape[0], -1),
            nn.Linear(2, 3),
        ),
        "GAP -> FC3",
    ),
    "a flattening before dropout": (
        "4x4x2",
        nn.Sequential(nn.Flatten(), nn.Dropout(0.3), nn.ReLU(), nn.Linear(32, 3)),
        "DROPOUT(0.3) -> RELU -> FC3",
    ),
    "a flattening that channels matter to": (
        "2x2x2",
        nn.Sequential(nn.Flatten(), nn.BatchNorm1d(8), nn.Linear(8, 3)),
        "FLATTEN -> BN -> FC3",
    ),
    "subsampled identity": ("5x4x2", Forward(lambda x: x[:, :, ::2, ::2]), "SHORTCUT(K=2)"),
    "new maps of zeros": ("5x4x2", Forward(lambda x: F.pad(x, (0, 0, 0, 0, 0, 3))), "SHORTCUT(K=5, S=1)"),
    "sequences subsampled": ("5x2", Forward(lambda x: F.pad(x[..., ::3], (0, 0, 0, 1))), "SHORTCUT(K=3, S=3)"),
    "pyramid": (
        "5x7x2",
        Forward(lambda x: torch.cat([F.adaptive_max_pool2d(x, n).flatten(1) for n in (3, 1)], dim=1)),
        "SPP(3, 1)",
    ),
    "a sum of three": (
        "4x4x2",
        Forward(lambda x, c: x.tanh() + c(x) + x, nn.Conv2d(2, 2, 1)),
        "ADD[TANH | CONV1-2 | ID]",
    ),
    "twice the same": ("4x4x2", Forward(lambda x: x + x), "ADD[ID | ID]"),
    "in-place sum": ("4x4x2", Forward(lambda x, c: c(x).add_(x), nn.Conv2d(2, 2, 1)), "ADD[CONV1-2 | ID]"),
    "ReLU in place before a shortcut": (
        "4x4x2",
        Forward(lambda x, c: c(F.relu_(x)) + x, nn.Conv2d(2, 2, 1)),  # x is what ReLU left of it
        "RELU -> ADD[CONV1-2 | ID]",
    ),
    "concatenation inside concatenation": (
        "4x4x2",
        Forward(lambda x: torch.cat((torch.cat([x.tanh(), x], 1).relu(), x.sigmoid()), -3)),
        "CONCAT[CONCAT[TANH | ID] -> RELU | SIGMOID]",
    ),
    "concatenation of one": ("4x4x2", Forward(lambda x: torch.cat([x], 1).tanh()), "TANH"),
    "work that nobody reads": ("4x4x2", Forward(lambda x, c: (c(x), x.tanh())[1], nn.Conv2d(2, 9, 1)), "TANH"),
    "a condition on a size": ("4x4x2", Forward(lambda x: x.tanh() if x.shape[-1] > 3 else x.sin()), "TANH"),
}


@pytest.mark.parametrize(("shape", "module", "text"), FORMS.values(), ids=FORMS)
def test_a_form_is_read_as_its_layer_and_gives_the_same_values(shape, module, text):
    assert str(Network.from_torch(module, shape)).replace(f"INPUT[{shape}] -> ", "") == text
    assert agreement(module, shape) < 1e-5


def test_the_page_lists_every_operation_that_is_read():
    page = (Path(__file__).parents[2] / "docs" / "from-torch.md").read_text(encoding="utf-8")
    for name in SINGLE.keys() - {"input"}:
        plain = re.sub(r"[12]d$", "", name.removesuffix("_with_indices"))
        assert re.search(rf"`{plain}([12]d)?`", page), f"docs/from-torch.md does not mention {name}"
