"""Sentences in English and in Chinese, and how lines of either are broken."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LANGUAGES = ("en", "zh")
_UNIT = re.compile(r"[（“]*(?:[^\s（“\u2e80-\uffef]+|[\u2e80-\uffef])[，。；：、）”]*\s*|\S\s*")
"""What stays on one line: a word or a Chinese character, and its punctuation."""


@dataclass(frozen=True)
class Text:
    """A sentence in English and in Chinese."""

    en: str
    zh: str

    def filled(self, *values: Any) -> Text:
        """The sentence with numbers, or other texts, where `{0}`, `{1}`, ... stand, as `str.format` has it."""

        def filled(language: str) -> str:
            own = (value.said(language) if isinstance(value, Text) else value for value in values)
            return self.said(language).format(*own)

        return Text(*map(filled, LANGUAGES))

    def said(self, language: str) -> str:
        """The sentence in one of `LANGUAGES`."""
        return self.zh if language == "zh" else self.en


Words = Text | str
"""A plain string is the same in every language: a name, a number, a formula."""


def count_of(number: int, noun: str) -> str:
    """`1 network`, `2 networks`, `1,024 classes`."""
    ending = "" if number == 1 else "es" if noun.endswith(("s", "x", "sh", "nch", "tch")) else "s"
    return f"{number:,} {noun}{ending}"


def counted(number: int, noun: str, zh: str) -> Text:
    """`count_of` in both languages; the Chinese has `{0}` where the number stands."""
    return Text(count_of(number, noun), zh.format(number))


def said(words: Words, language: str) -> str:
    """The words in one of `LANGUAGES`."""
    return words.said(language) if isinstance(words, Text) else words


def joined(*parts: Words, between: str = "") -> Text:
    """The parts as one text."""
    return Text(*(between.join(said(part, language) for part in parts) for language in LANGUAGES))


def broken(text: str, fits: Callable[[str], bool], hang: int = 0) -> list[str]:
    """Lines that fit: broken between words, or Chinese characters, which take their punctuation along.

    A word alone on a line may be too long. All lines but the first begin with so many blanks as `hang` says.
    """
    lines = [""]
    for unit in _UNIT.findall(text):
        if lines[-1].strip() and not fits(lines[-1] + unit.rstrip()):
            lines.append(" " * hang)
        lines[-1] += unit
    return [line.rstrip() for line in lines]
