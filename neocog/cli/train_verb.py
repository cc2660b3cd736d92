"""`neocog train NET DATA`."""

from __future__ import annotations

import argparse
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from .arguments import whole_from
from .output import command, console, print_json, print_wrapped
from .source import add_network, read_network

if TYPE_CHECKING:
    from ..model import Model

EXAMPLES = """examples:
  neocog train lenet5-relu mnist
  neocog train 'INPUT[28x28x1] -> CONV5-8 -> RELU -> POOL2 -> FC10' mnist --epochs 2 --out runs/first
  neocog train my.net fashion-mnist --optimizer adamw --lr 0.002 --shift 2 --seed 1
  neocog train lenet5-relu mnist --validation 10000 --target-accuracy 0.99 --json"""

SETTINGS = (
    *("epochs", "batch_size", "lr", "optimizer", "momentum", "weight_decay", "schedule", "shift", "init", "loss"),
    *("seed", "engine", "device", "dtype", "validation", "target_accuracy", "out"),
)
"""The arguments that `train` takes under the same names."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """NET, DATA, and the settings of the run."""
    add_network(parser)
    parser.add_argument("data", metavar="DATA", help="a built-in set (mnist) or a folder")
    parser.add_argument("--out", metavar="DIR", help="folder of the run (default: runs/DATA-N)")
    parser.add_argument(
        "--epochs", type=whole_from(1), default=6, metavar="N", help="passes over the training images (default 6)"
    )
    parser.add_argument(
        "--batch-size", "-b", type=whole_from(1), default=64, metavar="N", help="images in a step (default 64)"
    )
    parser.add_argument("--lr", type=float, help="highest learning rate (default: a good one for the optimizer)")
    parser.add_argument("--optimizer", default="nesterov", help="sgd, momentum, nesterov (default) or adamw")
    parser.add_argument("--momentum", type=float, default=0.9, help="for momentum and nesterov (default 0.9)")
    parser.add_argument("--weight-decay", type=float, default=5e-4, help="not on biases and norms (default 5e-4)")
    parser.add_argument("--schedule", default="one-cycle", help="constant, step, cosine or one-cycle (default)")
    parser.add_argument(
        "--shift", type=whole_from(0), default=0, metavar="PIXELS", help="move images at random (default 0)"
    )
    parser.add_argument("--init", default="he", help="zeros, gaussian, he (default), he-out, xavier or lecun")
    parser.add_argument("--loss", help="default: the one for the network's last layer")
    parser.add_argument(
        "--seed", type=whole_from(0), default=0, metavar="N", help="of weights, order and shifts (default 0)"
    )
    parser.add_argument(
        "--engine", choices=("auto", "native", "torch"), default="auto", help="what runs it (default auto)"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, ... (default auto)")
    parser.add_argument(
        "--dtype", default="float32", help="of products: float32 (default), bfloat16, or auto, the faster"
    )
    parser.add_argument(
        "--validation", type=whole_from(0), default=0, metavar="N", help="training images held out to measure on"
    )
    parser.add_argument("--target-accuracy", type=float, metavar="SHARE", help="stop at this accuracy, as in 0.99")


def run(args: argparse.Namespace) -> int:
    """Train, then say how good it is, where everything lies and what to try next."""
    network = read_network(args)
    network.plan()  # before data and torch are loaded: a mistake in the network shows at once
    from ..data import load_data
    from ..training import train

    given = {name: getattr(args, name) for name in SETTINGS}
    model = train(network, load_data(args.data), **given)
    if args.json:
        print_json(model.record)
    else:
        _print(model, args.data)
    return 0


def _print(model: Model, data: str) -> None:
    from ..training.run import MODEL, REPORT

    record = model.record
    folder = Path(record["folder"])
    images = record["test_images"]
    wrong = images - round(record["test_accuracy"] * images)
    out = console()
    out.print()
    print_wrapped(
        out,
        f"{record['test_accuracy']:.2%} of {images:,} test images right ({wrong:,} wrong) after "
        f"{record['seconds']:.0f} s, {record['epochs']} epochs at {record['images_per_second']:,.0f} images/s",
    )
    out.print(f"\nmodel   {folder / MODEL}\nreport  {folder / REPORT}\n\nnext:", soft_wrap=True)
    path, again = quote(str(folder / MODEL)), quote(command())
    steps = {
        f"{again} predict {path} IMAGE...": "your own images",
        f"{again} eval {path} {quote(data)}": "accuracy by class",
        f"{again} plan {path}": "every size and cost",
    }
    for step, what in steps.items():
        out.print(f"  {step:<{max(map(len, steps))}}  # {what}", soft_wrap=True)
