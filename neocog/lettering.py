"""The font of pictures: Pillow's own, which knows English, and a system's for what else stands in names of classes."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from PIL.ImageFont import FreeTypeFont

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
    name = None if text.isascii() else _having("".join(sorted(set(text))))
    return _made(name, size)


@cache
def _made(name: str | None, size: float) -> FreeTypeFont:
    """A system's font; None is Pillow's. Raises OSError where there is none of that name."""
    from PIL import ImageFont

    return cast("FreeTypeFont", ImageFont.load_default(size)) if name is None else ImageFont.truetype(name, size)


@cache
def _having(characters: str) -> str | None:
    """The first font that has them all."""
    return next((name for name in (None, *SYSTEMS) if all(_has(name, one) for one in characters)), None)


@cache
def _has(name: str | None, character: str) -> bool:
    try:
        found = _made(name, PROBE)
    except OSError:
        return False
    return character.isspace() or bytes(found.getmask(character)) != bytes(found.getmask(NOBODYS))
