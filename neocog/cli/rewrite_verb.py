"""`neocog rewrite MODEL NAME -o OUT`."""

from __future__ import annotations

import argparse
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from ..errors import NeocogError, RewriteError
from .output import command, console, print_json, print_table, print_wrapped, printable
from .plan_diff import print_difference
from .source import safetensors_file

if TYPE_CHECKING:
    from ..model import Model
    from ..rewrite import Option, Report, Rewrite

FIGURES = ("mean", "std", "smallest", "largest")
SHOWN = 8
"""How many notes are printed; --json has them all."""

EXAMPLES = """examples:
  neocog rewrite --list
  neocog rewrite runs/first/model.safetensors
  neocog rewrite runs/first/model.safetensors fc-to-conv -o dense.safetensors"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """MODEL, which rewrite with what options, and where the new model goes."""
    from ..rewrite import REWRITES
    from ..rewrite.contract import yes_or_no

    parser.add_argument("model", metavar="MODEL", nargs="?", help="a model file; alone: list its layers and arrays")
    parser.add_argument("name", metavar="NAME", nargs="?", help="which rewrite")
    parser.add_argument("--list", action="store_true", help="list the rewrites")
    parser.add_argument(
        "-o", "--out", type=safetensors_file, metavar="OUT", help="the model file to write; MODEL stays as it is"
    )
    group = parser.add_argument_group("options of rewrites")
    users: dict[str, list[tuple[str, Option]]] = {}
    for rewrite in REWRITES:
        for one in rewrite.options:
            users.setdefault(one.flag, []).append((rewrite.name, one))
    for flag, uses in users.items():
        what = "; ".join(f"{name}: {one.what}" for name, one in uses)
        if uses[0][1].kind is yes_or_no:
            group.add_argument(flag, action="store_const", const=True, dest=uses[0][1].name, help=what)
        else:
            group.add_argument(flag, metavar="X", dest=uses[0][1].name, help=what)


def run(args: argparse.Namespace) -> int:
    """List, or write the rewritten model and say what changed."""
    from ..model import load
    from ..rewrite import REWRITES

    if args.list:
        return _list(REWRITES, as_json=args.json)
    if args.model is None:
        raise NeocogError("a model file is needed", hint="neocog rewrite --list, or --help")
    model = load(args.model)
    if args.name is None:
        return _arrays(model, as_json=args.json)
    if args.out is None:
        raise NeocogError("-o says which file to write", hint=f"-o {args.name}.safetensors")
    _check_not_the_same(args.model, args.out, args.name)
    return _rewrite(model, args)


def _check_not_the_same(old: str, new: Path, name: str) -> None:
    if new.exists() and new.samefile(old):
        rule, hint = "the old model is kept, so the new one needs another file", f"-o {name}.safetensors"
        raise RewriteError(rule, received=str(new), hint=hint)


def _rewrite(model: Model, args: argparse.Namespace) -> int:
    from ..rewrite import REWRITES, apply

    names = {one.name for rewrite in REWRITES for one in rewrite.options}
    options = {name: value for name in names if (value := getattr(args, name)) is not None}
    made, report = apply(model, args.name, **options)
    made.save(args.out)
    if args.json:
        print_json({"model": str(args.out), "from": args.model, **report.as_json()})
        return 0
    _print(report, args)
    return 0


def _print(report: Report, args: argparse.Namespace) -> None:
    out = console()
    print_difference(report.difference, (args.model, str(args.out)))
    out.print()
    for note in report.notes[:SHOWN]:
        print_wrapped(out, printable(f"note        {note}"))
    if len(report.notes) > SHOWN:
        print_wrapped(out, f"note        and {len(report.notes) - SHOWN:,} more (--json)")
    if report.layer_means is not None:
        before, after = report.layer_means
        print_wrapped(out, f"mean        of {args.layer}'s output: {before:.4g} -> {after:.4g}")
    print_wrapped(out, f"verified    {report.verification.line()}")
    print_wrapped(out, printable(f"model       {args.out}; {args.model} stays as it was"))
    one_answer = report.difference.b.rows[-1].output.positions == 1
    follows = f"eval {quote(str(args.out))} DATA" if one_answer else f"plan {quote(str(args.out))}"
    out.print(f"\nnext:\n  {command()} {follows}", soft_wrap=True)


def _list(rewrites: tuple[Rewrite, ...], *, as_json: bool) -> int:
    if as_json:
        options = [[{"flag": one.flag, "what": one.what} for one in rewrite.options] for rewrite in rewrites]
        pairs = zip(rewrites, options, strict=True)
        print_json(
            {
                "rewrites": [
                    {"name": one.name, "what": one.what, "tolerance": one.tolerance, "options": own}
                    for one, own in pairs
                ]
            }
        )
        return 0
    rows = [
        (one.name, "measured" if one.tolerance is None else f"equal to {one.tolerance:.0e}", one.what)
        for one in rewrites
    ]
    print_table(
        console(), ("rewrite", "outputs", "what it does"), rows, text=("rewrite", "outputs"), prose="what it does"
    )
    return 0


def _arrays(model: Model, *, as_json: bool) -> int:
    """The layers with their arrays' shapes and what is in them."""
    import numpy as np

    found = [
        {
            "name": name,
            "shape": list(array.shape),
            "mean": float(array.mean(dtype=np.float64)),
            "std": float(array.std(dtype=np.float64)),
            "smallest": float(array.min()),
            "largest": float(array.max()),
        }
        for name, array in model.weights.items()
    ]
    volumes = [*zip(model.network.nodes, model.network.shapes, strict=True)]
    if as_json:
        layers = [{"name": node.name, "token": node.layer.token, "output": shape.as_list()} for node, shape in volumes]
        print_json({"network": str(model.network), "layers": layers, "arrays": found})
        return 0
    out = console()
    print_wrapped(out, str(model.network))
    out.print()
    header = ("layer", "written", "output")
    print_table(out, header, [(n.name, n.layer.token, str(shape)) for n, shape in volumes], text=header)
    out.print()
    rows = [
        (str(a["name"]), "x".join(map(str, model.weights[str(a["name"])].shape)), *(f"{a[k]:.4g}" for k in FIGURES))
        for a in found
    ]
    print_table(out, ("array", "shape", *FIGURES), rows, text=("array", "shape"))
    return 0
