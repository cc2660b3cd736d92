r"""Changing training images a little, each time they are seen, so that the network does not learn them by heart.

| written    | what happens to an image                                                          |
|------------|-----------------------------------------------------------------------------------|
| `shift=2`  | moved by -2 to 2 whole pixels on each axis                                        |
| `flip`     | mirrored, left and right exchanged, half of the times                             |
| `rotate=10`| turned about its centre by -10 to 10 degrees                                      |
| `scale=0.1`| enlarged about its centre by a factor from 0.9 to 1.1                             |
| `slide=0.5`| moved by -0.5 to 0.5 pixels on each axis, fractions of pixels included            |

Everything is drawn evenly, by `chance.uniform` with the words of (seed, epoch, STREAM): the image's number in the
training set is the image, the draw's number in `DRAWS` the position. So it is the same for any batch size, any engine
and any number of processes. Put together it is one move of the image, and `feed.py` says what that is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ..chance import uniform, words
from ..errors import NeocogError
from ..feed import ONE, Moves

NONE = "none"
STREAM = 1 << 31
"""In place of a layer's number, which never is so high."""
DRAWS = ("down", "right", "flip", "rotate", "scale", "slide down", "slide right")
FARTHEST = 64

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Augment:
    """How much is changed at most. Raises NeocogError for what makes no sense."""

    shift: int = 0
    flip: bool = False
    rotate: float = 0.0
    scale: float = 0.0
    slide: float = 0.0

    def __post_init__(self) -> None:
        rules = {
            "shift": (0 <= self.shift <= FARTHEST, f"a whole number of pixels from 0 to {FARTHEST}"),
            "rotate": (0 <= self.rotate <= 180, "degrees from 0 to 180"),
            "scale": (0 <= self.scale < 1, "a share of the size from 0 up to, not including, 1"),
            "slide": (0 <= self.slide <= FARTHEST, f"pixels from 0 to {FARTHEST}"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise NeocogError(f"{name} is {rule}", where="augment", received=f"{name}={getattr(self, name)}")

    @classmethod
    def parse(cls, text: str) -> Augment:
        """What a text such as `shift=2, flip, rotate=10` asks for; `none` is nothing."""
        given: dict[str, int | float | bool] = {}
        for part in [] if text.strip() == NONE else text.split(","):
            name, value = _one(part.strip())
            if name in given:
                raise NeocogError(f"{name} is written twice", where="augment", received=text[:80])
            given[name] = value
        return cls(**given)  # type: ignore[arg-type]  # `_one` gives each name its kind

    @property
    def changes(self) -> bool:
        """Whether anything happens at all."""
        return self != Augment()

    def moves(self, ids: NDArray[np.int64], seed: int, epoch: int, size: tuple[int, int]) -> Moves:
        """The move (N, 6) of each image by its number (N,), for images of a size (H, W)."""
        first, second = words(seed, epoch, STREAM)
        drawn = uniform(ids.astype(np.uint32), np.arange(len(DRAWS), dtype=np.uint32), first, second)
        return self._moves(dict(zip(DRAWS, drawn.T, strict=True)), size)

    def _moves(self, drawn: Mapping[str, Numbers], size: tuple[int, int]) -> Moves:
        """What stands at q is what stood at c + A (q - c - d), with c the centre and d the way it was moved."""
        angle = np.radians(self.rotate * _evenly(drawn["rotate"]))
        enlarged = 1 + self.scale * _evenly(drawn["scale"])
        sine, cosine = np.sin(angle) / enlarged, np.cos(angle) / enlarged
        mirror = np.where(self.flip & (drawn["flip"] >= 0.5), -1.0, 1.0)
        rows = ((cosine, -sine), (mirror * sine, mirror * cosine))  # of A, and the columns are those of (y, x)
        away = [
            np.floor((2 * self.shift + 1) * drawn[whole]) - self.shift + self.slide * _evenly(drawn[part])
            for whole, part in (("down", "slide down"), ("right", "slide right"))
        ]
        centre = [(n - 1) / 2 for n in size]
        found = []
        for middle, row in zip(centre, rows, strict=True):
            start = middle - sum(a * (c + d) for a, c, d in zip(row, centre, away, strict=True))
            found += [start, *row]
        moves: Moves = np.rint(np.stack(found, axis=1) * ONE).astype(np.int32)
        return moves


def _evenly(u: Numbers) -> Numbers:
    """From -1 to 1."""
    return 2 * u - 1


def _one(part: str) -> tuple[str, int | float | bool]:
    """The name and the value of `shift=2`, or of `flip`."""
    name, equals, value = (word.strip() for word in part.partition("="))
    kinds: dict[str, type] = {field.name: type(field.default) for field in fields(Augment)}
    forms = ", ".join(name if kind is bool else f"{name}=..." for name, kind in kinds.items())
    if name not in kinds:
        raise NeocogError(f"augment is {NONE}, or of {forms}", received=f"augment={part[:40]!r}")
    if kinds[name] is bool:
        if equals:
            raise NeocogError(f"{name} stands alone", where="augment", received=part[:40], hint=name)
        return name, True
    try:
        return name, (int if kinds[name] is int else float)(value)
    except ValueError:
        wanted = "a whole number" if kinds[name] is int else "a number"
        raise NeocogError(f"{name} is {wanted}", where="augment", received=part[:40], hint=f"{name}=1") from None
