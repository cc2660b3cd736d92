"""`neocog embed MODEL SOURCE... -o OUT`."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from ..errors import RunError
from ..wording import count_of
from .output import command, console, print_json, print_wrapped, printable
from .reading import add_threads, counted, reading_how

if TYPE_CHECKING:
    from ..retrieval import Index

EXAMPLES = """examples:
  neocog embed runs/mnist-1/model.safetensors mnist -o index.safetensors
  neocog embed runs/photos-1/model.safetensors photos/*.jpg --layer relu4 -o photos.npy"""

SUFFIXES = (".safetensors", ".npy")


def _out(text: str) -> Path:
    if not text.endswith(SUFFIXES) or "\0" in text:
        raise argparse.ArgumentTypeError(f"a name ending in .safetensors or .npy is needed, not {text[:40]!r}")
    return Path(text)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, what to embed, by which layer, and where the features go."""
    parser.add_argument("model", metavar="MODEL", help="a model file")
    parser.add_argument(
        "sources",
        metavar="SOURCE",
        nargs="+",
        help="a data set with labels as eval takes it, or image files and folders of them",
    )
    parser.add_argument(
        "--split",
        choices=("test", "train", "validation", "all"),
        default="test",
        help="which images of a data set (default test; all: of image files, every one)",
    )
    parser.add_argument("--layer", metavar="L", help="whose output (default: what the last layer with weights reads)")
    parser.add_argument(
        "--pool", choices=("mean", "none"), default="mean", help="mean: average each map; none: all values"
    )
    parser.add_argument(
        "-o",
        "--out",
        type=_out,
        required=True,
        metavar="OUT",
        help="an index (.safetensors), or a plain array (.npy) with a .json beside it",
    )
    add_threads(parser)


def run(args: argparse.Namespace) -> int:
    """Write the features and say what they are."""
    import numpy as np

    from ..model import load
    from ..retrieval import Index, default_layer, embed, source_of
    from ..retrieval.features import batch_size, width_of

    model = load(args.model)
    layer = args.layer or default_layer(model.network)
    width = width_of(model.network, layer, args.pool)
    with counted() as told:
        source = source_of(model, args.sources, args.split, told, reading_how(args))
        features, done = np.empty(_checked((source.count, width)), np.float32), 0
        for rows in embed(model, source.batches(batch_size(model.network)), layer, args.pool):
            features[done : done + len(rows)] = rows
            done += len(rows)
    for name, reason in source.skipped:
        print(printable(f"skipped: {name} ({reason})"), file=sys.stderr)
    features = features[:done]
    where = os.path.relpath(args.model, args.out.parent)
    index = Index(features, source.names, source.labels, source.classes, model.fingerprint, layer, args.pool, where)
    _write(index, args.out)
    facts = {
        "images": len(index),
        "features": width,
        "layer": layer,
        "pool": args.pool,
        "labelled": source.labelled,
        "skipped": [{"file": name, "error": reason} for name, reason in source.skipped],
        "model": index.model,
    }
    if args.json:
        print_json({"file": str(args.out), **facts})
        return 0
    out = console()
    kind = "an index" if args.out.suffix == ".safetensors" else "an array, with names and labels beside it"
    print_wrapped(
        out,
        printable(
            f"{count_of(len(index), 'image')}, {count_of(width, 'number')} each from {layer}: {args.out}, {kind}"
        ),
    )
    if args.out.suffix == ".safetensors":
        out.print(f"\nnext:\n  {command()} search {quote(str(args.out))} IMAGE...", soft_wrap=True)
    return 0


def _checked(shape: tuple[int, int]) -> tuple[int, int]:
    """The shape of all features. Raises RunError where they would take more than half of the memory."""
    from ..resources import available_memory

    available, needed = available_memory(), 4 * shape[0] * shape[1]
    if available is not None and 2 * needed > available:
        raise RunError(
            f"the features would take {needed / 2**30:,.1f} GiB, which is more than half of the memory",
            hint="--pool mean, or fewer images",
        )
    return shape


def _write(index: Index, out: Path) -> None:
    """The index, or its features alone with the rest beside them."""
    import numpy as np

    from ..files import write_atomically

    if out.suffix == ".safetensors":
        index.save(out)
        return
    buffer = io.BytesIO()
    np.save(buffer, index.features)
    labels = None if index.labels is None else index.labels.tolist()
    beside = {**index.described(), "names": list(index.names), "labels": labels}
    write_atomically(out, buffer.getvalue())
    write_atomically(out.with_suffix(".json"), json.dumps(beside, indent=1).encode())
