"""What a word of the text means: a layer with its numbers, and what was probably meant when it is none."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from functools import cache

from ..layers import BY_OP, Auxiliary, Input
from ..spelling import pattern, places

ELSEWHERE = {
    **{"linear": "FC", "dense": "FC", "swish": "SILU", "convtranspose": "DECONV"},
    **{"gmp": "SPP(1)", "globalmaxpool": "SPP(1)", "layernorm": "GROUPNORM(G=1)", "instancenorm": "GROUPNORM"},
}
"""What other libraries call layers, where neither our word nor the name of our class is near, or the wrong one is."""
WITH_SQUARE_BRACKETS = {
    Input.op: "INPUT[28x28x1]",
    **{op: f"{op}[ a | b ]" for op, known in BY_OP.items() if known.joins},
    Auxiliary.op: "AUX(0.3)[ a ]",
}
"""Words that hold a size or branches, and how they are written."""


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
    if meant in WITH_SQUARE_BRACKETS:
        return WITH_SQUARE_BRACKETS[meant]
    if meant not in BY_OP:
        return meant
    return meant + rest if _has_its_numbers(meant + rest) else pattern(meant, places(BY_OP[meant]))


def _has_its_numbers(word: str) -> bool:
    """Whether a word is a layer with just the numbers that belong there."""
    if (parts := split_word(word)) is None:
        return False
    op, *given = parts
    taken = {place.position for place, _ in places(BY_OP[op]).values()}
    return all((number is not None) == (where in taken) for where, number in zip(("head", "dash"), given, strict=True))


def _spoken() -> dict[str, str]:
    """The layers' words by what people say: `bn` and `batchnorm` are BN."""
    return ELSEWHERE | {layer.__name__.lower(): op for op, layer in BY_OP.items()} | {op.lower(): op for op in BY_OP}
