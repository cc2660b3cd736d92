"""How far off are predicted times? Predicts and measures networks of the zoo and writes a table of docs/time.md.

`make` has no target for it: python bench/time_score.py [--engine native] [--dtype bfloat16] [--write]. It takes some
minutes on a machine that does nothing else; elsewhere the figures mean little, and the table says so.
"""

from __future__ import annotations

import argparse
import platform
import sys
from pathlib import Path
from statistics import median

import torch

from neocog import zoo
from neocog.measure.kept import machine_name
from neocog.measure.native_time import compare as native_compare
from neocog.measure.pace import pace_for
from neocog.measure.time import Comparison, calibration_for, compare
from neocog.plan import Plan
from neocog.plan.tables import duration

PAGE = Path(__file__).parents[1] / "docs/time.md"
BEGIN, END = "<!-- {engine} {dtype}: begin -->", "<!-- {engine} {dtype}: end -->"
TORCH = {
    "lenet5-relu": (64, 512),
    "convnetjs-cifar10": (32, 256),
    "nin": (8, 32),
    "all-cnn-c": (8, 32),
    "resnet20": (16, 128),
    "resnet56": (16, 64),
    "preact-resnet110": (8, 32),
    "alexnet-one": (4, 16),
    "alexnet": (4, 16),
    "zfnet": (2, 8),
    "vgg11": (1, 4),
    "vgg16": (1, 2),
    "googlenet-bn": (2, 8),
    "resnet18": (2, 8),
    "resnet50": (1, 4),
    "inception-v3": (1, 3),
}
NATIVE = {
    "lenet5": (64, 512),
    "lenet5-relu": (64, 512),
    "convnetjs-mnist": (64, 256),
    "convnetjs-cifar10": (32, 256),
    "nin": (16, 64),
    "all-cnn-c": (16, 64),
    "resnet20": (32, 128),
    "resnet56": (32, 64),
    "preact-resnet110": (32, 64),
}
BATCHES = {"torch": TORCH, "native": NATIVE}


def score(engine: str, dtype: str, names: list[str], seconds: float) -> list[tuple[str, Comparison]]:
    found = []
    for name in names:
        for batch in BATCHES[engine][name]:
            plan = zoo(name).plan(batch=batch, dtype=dtype, optimizer="nesterov")
            for mode in ("inference", "training"):
                result = compared(engine, plan, mode, seconds)
                found.append((name, result))
                print(line(name, result), flush=True)
    return found


def compared(engine: str, plan: Plan, mode: str, seconds: float) -> Comparison:
    if engine == "native":
        return native_compare(plan, pace_for(plan, report=tell), mode, seconds=seconds)
    return compare(plan, calibration_for(plan, report=tell), mode, seconds=seconds)


def tell(text: str) -> None:
    print(text, file=sys.stderr)


def error(result: Comparison) -> float:
    return result.predicted.seconds / result.measured.seconds - 1


def line(name: str, result: Comparison) -> str:
    low, high = result.predicted.interval
    inside = low <= result.measured.seconds <= high
    cells = [
        name,
        result.predicted.mode,
        str(result.plan.batch),
        duration(result.predicted.seconds),
        f"{duration(low)} to {duration(high)}",
        duration(result.measured.seconds),
        f"{error(result):+.0%}",
        "" if inside else "outside",
        f"{result.predicted.batch / result.measured.seconds:,.1f}",
    ]
    return f"| {' | '.join(cells)} |"


def table(dtype: str, results: list[tuple[str, Comparison]]) -> str:
    errors = [abs(error(result)) for _, result in results]
    inside = [r.predicted.interval[0] <= r.measured.seconds <= r.predicted.interval[1] for _, r in results]
    factors = [max(1 + error(r), 1 / (1 + error(r))) for _, r in results]
    busy = median(r.measured.others or 0.0 for _, r in results)
    head = "| network | step | batch | predicted | four in five | measured | error | | images/s |"
    return "\n".join(
        [
            f"{machine_name(torch.device('cpu'))}, {torch.get_num_threads()} threads, {platform.system()}, "
            f"Python {platform.python_version()}, torch {torch.__version__}, {dtype}. "
            f"Other programs used {busy:.1f} cores (median).",
            "",
            f"Median error **{median(errors):.1%}** over {len(results)} steps; the farthest is off by a factor of "
            f"{max(factors):.2f}; {sum(inside)} of {len(inside)} lie within their interval.",
            "",
            head,
            "| --- | --- | ---: | ---: | ---: | ---: | ---: | --- | ---: |",
            *(line(name, result) for name, result in results),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", choices=BATCHES, default="torch")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    parser.add_argument("--networks", help="names from the zoo, joined by commas")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long each step is repeated")
    parser.add_argument("--write", action="store_true", help="put the table into docs/time.md")
    args = parser.parse_args()
    names = args.networks.split(",") if args.networks else list(BATCHES[args.engine])
    made = table(args.dtype, score(args.engine, args.dtype, names, args.seconds))
    print(f"\n{made}")
    if args.write:
        begin, end = (mark.format(engine=args.engine, dtype=args.dtype) for mark in (BEGIN, END))
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(begin)
        _, _, after = rest.partition(end)
        PAGE.write_text(f"{before}{begin}\n{made}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
