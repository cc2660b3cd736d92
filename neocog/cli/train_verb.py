"""`neocog train NET DATA`."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from ..errors import NeocogError
from ..wording import count_of
from .arguments import figure_file, whole_from
from .output import command, console, print_json, print_wrapped
from .reading import add_threads, check_order, counted, print_reading, reading_how
from .source import add_network, read_network

if TYPE_CHECKING:
    from ..data.dataset import Told
    from ..model import Model

EXAMPLES = """examples:
  neocog train lenet5-relu mnist
  neocog train 'INPUT[28x28x1] -> CONV5-8 -> RELU -> POOL2 -> FC10' mnist --epochs 2 --out runs/first
  neocog train my.net fashion-mnist --optimizer adamw --lr 0.002 --augment 'shift=2, flip' --seed 1
  neocog train my.net photos/     # photos/CLASS/1.jpg, or photos/train/CLASS/1.jpg and photos/test/CLASS/2.jpg
  neocog train --recipe recipes/mnist-fast.toml --seed 3
  neocog train lenet5-relu mnist --find-lr rates.svg
  neocog train lenet5-relu mnist --seeds 5
  neocog train my.net photos/ --from runs/mnist-1/model.safetensors --rates '*=0, fc2=1'
  neocog train lenet5-relu mnist --validation 10000 --target-accuracy 0.99 --json
  neocog train --resume runs/mnist-1"""

SETTINGS = (
    *("epochs", "batch_size", "lr", "optimizer", "momentum", "weight_decay", "schedule", "warmup", "rates", "clip"),
    *("accumulate", "init", "start", "whiten", "loss", "label_smoothing", "class_weights", "ema", "seed"),
    *("augment", "sampling", "validation", "measure_every", "target_accuracy", "patience", "tta"),
    *("out", "engine", "device", "dtype", "keep_checkpoints", "checkpoint_minutes"),
)
"""The arguments that `train` takes under the same names."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """NET, DATA, and the settings of the run; those that are not given are the recipe's, else `train`'s own."""
    add_network(parser, needed=False)
    parser.add_argument("data", metavar="DATA", nargs="?", help="a built-in set (mnist), a folder or a list of images")
    parser.add_argument("--recipe", metavar="FILE", help="network, data and settings from a file, in place of NET DATA")
    parser.add_argument(
        "--stream",
        action=argparse.BooleanOptionalAction,
        help="decode image files each time they are needed, not once (default: where memory cannot hold them)",
    )
    add_threads(parser)
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument(
        "--seeds", metavar="SEEDS", help="a run for each seed, and their mean: 5 (0 to 4), 3..7 or 1,4,9"
    )
    instead.add_argument(
        "--find-lr", type=figure_file(".svg"), metavar="SVG", help="do not train: try rates, and suggest one"
    )
    instead.add_argument(
        "--resume", metavar="RUN", help="continue the run in this folder; nothing needs to be repeated"
    )
    parser.add_argument(
        "--changed-data", action="store_true", help="with --resume: go on though the data have changed since"
    )
    for title, add in GROUPS.items():
        add(parser.add_argument_group(title, argument_default=argparse.SUPPRESS))


def _add_learning(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--epochs", type=whole_from(1), metavar="N", help="passes over the training images (default 6, or 200 steps)"
    )
    group.add_argument("--batch-size", "-b", type=whole_from(1), metavar="N", help="images in a step (default 64)")
    group.add_argument(
        "--lr", type=float, metavar="RATE", help="highest learning rate (default: a good one for the optimizer)"
    )
    group.add_argument("--optimizer", metavar="NAME", help="sgd, momentum, nesterov (default), adamw or muon")
    group.add_argument("--momentum", type=float, metavar="M", help="for momentum and nesterov (default 0.9)")
    group.add_argument(
        "--weight-decay", type=float, metavar="D", help="of weights, not of biases and norms (default 5e-4)"
    )
    group.add_argument("--schedule", metavar="NAME", help="constant, step, linear, cosine or one-cycle (default)")
    group.add_argument(
        "--warmup", type=float, metavar="PART", help="let the rate rise first: a share of the run (0.1), or epochs (5)"
    )
    group.add_argument(
        "--rates", metavar="FACTORS", help="on the learning rate of parts: 'conv1=0, fc*=0.1, bias=2'; 0 freezes"
    )
    group.add_argument("--clip", type=float, metavar="NORM", help="largest norm of the gradient (default 0: any)")
    group.add_argument(
        "--accumulate", type=whole_from(1), metavar="N", help="take each mini-batch in N parts, for less memory"
    )
    group.add_argument(
        "--ema", type=float, metavar="DECAY", help="average the weights, as with 0.999 (default 0: do not)"
    )
    group.add_argument("--loss", metavar="NAME", help="default: the one for the network's last layer")
    group.add_argument("--label-smoothing", type=float, metavar="S", help="for cross-entropy, as in 0.1 (default 0)")
    group.add_argument(
        "--class-weights", metavar="WEIGHTS", help="in the loss: none (default), balanced, or 'cat=2, dog=0.5'"
    )


def _add_start(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--from", dest="start", metavar="FILE", help="start from a model's weights, or another library's for the zoo"
    )
    group.add_argument(
        "--init", metavar="NAME", help="auto (default), zeros, gaussian, he, he-out, xavier, lecun or dirac"
    )
    group.add_argument("--whiten", action="store_true", help="start the first convolution by whitening image patches")
    group.add_argument("--seed", type=whole_from(0), metavar="N", help="of weights, order and changes (default 0)")


def _add_images(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--augment",
        metavar="CHANGES",
        help="change images at random: 'shift=2, flip, rotate=10, scale=0.1, slide=0.5, edge=reflect, contrast=0.2, "
        "brightness=0.1, erase=8, vary=2, mixup=0.2, cutmix=1' or some of these",
    )
    group.add_argument("--sampling", metavar="HOW", help="shuffled (default), or balanced: every class equally often")
    group.add_argument(
        "--validation", type=whole_from(0), metavar="N", help="training images held out to measure on (default 0)"
    )


def _add_measuring(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--measure-every", type=whole_from(1), metavar="N", help="after every N epochs (default 1)")
    group.add_argument("--target-accuracy", type=float, metavar="SHARE", help="stop at this accuracy, as in 0.99")
    group.add_argument(
        "--patience", type=whole_from(0), metavar="N", help="stop after N epochs without a better one; needs validation"
    )
    group.add_argument("--tta", metavar="VIEWS", help="measure by several views in the end too: 'flip, shift=1'")


def _add_running(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--out", metavar="DIR", help="folder of the run (default: runs/DATA-N)")
    group.add_argument("--engine", choices=("auto", "native", "torch"), help="what runs it (default auto)")
    group.add_argument("--device", metavar="NAME", help="cpu, cuda, cuda:1, ... (default auto)")
    group.add_argument("--dtype", metavar="TYPE", help="of products: float32 (default), bfloat16, or auto, the faster")
    group.add_argument(
        "--keep-checkpoints", type=whole_from(1), metavar="K", help="of the newest, beside the best model (default 2)"
    )
    group.add_argument(
        "--checkpoint-minutes", type=float, metavar="N", help="from one to the next within an epoch (default 5)"
    )


GROUPS = {
    "how it learns": _add_learning,
    "where it starts": _add_start,
    "images": _add_images,
    "measuring": _add_measuring,
    "the run": _add_running,
}
"""The settings, by what they are about: none is in the arguments unless it was given."""


def run(args: argparse.Namespace) -> int:
    """Train, then say how good it is, where everything lies and what to try next."""
    own = {name: getattr(args, name) for name in SETTINGS if hasattr(args, name)}
    with counted() as told:
        return _run(args, own, told)


def _run(args: argparse.Namespace, own: dict[str, Any], told: Told) -> int:
    if args.resume is not None:
        return _answer(args, _resumed(args, {**own, "told": told}))
    if args.changed_data:
        raise NeocogError("--changed-data goes with --resume RUN")
    recipe = _recipe(args)
    network = read_network(args)
    network.plan()  # before data and torch are loaded: a mistake in the network shows at once
    from ..data import load_data
    from ..training import train

    given = {**recipe, **own, "told": told}
    data = load_data(args.data, network.input_shape, told, reading_how(args))
    print_reading(data.train, data.validation, data.test)
    if args.seeds or args.find_lr:
        from .train_several import find, run_seeds

        return (run_seeds if args.seeds else find)(args, network, data, given)
    return _answer(args, train(network, data, **given))


def _resumed(args: argparse.Namespace, given: dict[str, Any]) -> Model:
    """What is repeated beside the folder must be as it was, which `resume` sees to."""
    if args.recipe is not None or "out" in given:
        raise NeocogError("--resume names the folder, which has the rest", hint=f"neocog train --resume {args.resume}")
    network = read_network(args) if args.net is not None else None
    from ..training import resume

    return resume(args.resume, network, args.data, changed_data=args.changed_data, **given)


def _answer(args: argparse.Namespace, model: Model) -> int:
    if args.json:
        print_json(model.record)
    else:
        _print(model)
    return 0


def _recipe(args: argparse.Namespace) -> Mapping[str, Any]:
    """The settings of the recipe, whose network and data take the places of NET and DATA."""
    if args.recipe is None:
        if args.data is None:
            raise NeocogError(
                "train needs NET and DATA, --recipe FILE or --resume RUN", hint="neocog train lenet5-relu mnist"
            )
        check_order("NET", args.net, args.data)
        return {}
    if args.net is not None:
        raise NeocogError("a recipe names the network and the data itself", received=args.net[:80])
    from ..training.recipe import read_recipe

    recipe = read_recipe(args.recipe)
    args.net, args.data = recipe.network, recipe.data
    return recipe.settings


def _print(model: Model) -> None:
    from ..training.run import MODEL, REPORT

    record = model.record
    folder = Path(record["folder"])
    images = record["test_images"]
    wrong = images - round(record["test_accuracy"] * images)
    out = console()
    out.print()
    print_wrapped(
        out,
        f"{record['test_accuracy']:.2%} of {count_of(images, 'test image')} right ({wrong:,} wrong) after "
        f"{record['seconds']:.0f} s, {count_of(record['epochs'], 'epoch')} at "
        f"{record['images_per_second']:,.0f} images/s"
        + (f"; {record['tta_accuracy']:.2%} by {record['settings']['tta']}" if "tta_accuracy" in record else ""),
    )
    out.print(f"\nmodel   {folder / MODEL}\nreport  {folder / REPORT}\n\nnext:", soft_wrap=True)
    path, again = quote(str(folder / MODEL)), quote(command())
    steps = {
        f"{again} predict {path} IMAGE...": "your own images",
        f"{again} eval {path} {quote(record['data']['source'])}": "accuracy by class",
        f"{again} plan {path}": "every size and cost",
    }
    for step, what in steps.items():
        out.print(f"  {step:<{max(map(len, steps))}}  # {what}", soft_wrap=True)
