"""`neocog predict MODEL FILE...`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from os.path import exists, isdir
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import DataError, NeocogError, escaped
from ..files import near_name
from . import predict_dense
from .arguments import whole_from
from .computing import add_runtime, computing
from .output import console, print_error, print_json

if TYPE_CHECKING:
    from ..predict import Prediction

EXAMPLES = """examples:
  neocog predict runs/mnist-1/model.safetensors photo-of-a-seven.jpg
  neocog predict runs/mnist-1/model.safetensors scans/*.png --top 3 --json
  neocog predict runs/page/model.safetensors page.png --dense --boxes 0.9 -o found.png
  neocog predict runs/page/model.safetensors page.png --dense --stride 2 --prove"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, image files, and how many classes to show."""
    parser.add_argument("model", metavar="MODEL", help="a model file or an export (.onnx, .pt2)")
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        help="an image (JPEG, PNG, WebP, BMP, GIF, TIFF or PPM), or a folder of them",
    )
    parser.add_argument(
        "--top", type=whole_from(1), default=3, metavar="N", help="how many classes to show (default 3)"
    )
    parser.add_argument("--tta", metavar="VIEWS", default="none", help="average over views: 'flip, shift=1'")
    add_runtime(parser)
    predict_dense.add_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Classify each file. One that cannot be used is reported and does not stop the others; exit code 2 then."""
    from ..predict import predict
    from ..predict.classify import check_one_score_each
    from ..runtimes import open_model

    files = list(_files(args.files))
    if not args.dense:
        predict_dense.refuse_without_dense(args)
    model = open_model(args.model, trust=args.trust)
    if args.dense:
        if model.runtime is not None:
            raise NeocogError(
                "an export takes images of one size", where=args.model, hint="--dense with the model file"
            )
        return predict_dense.run(args, model, files)
    check_one_score_each(model.network)
    model, _ = computing(args, model, len(files), batch=1)
    found: list[Prediction] = []
    failed: list[DataError] = []
    for file in files:
        try:
            _check(file)
            found += predict(model, file, args.top, args.tta)
        except DataError as error:
            failed.append(error)
            print_error(error, as_json=False)
    if args.json:
        problems = [{"file": error.where, "error": error.rule} for error in failed]
        print_json({"model": args.model, "predictions": [p.as_json() for p in found], "failed": problems})
    else:
        out = console()
        for prediction in found:
            out.print(_line(prediction), soft_wrap=True)
    return DataError.exit_code if failed else 0


def _files(named: list[str]) -> Iterator[str]:
    """The files that are named, and those in the folders that are; a folder without any stands for itself."""
    from ..data.folders import images_below

    for name in named:
        yield from [str(path) for path in (images_below(Path(name)) if isdir(name) else [])] or [name]


def _check(file: str) -> None:
    """Raise DataError for a folder without images, and for a file that is not there where one of a like name is."""
    from ..data.decode import MISSING

    if isdir(file):
        raise DataError("there are no images in this folder", where=escaped(file))
    if not exists(file) and (near := near_name(file)):
        raise DataError(MISSING, where=escaped(file), hint=near)


def _line(prediction: Prediction) -> str:
    (best, share), *others = prediction.classes
    rest = ", ".join(f"{escaped(name)} {value:.1%}" for name, value in others)
    notes = f"   [{'; '.join(prediction.notes)}]" if prediction.notes else ""
    return f"{escaped(prediction.source)}: {escaped(best)} ({share:.1%})" + (f", then {rest}" if rest else "") + notes
