"""What verbs share in choosing what computes a model's outputs."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ..errors import NeocogError

if TYPE_CHECKING:
    from ..model import Model

RUNTIMES = ("auto", "native", "torch", "torch-compiled", "onnxruntime", "openvino")
DTYPES = ("float32", "bfloat16")


def add_runtime(parser: argparse.ArgumentParser, *further: str) -> None:
    """Add --runtime, --dtype, of `further` ones too, and --trust."""
    parser.add_argument(
        "--runtime",
        choices=RUNTIMES,
        default="auto",
        metavar="NAME",
        help=f"what computes: {', '.join(RUNTIMES)}; auto measures where there are many images (default)",
    )
    parser.add_argument(
        "--dtype", choices=(*DTYPES, *further), default="float32", help="of the numbers multiplied (default float32)"
    )
    parser.add_argument(
        "--trust", action="store_true", help="open a .pt2 file, of which torch runs what its maker chose"
    )


def computing(args: argparse.Namespace, model: Model, count: int, *, batch: int | None = None) -> tuple[Model, str]:
    """The model as --runtime and --dtype say, for so many images, `batch` at once if that is given, and the runtime's
    name; the choice on stderr.

    An export computes by the runtime that it is for. Raises NeocogError where it was asked for another.
    """
    if model.runtime is not None:
        name = str(getattr(model.runtime, "name", ""))
        if args.runtime not in ("auto", name) or args.dtype != "float32":
            raise NeocogError(f"an export is run by {name}, as it was written", hint="the model file itself")
        return model, name
    from ..runtimes import choose

    def tell(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    choice = choose(model, count, args.runtime, args.dtype, tell, batch=batch)
    if choice.model is not model:
        tell(f"runtime {choice.runtime}, {choice.dtype}: {choice.reason}")
    return choice.model, choice.runtime
