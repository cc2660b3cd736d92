"""`neocog data doctor SOURCE`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..finding import Finding
from ..wording import count_of
from .arguments import whole_from
from .output import console, print_json, print_table, print_wrapped, printable
from .source import read_network

if TYPE_CHECKING:
    from ..data.doctor import Diagnosis
    from ..data.survey import Sight

EXAMPLES = """examples:
  neocog data doctor photos
  neocog data doctor mnist --json
  neocog data doctor photos --net resnet18 --batch 32"""

FINE, GRAVE = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """SOURCE, and a network to feed."""
    parser.add_argument("source", metavar="SOURCE", help="what train takes as DATA")
    parser.add_argument("--net", metavar="NET", help="is decoding fast enough for this network?")
    parser.add_argument("--batch", type=whole_from(1), default=64, metavar="N", help="its mini-batches (default 64)")
    parser.set_defaults(defines=[])


def run(args: argparse.Namespace) -> int:
    """Say what is the matter. The exit code is 1 where something is grave: it breaks training or leaks."""
    from ..data.doctor import diagnose

    network = read_network(args) if args.net else None
    diagnosis = diagnose(args.source, _watched)
    findings = [*diagnosis.findings, *(_speed(args, network, diagnosis.figures) if network else ())]
    if args.json:
        found = [finding.as_dict() for finding in findings]
        print_json({"source": args.source, "grave": diagnosis.grave, "findings": found, **diagnosis.figures})
    else:
        _print(diagnosis, findings)
    return GRAVE if diagnosis.grave else FINE


def _watched(sights: Iterable[Sight], total: int) -> Iterable[Sight]:
    """The sights, with a bar on a terminal."""
    if not sys.stderr.isatty():
        return sights
    from rich.progress import track

    return track(sights, "looking at images", total, console=console(stderr=True), transient=True)


def _speed(args: argparse.Namespace, network: Any, figures: Mapping[str, Any]) -> Iterator[Finding]:
    """Whether images are decoded as fast as the network would take them."""
    from ..training.engine import choose_engine, expected_seconds
    from ..training.trial import Step

    decoded = figures.get("decoded_per_second")
    if not decoded:
        return
    engine = choose_engine("auto", network, batch_size=args.batch).make.name
    seconds = expected_seconds(engine, "float32", Step(network, "cross-entropy", "nesterov", args.batch))
    if seconds is None:
        says = f"{decoded:,.0f} images/s are decoded; how many the network takes is not known"
        yield Finding("speed", says, "neocog plan NET --time, which measures this machine once")
        return
    taken = args.batch / seconds
    decoders = count_of(figures["decoders"], "thread")
    says = f"{decoded:,.0f} images/s are decoded by {decoders}, the network takes {taken:,.0f}"
    if taken > decoded:
        needed = -(-taken * figures["decoders"] // decoded)
        yield Finding("speed", f"{says}: {needed:,.0f} threads would keep up", "smaller copies, or packed once")
    else:
        yield Finding("speed", f"{says}: decoding keeps up", "nothing")


def _print(diagnosis: Diagnosis, findings: list[Finding]) -> None:
    out, figures = console(), diagnosis.figures
    splits, names = list(figures["classes"]), dict.fromkeys(n for each in figures["classes"].values() for n in each)
    rows = [(name, *(f"{figures['classes'][split].get(name, 0):,}" for split in splits)) for name in names]
    shown = rows if len(rows) <= 40 else [*rows[:20], ("...", *["" for _ in splits]), *rows[-19:]]
    total = ("all", *(f"{figures['images'][split]:,}" for split in splits))
    print_table(out, ("class", *splits), [*shown, total], text=("class",))
    out.print()
    sizes = ", ".join(f"{size} ({count:,})" for size, count in figures["sizes"].items())
    print_wrapped(out, f"sizes: {sizes}")
    if figures["mean"]:
        mean, std = (", ".join(f"{value:.3f}" for value in figures[name]) for name in ("mean", "std"))
        print_wrapped(out, f"mean {mean}, deviation {std}, on a scale of 0 to 1")
    for finding in findings:
        out.print()
        mark = "GRAVE  " if finding.grave else ""
        for line in printable(f"{mark}{finding.text()}").split("\n"):
            print_wrapped(out, line) if not line.startswith(" ") else out.print(line, soft_wrap=True)
    grave = sum(finding.grave for finding in findings)
    out.print()
    if not findings:
        out.print("nothing is the matter")
    else:
        print_wrapped(out, f"{count_of(len(findings), 'finding')}, {grave} of them grave")
