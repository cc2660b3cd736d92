"""`neocog eval MODEL DATA`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
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
    header = ("class", "images", "precision", "recall", "F1", "most often taken for")
    rows = [
        (row["class"], f"{row['images']:,}", *(_share(row[name]) for name in ("precision", "recall", "f1")), confused)
        for row, confused in zip(result.per_class(), _confused(result), strict=True)
    ]
    out = console()
    print_table(out, header, rows, text=("class", "most often taken for"), optional=("precision", "F1", "images"))
    wrong = result.count - int(result.confusion.trace())
    shares = f"top-1 {result.top1:.2%}, top-5 {result.top5:.2%}"
    out.print()
    print_wrapped(out, f"{shares} on {result.count:,} {'' if split == 'all' else f'{split} '}images ({wrong:,} wrong)")
    low, high = result.interval
    print_wrapped(out, f"top-1 lies between {low:.2%} and {high:.2%} with 95 % confidence, for images like these")
    calibration = result.calibration
    print_wrapped(out, f"calibration error (ECE) {calibration.ece:.2%}, likelihood (NLL) {calibration.nll:.4g} nats")
    print_wrapped(
        out,
        "the answers stored in the model come out " + (f"different by {golden:.1e}" if golden else "exactly the same"),
    )


def _confused(result: Evaluation) -> Iterator[str]:
    """For each class the one that its images are most often wrongly taken for."""
    for k, row in enumerate(result.confusion):
        others = row.copy()
        others[k] = 0
        worst = int(others.argmax())
        yield f"{result.classes[worst]} ({others[worst]:,} times)" if others[worst] else ""


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"
