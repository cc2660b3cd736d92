from __future__ import annotations

import pytest

from neocog import NeocogError, Network
from neocog.torch_engine.rates import frozen_statistics
from neocog.training.rates import rate_factors

NET = Network.parse("INPUT[8x8x1] -> CONV3-2 -> BN -> RELU -> CONV3-3 -> BN -> RELU -> FC4 -> FC2")


def test_factors_are_given_by_layer_by_array_and_by_kind():
    assert rate_factors("conv1=0", NET) == {"conv1.weight": 0, "conv1.bias": 0}
    assert rate_factors("conv2.weight=0.5", NET) == {"conv2.weight": 0.5}
    assert rate_factors("fc*=0.1, bias = 2", NET) == {
        **{"fc1.weight": 0.1, "fc2.weight": 0.1},
        **{f"{name}.bias": 2 for name in ("conv1", "bn1", "conv2", "bn2", "fc1", "fc2")},
    }
    assert rate_factors("none", NET) == {}


def test_the_last_that_names_an_array_counts():
    factors = rate_factors("*=0, fc2=1", NET)
    assert {name for name, factor in factors.items() if factor} == {"fc2.weight", "fc2.bias"}
    assert set(rate_factors("fc2=1, *=0.5", NET).values()) == {0.5}


def test_a_normalization_is_frozen_where_all_of_its_arrays_are():
    assert frozen_statistics(NET, rate_factors("bn1=0", NET)) == ("bn1",)
    assert frozen_statistics(NET, rate_factors("*=0, fc2=1", NET)) == ("bn1", "bn2")
    assert frozen_statistics(NET, rate_factors("bn1.weight=0, bn1.bias=0", NET)) == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "rates is none, or of name=factor, with factors from 0\n  received: rates=''"),
        ("conv1", "received: rates='conv1'\n  try: conv1=0, fc*=0.1, bias=2"),
        ("conv1=slow", "received: rates='conv1=slow'"),
        ("=2", "received: rates='=2'"),
        ("conv1=-1", "received: rates='conv1=-1'"),
        ("conv1=nan", "received: rates='conv1=nan'"),
        ("conv1=inf", "received: rates='conv1=inf'"),
        (
            "conv9=1",
            "rates: no layer and no array has this name\n  received: conv9\n  try: conv1, bn1, conv2, bn2, fc1",
        ),
        ("*=0", "some array must be left to be learned\n  received: rates=*=0"),
        ("*=0, running_mean=1", "some array must be left to be learned"),
    ],
)
def test_what_makes_no_sense_is_refused(text, says):
    with pytest.raises(NeocogError) as refused:
        rate_factors(text, NET)
    assert says in str(refused.value)
