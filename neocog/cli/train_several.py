"""`neocog train --seeds` and `--find-lr`: runs whose models are not the answer."""

from __future__ import annotations

import argparse
from typing import Any

from ..data import Splits
from ..errors import NeocogError
from ..files import write_atomically
from ..network import Network
from ..wording import count_of
from .output import console, print_json, print_table, print_wrapped


def run_seeds(args: argparse.Namespace, network: Network, data: Splits, given: dict[str, Any]) -> int:
    """A run for each seed; then a table of what they came to."""
    from ..training.seeds import parse_seeds, train_seeds

    seeds = parse_seeds(args.seeds)
    if hasattr(args, "seed"):
        raise NeocogError("--seeds takes the place of --seed", received=f"--seed {args.seed}")
    runs = train_seeds(network, data, seeds, **{k: v for k, v in given.items() if k != "seed"})
    if args.json:
        print_json(runs.as_json())
        return 0
    out = console()
    rows = [
        (f"{r['seed']}", f"{r['accuracy']:.2%}", f"{r['epochs']}", f"{r['seconds']:.1f} s")
        for r in runs.as_json()["runs"]
    ]
    print_table(out, ("seed", "accuracy", "epochs", "time"), rows, text=())
    spread = f" ± {100 * runs.deviation:.2f} points" if runs.deviation is not None else ""
    out.print()
    print_wrapped(out, f"{runs.mean:.2%}{spread} of the test images right, {count_of(len(runs.models), 'seed')}")
    out.print(f"runs    {runs.folder}", soft_wrap=True)
    return 0


def find(args: argparse.Namespace, network: Network, data: Splits, given: dict[str, Any]) -> int:
    """A sweep of the learning rate, its curve, and what to take."""
    from ..training.sweep import drawn, find_lr

    sweep = find_lr(network, data, **{k: v for k, v in given.items() if k != "out"})
    write_atomically(args.find_lr, drawn(sweep).encode())
    if args.json:
        curve = {"rates": list(sweep.rates), "losses": list(sweep.losses), "smoothed": list(sweep.smoothed)}
        print_json({"suggestion": sweep.suggestion, "lowest": sweep.lowest, "curve": str(args.find_lr), **curve})
        return 0
    out = console()
    words = f"the smoothed loss is lowest at a rate of {sweep.lowest:.2g}; a tenth of that is a good highest rate"
    print_wrapped(out, f"{words}: --lr {sweep.suggestion:.2g}")
    out.print(f"curve   {args.find_lr}", soft_wrap=True)
    return 0
