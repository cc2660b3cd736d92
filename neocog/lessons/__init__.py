"""Lessons: what the notes on convolutional networks claim, measured by running it. One lesson, one file.

    taught = lesson_of("backward").teach(Question())
    taught.claims, taught.numbers, taught.picture("en")        # PNG

`LESSONS` lists them; docs/lessons.md shows them.
"""

from __future__ import annotations

from difflib import get_close_matches

from ..errors import NeocogError
from ..wording import LANGUAGES as LANGUAGES
from ..wording import Text as Text
from . import (
    backward,
    batch_size,
    convolution,
    fc_as_conv,
    filters,
    im2col,
    initialisation,
    sharing,
    vanishing,
    windows,
)
from .lesson import Block as Block
from .lesson import Claim as Claim
from .lesson import Figures as Figures
from .lesson import Lesson as Lesson
from .lesson import Question as Question
from .lesson import Table as Table
from .lesson import Taught as Taught

LESSONS: tuple[Lesson, ...] = (
    convolution.LESSON,
    im2col.LESSON,
    windows.LESSON,
    filters.LESSON,
    backward.LESSON,
    vanishing.LESSON,
    initialisation.LESSON,
    batch_size.LESSON,
    sharing.LESSON,
    fc_as_conv.LESSON,
)
"""Every lesson there is, in the order to take them. A new one is one new file and one new line here."""

BY_NAME = {lesson.name: lesson for lesson in LESSONS}


def lesson_of(name: str) -> Lesson:
    """The lesson of that name. Raises NeocogError with the nearest names."""
    if name not in BY_NAME:
        near = get_close_matches(name, BY_NAME, n=1) or list(BY_NAME)
        raise NeocogError("there is no such lesson", received=name[:80], hint=", ".join(near))
    return BY_NAME[name]
