from __future__ import annotations

from neocog.finding import Finding


def found(*places):
    return Finding("duplicate", "the same image again", "keep one of each", places)


def test_of_many_places_and_names_the_first_are_shown_and_the_rest_counted():
    assert found(("a.png", "b.png")).where() == "a.png = b.png"
    many = tuple(f"{k}.png" for k in range(9))
    assert found(many).where() == "0.png = 1.png = 2.png = 3.png = 4.png = 5.png = 3 more"
    assert found(("a",), ("b",), ("c",), ("d",), ("e",)).where() == "a, b, c and 2 more"
    assert found(many).as_dict()["places"] == [list(many)]
