"""Every error a user can cause, in one form: where, the rule, what was received, what to type instead."""

from __future__ import annotations

import unicodedata
from os import PathLike, fspath


class NeocogError(ValueError):
    """A mistake that can be explained: its text is the explanation and is all the user sees.

    Attributes: `where` (a place the user can find), `rule` (what must hold), `excerpt` (the lines it is about),
    `received`, `hint` (what to type instead); empty strings where there is nothing to say. `exit_code` is what
    the command line returns.
    """

    exit_code = 2

    def __init__(self, rule: str, *, where: str = "", excerpt: str = "", received: str = "", hint: str = "") -> None:
        self.rule, self.received, self.hint = clipped(rule), clipped(received), clipped(hint)
        self.where, self.excerpt = where, excerpt
        super().__init__(self.text())

    def text(self) -> str:
        """The message: one line for place and rule, one each for what was received and what to try."""
        lines = [f"{self.where}: {self.rule}" if self.where else self.rule]
        if self.excerpt:
            lines.append(self.excerpt)
        if self.received:
            lines.append(f"  received: {self.received}")
        if self.hint:
            lines.append(f"  try: {self.hint}")
        return "\n".join(lines)

    def at(self, where: str) -> NeocogError:
        """The same error with its place filled in by a caller that knows it."""
        return type(self)(self.rule, where=where, excerpt=self.excerpt, received=self.received, hint=self.hint)


def clipped(text: str, most: int = 400) -> str:
    """The text, cut where it is longer than anyone reads: what it quotes may come from an attacker."""
    return text if len(text) <= most else f"{text[:most]}... ({len(text):,} characters)"


def escaped(name: str | PathLike[str]) -> str:
    r"""A file's name as it can be shown: line breaks, control characters, bytes that are no UTF-8 and marks that turn
    the direction of text are written as \n, \x1b, \xff and \u202e.
    """
    return "".join(_written(character) if _unfit(character) else character for character in fspath(name))


def _unfit(character: str) -> bool:
    turns = unicodedata.bidirectional(character) in ("LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI")
    return turns or unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp")


def _written(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that is no UTF-8, as Python holds it in a name
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


class SpellingError(NeocogError):
    """A layer's hyper-parameters are misspelled or impossible; the notation adds the place."""


class NotationError(NeocogError):
    """A network's text is not in the notation; the message shows the line with a caret under the mistake."""


class ShapeError(NeocogError):
    """A layer cannot take the volume it is given."""


class DataError(NeocogError):
    """A data set or an image cannot be used."""


class ModelFileError(NeocogError):
    """A model file is damaged, foreign or does not fit its own network."""


class RewriteError(NeocogError):
    """A network cannot be changed as was asked for, or would not compute what it must."""


class RunError(NeocogError):
    """Work that was asked for correctly could not be finished."""

    exit_code = 1
