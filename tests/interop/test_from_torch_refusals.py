"""What is no network of ours is refused with its place in the module, the rule, and what would be read."""

from __future__ import annotations

import inspect
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch_models import Forward

from neocog import NeocogError, Network
from neocog.interop import from_torch


def refusal(module: nn.Module, shape: str = "8x8x2") -> str:
    with pytest.raises(NeocogError) as caught:
        Network.from_torch(module, shape)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None  # torch's traceback is not shown
    return str(caught.value)


def weight_normalized() -> nn.Module:
    return nn.utils.parametrizations.weight_norm(nn.Conv2d(2, 2, 1))


def tied() -> nn.Module:
    module = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 1))
    module[1].weight = module[0].weight
    return module


REFUSED: dict[str, tuple[nn.Module, str]] = {
    "no layer of ours": (nn.Hardswish(), "hardswish is no layer of the notation"),
    "used twice": (Forward(lambda x, c: c(c(x)), nn.Conv2d(2, 2, 1)), "parts.0.weight is used a second time"),
    "tied weights": (tied(), "is used a second time, and in the notation every layer has weights of its own"),
    "values decide": (Forward(lambda x: x if x.sum() > 0 else -x), "looks at values of a tensor"),
    "two outputs": (Forward(lambda x: (x.tanh(), x)), "a module that returns 2 tensors"),
    "no output": (Forward(lambda x: None), "a network turns one volume into one"),
    "two inputs": (nn.Bilinear(2, 2, 2), "torch cannot run this module"),
    "other channels": (nn.Conv2d(3, 4, 3), "expected input[2, 2, 8, 8] to have 3 channels"),
    "lazy": (nn.LazyConv2d(4, 3), "uninitialized parameter"),
    "circular padding": (nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular"), "pad is no layer"),
    "zeros before a maximum": (nn.Sequential(nn.ZeroPad2d(1), nn.MaxPool2d(2)), "pad is no layer"),
    "uneven padding": (
        nn.Sequential(nn.ZeroPad2d((1, 0, 1, 0)), nn.Conv2d(2, 2, 3)),
        "received: 1x1 before and 0x0 after",
    ),
    "an even kernel's same padding": (nn.Conv2d(2, 2, 2, padding="same"), "pads one side more than the other"),
    "fixed kernel": (Forward(lambda x: F.conv2d(x, torch.ones(2, 2, 1, 1))), "is not a parameter of the module"),
    "weight normalization": (weight_normalized(), "remove_parametrizations"),
    "kernel flipped on one axis": (
        Forward(lambda x, c: F.conv2d(x, c.weight.flip(3)), nn.Conv2d(2, 2, 3)),
        "every axis",
    ),
    "output padding": (nn.ConvTranspose2d(2, 2, 3, 2, 1, output_padding=1), "received: output_padding=1x1, groups=1"),
    "padding of which half counts": (
        nn.Sequential(nn.ZeroPad2d(1), nn.AvgPool2d(3, padding=1, count_include_pad=False)),
        "received: 1x1 before, 1x1 after, padding=1x1, count_include_pad=False",
    ),
    "another divisor": (nn.AvgPool2d(2, divisor_override=3), "divisor_override=3"),
    "bins of unequal size": (nn.AdaptiveAvgPool2d(3), "received: 8x8 into 3x3"),
    "mean of rows": (Forward(lambda x: x.mean(2, keepdim=True)), "over all positions of a volume"),
    "largest of two": (Forward(lambda x: torch.max(x, x.tanh())), "max is read where"),
    "aligned corners": (nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True), "align_corners=False"),
    "a fraction": (nn.Upsample(scale_factor=1.5), "received: 8x8 to 12x12"),
    "almost a whole factor": (nn.Upsample(scale_factor=2.1), "received: 8x8 to 16x16"),
    "a form of its own": (Forward(lambda x: torch.ops.aten.upsample_nearest2d(x, [16, 16])), "without scale_factors"),
    "gradients switched off": (Forward(torch.no_grad()(lambda x: x.tanh())), "wrap_with_set_grad_enabled is no layer"),
    "a bound of its own": (Forward(lambda x: torch.clamp(x, x.tanh())), "received: from Operation(name='tanh'"),
    "statistics that are computed": (
        Forward(lambda x, n: F.batch_norm(x, 2 * n.running_mean, n.running_var), nn.BatchNorm2d(2)),
        "the running_mean of batch_norm is not a buffer of the module\n  received: the result of mul",
    ),
    "whole numbers": (Forward(lambda x: x.long()), "received: torch.int64"),
    "weights in place of images": (Forward(lambda x, c: c.weight.tanh(), nn.Conv2d(2, 2, 1)), "tanh is no layer"),
    "images mixed": (Forward(lambda x: x.flatten(0, 1)), "flatten is no layer"),
    "linear over an axis": (nn.Linear(8, 3), "FC where it reads a vector"),
    "batch statistics": (nn.BatchNorm2d(2, track_running_stats=False), "track_running_stats=True"),
    "averaged statistics": (nn.BatchNorm2d(2, momentum=None), "received: momentum=None"),
    "no eps": (nn.BatchNorm2d(2, eps=0), "BN's eps is larger than 0"),
    "tracked instances": (nn.InstanceNorm2d(2, track_running_stats=True), "GROUPNORM keeps no running statistics"),
    "tanh GELU": (nn.GELU("tanh"), "approximate=tanh"),
    "one slope": (nn.PReLU(), "try: nn.PReLU(2)"),
    "bounded": (Forward(lambda x: x.clamp(0, 6)), "received: from 0 to 6"),
    "softmax over columns": (nn.Softmax(dim=-1), "SOFTMAX goes over channels"),
    "log softmax": (nn.LogSoftmax(dim=1), "losses take the scores before it"),
    "dropout for ever": (Forward(lambda x: F.dropout(x, 0.5)), "training=self.training"),
    "dropped maps": (nn.Dropout2d(), "feature_dropout is no layer"),
    "shuffled": (nn.ChannelShuffle(2), "channel_shuffle is no layer"),
    "transposed": (Forward(lambda x: x.transpose(2, 3)), "transpose is no layer"),
    "a vector as a volume": (nn.Sequential(nn.Flatten(), nn.Unflatten(1, (2, 8, 8))), "received: 128 to 2x8x8"),
    "a number added": (Forward(lambda x: x + 1), "received: 2x8x8 and 1"),
    "a map added to all": (Forward(lambda x: x + x[:, :1]), "received: 2x8x8 and 1x8x8"),
    "scaled sum": (Forward(lambda x: torch.add(x, x, alpha=2)), "ADD sums volumes of one shape"),
    "rows stacked": (Forward(lambda x: torch.cat([x, x], 2)), "CONCAT stacks volumes along channels"),
    "a part of it": (Forward(lambda x: x[:, :, 1:]), "slice is no layer"),
    "times a number": (Forward(lambda x: 2 * x), "mul is no layer"),
    "zero maps in front": (Forward(lambda x: F.pad(x, (0, 0, 0, 0, 1, 1))), "pad is no layer"),
    "changed behind its back": (Forward(lambda x: (y := x.tanh(), y.flatten(1).relu_(), y)[2]), "inplace=False there"),
    "changed after dropout": (Forward(lambda x: F.dropout(x, 0.5, False).relu_() + x), "through another view"),
}


@pytest.mark.parametrize(("module", "says"), REFUSED.values(), ids=REFUSED)
def test_what_no_layer_says_is_refused(module, says):
    assert says in refusal(module)


def test_the_message_names_module_line_operation_and_what_is_known(monkeypatch):
    source = Path(inspect.getfile(Forward))
    monkeypatch.chdir(source.parent)
    line = source.read_text(encoding="utf-8").splitlines().index("        return self.function(x, *self.parts)") + 1
    inner = nn.Sequential(nn.Conv2d(2, 2, 1), nn.Hardswish(), nn.Tanh(), nn.ELU())
    assert refusal(Forward(lambda x, part: part(x), inner)).startswith(
        f"parts.0.1 (torch_models.py, line {line}): hardswish is no layer of the notation, nor part of one\n"
        "  received: hardswish, and elu later on\n"
        "  try: layers made of adaptive_avg_pool, adaptive_max_pool, add, avg_pool, batch_norm, cat, clamp, conv,"
    )


@pytest.mark.parametrize("shape", ["", "8", "8x8x2 -> RELU", "0x8x2", "8x8x8x2"])
def test_a_size_is_written_as_in_input(shape):
    with pytest.raises(NeocogError, match=r"INPUT|nothing|expected|whole numbers"):
        Network.from_torch(nn.Tanh(), shape)


def test_a_tuple_is_no_size_because_nobody_could_tell_its_order():
    with pytest.raises(NeocogError, match=r'try: "224x224x3", height x width x channels'):
        Network.from_torch(nn.Tanh(), (2, 8, 8))  # type: ignore[arg-type]


def test_weights_that_do_not_exist_can_be_planned_but_not_brought():
    with torch.device("meta"):
        module = nn.Sequential(nn.Flatten(), nn.Linear(784, 10**6))
    assert Network.from_torch(module, "28x28x1").plan().totals["parameters"] == 785 * 10**6
    with pytest.raises(NeocogError, match="a module on the meta device has no weights"):
        from_torch(module, "28x28x1")


def state(module: nn.Module) -> dict[str, Any]:
    stored = {name: tensor.numpy().copy() for name, tensor in module.state_dict().items()}
    return {"modes": [part.training for part in module.modules()], **stored}


@pytest.mark.parametrize(
    ("last", "outcome"),
    [(nn.Tanh(), nullcontext()), (nn.Hardswish(), pytest.raises(NeocogError))],
    ids=["read", "refused"],
)
def test_the_module_and_torch_are_left_as_they_were(last, outcome):
    module = nn.Sequential(nn.Conv2d(2, 2, 3), nn.BatchNorm2d(2).eval(), nn.Dropout(), nn.ReLU(inplace=True), last)
    module(torch.ones(4, 2, 8, 8)).sum().backward()
    grad, before, random = module[0].weight.grad, state(module), torch.get_rng_state()
    with outcome:
        from_torch(module, "8x8x2")
    np.testing.assert_equal(state(module), before)
    assert module[0].weight.grad is grad
    assert torch.equal(torch.get_rng_state(), random)
    assert torch.is_grad_enabled()


def test_the_imported_weights_are_copies_in_single_precision():
    module = nn.Sequential(nn.Conv2d(2, 2, 3)).double()
    _, weights = from_torch(module, "8x8x2")
    before = weights["conv1.weight"].copy()
    assert before.dtype == np.float32
    with torch.no_grad():
        module[0].weight.zero_()
    np.testing.assert_array_equal(weights["conv1.weight"], before)
