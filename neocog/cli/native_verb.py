"""`neocog native NET`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

from ..errors import NeocogError
from ..plan.tables import size
from ..wording import count_of
from .output import console, print_json, print_table, print_wrapped
from .source import add_network, read_network

EXAMPLES = """examples:
  neocog native lenet5-relu
  neocog native 'INPUT[28x28x1] -> CONV5-8 -> RELU -> POOL2 -> FC10' --json
  neocog native lenet5-relu --show > lenet5.c"""

HEADER = ("stage", "kind", "output", "row", "plane", "forward", "weight gradient,\nlanes hold", "input gradient")
SHORT = {
    "gather": "",
    "clipped gather": "clipped ",
    "lanes hold images": "images ",
    "lanes hold channels": "channels ",
}
"""Forms of kernels as the table has them."""
LEGEND = (
    "row, plane: vectors from one to the next, margins for padding included",
    "forward, input gradient: outputs computed at once, channels x rows x columns; clipped where taps that meet only "
    "padding are left out, packed where weights are copied in the order of reading first",
    "weight gradient: weights whose gradients are summed at once, outputs x channels x rows x columns",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """NET, and whether to print the code."""
    add_network(parser)
    parser.add_argument("--show", action="store_true", help="print the whole step too, as C")


def run(args: argparse.Namespace) -> int:
    """Print what the native engine decided, and with --show the network's step as a file of C."""
    from ..losses import default_loss
    from ..native.c_network import c_program
    from ..native.decisions import decisions
    from ..native.jit import machine
    from ..native.program import Program
    from ..native.stages import uncovered

    network = read_network(args)
    if reason := uncovered(network):
        hint = "neocog train NET DATA --engine torch"
        raise NeocogError("the native engine has no kernels for this network", received=reason, hint=hint)
    program = Program(machine(), network, default_loss(network).name)
    made = decisions(program)
    code = c_program(program) if args.show else ""
    if args.json:
        print_json(made | ({"c": code} if args.show else {}))
    elif args.show:  # what is printed is a file of C
        print("/*")
        _print(made)
        print(f"*/\n\n{code}", end="")
    else:
        _print(made)
    return 0


def _print(made: dict[str, Any]) -> None:
    rows = [
        (
            " ".join(stage["layers"]),
            stage["kind"],
            stage["output"],
            str(stage["row"]),
            str(stage["plane"]),
            *(_kernels(stage[part]) for part in ("forward", "weight_gradient", "input_gradient")),
        )
        for stage in made["stages"]
    ]
    out = console()
    text = ("stage", "kind", *HEADER[5:])
    print_table(out, HEADER, rows, text=text, optional=("plane", "row", "output", "kind"))
    out.print()
    for line in (*LEGEND, "", *_totals(made)):
        print_wrapped(out, line)


def _totals(made: dict[str, Any]) -> Iterator[str]:
    lanes, registers = made["machine"]["lanes"], made["machine"]["registers"]
    memory = {name: size(count) for name, count in made["memory"].items()}
    yield (
        f"{count_of(made['functions'], 'function')}, for {registers} registers of {count_of(lanes, 'number')} each, "
        f"{made['loss']} loss and {made['optimizer']}"
    )
    if made["segments"] > 1:
        yield f"blocks wait for each other {count_of(made['segments'] - 1, 'time')} a step, for normalization"
    arena, kept = memory["arena"], memory["kept"]
    block, scratch = count_of(lanes, "image"), memory["scratch"]
    yield f"each thread takes {arena} for a block of {block}, and {scratch} for transposed gradients"
    if made["segments"] > 1:
        yield f"each block keeps {kept} while it waits"
    yield f"weights take {memory['weights']}, their copies in the order of reading {memory['packed']}"
    yield f"each group of blocks takes {memory['group']} for its gradients"


def _kernels(kernels: list[dict[str, Any]]) -> str:
    """`clipped 6x1x4 packed`: the form, the sizes of what is computed at once, and whether weights are packed."""
    cells = []
    for kernel in kernels:
        tile = "x".join(map(str, kernel["tile"].values()))
        form = SHORT.get(kernel["form"], f"{kernel['form']} ")
        cells.append(f"{form}{tile}{' packed' if kernel['weights'] == 'packed' else ''}")
    return ", ".join(dict.fromkeys(cells))
