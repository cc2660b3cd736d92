"""Network -> text -> network: the canonical text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neocog import Network, zoo
from neocog.network import Branch, Step
from neocog.notation.words import split_word
from neocog.zoo import names

TOKENS = (
    "RELU",
    "CONV3-4",
    "CONV3-4(S=2, fit=floor)",
    "TANH",
    "LRELU(0.2)",
    "DROPOUT(0.5)",
    "CONV1x3-4(BIAS=no)",
    "BN",
)


@pytest.mark.parametrize("name", names())
def test_every_zoo_network_prints_and_parses_back(name):
    network = zoo(name)
    assert Network.parse(str(network)) == network
    assert str(Network.parse(str(network))) == str(network)


def test_repeats_are_found_however_the_text_was_written():
    spelled_out = Network.parse("INPUT[32x32x3] -> CONV3-8 -> RELU -> CONV3-8 -> RELU -> POOL2 -> FC10")
    assert str(spelled_out) == "INPUT[32x32x3] -> [CONV3-8 -> RELU]*2 -> POOL2 -> FC10"


def test_vgg16_prints_as_people_write_it():
    assert str(zoo("vgg16")) == (
        "INPUT[224x224x3] -> [CONV3-64 -> RELU]*2 -> POOL2 -> [CONV3-128 -> RELU]*2 -> POOL2 -> [CONV3-256 -> RELU]*3"
        " -> POOL2 -> [[CONV3-512 -> RELU]*3 -> POOL2]*2 -> [FC4096 -> RELU -> DROPOUT(0.5)]*2 -> FC1000"
    )


def test_a_fit_that_all_layers_share_becomes_the_header():
    network = Network.parse("INPUT[9x9x1] -> CONV3-2(S=2, fit=floor) -> POOL2(fit=floor)")
    assert str(network) == "fit=floor INPUT[9x9x1] -> CONV3-2(S=2) -> POOL2"
    assert Network.parse(str(network)) == network


def test_a_fit_that_most_layers_share_becomes_the_header_and_the_others_say_theirs():
    network = Network.parse(
        "INPUT[9x9x1] -> CONV3-2(S=2) -> POOL2(fit=floor) -> FILTER(mean, S=2, P=0, fit=floor) -> FC2"
    )
    assert str(network) == "fit=floor INPUT[9x9x1] -> CONV3-2(S=2, fit=exact) -> POOL2 -> FILTER(mean, S=2, P=0) -> FC2"
    assert Network.parse(str(network)) == network
    even = Network.parse("INPUT[8x8x1] -> CONV3-2 -> POOL2 -> POOL2(fit=floor)")
    assert str(even) == "INPUT[8x8x1] -> CONV3-2 -> POOL2 -> POOL2(fit=floor)"


def test_a_fit_says_nothing_of_windows_one_position_apart():
    network = Network.parse("fit=ceil INPUT[9x9x1] -> [CONV3-2(fit=floor) -> POOL2(S=1)]*2 -> POOL4(S=3) -> POOL2")
    assert str(network) == "fit=ceil INPUT[9x9x1] -> [CONV3-2 -> POOL2(S=1)]*2 -> POOL4(S=3) -> POOL2"
    assert Network.parse("INPUT[9x9x1] -> LOCAL3-2(fit=ceil)") == Network.parse("INPUT[9x9x1] -> LOCAL3-2")


@st.composite
def texts(draw, depth: int = 3) -> str:
    """Random chains with groups, repeats and branches."""
    items = []
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.integers(0, 9)) if depth else 0
        if kind <= 5:
            items.append(draw(st.sampled_from(TOKENS)))
        elif kind <= 7:
            items.append(f"[{draw(texts(depth - 1))}]*{draw(st.integers(1, 4))}")
        else:
            word = draw(st.sampled_from(("ADD", "CONCAT", "AUX", "AUX(0.5)")))
            arms = [draw(texts(depth - 1)) for _ in range(1 if "AUX" in word else draw(st.integers(2, 3)))]
            items.append(f"{word}[{' | '.join(arms)}]")
    if items[-1].startswith("AUX"):
        items.append("RELU")
    return " -> ".join(items)


@settings(max_examples=150, derandomize=True, deadline=None)
@given(texts())
def test_any_network_survives_its_own_text(text):
    network = Network.parse(f"INPUT[16x16x4] -> {text}")
    printed = str(network)
    again = Network.parse(printed)
    assert again == network
    assert str(again) == printed
    assert len(again.nodes) == len(network.nodes)


def test_a_network_built_by_a_program_prints_too():
    chain = Network.parse("INPUT[8x8x4] -> ADD[RELU | ID] -> TANH").chain
    assert isinstance(chain[1], Branch)
    assert isinstance(chain[2], Step)
    doubled = Network(chain[:1] + chain[1:2] * 3 + chain[2:])
    assert str(doubled) == "INPUT[8x8x4] -> [ADD[RELU | ID]]*3 -> TANH"


def test_words_split_into_layer_and_numbers():
    assert split_word("L2POOL3") == ("L2POOL", "3", None)
    assert split_word("conv1x7-64") == ("CONV", "1x7", "64")
    assert split_word("FC4096") == ("FC", "4096", None)
    assert split_word("basic") is None
