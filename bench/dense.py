"""One pass over a large image against its crops one by one, and a finer map by shifts against dilation.

A VGG-16 with random weights on 384 x 384 pixels: 36 windows of 224, 32 pixels apart; and 121, 16 apart. All
contenders run in float32 and take turns; the network of the crops is torch's plain module. Beside each ratio of times
stands that of the planned multiply-adds. `--write` puts the table into docs/dense.md; `--net TEXT` and `--size N` take
others. Needs a quiet machine.
"""

from __future__ import annotations

import argparse
import platform
from collections.abc import Callable
from itertools import product
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import NamedTuple

import numpy as np
import torch
from page import row, write

from neocog import Network, zoo
from neocog.dense.form import Form, Volume
from neocog.dense.routes import DILATE, SHIFT, Route, route
from neocog.dense.tiles import Tiling
from neocog.initialise import initialise
from neocog.torch_engine import build

PAGE = Path(__file__).parents[1] / "docs" / "dense.md"
ROUNDS = 5
BATCH = 12
"""Crops that are scored at once by the batched contender."""


class Found(NamedTuple):
    """A way to make a map: its cells, its seconds in each round, and its multiply-adds."""

    name: str
    cells: int
    seconds: list[float]
    macs: int


def measured(network: Network, size: int, rounds: int = ROUNDS) -> list[Found]:
    """Every way at the network's own stride, then at half of it; the first of each is one pass or the cheaper way."""
    weights = initialise(network, 0, "he")
    form = Form.of(network, weights)
    module = build(network, weights=weights).eval()
    x = np.random.default_rng(0).normal(size=(network.input_shape.channels, size, size)).astype(np.float32)
    one = network.plan().totals["macs"]
    found: list[Found] = []
    ways: dict[str, tuple[Callable[[], object], int, int]] = {}
    for stride in (form.sight.jump[0], form.sight.jump[0] // 2):
        own = stride == form.sight.jump[0]
        forms = [Form.of(network, weights) for _ in (DILATE, SHIFT)]  # each lays out weights for sizes of its own
        routes = [route(forms[0], stride)] if own else list(map(route, forms, (stride, stride), (DILATE, SHIFT)))
        cells = routes[0].cells((size, size))
        count = int(np.prod(cells))
        crops = [
            torch.from_numpy(x[:, i * stride : i * stride + h, j * stride : j * stride + w].copy())
            for (i, j), (h, w) in product(np.ndindex(*cells), [form.sight.window])
        ]
        for way in routes:
            name = "one pass" if own else {DILATE: "dilated", SHIFT: "4 shifted passes"}[way.method]
            ways[f"{name}, stride {stride}"] = (mapping(way, cells, x), count, way.macs(cells))
        ways[f"crops in batches of {BATCH}, stride {stride}"] = (batches(module, crops), count, count * one)
        if own:
            ways[f"crops one by one, stride {stride}"] = (singly(module, crops), count, count * one)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(rounds + 1):
        for name, (run, _, _) in ways.items():
            begun = perf_counter()
            run()
            if turn:  # the first lays out weights
                seconds[name].append(perf_counter() - begun)
    for name, (_, count, macs) in ways.items():
        found.append(Found(name, count, seconds[name], macs))
    return found


def mapping(way: Route, cells: tuple[int, ...], x: Volume) -> Callable[[], Volume]:
    """A map by a route, in one tile."""
    tiling = Tiling(way, cells, cells, 0)
    block = tuple(slice(0, n) for n in cells)
    return lambda: tiling.scores(block, lambda part: x[(slice(None), *part)])


def batches(module: torch.nn.Module, crops: list[torch.Tensor]) -> Callable[[], object]:
    """All crops, several at once."""

    def run() -> list[torch.Tensor]:
        with torch.inference_mode():
            return [module(torch.stack(crops[k : k + BATCH])) for k in range(0, len(crops), BATCH)]

    return run


def singly(module: torch.nn.Module, crops: list[torch.Tensor]) -> Callable[[], object]:
    """All crops, each by itself."""

    def run() -> list[torch.Tensor]:
        with torch.inference_mode():
            return [module(crop[None]) for crop in crops]

    return run


def lines(found: list[Found], what: str) -> list[str]:
    """The table: each way against the first of its stride."""
    made = [
        f"{what}, float32, {torch.get_num_threads()} threads of {processor()}; "
        f"medians of {len(found[0].seconds)} rounds.",
        "",
        row(["way", "windows", "seconds", "times the first", "times its multiply-adds"]),
        row(["---", "--:", "--:", "--:", "--:"]),
    ]
    first: dict[int, Found] = {}
    for one in found:
        base = first.setdefault(one.cells, one)
        ratio = median(a / b for a, b in zip(one.seconds, base.seconds, strict=True))
        cells = [one.name, str(one.cells), f"{median(one.seconds):.3g}", f"{ratio:.2f}", f"{one.macs / base.macs:.2f}"]
        made.append(row(cells))
    return made


def processor() -> str:
    """The processor's name, where the system says it."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.machine()
    return next((line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")), "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--net", default="vgg16", help="a name of the zoo, or a text")
    parser.add_argument("--size", type=int, default=384, help="the image's side")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--write", action="store_true", help="put the table into docs/dense.md")
    args = parser.parse_args()
    network = Network.parse(args.net) if "->" in args.net else zoo(args.net)
    table = lines(measured(network, args.size, args.rounds), f"{args.net} on {args.size}x{args.size}")
    print("\n".join(table))
    if args.write:
        write("bench/dense.py", table, PAGE)


if __name__ == "__main__":
    main()
