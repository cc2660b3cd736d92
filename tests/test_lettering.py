"""Pictures are lettered by a font that has the letters, whatever language the classes' names are in."""

from __future__ import annotations

import pytest

from neocog import lettering
from neocog.lettering import NOBODYS, PILLOWS, SYSTEMS, font, legible
from neocog.wording import Text, broken


@pytest.fixture
def bare(monkeypatch):
    """A system without fonts."""
    monkeypatch.setattr(lettering, "SYSTEMS", ("no-such-font.ttf",))
    lettering._with.cache_clear()
    yield
    lettering._with.cache_clear()


def drawn(text):
    """Whether each character is drawn as itself."""
    found = font(20, text)
    return all(bytes(found.getmask(one)) != bytes(found.getmask(NOBODYS)) for one in text)


def test_english_is_pillows_own_font():
    assert font(20, "cat 0.93 [a-z]").getname() == font(20).getname()
    assert drawn("cat_0.93")


@pytest.mark.parametrize("text", ["Löwe", "été", "猫", "кот", "γάτα"])
def test_other_letters_are_drawn_where_a_font_has_them(text):
    there = any(all(lettering._has(name, one) for one in text) for name in (PILLOWS, *SYSTEMS))
    assert drawn(text) == there


@pytest.mark.usefixtures("bare")
def test_a_system_without_fonts_gets_pillows():
    assert font(20, "Löwe").getname() == font(20).getname()


def test_spaces_and_what_no_font_has_do_not_choose():
    assert font(20, "a\u00a0b").getname() == font(20, NOBODYS).getname() == font(20).getname()


@pytest.mark.usefixtures("bare")
def test_what_no_font_can_write_is_said_in_english():
    assert legible(Text("a map", "特征图"), "zh") == "a map"
    assert legible(Text("a map", "Map"), "zh") == "Map"
    assert legible("猫", "zh") == "猫", "a name has no other language"


def test_what_a_font_can_write_is_said_in_the_language():
    there = any(all(lettering._has(name, one) for one in "特征图") for name in (PILLOWS, *SYSTEMS))
    assert legible(Text("a map", "特征图"), "zh") == ("特征图" if there else "a map")
    assert legible(Text("a map", "特征图"), "en") == "a map"


def test_lines_are_broken_between_words_and_between_chinese_characters():
    assert broken("one two three", lambda line: len(line) <= 7) == ["one two", "three"]
    assert broken("卷积核，翻转（两次）", lambda line: len(line) <= 4) == ["卷积核，", "翻转（两", "次）"]
    assert broken("a bc", lambda line: len(line) <= 2, hang=1) == ["a", " bc"]
    assert "".join(broken("（ “x” 。 ", lambda line: False)).replace(" ", "") == "（“x”。"
