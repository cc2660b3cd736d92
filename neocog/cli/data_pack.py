"""`neocog data pack SOURCE OUT --size HxWxC`."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ..wording import count_of
from .output import console, print_json
from .reading import add_threads, counted, print_reading, reading_how

if TYPE_CHECKING:
    from ..layer import Shape

EXAMPLES = """examples:
  neocog data pack photos/ photos.safetensors --size 224x224x3
  neocog data pack 'train-{000000..000146}.tar' imagenet.safetensors --size 224x224
  neocog train my.net photos.safetensors"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """SOURCE, OUT and what images are fitted to."""
    parser.add_argument("source", metavar="SOURCE", help="what train takes as DATA")
    parser.add_argument("out", metavar="OUT", help="the file to write, whose name ends in .safetensors")
    parser.add_argument(
        "--size", type=_shape, metavar="HxW[xC]", help="of image files: what each is fitted to; C is 3, or 1 for grey"
    )
    add_threads(parser)


def _shape(text: str) -> Shape:
    from ..layer import Shape

    match = re.fullmatch("([0-9]{1,5})x([0-9]{1,5})(?:x([13]))?", text, re.ASCII)
    if match is None or "0" in (match[1].lstrip("0") or "0", match[2].lstrip("0") or "0"):
        raise argparse.ArgumentTypeError(f"a size such as 224x224, 224x224x3 or 28x28x1 is needed, not {text[:40]!r}")
    return Shape((int(match[1]), int(match[2])), int(match[3] or 3))


def run(args: argparse.Namespace) -> int:
    """Write the file, and say what it is and what was left out."""
    from ..data.pack import pack
    from ..data.packed import read_packed

    with counted() as told:
        size = pack(args.source, Path(args.out), args.size, told, reading_how(args))
    data = read_packed(Path(args.out))
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    counts = {split: len(dataset) for split, dataset in splits.items() if dataset}
    print_reading(data.train, data.validation, data.test)
    if args.json:
        print_json({"file": args.out, "bytes": size, "images": counts, "shape": list(data.train.images.shape[1:])})
    else:
        words = ", ".join(count_of(count, f"{split} image") for split, count in counts.items())
        shape = "x".join(map(str, data.train.images.shape[1:]))
        console().print(f"{args.out}: {words} of {shape}, {size / 1e6:,.1f} MB", soft_wrap=True)
    return 0
