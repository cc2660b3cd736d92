"""`neocog demo NAME`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import NeocogError
from .arguments import figure_file, whole_from
from .output import console, print_json, print_table, printable

if TYPE_CHECKING:
    from ..lessons import Block, Lesson, Question, Taught

EXAMPLES = """examples:
  neocog demo --list
  neocog demo backward                        the 3x3 * 2x2 example, term by term
  neocog demo windows -W 10 -F 3 -P 0 -S 2    does it fit?
  neocog demo filters photo.jpg -o edges.png
  neocog demo vanishing --lang zh"""
LETTERS = {
    "W": (1, "size of the input"),
    "F": (1, "size of the kernel"),
    "S": (1, "stride (default: 1 to 4)"),
    "P": (0, "zero padding at each end"),
    "D": (1, "dilation, 1 is dense"),
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The lesson's name, and what some lessons may be asked."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="a lesson")
    parser.add_argument("photo", metavar="PHOTO", nargs="?", type=Path, help="an image of your own, for filters")
    parser.add_argument("--list", action="store_true", help="list the lessons")
    parser.add_argument("--lang", choices=("en", "zh"), default="en", help="English or Chinese (default en)")
    parser.add_argument("-o", "--out", type=figure_file(".png"), metavar="PNG", help="the picture (default NAME.png)")
    parser.add_argument("--seed", type=whole_from(0), default=0, metavar="N", help="of what is drawn by chance")
    parser.add_argument("--steps", type=whole_from(1), metavar="N", help="how long to train, for lessons that do")
    for letter, (least, meaning) in LETTERS.items():
        parser.add_argument(f"-{letter}", type=whole_from(least), metavar="N", help=f"{meaning}, for windows")


def run(args: argparse.Namespace) -> int:
    """Teach, and write the picture. Exits with 1 when a claim is not borne out."""
    from ..lessons import LESSONS, lesson_of

    if args.list:
        return _list(LESSONS, args.lang, as_json=args.json)
    if args.name is None:
        raise NeocogError("a lesson is needed", hint="neocog demo --list")
    from ..files import write_atomically

    lesson = lesson_of(args.name)
    taught = lesson.teach(_question(args, lesson))
    target = args.out or Path(f"{lesson.name}.png")
    write_atomically(target, taught.picture)
    if args.json:
        print_json(_document(lesson, taught, args.lang, target))
    else:
        _print(lesson, taught, args.lang, target)
    return 0 if all(claim.holds for claim in taught.claims) else 1


def _question(args: argparse.Namespace, lesson: Lesson) -> Question:
    """Raises NeocogError for what the lesson does not listen to."""
    from ..lessons import Question

    sizes = {letter: getattr(args, letter) for letter in LETTERS if getattr(args, letter) is not None}
    asked = {"photo": args.photo, "steps": args.steps, "sizes": sizes}
    for what, given in asked.items():
        if given and what not in lesson.takes:
            shown = f"{lesson.name} with {'-' + next(iter(sizes)) if what == 'sizes' else what}"
            raise NeocogError("this lesson does not take that", received=shown, hint="neocog demo --help")
    return Question(args.seed, args.steps, args.photo, sizes)


def _document(lesson: Lesson, taught: Taught, language: str, target: Path) -> dict[str, object]:
    return {
        "lesson": lesson.name,
        "title": lesson.title.said(language),
        "facts": list(lesson.facts),
        "claims": [{"claim": claim.text.said(language), "holds": claim.holds} for claim in taught.claims],
        "numbers": dict(taught.numbers),
        "picture": str(target),
    }


def _print(lesson: Lesson, taught: Taught, language: str, target: Path) -> None:
    out = console()
    out.print(lesson.title.said(language), soft_wrap=True)
    for block in taught.blocks:
        out.print()
        _print_block(block, language)
    out.print()
    words = {"en": ("holds  ", "FAILS  ", "picture"), "zh": ("成立  ", "不成立", "图片  ")}[language]
    for claim in taught.claims:
        out.print(f"{words[0] if claim.holds else words[1]} {claim.text.said(language)}", soft_wrap=True)
    out.print(f"{words[2]} {printable(str(target))}", soft_wrap=True)


def _print_block(block: Block, language: str) -> None:
    from ..lessons import Figures, Table

    if isinstance(block, Table):
        header = [cell.said(language) for cell in block.header]
        rows = [[cell if isinstance(cell, str) else cell.said(language) for cell in row] for row in block.rows]
        print_table(console(), header, rows, text=header[:1])
    else:
        text = "\n".join(block.lines) if isinstance(block, Figures) else block.said(language)
        console().print(printable(text), soft_wrap=True)


def _list(lessons: tuple[Lesson, ...], language: str, *, as_json: bool) -> int:
    if as_json:
        entries = [
            {"lesson": lesson.name, "title": lesson.title.said(language), "facts": list(lesson.facts)}
            for lesson in lessons
        ]
        print_json({"lessons": entries})
    else:
        header = {"en": ("lesson", "what it shows"), "zh": ("课", "内容")}[language]
        rows = [(lesson.name, lesson.title.said(language)) for lesson in lessons]
        print_table(console(), header, rows, text=header[:1], prose=header[1])
    return 0
