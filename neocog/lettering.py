"""The font of pictures: Pillow's own, which knows English, and a system's for Chinese and for names in any language."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, cast

from .wording import Words, said

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

PILLOWS = ""
"""In place of a file's name: the font that comes with Pillow."""
SYSTEMS = (
    *("DejaVuSans.ttf", "LiberationSans-Regular.ttf", "arial.ttf", "Arial Unicode.ttf"),
    *("NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "wqy-zenhei.ttc", "DroidSansFallbackFull.ttf"),
    *("PingFang.ttc", "STHeiti Light.ttc", "msyh.ttc", "simhei.ttf"),
)
"""Fonts that systems have, by file: for letters with accents, Greek and Cyrillic first, then Chinese."""
NOBODYS = "\U0010fffd"
"""A character that no font has: what a font draws in place of it, it draws for all that it lacks."""
PROBE = 16.0


def font(size: float, text: str = "") -> FreeTypeFont:
    """A font of that size in pixels which has the characters of a text; Pillow's own where none does."""
    return _made(_having(text) or PILLOWS, size)


def legible(words: Words, language: str) -> str:
    """The words in that language, or in English where no font here has its characters."""
    text = said(words, language)
    return said(words, "en") if _having(text) is None else text


def _having(text: str) -> str | None:
    """The first font that has all characters of a text. None where there is none."""
    return PILLOWS if text.isascii() else _with("".join(sorted(set(text))))


@cache
def _with(characters: str) -> str | None:
    return next((name for name in (PILLOWS, *SYSTEMS) if all(_has(name, one) for one in characters)), None)


@cache
def _made(name: str, size: float) -> FreeTypeFont:
    """A font of that size. Raises OSError where there is none of that name."""
    from PIL import ImageFont

    return cast("FreeTypeFont", ImageFont.load_default(size)) if name == PILLOWS else ImageFont.truetype(name, size)


@cache
def _has(name: str, character: str) -> bool:
    try:
        found = _made(name, PROBE)
    except OSError:
        return False
    return character.isspace() or bytes(found.getmask(character)) != bytes(found.getmask(NOBODYS))
