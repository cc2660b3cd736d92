"""How far is predicted memory from measured memory? Writes the table of docs/memory.md.

    python bench/memory_score.py              # every network: about an hour on two cores
    python bench/memory_score.py resnet20 nin # these only, printed and not written
    python bench/memory_score.py --native     # the native engine's table: a quarter of an hour

Each row is a process of its own. Batches are chosen so that a network takes 50 MiB and more: below that the few MiB
that a process's own bookkeeping moves are not small beside it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import NamedTuple

from neocog import zoo
from neocog.measure.memory import Measured, measure

PAGE = Path(__file__).parents[1] / "docs" / "memory.md"
START, END = "<!-- score: written by bench/memory_score.py -->\n", "<!-- end of score -->"
NATIVE_START, NATIVE_END = "<!-- native: written by bench/memory_score.py -->\n", "<!-- end of native -->"

BATCHES = {  # name: ((training, twice), (predicting, twice))
    "lenet5-relu": ((1024, 2048), (2048, 4096)),
    "convnetjs-cifar10": ((256, 512), (512, 1024)),
    "nin": ((32, 64), (64, 128)),
    "all-cnn-c": ((32, 64), (64, 128)),
    "resnet20": ((64, 128), (256, 512)),
    "resnet56": ((32, 64), (256, 512)),
    "preact-resnet110": ((16, 32), (256, 512)),
    "alexnet": ((8, 16), (8, 16)),
    "alexnet-one": ((8, 16), (8, 16)),
    "zfnet": ((4, 8), (4, 8)),
    "vgg11": ((2, 4), (2, 4)),
    "vgg16": ((1, 2), (1, 2)),
    "googlenet": ((4, 8), (8, 16)),
    "googlenet-bn": ((4, 8), (8, 16)),
    "resnet18": ((4, 8), (8, 16)),
    "resnet50": ((2, 4), (8, 16)),
    "inception-v3": ((2, 4), (4, 8)),
}


NATIVE = {
    "lenet5-relu": ((4096, 16384), (16384, 32768)),
    "convnetjs-cifar10": ((2048, 4096), (4096, 8192)),
    "nin": ((32, 64), (64, 128)),
    "all-cnn-c": ((32, 64), (64, 128)),
    "resnet20": ((64, 128), (2048, 4096)),
    "resnet56": ((64, 128), (2048, 4096)),
    "preact-resnet110": ((64, 128), (256, 512)),
    "resnet18": ((16, 32), (16, 32)),
}


class NativeRow(NamedTuple):
    """A network with a batch; what torch is predicted to take stands beside it."""

    name: str
    training: bool
    batch: int
    found: Measured
    torch: int

    def cells(self) -> tuple[str, ...]:
        """What the table shows, in MiB."""
        found = self.found
        sizes = (found.predicted_bytes, found.peak_bytes, self.torch, found.building_bytes)
        predicted, peak, torch, building = (f"{count / 2**20:,.1f}" for count in sizes)
        work = "training" if self.training else "inference"
        return (self.name, work, str(self.batch), predicted, peak, f"{found.error:+.1%}", torch, building)


class Row(NamedTuple):
    """A network with a batch; training is measured with memory held too."""

    name: str
    training: bool
    batch: int
    found: Measured
    held: Measured | None

    def cells(self) -> tuple[str, ...]:
        """What the table shows, in MiB."""
        found = self.found
        sizes = (found.predicted_bytes, found.peak_bytes, found.allocated_bytes)
        predicted, peak, allocated = (f"{count / 2**20:,.1f}" for count in sizes)
        held = f"{self.held.peak_bytes / 2**20:,.1f}" if self.held else ""
        work = "training" if self.training else "inference"
        return (self.name, work, str(self.batch), predicted, peak, f"{found.error:+.1%}", allocated, held)


HEADER = ("network", "", "batch", "predicted", "measured", "error", "arrays", "memory held")
NATIVE_HEADER = ("network", "", "batch", "predicted", "measured", "error", "torch, predicted", "while code is made")


def rows(names: list[str]) -> Iterator[Row]:
    for name in names:
        for training, batches in zip((True, False), BATCHES[name], strict=True):
            for batch in batches:
                found = measure(zoo(name), batch=batch, training=training)
                held = measure(zoo(name), batch=batch, returning=False) if training else None
                yield Row(name, training, batch, found, held)


def native_rows(names: list[str]) -> Iterator[NativeRow]:
    for name in names:
        for training, batches in zip((True, False), NATIVE[name], strict=True):
            for batch in batches:
                torch = zoo(name).plan(batch=batch).memory["training_bytes" if training else "inference_bytes"]
                found = measure(zoo(name), batch=batch, training=training, engine="native")
                yield NativeRow(name, training, batch, found, torch)


def verdict(measured: list[Row] | list[NativeRow]) -> str:
    errors = [row.found.error for row in measured]
    return (
        f"{len(measured)} measurements: median error {median(map(abs, errors)):.1%}, "
        f"lowest {min(errors):+.1%}, highest {max(errors):+.1%}."
    )


def line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    native, names = "--native" in sys.argv, [name for name in sys.argv[1:] if name != "--native"]
    lines = [line(NATIVE_HEADER if native else HEADER), line(("---", "---", *["---:"] * 6))]
    print("\n".join(lines), flush=True)
    measured = []
    for row in native_rows(names or list(NATIVE)) if native else rows(names or list(BATCHES)):
        measured.append(row)
        lines.append(line(row.cells()))
        print(lines[-1], flush=True)
    print("\n" + verdict(measured))
    if not names:
        start, end = (NATIVE_START, NATIVE_END) if native else (START, END)
        before, rest = PAGE.read_text(encoding="utf-8").split(start)
        after = rest.split(end)[1]
        table = "\n".join([*lines, "", verdict(measured), ""])
        PAGE.write_text(f"{before}{start}\n{table}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
