"""`neocog export MODEL --to FORMAT -o FILE`."""

from __future__ import annotations

import argparse

from ..errors import NeocogError
from .output import console, print_json, print_wrapped
from .source import safetensors_file

EXAMPLES = """examples:
  neocog export resnet50.safetensors --to torchvision -o weights.safetensors
  neocog export vgg16.safetensors --to caffe -o weights.safetensors --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, what to write it as, and where."""
    parser.add_argument("model", metavar="MODEL", help="a model file")
    parser.add_argument("--to", required=True, metavar="FORMAT", help="whose names: torchvision, timm or caffe")
    parser.add_argument("-o", "--out", type=safetensors_file, required=True, metavar="FILE", help="the file to write")


def run(args: argparse.Namespace) -> int:
    """Write the file and say what is in it."""
    from ..interop.weights import FORMATS
    from ..model import load

    if args.to not in FORMATS:
        raise NeocogError("there is no such format", received=args.to[:40], hint=", ".join(FORMATS))
    done = FORMATS[args.to](load(args.model), args.out)
    if args.json:
        print_json({"file": str(args.out), "format": args.to, **done._asdict()})
        return 0
    out = console()
    print_wrapped(out, f"{done.arrays:,} arrays in the layout of {args.to}: {args.out}")
    for note in done.notes:
        print_wrapped(out, f"note: {note}")
    return 0
