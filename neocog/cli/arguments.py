"""What verbs share in reading the command line."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from ..errors import NeocogError


class Parser(argparse.ArgumentParser):
    """argparse, with its errors in the form of all others: `error: ...`, or a JSON document."""

    def __init__(self, **settings: str) -> None:
        super().__init__(
            **settings,  # type: ignore[arg-type]  # all that are given here are texts
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        """Raise NeocogError."""
        raise NeocogError(message, hint=f"{self.prog} --help")


def figure_file(*suffixes: str) -> Callable[[str], Path]:
    """The type of an argument that names a picture to write, by what its name ends in."""
    kinds = " or ".join(suffix[1:].upper() for suffix in suffixes)

    def path(text: str) -> Path:
        if not text.lower().endswith(suffixes) or "\0" in text:
            raise argparse.ArgumentTypeError(
                f"a figure is an {kinds} file, so a name ending in {' or '.join(suffixes)} is needed, not {text[:40]!r}"
            )
        return Path(text)

    return path


def whole_from(least: int) -> Callable[[str], int]:
    """The type of an argument that is a whole number from `least`; 18 digits fit 64 bits wherever they go."""

    def whole(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text, re.ASCII) or int(text) < least:
            raise argparse.ArgumentTypeError(
                f"a whole number from {least}, of at most 18 digits, is needed, not {text[:40]!r}"
            )
        return int(text)

    return whole
