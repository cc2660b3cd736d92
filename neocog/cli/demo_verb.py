"""`neocog demo NAME`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import NeocogError
from ..wording import LANGUAGES, broken, said
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
WIDEST = 112
"""Columns that words take at most, however wide the screen is."""
WORDS = {"en": ("holds  ", "FAILS  ", "picture"), "zh": ("成立  ", "不成立", "图片  ")}
"""What stands before a claim that holds, before one that does not, and before the picture."""
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
    parser.add_argument("--lang", choices=LANGUAGES, default="en", help="English or Chinese (default en)")
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
    write_atomically(target, taught.picture(args.lang))
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
    from rich.cells import cell_len

    out = console()
    out.print(lesson.title.said(language), soft_wrap=True)
    for block in taught.blocks:
        out.print()
        _print_block(block, language)
    out.print()
    holds, fails, picture = WORDS[language]
    for claim in taught.claims:
        _print_words(f"{holds if claim.holds else fails} {claim.text.said(language)}", cell_len(holds) + 1)
    out.print(f"{picture} {printable(str(target))}", soft_wrap=True)


def _print_block(block: Block, language: str) -> None:
    from ..lessons import Figures, Table

    if isinstance(block, Table):
        header = [cell.said(language) for cell in block.header]
        rows = [[said(cell, language) for cell in row] for row in block.rows]
        optional = [header[column] for column in block.optional]
        prose = "" if block.prose is None else header[block.prose]
        print_table(console(), header, rows, text=header[:1], optional=optional, prose=prose)
    elif isinstance(block, Figures):
        console().print(printable("\n".join(block.lines)), soft_wrap=True)
    else:
        _print_words(block.said(language))


def _print_words(text: str, hang: int = 0) -> None:
    """Sentences, broken to lines; all but the first begin with so many blanks."""
    from rich.cells import cell_len

    out = console()
    for paragraph in printable(text).splitlines():
        for line in broken(paragraph, lambda line: cell_len(line) <= min(out.width, WIDEST), hang):
            out.print(line, soft_wrap=True)


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
