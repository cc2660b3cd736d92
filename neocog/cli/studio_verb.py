"""`neocog studio`: a page, served by this machine to itself, where networks are planned, trained and questioned."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from ..errors import NeocogError
from .arguments import whole_from
from .output import print_json

if TYPE_CHECKING:
    from ..studio import Place

EXAMPLES = """examples:
  neocog studio
  neocog studio runs/mnist-1
  neocog studio runs/mnist-1/model.safetensors --port 8765 --no-browser"""

HIGHEST_PORT = 65535


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """RUN or MODEL, and where to listen."""
    parser.add_argument(
        "source",
        metavar="RUN|MODEL",
        nargs="?",
        help="a run's folder, finished or running, or a model file to open with",
    )
    parser.add_argument(
        "--port", type=whole_from(0), default=8765, metavar="N", help="default 8765; 0 for any free one"
    )
    parser.add_argument("--no-browser", action="store_true", help="print the link, and open no browser")


def run(args: argparse.Namespace) -> int:
    """Serve until Ctrl-C."""
    if args.port > HIGHEST_PORT:
        raise NeocogError(f"a port is at most {HIGHEST_PORT}", received=f"--port {args.port}")
    try:
        from ..studio import Workshop, serve
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("fastapi", "starlette", "uvicorn", "websockets"):
            raise
        raise NeocogError(
            "the studio needs packages that are not installed",
            received=f"no {error.name}",
            hint="pip install 'neocog[studio]'",
        ) from None

    def told(place: Place, again: bool) -> None:
        if args.json and not again:
            print_json({"url": place.link, "port": place.port})
            sys.stdout.flush()
        else:
            said = "for another browser" if again else "the studio is open at"
            print(f"{said}: {place.link}", file=sys.stderr, flush=True)
            if not again:
                print("  the link is good once, on this machine; Ctrl-C closes the studio", file=sys.stderr, flush=True)

    serve(Workshop.open(args.source), args.port, told, browser=not args.no_browser)
    return 0
