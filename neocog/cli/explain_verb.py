"""`neocog explain MODEL IMAGE... --method NAME`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NeocogError
from ..wording import LANGUAGES, Text, Words, joined, said
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
  neocog explain model.safetensors photo.jpg --lang zh -o why.png
  neocog explain --list"""
PICTURE = Path("explain.png")
HEADER = (Text("method", "方法"), Text("needs", "需要"), Text("shows", "展示"), Text("source", "出处"))
NEEDS = {"image": Text("image", "图像"), "data": Text("data", "数据")}
NOTHING, EDGES = Text("nothing", "无"), Text("; follows the image whatever was learned", "；无论学到了什么都跟着图像走")
WRITTEN = Text("picture  {0}", "图片  {0}")


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
    parser.add_argument("--lang", choices=LANGUAGES, default="en", help="of picture and captions (default en)")
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
        return _list(METHODS, args.lang, as_json=args.json)
    if args.model is None:
        raise NeocogError("a model is needed", hint="neocog explain MODEL IMAGE --method grad-cam")
    from ..files import write_atomically

    answer = _answer(args)
    write_atomically(args.out, answer.picture(args.lang))
    if args.json:
        print_json({"model": args.model, "method": args.method, "picture": str(args.out), **answer.document})
    else:
        out = console()
        for line in (*answer.lines(args.lang), WRITTEN.filled(args.out).said(args.lang)):
            out.print(printable(line), soft_wrap=True)
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


def _list(methods: tuple[Method, ...], language: str, *, as_json: bool) -> int:
    rows = [[said(cell, language) for cell in _row(method)] for method in methods]
    if as_json:
        keys = [cell.en for cell in HEADER]
        print_json({"methods": [dict(zip(keys, row, strict=True)) for row in rows]})
    else:
        method, needs, shows, source = header = [cell.said(language) for cell in HEADER]
        print_table(console(), header, rows, text=(method, needs, source), prose=shows, optional=(source,))
    return 0


def _row(method: Method) -> tuple[Words, ...]:
    from ..explain import Attribution

    follows = isinstance(method, Attribution) and method.edges
    needs = joined(*(NEEDS[one] for one in method.needs), between=", ") if method.needs else NOTHING
    return method.name, needs, joined(method.says, EDGES) if follows else method.says, method.source
