"""What a word of the text means: a layer with its numbers, and what was probably meant when it is none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache

from ..layers import BY_OP


@cache
def _pattern() -> re.Pattern[str]:
    ops = "|".join(sorted(BY_OP, key=len, reverse=True))
    return re.compile(rf"({ops})([0-9]+(?:[xX][0-9]+)*)?(?:-([A-Za-z0-9_]+))?", re.IGNORECASE)


def split_word(word: str) -> tuple[str, str | None, str | None] | None:
    """`CONV3-64` -> `("CONV", "3", "64")`; None when the word is no layer."""
    match = _pattern().fullmatch(word)
    return (match[1].upper(), match[2], match[3]) if match else None


def suggestion(word: str, definitions: Iterable[str]) -> str:
    """What to type instead of a word that is no layer: the nearest known word with the same numbers."""
    letters = re.match(r"[A-Za-z_]*", word)
    name, rest = (letters[0], word[letters.end() :]) if letters else (word, "")
    known = {op.lower(): op for op in BY_OP} | {d.lower(): d for d in definitions}
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    if near and split_word(known[near[0]] + rest):
        return known[near[0]] + rest
    if near:
        return known[near[0]]
    return f"a layer ({', '.join(sorted(BY_OP))}) or the name of a definition"
