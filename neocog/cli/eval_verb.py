"""`neocog eval MODEL... DATA`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NeocogError
from ..wording import count_of
from .arguments import whole_from
from .computing import add_runtime, computing
from .output import console, print_json, print_table, print_wrapped
from .predict_dense import scales
from .reading import add_threads, check_order, counted, print_reading, reading_how

if TYPE_CHECKING:
    from ..data import Dataset
    from ..model import Model
    from ..predict import Evaluation
    from ..predict.beside import Row
    from ..predict.evaluate import Scorer

EXAMPLES = """examples:
  neocog eval runs/mnist-1/model.safetensors mnist
  neocog eval runs/mnist-1/model.safetensors mnist --split train --json
  neocog eval runs/photos-1/model.safetensors photos/
  neocog eval model.safetensors model.onnx mnist"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, DATA and which images of it."""
    parser.add_argument(
        "models", metavar="MODEL", nargs="+", help="a model file or an export (.onnx, .pt2); several are compared"
    )
    parser.add_argument("data", metavar="DATA", help="a built-in set (mnist), a folder or a list of images")
    parser.add_argument(
        "--split",
        choices=("test", "train", "validation", "all"),
        default="test",
        help="which images (default test; all: of image files, every one)",
    )
    parser.add_argument("--tta", metavar="VIEWS", default="none", help="average over views: 'flip, shift=1'")
    add_runtime(parser, "int8")
    parser.add_argument(
        "--drop",
        type=_percent,
        default=0.5,
        metavar="PERCENT",
        help="of right answers that int8 may cost on this data (default 0.5)",
    )
    parser.add_argument(
        "--dense", action="store_true", help="average over all windows of each image and over --scales (docs/dense.md)"
    )
    parser.add_argument("--scales", type=scales, metavar="LIST", help="sizes of the images with --dense, as fit,1.25")
    parser.add_argument("--stride", type=whole_from(1), metavar="N", help="pixels between windows with --dense")
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    """Print accuracy over all images and for each class."""
    from ..runtimes import open_model

    check_order("MODEL", args.models[0], args.data)
    models = [open_model(path, trust=args.trust) for path in args.models]
    dataset = _read(args, models[0])
    if len(models) > 1:
        return _compare(args, models, dataset)
    model, row = _measured(args, models[0], dataset)
    golden = model.golden_error()
    if args.json:
        print_json({"model": args.models[0], "split": args.split, **row.result.as_json(), "golden_error": golden})
    else:
        _print(row.result, args.split, golden)
    return 0


def _read(args: argparse.Namespace, model: Model) -> Dataset:
    from ..data import load_split

    with counted() as told:
        dataset = load_split(args.data, args.split, model.preprocessing, model.classes, told, reading_how(args))
    print_reading(dataset)
    return dataset


def _percent(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,3}(\.[0-9]{1,6})?", text, re.ASCII) or float(text) > 100:
        raise argparse.ArgumentTypeError(f"a number from 0 to 100 is needed, not {text[:40]!r}")
    return float(text)


def _averaging(args: argparse.Namespace, model: Model) -> Scorer | None:
    """What --dense, --scales and --stride ask for; None without."""
    if not args.dense:
        if args.scales or args.stride:
            raise NeocogError("--scales and --stride belong to --dense", hint="--dense --scales fit,1.25")
        return None
    if args.tta != "none":
        raise NeocogError("--dense looks at every window once; --tta is for whole images")
    if (args.runtime, args.dtype) not in (("auto", "float32"), ("torch", "float32")):
        raise NeocogError("--dense is computed by torch in float32", received=f"{args.runtime}, {args.dtype}")
    from ..dense import Averaging

    return Averaging.of(model, args.scales or ("fit",), args.stride)


def _measured(args: argparse.Namespace, model: Model, dataset: Dataset) -> tuple[Model, Row]:
    """One model on the images, by what --runtime and --dtype say."""
    from ..predict.beside import in_int8, measured

    if (scorer := _averaging(args, model)) is not None:
        return model, measured(model, dataset, args.tta, scorer)
    if args.dtype != "int8":
        ready, _ = computing(args, model, len(dataset))
        return ready, measured(ready, dataset, args.tta)
    if args.runtime not in ("auto", "onnxruntime") or model.runtime is not None:
        raise NeocogError("int8 is computed by onnxruntime, from a model file", received=f"--runtime {args.runtime}")
    exact, rough = in_int8(model, dataset, args.drop / 100, args.tta)
    faster = rough.images_per_second / exact.images_per_second
    told = f"top-1 {rough.result.top1:.2%}, in float32 {exact.result.top1:.2%}; {faster:.2f} times as fast as torch"
    print(f"runtime onnxruntime, int8: {told}", file=sys.stderr)
    return model, rough


def _compare(args: argparse.Namespace, models: Sequence[Model], dataset: Dataset) -> int:
    """Every model on the same images, in one table."""
    from ..predict.beside import deviation, measured

    if args.dtype == "int8":
        raise NeocogError("int8 is measured for one model at a time")
    rows: list[Row] = []
    runtimes: list[str] = []
    for path, model in zip(args.models, models, strict=True):
        scorer = _averaging(args, model)
        ready, runtime = computing(args, model, len(dataset)) if scorer is None else (model, "torch")
        runtimes.append(runtime)
        try:
            rows.append(measured(ready, dataset, args.tta, scorer))
        except NeocogError as error:
            raise error.at(f"{path}: {error.where}" if error.where else path) from None
    deviations = [deviation(rows[0], row) for row in rows]
    compared = [
        {
            "model": path,
            "runtime": runtime,
            "top1": row.result.top1,
            "top5": row.result.top5,
            "deviation": away.error,
            "other_classes": away.others,
            "images_per_second": row.images_per_second,
        }
        for path, runtime, row, away in zip(args.models, runtimes, rows, deviations, strict=True)
    ]
    if args.json:
        print_json({"data": dataset.name, "split": args.split, "images": len(dataset), "models": compared})
    else:
        _print_compared(compared, args.split, dataset)
    return 0


def _print_compared(compared: Sequence[Mapping[str, Any]], split: str, dataset: Dataset) -> None:
    header = ("model", "runtime", "top-1", "top-5", "other\nclasses", "largest\ndeviation", "images/s")
    names = _names([one["model"] for one in compared])
    table = [
        (
            name,
            one["runtime"],
            f"{one['top1']:.2%}",
            f"{one['top5']:.2%}",
            f"{one['other_classes']:,}" if k else "",
            f"{one['deviation']:.1e}" if k else "",
            f"{one['images_per_second']:,.0f}",
        )
        for k, (name, one) in enumerate(zip(names, compared, strict=True))
    ]
    out = console()
    print_table(out, header, table, text=("model", "runtime"), optional=("top-5", "runtime"))
    out.print()
    images = f"{len(dataset):,} {'' if split == 'all' else f'{split} '}images of {dataset.name}"
    print_wrapped(out, f"{images}, each read once; deviations are from the first")


def _names(paths: Sequence[str]) -> list[str]:
    """The files' own names, or as they were written where two have the same."""
    names = [Path(path).name for path in paths]
    return names if len(set(names)) == len(names) else list(paths)


def _print(result: Evaluation, split: str, golden: float) -> None:
    header = ("class", "images", "precision", "recall", "F1", "most often taken for")
    rows = [
        (row["class"], f"{row['images']:,}", *(_share(row[name]) for name in ("precision", "recall", "f1")), confused)
        for row, confused in zip(result.per_class(), _confused(result), strict=True)
    ]
    out = console()
    print_table(out, header, rows, text=("class", "most often taken for"), optional=("precision", "F1", "images"))
    wrong = result.count - int(result.confusion.trace())
    shares = f"top-1 {result.top1:.2%}" + (f", top-5 {result.top5:.2%}" if len(result.classes) > 5 else "")
    out.print()
    print_wrapped(out, f"{shares} on {result.count:,} {'' if split == 'all' else f'{split} '}images ({wrong:,} wrong)")
    low, high = result.interval
    print_wrapped(out, f"top-1 lies between {low:.2%} and {high:.2%} with 95 % confidence, for images like these")
    calibration = result.calibration
    print_wrapped(out, f"calibration error (ECE) {calibration.ece:.2%}, likelihood (NLL) {calibration.nll:.4g} nats")
    print_wrapped(
        out,
        "the answers stored in the model come out " + (f"the same to {golden:.1e}" if golden else "exactly the same"),
    )


def _confused(result: Evaluation) -> Iterator[str]:
    """For each class the one that its images are most often wrongly taken for."""
    for k, row in enumerate(result.confusion):
        others = row.copy()
        others[k] = 0
        worst = int(others.argmax())
        yield f"{result.classes[worst]} ({count_of(int(others[worst]), 'time')})" if others[worst] else ""


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.2%}"
