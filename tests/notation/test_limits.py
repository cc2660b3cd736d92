"""Hostile texts are refused by arithmetic: quickly, in little memory, with a message (reliability: N1, N2)."""

import random
import tracemalloc

import pytest

from neocog import NeocogError, Network, ShapeError
from neocog.zoo import names
from neocog.zoo import text as text_of

DOUBLING = "def d0 = RELU -> RELU\n" + "".join(f"def d{i} = d{i - 1} -> d{i - 1}\n" for i in range(1, 60))
VALUES, SWAPPED, TURNED = "a, b, c, d, e, f, g, h", "b, a, c, d, e, f, g, h", "b, c, d, e, f, g, h, a"
IN_EVERY_ORDER = f"def d0({VALUES}) = CONV3-a\n" + "".join(
    f"def d{i}({VALUES}) = d{i - 1}({SWAPPED}) -> d{i - 1}({TURNED})\n" for i in range(1, 30)
)
LONG = "def a(k) = " + " -> ".join(["CONV3-k"] * 500) + "\n"
CHAIN = "def c0 = RELU\n" + "".join(f"def c{i} = c{i - 1}\n" for i in range(1, 100))

HOSTILE = {
    "nested repeats": "INPUT[8x8x1] -> [[RELU]*999999]*999999",
    "eight nested repeats": "INPUT[8x8x1] -> " + "[" * 8 + "RELU" + "]*999999999" * 8,
    "one repeat too many": "INPUT[8x8x1] -> [RELU]*20000",
    "definitions that double": DOUBLING + "INPUT[8x8x1] -> d59",
    "arguments in every order": IN_EVERY_ORDER + "INPUT[8x8x1] -> d29(1, 2, 3, 4, 5, 6, 7, 8)",
    "many calls of a long definition": LONG + "INPUT[8x8x1]" + "".join(f" -> a({k})" for k in range(1, 200)),
    "repeats that are left out": "N=0 INPUT[8x8x1] -> [[[RELU]*99999]*99999]*N",
    "repeats that are switched off": "p=0 INPUT[8x8x1] -> [[RELU]*99999]*99999?p",
    "a chain of definitions": CHAIN + "INPUT[8x8x1] -> c99",
    "open brackets": "[" * 100_000,
    "deep brackets": "INPUT[8x8x1] -> " + "[" * 65 + "RELU" + "]" * 65,
    "deep branches": "INPUT[8x8x1] -> " + "ADD[ID | " * 70 + "RELU" + "]" * 70,
    "ten megabytes": "INPUT[8x8x1]" + " -> RELU" * 1_250_000,
    "one megabyte of blanks": "INPUT[8x8x1] -> RELU" + " " * 1_000_000,
    "arrows": "INPUT[8x8x1]" + " -> RELU" * 20_001,
    "bars": "INPUT[8x8x1] -> ADD[" + "ID|" * 30_000 + "ID]",
    "settings": "fit=floor " * 90_000,
    "an endless number": "INPUT[8x8x1] -> FC" + "9" * 900_000,
    "a ten-digit number": "INPUT[8x8x1] -> FC1234567890",
    "a long word": "INPUT[8x8x1] -> " + "A" * 900_000,
    "unicode digits": "INPUT[٢٨x٢٨x١] -> RELU",
    "full-width letters": "INPUT[8x8x1] -> ＲＥＬＵ",
    "a zero byte": "INPUT[8x8x1] -> RELU\x00",
    "zero repeats": "INPUT[8x8x1] -> [RELU]*0",
    "negative repeats": "INPUT[8x8x1] -> [RELU]*-1",
    "a repeat of a repeat": "INPUT[8x8x1] -> [RELU]*9*9",
    "nothing": "",
    "only brackets": "[]" * 10_000,
    "commas": "INPUT[8x8x1] -> CONV3-4(" + "1," * 70_000 + "1)",
    "quotes": 'INPUT[8x8x1] -> CONV3-4(TABLE="' + "0 " * 100_000,
    "a huge table": 'INPUT[8x8x1] -> CONV3-1(TABLE="' + " ".join(map(str, range(100_000))) + '")',
    "endless growth": "INPUT[8x8x1] -> [UPSAMPLE999999999]*1000",
    "endless strides": "INPUT[1x1x1] -> [CONV1-1(S=999999999)]*1000",
    "a window that weighs gigabytes": "INPUT[8x8x1] -> LCN999999999",
    "groups of a prime number": "INPUT[1x1x999999937] -> GROUPNORM(G=999999936)",
    "question marks": "INPUT[8x8x1] -> RELU" + "?" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_text_is_refused_with_a_message(name):
    with pytest.raises(NeocogError) as caught:
        Network.parse(HOSTILE[name]).plan()
    assert len(str(caught.value)) < 1000


def test_refusing_costs_little_memory():
    """How long it takes is measured by bench/refusals.py: no test depends on a clock."""
    with pytest.raises(NeocogError):
        Network.parse("[")  # the grammar is made once, and belongs to no refusal
    peaks = {}
    for name, text in HOSTILE.items():
        tracemalloc.start()
        with pytest.raises(NeocogError):
            Network.parse(text).plan()
        peaks[name] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert {name for name, peak in peaks.items() if peak >= 16 * 2**20} == set()


PIECES = (*'[]()|*?=,.#"x-><019 \n', "->", "CONV3-4", "ADD[", "INPUT[8x8x1]", "def ", "fit=", "TABLE=", "é", "\x00")


def mutated(rng: random.Random) -> str:
    """A network's text with a few pieces inserted, deleted or copied elsewhere."""
    text = text_of(rng.choice(names()))
    for _ in range(rng.randint(1, 6)):
        at, until = rng.randrange(len(text) + 1), rng.randrange(len(text) + 1)
        what = rng.choice(("insert", "delete", "copy"))
        if what == "insert":
            text = text[:at] + rng.choice(PIECES) + text[at:]
        elif what == "delete":
            text = text[:at] + text[at + rng.randint(1, 8) :]
        else:
            text = text[:at] + text[until : until + rng.randint(1, 30)] + text[at:]
    return text


@pytest.mark.parametrize("seed", range(8))
def test_random_damage_to_a_text_gives_a_network_or_a_message(seed):
    rng = random.Random(seed)
    messages = []
    planned = 0
    for _ in range(40):
        try:
            network = Network.parse(mutated(rng))
            network.plan()
        except NeocogError as error:
            messages.append(str(error))
        else:
            assert Network.parse(str(network)) == network
            planned += 1
    assert planned
    assert 0 < max(map(len, messages)) < 3000


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("INPUT[8x8x1] -> CONV9-1(P=0)", "larger than its input"),
        ("INPUT[8x8x1] -> [POOL2]*4", "larger than its input"),
        ("INPUT[8x8x1] -> CONV3-4(D=999999999, P=0)", "larger than its input"),
        ("INPUT[8x8x1] -> CONV3-4(S=999999999, P=0)", "do not tile"),
        ("INPUT[8x8x1] -> ADD[CONV3-4 | ID]", "ADD needs branches of one shape"),
        ("INPUT[8x8x1] -> CONCAT[POOL2 | ID]", "CONCAT"),
    ],
)
def test_legal_but_absurd_networks_fail_at_the_layer(text, says):
    with pytest.raises(ShapeError) as caught:
        Network.parse(text).plan()
    assert says in str(caught.value)
    assert "at line 1, column" in str(caught.value)


def test_what_is_left_out_is_read_all_the_same():
    with pytest.raises(NeocogError, match="there is no layer 'KONV3-4'"):
        Network.parse("N=0 INPUT[8x8x1] -> [KONV3-4]*N -> FC2")
    with pytest.raises(NeocogError, match="CONV's K is a whole number from 1"):
        Network.parse("p=0 INPUT[8x8x1] -> CONV3-0?p -> FC2")
    assert str(Network.parse("N=0 INPUT[8x8x1] -> [[RELU]*19000]*N -> FC2")) == "INPUT[8x8x1] -> FC2"


def test_a_pyramid_of_more_bins_than_there_are_pixels_is_counted_without_listing_them():
    plan = Network.parse("INPUT[8x6x1] -> SPP(999999999)").plan()
    assert plan.totals["connections"] == (8 + 999999999 - 1) * (6 + 999999999 - 3)  # 999999999 is 3 times a number


def test_numbers_beyond_64_bits_are_planned_exactly():
    plan = Network.parse("INPUT[999999999x999999999x999999999] -> CONV3-999999999").plan()
    assert plan.totals["parameters"] == 9 * 999999999**2 + 999999999
    assert plan.totals["macs"] == 9 * 999999999**4
