"""`neocog eval MODEL DATA`."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from .output import console, print_json, print_table, print_wrapped
from .reading import add_threads, counted, print_reading, reading_how

if TYPE_CHECKING:
    from ..predict import Evaluation

EXAMPLES = """examples:
  neocog eval runs/mnist-1/model.safetensors mnist
  neocog eval runs/mnist-1/model.safetensors mnist --split train --json
  neocog eval runs/photos-1/model.safetensors photos/"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, DATA and which images of it."""
    parser.add_argument("model", metavar="MODEL", help="a model file")
    parser.add_argument("data", metavar="DATA", help="a built-in set (mnist), a folder or a list of images")
    parser.add_argument(
        "--split",
        choices=("test", "train", "validation", "all"),
        default="test",
        help="which images (default test; all: of image files, every one)",
    )
    parser.add_argument("--tta", metavar="VIEWS", default="none", help="average over views: 'flip, shift=1'")
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    """Print accuracy over all images and for each class."""
    from ..data import load_split
    from ..model import load
    from ..predict import evaluate

    model = load(args.model)
    with counted() as told:
        dataset = load_split(args.data, args.split, model.preprocessing, model.classes, told, reading_how(args))
    print_reading(dataset)
    result = evaluate(model, dataset, args.tta)
    golden = model.golden_error()
    if args.json:
        print_json({"model": args.model, "split": args.split, **result.as_json(), "golden_error": golden})
    else:
        _print(result, args.split, golden)
    return 0


def _print(result: Evaluation, split: str, golden: float) -> None:
    header = ("class", "images", "recall", "precision", "most often taken for")
    rows = [
        (row["class"], f"{row['images']:,}", _share(row["recall"]), _share(row["precision"]), _confused(result, k))
        for k, row in enumerate(result.per_class())
    ]
    out = console()
    print_table(out, header, rows, text=("class", "most often taken for"), optional=("precision", "images"))
    wrong = result.count - int(result.confusion.trace())
    shares = f"top-1 {result.top1:.2%}, top-5 {result.top5:.2%}"
    out.print()
    print_wrapped(out, f"{shares} on {result.count:,} {'' if split == 'all' else f'{split} '}images ({wrong:,} wrong)")
    print_wrapped(
        out,
        "the answers stored in the model come out " + (f"different by {golden:.1e}" if golden else "exactly the same"),
    )


def _confused(result: Evaluation, k: int) -> str:
    """The class that images of class `k` are most often wrongly taken for."""
    others = result.confusion[k].copy()
    others[k] = 0
    worst = int(others.argmax())
    return f"{result.classes[worst]} ({others[worst]:,} times)" if others[worst] else ""


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"
