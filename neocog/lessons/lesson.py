"""The contract of a lesson: what the notes claim, what was measured, and whether the one follows from the other.

A lesson is one file: its texts in English and Chinese, and `teach`, which computes everything that it says with the
product's own pieces. The same question gives the same numbers, and the same picture in the same language.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..wording import Text, Words

Picture = Callable[[str], bytes]
"""A PNG file, in a language."""


@dataclass(frozen=True)
class Table:
    """Numbers in rows under a header; the first column is words.

    Columns by their place: `optional` ones are left out where a screen is narrow, `prose` is sentences.
    """

    header: tuple[Text, ...]
    rows: tuple[tuple[Words, ...], ...]
    optional: tuple[int, ...] = ()
    prose: int | None = None


@dataclass(frozen=True)
class Figures:
    """Lines of formulas and numbers, the same in every language."""

    lines: tuple[str, ...]


Block = Text | Table | Figures


@dataclass(frozen=True)
class Claim:
    """What the notes say, with the numbers that were measured, and whether these bear it out."""

    text: Text
    holds: bool


@dataclass(frozen=True, eq=False)
class Taught:
    """What a lesson has to say: blocks to read in order, claims, the numbers as plain values, and a picture."""

    blocks: tuple[Block, ...]
    claims: tuple[Claim, ...]
    numbers: Mapping[str, Any]
    picture: Picture


@dataclass(frozen=True)
class Question:
    """What a lesson may be asked: a seed, how many steps to train, a photo, and sizes by their letter (W, F, S, P, D).

    None and absent letters are the lesson's own choice.
    """

    seed: int = 0
    steps: int | None = None
    photo: Path | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Lesson:
    """One lesson. `facts` are the numbers of what it proves; `takes` what of a question it listens to beside the seed:
    "steps", "photo", "sizes".

    `teach` raises NeocogError for what cannot be asked.
    """

    name: str
    title: Text
    facts: tuple[str, ...]
    teach: Callable[[Question], Taught]
    takes: frozenset[str] = frozenset()
