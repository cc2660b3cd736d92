"""The command line: `neocog VERB ...`. One thin file for each verb; this one dispatches and reports errors.

Exit codes: 0 done, 1 failed, 2 a mistake in usage, notation, shape or data, 130 Ctrl-C, 143 SIGTERM.
With --json one JSON document goes to stdout, also for errors; everything else goes to stderr.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib import import_module

from .. import __version__
from ..errors import NeocogError, RunError
from .arguments import Parser, at_home
from .output import prepare_output, print_error

VERBS = {
    "plan": "every size and cost of a network, before it runs",
    "data": "get published data sets, and make data ready",
    "train": "train a network on data; writes the model and a report",
    "verify-resume": "show on your own run that stopping and resuming change no bit",
    "eval": "measure a trained model on data",
    "compare": "runs beside each other, and whether chance would do as well",
    "predict": "classify image files with a trained model",
    "rewrite": "change a trained network, and show what it still computes",
    "embed": "what a layer gives for images, as an index to search",
    "search": "the images of an index that are most like another",
    "explain": "what counted for a model's answer, and what its units look for",
    "import": "a model from an ONNX file, or from torchvision, timm or Caffe",
    "export": "a model as ONNX, torch or C; weights for other libraries",
    "native": "what the native engine makes of a network, and its code as C",
    "studio": "a live page: plan, train, step through, ask",
    "demo": "a lesson that measures what it teaches, and draws it",
    "check": "compare a network's independent implementations, layer by layer",
    "zoo": "list the networks that come with neocog, or print one",
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    arguments = list(map(at_home, sys.argv[1:] if argv is None else argv))
    prepare_output()
    as_json = "--json" in arguments
    with _sigterm_as_ctrl_c() as terminated:
        try:
            return _run(arguments)
        except NeocogError as error:
            return print_error(error, as_json=as_json)
        except KeyboardInterrupt as stop:
            print_error(RunError("; ".join(["interrupted", *map(str, stop.args)])), as_json=as_json)
            return 128 + (signal.SIGTERM if terminated else signal.SIGINT)
        except MemoryError:
            hint = "a smaller batch; neocog plan NET --batch N says what one needs"
            return print_error(RunError("there is not enough memory", hint=hint), as_json=as_json)
        except OSError as error:
            if error.filename is not None:  # a file, where what is written to a stream has no name
                rule, reason = "this file or folder cannot be used", error.strerror or str(error)
                return print_error(RunError(rule, where=str(error.filename), received=reason), as_json=as_json)
            _discard_output()
            if isinstance(error, BrokenPipeError):  # the reader has seen enough
                return 0
            return print_error(RunError(f"the output cannot be written: {error}"), as_json=False)


def _run(arguments: list[str]) -> int:
    if arguments[:1] == ["help"]:
        arguments = [*arguments[1:], "--help"]
    try:
        if not arguments or arguments[0] not in VERBS:
            return _overview(arguments)
        verb = arguments[0]
        module = import_module(f".{verb.replace('-', '_')}_verb", __name__)
        parser = Parser(
            prog=f"neocog {verb}", description=f"{VERBS[verb][0].upper()}{VERBS[verb][1:]}.", epilog=module.EXAMPLES
        )
        parser.add_argument("--json", action="store_true", help="print one JSON document to stdout")
        module.add_arguments(parser)
        code: int = module.run(parser.parse_args(arguments[1:]))
        return code
    finally:
        sys.stdout.flush()  # here, where a failure is explained


def _overview(arguments: list[str]) -> int:
    listing = "\n".join(f"  {verb:<15}{what}" for verb, what in VERBS.items())
    parser = Parser(
        prog="neocog",
        usage="neocog VERB ...   (neocog VERB --help: its options and examples)",
        description="A convolutional network as one line of text: planned, proved, trained.",
        epilog=f"verbs:\n{listing}\n\nfirst steps:\n  neocog plan lenet5\n  neocog train lenet5-relu mnist --epochs 3",
    )
    parser.add_argument("--version", action="version", version=f"neocog {__version__}", help="print the version")
    parser.add_argument("verb", nargs="?", help=argparse.SUPPRESS)
    if not arguments:
        parser.print_help(sys.stderr)
        return 2
    verb: str | None = arguments[0]  # there is none of that name, and so no --help of it
    if arguments[0].startswith("-"):
        verb = parser.parse_known_args(arguments)[0].verb  # --help and --version end here
    if verb is None:
        near = get_close_matches(arguments[0], parser.options, n=1)
        raise NeocogError("a verb is needed", received=arguments[0][:80], hint=near[0] if near else "neocog --help")
    near = get_close_matches(verb, VERBS, n=1)
    raise NeocogError("there is no such verb", received=verb[:80], hint=", ".join(near or VERBS))


@contextmanager
def _sigterm_as_ctrl_c() -> Iterator[list[int]]:
    """SIGTERM ends the work exactly as Ctrl-C would, with what that saves; the list then holds it."""
    received: list[int] = []

    def note(signum: int, frame: object) -> None:
        received.append(signum)
        ctrl_c = signal.getsignal(signal.SIGINT)
        if not callable(ctrl_c):  # Ctrl-C is ignored, as in the background of a shell
            raise KeyboardInterrupt
        ctrl_c(signal.SIGINT, None)

    previous = signal.signal(signal.SIGTERM, note)
    try:
        yield received
    finally:
        signal.signal(signal.SIGTERM, previous)


def _discard_output() -> None:
    """Send what is still in stdout's buffer nowhere, or Python would try to write it again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
