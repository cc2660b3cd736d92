"""What verbs share in reading the command line."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Callable
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from ..errors import NeocogError


def at_home(argument: str) -> str:
    """An argument with the user's folder in place of `~/`, which shells leave alone in `--out=~/runs` and in quotes."""
    found = re.fullmatch(r"(--[a-z-]+=)?(~/.*)", argument, re.DOTALL)
    return f"{found[1] or ''}{os.path.expanduser(found[2])}" if found else argument


class Parser(argparse.ArgumentParser):
    """argparse, with its errors in the form of all others: `error: ...`, or a JSON document."""

    _mixing = False

    def __init__(self, **settings: str) -> None:
        super().__init__(
            **settings,  # type: ignore[arg-type]  # all that are given here are texts
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )

    @property
    def options(self) -> list[str]:
        """What there is to choose from: `--json`, `-D`, ..."""
        return list(self._option_string_actions)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, but what is left over gets the nearest option that there is. Raises NeocogError."""
        known, left_over = self.parse_known_args(args, namespace)
        if left_over:
            near = get_close_matches(left_over[0].partition("=")[0], self.options, n=1)
            raise NeocogError(
                f"unrecognized arguments: {' '.join(left_over)}", hint=near[0] if near else f"{self.prog} --help"
            )
        return known

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Options may stand between files: alone, argparse would take a verb's last files to be those before them."""
        if self._mixing or self._subparsers is not None:
            return super().parse_known_args(args, namespace)
        self._mixing = True
        try:
            return self.parse_known_intermixed_args(args, namespace)
        finally:
            self._mixing = False

    def error(self, message: str) -> NoReturn:
        """Raise NeocogError."""
        raise NeocogError(message, hint=f"{self.prog} --help")


def figure_file(*suffixes: str) -> Callable[[str], Path]:
    """The type of an argument that names a picture to write, by what its name ends in."""

    def path(text: str) -> Path:
        if not text.lower().endswith(suffixes) or "\0" in text:
            raise argparse.ArgumentTypeError(f"a name ending in {' or '.join(suffixes)} is needed, not {text[:40]!r}")
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
