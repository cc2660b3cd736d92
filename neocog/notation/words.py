"""What a word of the text means: a layer with its numbers, and what was probably meant when it is none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache

from ..layers import BY_OP
from ..spelling import pattern, places

ELSEWHERE = {"linear": "FC", "dense": "FC", "swish": "SILU"}
"""What other libraries call layers, where neither our word nor the name of our class is near."""


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
    known = _spoken() | {d.lower(): d for d in definitions}
    near = get_close_matches(name.lower(), known, n=1, cutoff=0.51)
    if not near:
        return f"a layer ({', '.join(sorted(BY_OP))}) or the name of a definition"
    meant = known[near[0]]
    if split_word(meant + rest):
        return meant + rest
    return pattern(meant, places(BY_OP[meant])) if meant in BY_OP else meant


def _spoken() -> dict[str, str]:
    """The layers' words by what people say: `bn` and `batchnorm` are BN."""
    return ELSEWHERE | {layer.__name__.lower(): op for op, layer in BY_OP.items()} | {op.lower(): op for op in BY_OP}
