"""`neocog explain MODEL IMAGE... --method NAME`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NeocogError
from .arguments import figure_file, whole_from
from .output import console, print_json, print_table, printable
from .plan_limits import BYTE_UNITS, amount

if TYPE_CHECKING:
    from ..data import Dataset
    from ..explain import Method, Shown
    from ..model import Model

EXAMPLES = """examples:
  neocog explain runs/mnist-1/model.safetensors seven.jpg --method grad-cam -o why.png
  neocog explain model.safetensors photo.jpg --method integrated-gradients --target cat -o why.png
  neocog explain model.safetensors --method maximise --layer conv2 -o units.png
  neocog explain model.safetensors --method patches --data mnist --layer conv2 -o patches.png
  neocog explain --list"""
PICTURE = Path("explain.png")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, images, the method and what it is asked."""
    parser.add_argument("model", metavar="MODEL", nargs="?", help="a model file")
    parser.add_argument("files", metavar="IMAGE", nargs="*", help="image files, for methods that explain images")
    parser.add_argument("--list", action="store_true", help="list the methods and what each needs")
    parser.add_argument("--method", metavar="NAME", default="grad-cam", help="one of --list (default grad-cam)")
    parser.add_argument(
        "--layer",
        metavar="L",
        action="append",
        default=[],
        help="a layer by name, as in the plan; may be given several times",
    )
    parser.add_argument("--target", metavar="C", help="a class by name or number (default: the likeliest)")
    parser.add_argument("--unit", type=whole_from(0), metavar="N", help="one map of the layer instead of a class")
    parser.add_argument("--data", metavar="DATA", help="a data set, for methods that look at one")
    parser.add_argument("--split", choices=("train", "test"), default="test", help="which part of it (default test)")
    parser.add_argument("--count", type=whole_from(1), metavar="N", help="how many units, classes or images to show")
    parser.add_argument("-o", "--out", type=figure_file(".png"), metavar="PNG", default=PICTURE, help="the picture")
    parser.add_argument("--seed", type=whole_from(0), default=0, metavar="N", help="of noise and random weights")
    parser.add_argument("--no-evidence", action="store_true", help="leave out what takes longer than the map itself")
    parser.add_argument("--device", default="auto", metavar="NAME", help="auto, cpu or cuda (default auto)")
    parser.add_argument(
        "--memory-limit",
        type=amount("2GiB", BYTE_UNITS),
        metavar="BYTES",
        help="what a batch may take by the plan (default: half of what is free)",
    )


def run(args: argparse.Namespace) -> int:
    """Write the picture, and say what is on it."""
    from ..explain import METHODS

    if args.list:
        return _list(METHODS, as_json=args.json)
    if args.model is None:
        raise NeocogError("a model is needed", hint="neocog explain MODEL IMAGE --method grad-cam")
    from ..files import write_atomically

    answer = _answer(args)
    write_atomically(args.out, answer.picture())
    if args.json:
        print_json({"model": args.model, "method": args.method, "picture": str(args.out), **answer.document})
    else:
        out = console()
        for strip in answer.strips:
            for line in strip.lines:
                out.print(printable(line), soft_wrap=True)
        out.print(f"picture  {printable(str(args.out))}", soft_wrap=True)
    return 0


def _answer(args: argparse.Namespace) -> Shown:
    from ..explain import method_of, picture
    from ..model import load

    method_of(args.method)  # a mistake in the name is told before anything is read
    model = load(args.model)
    question: dict[str, Any] = {
        "layers": tuple(args.layer),
        "target": args.target,
        "unit": args.unit,
        "data": _data(args, model),
        "seed": args.seed,
        "evidence": not args.no_evidence,
        "count": args.count,
        "device": args.device,
        "memory_limit": args.memory_limit,
    }
    return picture(model, args.method, args.files, **question)


def _data(args: argparse.Namespace, model: Model) -> Dataset | None:
    if args.data is None:
        return None
    from ..data import load_split
    from .reading import counted

    with counted() as told:
        return load_split(args.data, args.split, model.preprocessing, model.classes, told)


def _list(methods: tuple[Method, ...], *, as_json: bool) -> int:
    rows = [_row(method) for method in methods]
    if as_json:
        print_json({"methods": [dict(zip(("method", "needs", "shows", "source"), row, strict=True)) for row in rows]})
    else:
        header, text = ("method", "needs", "shows", "source"), ("method", "needs", "source")
        print_table(console(), header, rows, text=text, prose="shows", optional=("source",))
    return 0


def _row(method: Method) -> tuple[str, str, str, str]:
    from ..explain import Attribution

    follows = isinstance(method, Attribution) and method.edges
    edges = "; follows the image whatever was learned" if follows else ""
    return method.name, ", ".join(method.needs) or "nothing", method.says + edges, method.source
