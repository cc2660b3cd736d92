"""One convolution by Winograd's filtering beside oneDNN's, forwards and back, by turns on all cores.

    bench/convolutions.py [--dtype bfloat16]

Prints milliseconds of the outputs, the gradient of the inputs and that of the weights, and how much of oneDNN's time
filtering takes: medians of `ROUNDS` turns.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import torch
import torch.nn.functional as F
from page import row
from torch import Tensor

from neocog.torch_engine import winograd
from neocog.torch_engine.allocator import keep_memory
from neocog.torch_engine.device import DTYPES

ROUNDS = 9
SIZES = [
    *[(16, 64, 64, 112), (16, 64, 128, 56), (16, 128, 128, 56), (16, 256, 256, 28), (16, 512, 512, 14)],
    *[(64, 32, 32, 32), (64, 64, 64, 32), (64, 128, 128, 16), (256, 256, 256, 8), (32, 256, 384, 13)],
]
"""Images, channels in and out, and the side of the maps."""


def pairs(x: Tensor, dy: Tensor, w: Tensor) -> list[list[Callable[[], Any]]]:
    """By filtering and by oneDNN: outputs, gradient of inputs, gradient of weights."""
    sizes = x.shape[1], len(w), *x.shape[2:], winograd.parts(x.dtype)
    there, back = winograd.forwards(*sizes), winograd.backwards(*sizes)
    of_weights, kernel = winograd.weight_gradient(len(x), *sizes), w.to(x.dtype)
    settings = (None, [1, 1], [1, 1], [1, 1], False, [0, 0], 1)
    gradient = torch.ops.aten.convolution_backward
    return [
        [lambda: there(x, there.transformed(w), there.ending()), lambda: F.conv2d(x, kernel, padding=1)],
        [
            lambda: back(dy, back.transformed(w), back.ending()),
            lambda: gradient(dy, x, kernel, *settings, [True, False, False]),
        ],
        [lambda: of_weights(x, dy), lambda: gradient(dy, x, kernel, *settings, [False, True, False])],
    ]


def seconds(run: Callable[[], Any]) -> float:
    start = perf_counter()
    run()
    return perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=DTYPES, default="float32")
    args = parser.parse_args()
    if not winograd.possible(args.dtype):
        sys.exit("this processor does not gain by filtering")
    keep_memory(1 << 30)
    print(row(["images, channels, side", "outputs", "inputs' gradient", "weights' gradient", "shares"]))
    for images, inputs, outputs, side in SIZES:
        x, dy = (
            torch.randn(images, n, side, side, dtype=getattr(torch, args.dtype)).contiguous(
                memory_format=torch.channels_last
            )
            for n in (inputs, outputs)
        )
        w = torch.randn(outputs, inputs, 3, 3).contiguous(memory_format=torch.channels_last)
        found = []
        for both in pairs(x, dy, w):
            turns = [[seconds(run) for run in both] for _ in range(1 + ROUNDS)][1:]
            found.append([1e3 * median(times) for times in zip(*turns, strict=True)])
        cells = [f"{ours:.1f} / {theirs:.1f}" for ours, theirs in found]
        shares = ", ".join(f"{ours / theirs:.2f}" for ours, theirs in found)
        print(row([f"{images}, {inputs} to {outputs}, {side}", *cells, shares]), flush=True)


if __name__ == "__main__":
    main()
