"""The battery: every layer, on every example of its file, must pass every check. Fact C15 and style's list."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from naive_counts import counts
from tokens import layer_of, shapes_of

from neocog import NeocogError, Network
from neocog.check import Check, Finding, layer_checks
from neocog.check.case import spaced
from neocog.layer import BadExample, Example, Layer, Shape
from neocog.layers import BY_OP, LAYERS, Auxiliary, Conv
from neocog.spelling import places

EXAMPLES = [example for layer in LAYERS for example in layer.examples]
BAD_EXAMPLES = [example for layer in LAYERS for example in layer.bad_examples]
WINDOWED = ("CONV", "LOCAL", "POOL", "AVGPOOL", "L2POOL", "STOPOOL", "SUBSAMPLE")
few = settings(derandomize=True, deadline=None, max_examples=40)


def name(value: Any) -> str | None:
    return value.token if isinstance(value, Example) else value.name if isinstance(value, Check) else None


def assert_passes(finding: Finding) -> None:
    assert finding.ok, f"{finding.check}: {finding.error:.3g} > {finding.tolerance:.3g} for {finding.detail}"


@pytest.mark.parametrize("check", layer_checks, ids=name)
@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_witnesses_agree(example: Example, check: Check) -> None:
    assert_passes(check(layer_of(example.token), shapes_of(example.inputs)))


@pytest.mark.parametrize("example", EXAMPLES, ids=name)
def test_token_reads_back_as_the_same_layer(example: Example) -> None:
    layer = layer_of(example.token)
    assert layer_of(layer.token) == layer
    assert layer_of(layer.token).token == layer.token


@pytest.mark.parametrize("example", [e for e in EXAMPLES if len(e.inputs) == 1], ids=name)
def test_notation_reads_the_token_as_the_same_layer(example: Example) -> None:
    layer = layer_of(example.token)
    branch = "[ID] -> ID" if isinstance(layer, Auxiliary) else ""
    network = Network.parse(f"INPUT[{example.inputs[0]}] -> {example.token}{branch}")
    assert layer in [node.layer for node in network.nodes]


@pytest.mark.parametrize("example", [e for e in EXAMPLES if e.inputs], ids=name)
def test_connections_and_macs_are_what_a_plain_loop_counts(example: Example) -> None:
    layer, inputs = layer_of(example.token), shapes_of(example.inputs)
    cost = layer.cost(*inputs)
    assert (cost.connections, cost.macs) == counts(layer, inputs[0])


@pytest.mark.parametrize("example", BAD_EXAMPLES, ids=name)
def test_bad_example_is_refused_with_its_message(example: BadExample) -> None:
    with pytest.raises(NeocogError) as refusal:
        layer_of(example.token).output_shape(*shapes_of(example.inputs))
    assert example.says in str(refusal.value)


@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: layer.op)
def test_examples_use_every_hyper_parameter(layer: type[Layer]) -> None:
    for attribute, (place, declared) in places(layer).items():
        written = [layer_of(e.token) for e in layer.examples]
        assert any(
            getattr(example, attribute) != example.default_of(attribute, declared.default) for example in written
        ), f"no example of {layer.op} sets {place.letter}"


@pytest.mark.parametrize("shape", [(2, 3, 4, 5), (2, 1, 7), (1, 1, 1, 1)])
def test_drawn_inputs_are_distinct_in_size_and_none_is_zero(shape: tuple[int, ...]) -> None:
    sizes = np.sort(np.abs(spaced(shape, np.random.default_rng(0))).ravel())
    step = 2.0 / sizes.size
    assert sizes[0] >= step * 0.99
    assert np.all(np.diff(sizes) >= step * 0.99)


@st.composite
def windowed_layers(draw: st.DrawFn) -> tuple[Layer, Shape]:
    """A layer with windows, of any hyper-parameters, and an input on which at least one window fits."""
    op, rank = draw(st.sampled_from(WINDOWED)), draw(st.sampled_from([1, 2]))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    kernel, stride = each(1, 3), each(1, 3)
    dilation = each(1, 2) if op in ("CONV", "POOL") else (1,) * rank
    padding = each(0, 2) if op in ("CONV", "LOCAL") else tuple(draw(st.integers(0, f // 2)) for f in kernel)
    fit = draw(st.sampled_from(["exact", "floor", "ceil"]))
    rest = tuple(0 if fit == "exact" else draw(st.integers(0, s - 1)) for s in stride)
    axes = zip(each(1, 3), kernel, stride, padding, dilation, rest, strict=True)
    size = tuple((n - 1) * s + d * (f - 1) + 1 - 2 * p + r for n, f, s, p, d, r in axes)
    assume(min(size) > 0)
    options: dict[str, Any] = {"kernel_size": kernel, "stride": stride, "padding": padding, "fit": fit}
    if op == "LOCAL":
        options |= {"out_channels": draw(st.integers(1, 3)), "bias": draw(st.booleans())}
    if op == "POOL":
        assume(all(n >= d or not p for n, p, d in zip(size, padding, dilation, strict=True)))
        options["dilation"] = dilation
    if op != "CONV":
        return BY_OP[op](**options), Shape(size, draw(st.integers(1, 3)))
    groups, wide, flip = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.booleans())
    options |= {"dilation": dilation, "groups": groups, "flip": flip, "bias": draw(st.booleans())}
    return Conv(out_channels=groups * draw(st.integers(1, 2)), **options), Shape(size, groups * wide)


@few
@given(windowed_layers())
def test_witnesses_agree_for_any_window(case: tuple[Layer, Shape]) -> None:
    layer, x = case
    for check in layer_checks:
        assert_passes(check(layer, (x,)))
    assert (layer.cost(x).connections, layer.cost(x).macs) == counts(layer, x)


OTHERS = [e for e in EXAMPLES if layer_of(e.token).op not in (*WINDOWED, "INPUT", "RBF")]
SWEPT = [c for c in layer_checks if c.name in ("shapes", "parameters", "values", "gradients-autograd")]


@few
@given(
    st.sampled_from(OTHERS),
    st.lists(st.integers(1, 5), min_size=1, max_size=2),
    st.integers(1, 5),
)
def test_witnesses_agree_for_any_volume(example: Example, spatial: list[int], channels: int) -> None:
    layer = layer_of(example.token)
    inputs = (Shape(tuple(spatial), channels),) * len(example.inputs)
    try:
        layer.output_shape(*inputs)
    except NeocogError:
        assume(False)  # written for another number of axes or channels
    for check in SWEPT:
        assert_passes(check(layer, inputs))


@st.composite
def enlarging_layers(draw: st.DrawFn) -> tuple[Layer, Shape]:
    """A transposed convolution or an upsampling of any hyper-parameters, and an input for it."""
    rank = draw(st.sampled_from([1, 2]))

    def each(low: int, high: int) -> tuple[int, ...]:
        return tuple(draw(st.integers(low, high)) for _ in range(rank))

    x = Shape(each(1, 4), draw(st.integers(1, 3)))
    if draw(st.booleans()):
        return BY_OP["UPSAMPLE"](factor=each(1, 4), mode=draw(st.sampled_from(["nearest", "bilinear"]))), x
    kernel, dilation = each(1, 4), each(1, 2)
    padding = tuple(draw(st.integers(0, d * (f - 1))) for f, d in zip(kernel, dilation, strict=True))
    options: dict[str, Any] = {"kernel_size": kernel, "dilation": dilation, "padding": padding, "stride": each(1, 3)}
    return BY_OP["DECONV"](out_channels=draw(st.integers(1, 3)), bias=draw(st.booleans()), **options), x


@few
@given(enlarging_layers())
def test_witnesses_agree_for_any_enlargement(case: tuple[Layer, Shape]) -> None:
    layer, x = case
    try:
        layer.output_shape(x)
    except NeocogError:
        assume(False)  # the padding cuts off all there is
    for check in layer_checks:
        assert_passes(check(layer, (x,)))
    assert (layer.cost(x).connections, layer.cost(x).macs) == counts(layer, x)


@st.composite
def settings_of(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A layer's word and numbers for its continuous hyper-parameters, or a random connection table."""
    op = draw(st.sampled_from(["LRELU", "BN", "GROUPNORM", "LRN", "LCN", "DROPOUT", "CONV"]))
    number = st.floats(0.01, 1.0)
    if op == "LRELU":
        return op, {"slope": draw(st.floats(-2.0, 2.0))}
    if op == "BN":
        return op, {"eps": draw(number), "momentum": draw(st.floats(0.0, 1.0)), "affine": draw(st.booleans())}
    if op == "GROUPNORM":
        return op, {"groups": draw(st.sampled_from([1, 2, 4])), "eps": draw(number), "affine": draw(st.booleans())}
    if op == "DROPOUT":
        return op, {"probability": draw(st.floats(0.0, 0.9))}
    if op == "LCN":
        size = draw(st.sampled_from([3, 5, 7]))
        return op, {"size": size, "sigma": size * draw(st.floats(0.17, 2.0)), "least": draw(st.sampled_from([0, 0.3]))}
    if op == "LRN":
        region = draw(st.sampled_from(["across", "within"]))
        sizes = {"size": draw(st.sampled_from([1, 3, 5])), "k": draw(number), "alpha": draw(number)}
        return op, {**sizes, "beta": draw(number), "region": region}
    rows = draw(st.lists(st.sets(st.integers(0, 3), min_size=1), min_size=1, max_size=4))
    table = tuple(tuple(sorted(row)) for row in rows)
    return op, {"kernel_size": (3,), "out_channels": len(table), "table": table, "bias": draw(st.booleans())}


@few
@given(settings_of(), st.sampled_from(["4x5x4", "3x3x4", "6x4"]))
def test_witnesses_agree_for_any_setting(case: tuple[str, dict[str, Any]], size: str) -> None:
    op, options = case
    layer = BY_OP[op](**options)
    for check in layer_checks:
        assert_passes(check(layer, (Shape.of(size),)))
    assert layer_of(layer.token).token == layer.token
