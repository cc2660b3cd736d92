"""`neocog import NET WEIGHTS -o MODEL`, and `neocog import FILE.onnx -o MODEL`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING

from ..errors import ModelFileError, NeocogError
from ..wording import count_of
from .output import command, console, print_error, print_json, print_wrapped, printable
from .reading import counted
from .source import add_network, read_file, read_network, safetensors_file

if TYPE_CHECKING:
    from ..data import Dataset
    from ..interop.weights.report import Report
    from ..model import Model
    from ..network import Network

ONNX = ".onnx"
SHOWN = 8
"""How many names of a kind are printed; --json has them all."""

EXAMPLES = """examples:
  neocog import resnet50 resnet50.pth -o resnet50.safetensors --classes imagenet.txt
  neocog import vgg16 model.safetensors -o vgg16.safetensors --json
  neocog import lenet5-relu lenet.pth --data mnist -o lenet.safetensors
  neocog import somebodys.onnx --data mnist -o somebodys.safetensors
  neocog import exported.onnx -o model.safetensors
  neocog import my-resnet18.net resnet18.pth -o start.safetensors --partial"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """NET, WEIGHTS, where the model goes, and how to read the weights."""
    add_network(parser)
    parser.add_argument(
        "weights",
        metavar="WEIGHTS",
        nargs="?",
        help="a state dict: safetensors, or .pt, .pth or .bin of torch.save, of which only arrays are read, never code "
        "(none where NET is an .onnx file: its graph and arrays are read, and nothing of it is run)",
    )
    parser.add_argument(
        "-o", "--out", type=safetensors_file, required=True, metavar="MODEL", help="the model file to write"
    )
    parser.add_argument(
        "--layout",
        metavar="L",
        help="whose names WEIGHTS has: torchvision, timm, caffe, keras, neocog (those of NET's plan); seen by default",
    )
    parser.add_argument(
        "--data",
        metavar="DATA",
        help="the set that they were trained on: its mean, deviation and classes (default: those of the layout)",
    )
    parser.add_argument("--classes", metavar="FILE", help="the classes' names, one a line (default: class 0, class 1)")
    parser.add_argument(
        "--input", metavar="HxWxC", help="the size of an image, where an .onnx file leaves it open: 224x224x3"
    )
    parser.add_argument(
        "--partial", action="store_true", help="let arrays that WEIGHTS lacks start afresh, instead of failing"
    )


def run(args: argparse.Namespace) -> int:
    """Write the model and say what became of each array; where the weights do not do, say that and write nothing."""
    if args.net.lower().endswith(ONNX):
        return _from_onnx(args)
    if args.weights is None:
        raise NeocogError("the weights of the network are needed", hint="neocog import NET WEIGHTS -o MODEL")
    if args.input:
        raise NeocogError("a network says what its input is; --input is for .onnx files", received=args.input[:40])
    network = read_network(args)
    classes = _classes(args.classes, network.shapes[-1].channels) if args.classes else None
    from ..interop import import_weights
    from ..interop.weights import WeightsError

    try:
        model, report = import_weights(
            network, args.weights, args.layout, data=_data(args.data, network), classes=classes, partial=args.partial
        )
    except WeightsError as error:
        if not args.json:
            _print(error.report, stderr=True)
        return print_error(error, as_json=args.json, beside=error.report.as_json())
    model.save(args.out)
    if args.json:
        print_json({"model": str(args.out), **report.as_json()})
        return 0
    _print(report, stderr=False)
    if report.unmatched:
        print_wrapped(
            console(),
            f"fresh       {count_of(len(report.unmatched), 'array')} with the values that training starts from",
        )
    _print_next(args.out)
    return 0


def _from_onnx(args: argparse.Namespace) -> int:
    """Network and weights from one file."""
    for name, value in (("WEIGHTS", args.weights), ("--layout", args.layout), ("--partial", args.partial)):
        if value:
            raise NeocogError(
                f"an {ONNX} file holds all that it needs, so there is no {name}", received=str(value)[:80]
            )
    model, fresh, note = _exported_here(args)
    if model is None:
        model = _anybodys(args)
    model.save(args.out)
    if args.json:
        told = {"network": str(model.network), "arrays": list(model.weights), "fresh": list(fresh), "note": note}
        print_json({"model": str(args.out), **told})
        return 0
    out = console()
    print_wrapped(out, f"network     {model.network}")
    print_wrapped(out, f"matched     {len(model.weights) - len(fresh):,} of {count_of(len(model.weights), 'array')}")
    if fresh:
        print_wrapped(out, f"fresh       {_some(fresh)}, of a branch that prediction leaves out")
    if note:
        print_wrapped(out, f"note        {note}")
    _print_next(args.out)
    return 0


def _anybodys(args: argparse.Namespace) -> Model:
    """The model that a file's graph and arrays give."""
    from ..interop import from_onnx
    from ..interop.prepared import model_of

    network, weights = from_onnx(args.net, args.input)
    classes = _classes(args.classes, network.shapes[-1].channels) if args.classes else None
    record = {"imported": {"layout": "onnx", "file": Path(args.net).name, "initialised": []}}
    return model_of(network, weights, record, data=_data(args.data, network), classes=classes)


def _exported_here(args: argparse.Namespace) -> tuple[Model | None, Sequence[str], str]:
    """The model that neocog exported into the file, its arrays that are not in there, a note; None if it is none."""
    from ..export.onnx_back import restored
    from ..export.onnx_file import says_it_is_ours
    from ..files import said_of
    from ..interop.prepared import model_of

    path = Path(args.net)
    with said_of(path):
        if args.input or find_spec("onnx") is None or not says_it_is_ours(path):
            return None, (), ""
    try:
        model, fresh = restored(path)
    except ModelFileError as error:
        return None, (), f"an export of neocog that was changed since, read as anybody's: {error.rule}"
    if args.classes:
        model = replace(model, classes=tuple(_classes(args.classes, len(model.classes))))
    if args.data:
        data = _data(args.data, model.network)
        learned = model_of(
            model.network, model.weights, model.record, data=data, classes=model.classes if args.classes else None
        )
        model = replace(learned, loss=model.loss)
    return model, fresh, "preprocessing, classes and golden images are those of the export" if not args.data else ""


def _print_next(path: Path) -> None:
    console().print(f"model       {path}\n\nnext:\n  {command()} predict {quote(str(path))} IMAGE...", soft_wrap=True)


def _data(source: str | None, network: Network) -> Dataset | None:
    from ..data import load_data

    if source is None:
        return None
    with counted() as told:
        return load_data(source, network.input_shape, told).train


def _classes(file: str, count: int) -> list[str]:
    where = file[:80]
    found = [line.strip() for line in read_file(Path(file), where, "a list of classes").splitlines()]
    while found and not found[-1]:
        found.pop()
    if len(found) != count or not all(found):
        received = count_of(len(found), "line") + (", some empty" if not all(found) else "")
        raise NeocogError(f"one name a line is needed, for {count_of(count, 'class')}", where=where, received=received)
    return found


def _print(report: Report, *, stderr: bool) -> None:
    out = console(stderr=stderr)
    for title, words in _lines(report):
        print_wrapped(out, f"{title:<12}{printable(words)}")


def _lines(report: Report) -> Iterator[tuple[str, str]]:
    """What became of the arrays, as titles and words."""
    total = len(report.matched) + len(report.unmatched)
    yield "network", f"{report.network}, under the names of {report.layout}"
    yield "matched", f"{len(report.matched):,} of {count_of(total, 'array')}"
    if report.mismatched:
        sizes = [f"{one.foreign_name} is {one.foreign}, not {one.shape}" for one in report.mismatched]
        yield "mismatched", _some(sizes)
    if report.missing:
        yield "missing", _some([f"{one.name} ({one.foreign_name})" for one in report.missing])
    for why, names in report.unused_by_reason().items():
        yield "unused", f"{len(names):,}: {why}" if why else f"{_some(names)} (nothing is known of them)"
    if report.ignored:
        yield "ignored", f"{_some(report.ignored)}: no arrays"
    for note in report.notes:
        yield "note", note


def _some(names: Sequence[str]) -> str:
    """How many, and the first of them."""
    shown = ", ".join(names[:SHOWN])
    return f"{len(names):,}: {shown}" + (f" and {len(names) - SHOWN:,} more (--json)" if len(names) > SHOWN else "")
