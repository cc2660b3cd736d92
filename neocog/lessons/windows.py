"""Stride, padding and dilation: how many windows there are, and when they do not fit."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

from PIL import Image, ImageDraw

from ..errors import NeocogError, ShapeError
from ..network import Network
from ..wording import Text
from .drawing import ALARM, INK, LINES, PAPER, RULE, SOFT, Panel, font, sheet
from .lesson import Claim, Lesson, Question, Table, Taught

TITLE = Text("Stride, padding, dilation: how many windows fit", "步长、零填充、扩张：放得下几个窗口")
RULE_TEXT = Text(
    "On W values with P zeros at each end, a kernel of F values, D apart, reaches over E = D(F - 1) + 1 and moves by "
    "S: there are (W - E + 2P)/S + 1 windows. Where this is no whole number the windows do not tile the input, and "
    "the network is refused.",
    "W 个值，两端各补 P 个零；卷积核有 F 个值，间隔为 D，覆盖 E = D(F - 1) + 1；每次移动步长 S："
    "窗口数为 (W - E + 2P)/S + 1。若不是整数，窗口就铺不满输入，网络会被拒绝。",
)
HEADER = (
    Text("W F P D S", "W F P D S"),
    Text("(W - E + 2P)/S + 1", "(W - E + 2P)/S + 1"),
    Text("windows", "窗口数"),
    Text("try", "可以改为"),
)
NONE = Text("does not fit", "铺不满")
AGREES = Text(
    "the formula and the CONV layer agree on all {0} cases, of which {1} fit",
    "公式与 CONV 层在全部 {0} 种情形下一致，其中 {1} 种铺得满",
)
NOTES = Text(
    "W=5 F=3 P=1: S=1 gives 5 windows, S=2 gives 3, S=3 does not fit (4/3); W=10 F=3 P=0 S=2 gives 4.5: invalid",
    "W=5 F=3 P=1：S=1 得 5 个窗口，S=2 得 3 个，S=3 铺不满 (4/3)；W=10 F=3 P=0 S=2 得 4.5：无效",
)
LETTERS = {"W": 5, "F": 3, "P": 1, "D": 1}
STRIDES = (1, 2, 3, 4)
MOST = 64
"""So many values, padding included, are drawn at most."""
SIDE, BAR = 26, 9


class Case(NamedTuple):
    """Sizes by their letter."""

    w: int
    f: int
    p: int
    d: int
    s: int

    @property
    def extent(self) -> int:
        """What a dilated kernel reaches over: D(F - 1) + 1 (fact C9)."""
        return self.d * (self.f - 1) + 1

    @property
    def windows(self) -> Fraction:
        """(W - E + 2P)/S + 1."""
        return Fraction(self.w - self.extent + 2 * self.p, self.s) + 1

    @property
    def fits(self) -> bool:
        """Whether there are windows, and they end where the padded input does."""
        return self.windows.denominator == 1 and self.windows >= 1

    @property
    def layer(self) -> str:
        """The network of one such layer."""
        return f"INPUT[{self.w}x1] -> CONV{self.f}-1(S={self.s}, P={self.p}, D={self.d})"


def teach(question: Question) -> Taught:
    """The sizes that were asked for, at one stride or at several."""
    asked = _cases(question)
    noted = [Case(5, 3, 1, 1, s) for s in (1, 2, 3)] + [Case(10, 3, 0, 1, 2), Case(7, 3, 0, 1, 3)]
    all_cases = {*asked, *noted, *(Case(w, f, p, d, s) for w in range(3, 9) for f in (2, 3) for p in (0, 1)
                                   for d in (1, 2) for s in (1, 2, 3))}  # fmt: skip
    agreeing = [_said_by_layer(case)[0] == (int(case.windows) if case.fits else None) for case in all_cases]
    expected = [Fraction(5), Fraction(3), Fraction(4, 3) + 1, Fraction(9, 2), Fraction(4, 3) + 1]
    return Taught(
        blocks=(RULE_TEXT, Table(HEADER, tuple(map(_row, asked)), prose=3)),
        claims=(
            Claim(AGREES.filled(len(all_cases), sum(case.fits for case in all_cases)), all(agreeing)),
            Claim(NOTES, [case.windows for case in noted] == expected),
        ),
        numbers={"cases": [_plain(case) for case in asked]},
        picture=sheet(
            TITLE,
            [[Panel(f"{_letters(case)}:  {_number(case.windows)}", _drawn(case))] for case in asked],
        ),
    )


def _cases(question: Question) -> Sequence[Case]:
    """Raises NeocogError for sizes that make no sense or are too many to draw."""
    sizes = {**LETTERS, **{letter: n for letter, n in question.sizes.items() if letter != "S"}}
    strides = (question.sizes["S"],) if "S" in question.sizes else STRIDES
    cases = [Case(sizes["W"], sizes["F"], sizes["P"], sizes["D"], s) for s in strides]
    received = _letters(cases[0])
    if min(sizes["W"], sizes["F"], sizes["D"], *strides) < 1:
        raise NeocogError("W, F, D and S are whole numbers from 1", received=received)
    if max(sizes["W"] + 2 * sizes["P"], *strides) > MOST:
        raise NeocogError(f"W + 2P and S are at most {MOST}, so that they can be drawn", received=received)
    if cases[0].extent > sizes["W"] + 2 * sizes["P"]:
        raise NeocogError(
            "the kernel reaches over more than the padded input: E = D(F - 1) + 1 is at most W + 2P",
            received=f"{received}, so E={cases[0].extent}",
        )
    return cases


def _said_by_layer(case: Case) -> tuple[int | None, str]:
    """How many windows the CONV layer has, or None and what it proposes instead."""
    try:
        return Network.parse(case.layer).shapes[-1].spatial[0], ""
    except ShapeError as error:
        return None, error.hint


def _row(case: Case) -> tuple[str | Text, ...]:
    windows, hint = _said_by_layer(case)
    sum_ = f"({case.w} - {case.extent} + {2 * case.p})/{case.s} + 1 = {_number(case.windows)}"
    return _letters(case), sum_, NONE if windows is None else str(windows), _fixes(hint)


def _fixes(hint: str) -> Text:
    """What the layer's refusal proposes."""
    fixes = hint.partition(" (")[0]
    return Text(fixes, fixes.replace("an input of", "输入").replace(" or ", " 或 "))


def _letters(case: Case) -> str:
    return f"W={case.w} F={case.f} P={case.p} D={case.d} S={case.s}"


def _number(value: Fraction) -> str:
    return str(value.numerator) if value.denominator == 1 else f"{float(value):.4g}"


def _plain(case: Case) -> dict[str, object]:
    windows, hint = _said_by_layer(case)
    sizes = {letter.upper(): n for letter, n in case._asdict().items()}
    return {**sizes, "extent": case.extent, "quotient": float(case.windows), "windows": windows, "hint": hint}


def _drawn(case: Case) -> Image.Image:
    """The padded input, zeros in grey, and under it a bar for each window; one that hangs over the end is marked."""
    padded = case.w + 2 * case.p
    count = int(case.windows)
    over = not case.fits
    columns = max(padded, (count + over - 1) * case.s + case.extent)
    image = Image.new("RGB", (columns * SIDE + 1, SIDE + 8 + (count + over) * (BAR + 5)), PAPER)
    pen = ImageDraw.Draw(image)
    for k in range(padded):
        zero = not case.p <= k < case.p + case.w
        pen.rectangle((k * SIDE, 0, (k + 1) * SIDE, SIDE), RULE if zero else "#d7e6f5", SOFT)
        label = "0" if zero else str(k - case.p + 1)
        pen.text(((k + 0.5) * SIDE, SIDE / 2), label, SOFT if zero else INK, font(0.8), "mm")
    for n in range(count + over):
        top, hangs = SIDE + 8 + n * (BAR + 5), n >= count
        pen.line(
            [((n * case.s + 0.5) * SIDE, top + BAR / 2), ((n * case.s + case.extent - 0.5) * SIDE, top + BAR / 2)],
            RULE,
            2,
        )
        for tap in range(case.f):
            left = (n * case.s + tap * case.d) * SIDE + 2
            box = (left, top, left + SIDE - 4, top + BAR)
            pen.rectangle(box, None if hangs else LINES[0], ALARM if hangs else LINES[0], 2)
    return image


LESSON = Lesson("windows", TITLE, ("C2", "C3", "C9"), teach, frozenset({"sizes"}))
