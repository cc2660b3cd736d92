"""Prediction beside others: the runtime that neocog chooses, and the best of torch, ONNX Runtime and OpenVINO.

    .venv/bin/python bench/inference.py [--networks resnet50,lenet5-relu] [--batches 1,16] [--write]

As in bench/speed.py every contender is a process of its own, for each network and batch they take turns, back to back,
and a ratio is the median of the rounds' ratios; images are in memory and scores come back to Python. What `neocog`
measures to choose its runtime happens before. Networks have their initial weights. OpenVINO by
itself computes in bfloat16 where the processor does, so it stands beside neocog's bfloat16.

`--write` puts the table into docs/performance.md; some 15 minutes on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from statistics import median

from contenders import CONTENDERS, HERE, Contender
from contenders import PEERS as INSTALLED
from networks import NETWORKS, Entry
from page import row, write
from speed import Arena, Job, Result, about, chosen, notes, number, speed

NETS = {
    "resnet50": Entry("resnet50", (), (1, 16)),
    "vgg16": Entry("vgg16", (), (1, 16)),
    "alexnet": Entry("alexnet", (), (1, 16)),
    "googlenet": Entry("googlenet", (), (1, 16)),
    "lenet5-relu": Entry("lenet5-relu", (), (1, 1024)),
}
PEERS = ("torch", "torch channels last", "torch compiled", "ONNX Runtime", "OpenVINO float32", "OpenVINO")
RUNTIME = HERE / "peers" / "with_runtime.py"
ALL = (
    *(
        Contender(name, RUNTIME, INSTALLED, {"runtime": "auto", "dtype": dtype}, trains=False)
        for name, dtype in (("neocog", "float32"), ("neocog bfloat16", "bfloat16"))
    ),
    *(contender for contender in CONTENDERS if contender.name in PEERS),
)
LOW = ("neocog bfloat16", "OpenVINO")
"""Those that may compute in bfloat16."""


def jobs(names: Iterable[str], batches: Sequence[int]) -> Iterator[Job]:
    """The jobs that were asked for, all contenders in each."""
    for name in names:
        entry = NETS.get(name) or NETWORKS[name]
        for batch in batches or entry.predicting:
            yield Job(name, entry.network(), batch, training=False)


def table(results: Sequence[Result], runtimes: Sequence[str], contenders: Sequence[Contender]) -> Iterator[str]:
    """A table in Markdown: images a second, what neocog chose, and its ratio to the best of the others."""
    shown = [c for c in contenders if any(result.rate(c.name) for result in results)]
    heads = ["network", "batch", *(c.name for c in shown), "neocog chose"]
    heads += ["neocog / best of peers, float32", "best of ours / of peers", "cores used by others"]
    yield row(heads)
    yield row(["---", *("---:" for _ in heads[1:])])
    exact = [c for c in contenders if c.name not in LOW]
    for result, runtime in zip(results, runtimes, strict=True):
        cells = [result.job.name, str(result.job.batch), *(speed(result.rate(c.name), False) for c in shown), runtime]
        for some in (exact, contenders):
            cells.append(number(result.ratio([c for c in some if ours(c)], [c for c in some if not ours(c)])))
        cells.append(number(median(result.others) if result.others else None, "{:.1f}"))
        yield row(cells)


def ours(contender: Contender) -> bool:
    return contender.name.startswith("neocog")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="", help=f"names, joined by commas (default: {','.join(NETS)})")
    parser.add_argument("--batches", default="", help="numbers, joined by commas (default: the networks' own)")
    parser.add_argument("--contenders", default="", help="names, joined by commas (default: all)")
    parser.add_argument("--seconds", type=float, default=0.5, help="how long each contender runs in each round")
    parser.add_argument("--write", action="store_true", help="put the table into docs/performance.md")
    args = parser.parse_args()
    names = chosen(args.networks, NETS | NETWORKS, "network") if args.networks else list(NETS)
    wanted = chosen(args.contenders, [c.name for c in ALL], "contender")
    contenders = [c for c in ALL if c.name in wanted]
    batches = [int(number) for number in args.batches.split(",") if number]

    results, runtimes = [], []
    with Arena(contenders) as arena:
        for job in jobs(names, batches):
            results.append(arena.measure(job, args.seconds))
            process = arena.processes.get("neocog")
            runtimes.append(process.note if process else "")
    lines = [*about(arena.versions, results), "", *table(results, runtimes, contenders)]
    if missing := list(notes([arena])):
        lines += ["", "Not taking part:", "", *missing]
    print("\n".join(lines))
    if args.write:
        write("bench/inference.py", lines)


if __name__ == "__main__":
    main()
