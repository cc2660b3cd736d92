r"""Changing training images a little, each time they are seen, so that the network does not learn them by heart.

| written            | what happens to an image                                                                 |
|--------------------|------------------------------------------------------------------------------------------|
| `shift=2`          | moved by -2 to 2 whole pixels on each axis                                               |
| `flip`             | mirrored, left and right exchanged, half of the times                                    |
| `flip=alternating` | mirrored in every other epoch, from the first or from the second on                      |
| `rotate=10`        | turned about its centre by -10 to 10 degrees                                             |
| `scale=0.1`        | enlarged about its centre by a factor from 0.9 to 1.1                                    |
| `slide=0.5`        | moved by -0.5 to 0.5 pixels on each axis, fractions of pixels included                   |
| `edge=reflect`     | what then stands behind its edges: itself, mirrored; or `mean`, the mean colour;         |
|                    | or `extend`, which it is otherwise: the edge goes on                                     |
| `contrast=0.2`     | distances from the mean colour are multiplied by a factor from 0.8 to 1.2                |
| `brightness=0.1`   | made lighter or darker by up to a tenth of the whole range                               |
| `erase=8`          | a square of 8 by 8 pixels, its centre anywhere, becomes the mean colour                  |
| `vary=2`           | two of `VARIED`, drawn for each image, with its largest amount in place of a smaller one |
| `mixup=0.2`        | blended with another training image, by a share of the distribution Beta(0.2, 0.2)       |
| `cutmix=1`         | a box of another one is put in, and its own share of the area is of Beta(1, 1)           |

Everything is drawn evenly, by `chance.uniform` with the words of (seed, epoch, STREAM): the image's number in the
training set is the image, the draw's number in `DRAWS` the position. So it is the same for any batch size, any engine
and any number of processes. Put together, moves are one move of the image, and `feed.py` says what that is;
`changes.py` has the rest. The other image of mixup and CutMix is drawn from all of the epoch, and is changed as it is
by itself; where both are asked for, each image gets one of them. `vary` is after Cubuk et al., "RandAugment", arXiv
1909.13719, with amounts that are drawn, as in Müller and Hutter, "TrivialAugment", arXiv 2103.10158. Alternating flips
are drawn by (seed, 0, STREAM): Jordan, arXiv 2404.00498, section 3.6.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ..chance import symmetric_beta, uniform, words
from ..changes import Boxes, Mix, Touches
from ..errors import NeocogError
from ..feed import EDGES, EXTENDED, ONE, Moves

NONE = "none"
STREAM = 1 << 31
"""In place of a layer's number, which never is so high."""
DRAWS = (
    *("down", "right", "flip", "rotate", "scale", "slide down", "slide right"),
    *("contrast", "brightness", "erase down", "erase right"),
    *("other", "share", "mix down", "mix right", "which"),
    *("vary rotate", "vary scale", "vary slide", "vary contrast", "vary brightness", "vary erase"),
)
MOVING, TOUCHING, MIXING, VARYING = DRAWS[:7], DRAWS[7:11], DRAWS[11:16], DRAWS[16:]
VARIED = {"rotate": 30.0, "scale": 0.4, "slide": 0.25, "contrast": 0.8, "brightness": 0.4, "erase": 0.4}
"""What `vary` draws from, and the most of each; `slide` and `erase` are shares of an image's shorter side."""
TORCH_ONLY = ("contrast", "brightness", "erase", "vary", "mixup", "cutmix")
FARTHEST = 64
NEVER, RANDOM, ALTERNATING = "never", "random", "alternating"

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class Augment:
    """How much is changed at most. Raises NeocogError for what makes no sense."""

    shift: int = 0
    flip: str = NEVER
    rotate: float = 0.0
    scale: float = 0.0
    slide: float = 0.0
    edge: str = EXTENDED
    contrast: float = 0.0
    brightness: float = 0.0
    erase: int = 0
    vary: int = 0
    mixup: float = 0.0
    cutmix: float = 0.0

    def __post_init__(self) -> None:
        rules = {
            "shift": (0 <= self.shift <= FARTHEST, f"a whole number of pixels from 0 to {FARTHEST}"),
            "rotate": (0 <= self.rotate <= 180, "degrees from 0 to 180"),
            "scale": (0 <= self.scale < 1, "a share of the size from 0 up to, not including, 1"),
            "slide": (0 <= self.slide <= FARTHEST, f"pixels from 0 to {FARTHEST}"),
            "flip": (self.flip in (NEVER, RANDOM, ALTERNATING), f"written alone, or is {ALTERNATING}"),
            "edge": (self.edge in EDGES, f"one of {', '.join(EDGES)}"),
            "contrast": (0 <= self.contrast <= 1, "a share from 0 to 1"),
            "brightness": (0 <= self.brightness <= 1, "a share of the range from 0 to 1"),
            "erase": (self.erase >= 0, "the side of a square in whole pixels"),
            "vary": (0 <= self.vary <= len(VARIED), f"how many changes of {', '.join(VARIED)}"),
            "mixup": (self.mixup == 0 or 0.01 <= self.mixup <= 100, "0, or from 0.01 to 100"),
            "cutmix": (self.cutmix == 0 or 0.01 <= self.cutmix <= 100, "0, or from 0.01 to 100"),
        }
        for name, (holds, rule) in rules.items():
            if not holds:
                raise NeocogError(f"{name} is {rule}", where="augment", received=f"{name}={getattr(self, name)}")

    @classmethod
    def parse(cls, text: str) -> Augment:
        """What a text such as `shift=2, flip, rotate=10` asks for; `none` is nothing."""
        given: dict[str, int | float | str] = {}
        for part in [] if text.strip() == NONE else text.split(","):
            name, value = _one(part.strip())
            if name in given:
                raise NeocogError(f"{name} is written twice", where="augment", received=text[:80])
            given[name] = value
        return cls(**given)  # type: ignore[arg-type]  # `_one` gives each name its kind

    @property
    def torch_only(self) -> str:
        """What of it is more than a move over extended edges, and so no engine but torch has; empty if nothing is."""
        parts = {"edge": self.edge != EXTENDED}
        parts |= {name: getattr(self, name) > 0 for name in TORCH_ONLY}
        return ", ".join(name for name, there in parts.items() if there)

    def moves(self, ids: NDArray[np.int64], seed: int, epoch: int, size: tuple[int, int]) -> Moves | None:
        """The move (N, 6) of each image by its number (N,), for images of a size (H, W); None where none is moved."""
        if (self.shift, self.flip, self.rotate, self.scale, self.slide, self.vary) == (0, NEVER, 0, 0, 0, 0):
            return None
        drawn = _drawn(MOVING, ids, seed, epoch)
        mirrored = drawn["flip"] >= 0.5
        if self.flip == ALTERNATING:
            mirrored = (_drawn(("flip",), ids, seed, 0)["flip"] >= 0.5) ^ (epoch % 2 == 1)
        return self._moves(drawn, self._most(ids, seed, epoch, size), mirrored & (self.flip != NEVER), size)

    def touches(self, ids: NDArray[np.int64], seed: int, epoch: int, size: tuple[int, int]) -> Touches | None:
        """What else happens to each image by its number (N,), for images of a size (H, W); None where nothing does."""
        drawn, most = _drawn(TOUCHING, ids, seed, epoch), self._most(ids, seed, epoch, size)
        colours = boxes = None
        if self.contrast or self.brightness or self.vary:
            gain = 256 * (1 + most["contrast"] * _evenly(drawn["contrast"]))
            light = 255 * most["brightness"] * _evenly(drawn["brightness"])
            colours = np.rint(np.stack([gain, light], axis=1)).astype(np.int32)
        if self.erase or self.vary:
            sides = np.tile(np.rint(most["erase"]).astype(np.int64), (2, 1))
            boxes = _boxes(sides, np.stack([drawn["erase down"], drawn["erase right"]]), size)
        return None if colours is None and boxes is None else Touches(colours, boxes)

    def mix(
        self, order: NDArray[np.int64], labels: NDArray[np.int64], seed: int, epoch: int, size: tuple[int, int]
    ) -> Mix | None:
        """What is mixed into each image of an epoch by its number, in this order (N,); None where nothing is.

        `labels` are those of the training images. Number n stands for image n % len(labels).
        """
        if not self.mixup and not self.cutmix:
            return None
        drawn = _drawn(MIXING, order, seed, epoch)
        others = order[np.floor(len(order) * drawn["other"]).astype(np.int64)]
        rows = others % len(labels)
        blended = (drawn["which"] < 0.5 if self.cutmix else np.bool_(True)) if self.mixup else np.bool_(False)
        shares = np.where(blended, *(symmetric_beta(drawn["share"], alpha or 1) for alpha in (self.mixup, self.cutmix)))
        sides = np.rint(np.sqrt(1 - shares) * np.array(size)[:, None]).astype(np.int64)
        cut = _boxes(sides, np.stack([drawn["mix down"], drawn["mix right"]]), size)
        boxes = np.where(np.reshape(blended, (-1, 1)), np.array([0, 0, *size], np.int32), cut)
        return Mix(
            rows,
            labels[rows],
            boxes,
            np.where(blended, shares, 0).astype(np.float32),
            self.moves(others, seed, epoch, size),
            self.touches(others, seed, epoch, size),
        )

    def _most(self, ids: NDArray[np.int64], seed: int, epoch: int, size: tuple[int, int]) -> dict[str, Numbers]:
        """The most that each image is changed by each kind of `VARIED` (N,)."""
        asked = {name: np.full(len(ids), float(getattr(self, name))) for name in VARIED}
        if not self.vary:
            return asked
        drawn = np.stack(list(_drawn(VARYING, ids, seed, epoch).values()))
        chosen = drawn.argsort(axis=0).argsort(axis=0) < self.vary
        varied = {name: most * (min(size) if name in ("slide", "erase") else 1) for name, most in VARIED.items()}
        return {
            name: np.where(now, np.maximum(asked[name], varied[name]), asked[name])
            for name, now in zip(VARIED, chosen, strict=True)
        }

    def _moves(
        self,
        drawn: Mapping[str, Numbers],
        most: Mapping[str, Numbers],
        mirrored: NDArray[np.bool_],
        size: tuple[int, int],
    ) -> Moves:
        """What stands at q is what stood at c + A (q - c - d), with c the centre and d the way it was moved."""
        angle = np.radians(most["rotate"] * _evenly(drawn["rotate"]))
        enlarged = 1 + most["scale"] * _evenly(drawn["scale"])
        sine, cosine = np.sin(angle) / enlarged, np.cos(angle) / enlarged
        mirror = np.where(mirrored, -1.0, 1.0)
        rows = ((cosine, -sine), (mirror * sine, mirror * cosine))  # of A, and the columns are those of (y, x)
        away = [
            np.floor((2 * self.shift + 1) * drawn[whole]) - self.shift + most["slide"] * _evenly(drawn[part])
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


def _drawn(names: tuple[str, ...], ids: NDArray[np.int64], seed: int, epoch: int) -> dict[str, Numbers]:
    """Even numbers (N,) for images by their numbers."""
    first, second = words(seed, epoch, STREAM)
    places = np.array([DRAWS.index(name) for name in names], np.uint32)
    return dict(zip(names, uniform(ids.astype(np.uint32), places, first, second).T, strict=True))


def _boxes(sides: NDArray[np.int64], drawn: Numbers, size: tuple[int, int]) -> Boxes:
    """Boxes (N, 4) of given sides (2, N), whose centres are drawn (2, N) from all pixels; cut off at the edges."""
    whole = np.array(size)[:, None]
    first = np.floor(drawn * whole).astype(np.int64) - sides // 2
    corners = np.clip([first, first + sides], 0, whole)
    boxes: Boxes = corners.reshape(4, -1).T.astype(np.int32)
    return boxes


def _one(part: str) -> tuple[str, int | float | str]:
    """The name and the value of `shift=2`, or of `flip`."""
    name, equals, value = (word.strip() for word in part.partition("="))
    kinds: dict[str, type] = {field.name: type(field.default) for field in fields(Augment)}
    if name not in kinds:
        forms = ", ".join(name if name == "flip" else f"{name}=..." for name in kinds)
        raise NeocogError(f"augment is {NONE}, or of {forms}", received=f"augment={part[:40]!r}")
    if kinds[name] is str:
        return name, value if equals else {"flip": RANDOM}.get(name, "")
    try:
        return name, (int if kinds[name] is int else float)(value)
    except ValueError:
        wanted = "a whole number" if kinds[name] is int else "a number"
        raise NeocogError(f"{name} is {wanted}", where="augment", received=part[:40], hint=f"{name}=1") from None
