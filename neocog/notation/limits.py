"""What a text may not exceed, checked in one linear pass before it is parsed.

A network of 20,000 layers is larger than any in print; beyond these limits a text is a mistake or an attack,
and is refused before it costs anything. Counts are plain numbers throughout: nothing is expanded to be measured.
"""

from __future__ import annotations

import re
import unicodedata
from typing import NoReturn

from ..errors import NotationError
from ..network import Span

TEXT_BYTES = 1_000_000
LAYERS = 20_000
STEPS = 3_000
MEMBERS = 10_000
DEPTH = 64
DIGITS = 9
WORD = 64
QUOTED = 50_000

LOOK_ALIKES = dict.fromkeys("→⟶➔➜➞⇒", "->") | dict(zip("×·−–—【】、“”„", 'xx---[],"""', strict=True))
"""What is typed, or pasted from print, in place of the notation's own marks; full-width forms need no entry."""

_MARK = re.compile(
    r'#[^\n]*|"[^"]*"|[\[(]|[\])]|(?<![0-9.])[0-9]{10,}|[A-Za-z_][A-Za-z0-9_]{64,}|[^\x00-\x7f]|[\x00-\x08\x0e-\x1f]'
)
_MOST = {"->": LAYERS, "[": LAYERS, "(": LAYERS, "|": LAYERS, "=": 2 * LAYERS, ",": LAYERS}


def check_limits(text: str) -> None:
    """Refuse a text that is too long, too deep, or holds what no notation can: raises NotationError."""
    if len(text) > TEXT_BYTES:
        raise NotationError(f"a text has at most {TEXT_BYTES:,} characters", received=f"{len(text):,} characters")
    for mark, most in _MOST.items():
        if (count := text.count(mark)) > most:
            raise NotationError(f"a text has at most {most:,} {mark!r}", received=f"{count:,}")
    _scan(text)


def _scan(text: str) -> None:
    depth = 0
    for match in _MARK.finditer(text):
        mark = match[0]
        if mark[0] == '"' and len(mark) > QUOTED:
            _refuse(text, match, f"a quoted value has at most {QUOTED:,} characters", f"{len(mark):,} characters")
        if mark[0] in '#"':
            continue
        if mark in "[(":
            depth += 1
            if depth > DEPTH:
                _refuse(text, match, f"brackets nest at most {DEPTH} deep", "")
        elif mark in "])":
            depth -= 1
        elif mark[0].isascii() and mark[0].isdigit():
            _refuse(text, match, f"a number has at most {DIGITS} digits", f"{len(mark)} digits")
        elif len(mark) > 1:
            _refuse(text, match, f"a word has at most {WORD} characters", f"{len(mark)} characters")
        else:
            _refuse(
                text,
                match,
                "the notation is written in plain ASCII (comments may hold anything)",
                ascii(mark),
                _plain(mark),
            )


def _plain(mark: str) -> str:
    """The ASCII that a character stands for, such as `(` for a full-width bracket; empty if there is none."""
    plain = unicodedata.normalize("NFKC", LOOK_ALIKES.get(mark, mark))
    return plain if plain.isascii() and plain.isprintable() and plain.strip() else ""


def _refuse(text: str, match: re.Match[str], rule: str, received: str, hint: str = "") -> NoReturn:
    line = text.count("\n", 0, match.start()) + 1
    column = match.start() - (text.rfind("\n", 0, match.start()) + 1) + 1
    raise located(text, Span(line, column, len(match[0])), rule, received, hint)


def located(text: str, at: Span, rule: str, received: str = "", hint: str = "") -> NotationError:
    """A NotationError that shows the line of the mistake with a caret under it."""
    return NotationError(rule, where=str(at), excerpt=_excerpt(text, at), received=received, hint=hint)


def _excerpt(text: str, at: Span, room: int = 96) -> str:
    """The line of a mistake, cut to what fits a terminal, and carets under the mistake."""
    line = text.split("\n", at.line)[at.line - 1]
    start = max(0, min(at.column - 1 - room // 3, len(line) - room))
    shown = line[start : start + room]
    printable = "".join(c if c.isprintable() else "?" for c in shown)
    before, after = "…" if start else "", "…" if start + room < len(line) else ""
    offset = at.column - 1 - start + len(before)
    carets = "^" * max(1, min(at.width, len(shown) - (at.column - 1 - start)))
    return f"    {before}{printable}{after}\n    {' ' * offset}{carets}"
