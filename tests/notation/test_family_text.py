"""Families: a text with several values for its variables."""

import pytest

from neocog import Network, NotationError
from neocog.notation import Family
from neocog.notation import family as family_module

PATTERN = "INPUT[8x8x1] -> [[CONV3-w -> RELU]*N -> POOL2?p]*M -> FC3"


def test_members_are_all_choices_the_last_variable_fastest():
    family = Family.parse(PATTERN, N=range(1, 3), M=1, p=(0, 1), w=4)
    chosen = [member.variables for member in family]
    assert chosen == [{"N": n, "M": 1, "p": p, "w": 4} for n in (1, 2) for p in (0, 1)]
    assert len(family) == 4
    assert [str(member.network) for member in family] == [str(Network.parse(PATTERN, **one)) for one in chosen]


def test_a_family_may_be_walked_again_and_is_equal_to_its_like():
    family = Family.parse(PATTERN, N=(1, 2), M=(1,), p=1, w=2)
    assert [*family] == [*family]
    assert family == Family.parse(PATTERN, N=range(1, 3), M=1, p=[1], w=2)


def test_the_text_is_parsed_once_however_many_members_there_are(monkeypatch):
    parsed = []
    parse = family_module.parse_source
    monkeypatch.setattr(family_module, "parse_source", lambda text: parsed.append(text) or parse(text))
    networks = [member.network for member in Family.parse(PATTERN, N=range(3), M=range(1, 3), p=1, w=(2, 4))]
    assert (len(networks), parsed) == (12, [PATTERN])


def test_values_given_twice_count_once():
    assert len(Family.parse(PATTERN, N=(2, 1, 2), M=1, p=1, w=1)) == 2


def test_a_family_that_is_too_large_is_refused_before_any_of_it_exists():
    with pytest.raises(NotationError) as caught:
        Family.parse(PATTERN, N=range(10**9), M=range(10**9), p=1, w=1)
    assert str(caught.value) == (
        "a family has at most 10,000 members\n"
        "  received: 1,000,000,000,000,000,000: 1,000,000,000 of N x 1,000,000,000 of M x 1 of p x 1 of w\n"
        "  try: fewer values of some variable"
    )
    assert len(Family.parse(PATTERN, N=range(10), M=range(10), p=1, w=range(1, 101))) == 10_000


def test_a_variable_without_a_value_is_refused():
    with pytest.raises(NotationError, match="variable N needs at least one value"):
        Family.parse(PATTERN, N=range(3, 1))


def test_a_text_that_is_not_in_the_notation_has_no_family():
    with pytest.raises(NotationError, match="layers are joined by `->`"):
        Family.parse("INPUT[8x8x1] RELU", N=(1, 2))


def test_a_member_that_the_text_does_not_allow_is_refused_when_its_network_is_asked_for():
    one, two = Family.parse("INPUT[8x8x1] -> RELU?p", p=(1, 2))
    assert str(one.network) == "INPUT[8x8x1] -> RELU"
    with pytest.raises(NotationError, match=r"\?p is 1 \(present\) or 0 \(absent\)"):
        _ = two.network
