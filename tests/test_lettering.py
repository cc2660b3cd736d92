"""Pictures are lettered by a font that has the letters, whatever language the classes' names are in."""

from __future__ import annotations

import pytest

from neocog import lettering
from neocog.lettering import NOBODYS, SYSTEMS, font


@pytest.fixture
def bare(monkeypatch):
    """A system without fonts."""
    monkeypatch.setattr(lettering, "SYSTEMS", ("no-such-font.ttf",))
    lettering._having.cache_clear()
    yield
    lettering._having.cache_clear()


def drawn(text):
    """Whether each character is drawn as itself."""
    found = font(20, text)
    return all(bytes(found.getmask(one)) != bytes(found.getmask(NOBODYS)) for one in text)


def test_english_is_pillows_own_font():
    assert font(20, "cat 0.93 [a-z]").getname() == font(20).getname()
    assert drawn("cat_0.93")


@pytest.mark.parametrize("text", ["Löwe", "été", "猫", "кот", "γάτα"])
def test_other_letters_are_drawn_where_a_font_has_them(text):
    there = any(all(lettering._has(name, one) for one in text) for name in (None, *SYSTEMS))
    assert drawn(text) == there


@pytest.mark.usefixtures("bare")
def test_a_system_without_fonts_gets_pillows():
    assert font(20, "Löwe").getname() == font(20).getname()


def test_spaces_and_what_no_font_has_do_not_choose():
    assert font(20, "a\u00a0b").getname() == font(20, NOBODYS).getname() == font(20).getname()
