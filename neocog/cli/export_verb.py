"""`neocog export MODEL --to FORMAT -o FILE`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import NeocogError
from ..wording import count_of
from .output import console, print_json, print_table, print_wrapped
from .source import MODEL_SUFFIX

if TYPE_CHECKING:
    from ..model import Model
    from ..predict.exporting import Checked

EXAMPLES = """examples:
  neocog export model.safetensors --to onnx -o model.onnx
  neocog export model.safetensors --to onnx --preprocessing beside -o model.onnx
  neocog export model.safetensors --to torch -o model.pt2
  neocog export lenet5.safetensors --to c -o lenet5.c
  neocog export resnet50.safetensors --to torchvision -o weights.safetensors
  neocog export vgg16.safetensors --to caffe -o weights.safetensors --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, what to write it as, and where."""
    parser.add_argument("model", metavar="MODEL", help="a model file")
    parser.add_argument(
        "--to",
        required=True,
        metavar="FORMAT",
        help="onnx, torch (.pt2) or c (.c and .h); or weights as torchvision, timm, caffe or keras name them",
    )
    parser.add_argument("-o", "--out", type=_file, required=True, metavar="FILE", help="the file to write")
    parser.add_argument(
        "--preprocessing",
        choices=("inside", "beside"),
        default="inside",
        help="inside: it takes images as bytes (default); beside: numbers that are preprocessed already",
    )


def run(args: argparse.Namespace) -> int:
    """Write the file, compare it with the model, and say what came of it."""
    from ..interop.weights import FORMATS as LAYOUTS
    from ..model import load
    from ..predict.exporting import SUFFIXES

    if args.to in SUFFIXES:
        return _export(args, load(args.model))
    if args.to not in LAYOUTS:
        raise NeocogError("there is no such format", received=args.to[:40], hint=", ".join((*SUFFIXES, *LAYOUTS)))
    if args.out.suffix != MODEL_SUFFIX:
        raise NeocogError(f"a name ending in {MODEL_SUFFIX} is needed", received=args.out.name[:40])
    done = LAYOUTS[args.to](load(args.model), args.out)
    if args.json:
        print_json({"file": str(args.out), "format": args.to, **done._asdict()})
        return 0
    out = console()
    print_wrapped(out, f"{count_of(done.arrays, 'array')} in the layout of {args.to}: {args.out}")
    for note in done.notes:
        print_wrapped(out, f"note: {note}")
    return 0


def _file(text: str) -> Path:
    if not text or "\0" in text:
        raise argparse.ArgumentTypeError(f"a file's name is needed, not {text[:40]!r}")
    return Path(text)


def _export(args: argparse.Namespace, model: Model) -> int:
    from ..predict import export

    report = export(model, args.to, args.out, preprocessing=args.preprocessing)
    if args.json:
        sizes = [path.stat().st_size for path in report.files]
        print_json({"format": args.to, "bytes": sizes, **report.as_json()})
        return 0
    out = console()
    for path in report.files:
        print_wrapped(out, f"{path}  {path.stat().st_size:,} bytes")
    for note in report.notes:
        print_wrapped(out, f"note: {note}")
    if report.checked is None:
        print_wrapped(out, "not compared with the model: there is no C compiler here")
        return 0
    out.print()
    for line in _compared(report.checked):
        print_wrapped(out, line)
    out.print()
    one, batch = "one image", count_of(report.checked.batch, "image")
    rows = [
        (name, f"{1e3 * times.one:.3g} ms", f"{1e3 * times.batch:.3g} ms")
        for name, times in (("model", report.checked.source), ("export", report.checked.export))
    ]
    print_table(out, ("", one, batch), rows, text=("",))
    return 0


def _compared(checked: Checked) -> Iterator[str]:
    if checked.golden:
        yield f"golden images: {checked.golden}"
    yield f"random images: {checked.random}"
