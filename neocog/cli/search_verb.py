"""`neocog search INDEX IMAGE...`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import ModelFileError, NeocogError, escaped
from ..wording import count_of
from .arguments import whole_from
from .output import console, print_json

if TYPE_CHECKING:
    from ..model import Model
    from ..retrieval import Index, Neighbour, Recall

EXAMPLES = """examples:
  neocog search index.safetensors photo-of-a-seven.jpg --top 3
  neocog search index.safetensors --recall
  neocog search train.safetensors --recall test.safetensors --json"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """INDEX, images to look for, how many to show."""
    parser.add_argument("index", metavar="INDEX", help="what neocog embed wrote")
    parser.add_argument("images", metavar="IMAGE", nargs="*", help="image files, or folders of them")
    parser.add_argument("--model", metavar="MODEL", help="the model's file (default: where it was when INDEX was made)")
    parser.add_argument("--top", type=whole_from(1), default=5, metavar="K", help="how many to show (default 5)")
    parser.add_argument(
        "--recall",
        nargs="?",
        const="",
        metavar="QUERIES",
        help="how often neighbours are of the same class: each image among the others, or another index's among these",
    )


def run(args: argparse.Namespace) -> int:
    """Print the nearest images of each, or how often they are of the same class."""
    from ..retrieval import load_index, recall

    index = load_index(args.index)
    if args.recall is not None:
        if args.images:
            raise NeocogError("--recall asks by itself, so it takes no images", received=args.images[0][:80])
        _print_recall(recall(index, load_index(args.recall) if args.recall else None), args)
        return 0
    if not args.images:
        raise NeocogError("an image to look for is needed", hint="neocog search INDEX IMAGE..., or --recall")
    names, neighbours = _search(index, args)
    if args.json:
        rows = [
            {"file": name, "nearest": [one.as_json() for one in found]}
            for name, found in zip(names, neighbours, strict=True)
        ]
        print_json({"index": args.index, "layer": index.layer, "images": len(index), "results": rows})
        return 0
    out = console()
    for name, found in zip(names, neighbours, strict=True):
        out.print(f"{escaped(name)}:", soft_wrap=True)
        for one in found:
            label = f"  {escaped(one.label)}" if one.label is not None else ""
            out.print(f"  {one.similarity:.3f}  {escaped(one.name)}{label}", soft_wrap=True)
    return 0


def _search(index: Index, args: argparse.Namespace) -> tuple[tuple[str, ...], list[list[Neighbour]]]:
    import numpy as np

    from ..retrieval import embed, nearest, queries_of
    from ..retrieval.features import batch_size

    model = _model_of(index, args)
    index.check_model(model)
    names, images = queries_of(model, args.images)
    size = batch_size(model.network)
    batches = (images[k : k + size] for k in range(0, len(images), size))
    return names, nearest(index, np.concatenate([*embed(model, batches, index.layer, index.pool)]), args.top)


def _model_of(index: Index, args: argparse.Namespace) -> Model:
    """The model that --model names, or that is where it was. Raises ModelFileError."""
    from ..model import load

    if args.model:
        return load(args.model)
    try:
        return load(Path(args.index).parent / index.path)
    except ModelFileError as error:
        hint = "--model with the file that made the index"
        raise ModelFileError(error.rule, where=error.where, received=error.received, hint=hint) from None


def _print_recall(found: Recall, args: argparse.Namespace) -> None:
    if args.json:
        print_json({"index": args.index, **found.as_json()})
        return
    out = console()
    among = "the others" if not args.recall else count_of(found.images, "image")
    out.print(f"{count_of(found.queries, 'image')}, each looked for among {among}", soft_wrap=True)
    for k, share in found.at.items():
        low, high = found.interval(k)
        out.print(
            f"  recall@{k:<3} {share:.2%} (between {low:.2%} and {high:.2%} with 95 % confidence),"
            f"  precision@{k} {found.precision[k]:.2%}",
            soft_wrap=True,
        )
