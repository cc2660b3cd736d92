"""Effective receptive fields: where influence is known in closed form, and what must hold for every network."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from PIL import Image

from neocog import Network, ShapeError, zoo
from neocog.errors import NeocogError, RunError
from neocog.initialise import initialise
from neocog.measure.field import LEVEL, effective_fields, field_cells, looking, summary
from neocog.measure.field_picture import draw_fields, edges, heat


def fields(text, weights=None, **settings):
    found = effective_fields(Network.parse(text), weights, device="cpu", **settings)
    return {field.row.name: field for field in found}


def ones(text):
    """Weights of one everywhere, so that a convolution is a sum."""
    return {name: np.ones_like(weight) for name, weight in initialise(Network.parse(text)).items()}


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
def test_stacked_sums_have_the_influence_of_convolved_boxes(depth):  # fact C11
    text = f"INPUT[23x23x1] -> [CONV3-1(BIAS=no)]*{depth}"
    last = fields(text, ones(text), images=3)[f"conv{depth}"]
    profile = np.array([1.0])
    for _ in range(depth):
        profile = np.convolve(profile, np.ones(3))
    expected = np.zeros((23, 23))
    expected[11 - depth : 12 + depth, 11 - depth : 12 + depth] = np.outer(profile, profile) / profile.max() ** 2
    np.testing.assert_allclose(last.influence, expected, rtol=1e-15)
    assert last.size == np.sqrt((expected > LEVEL).sum())
    assert last.theoretical_size == 2 * depth + 1


def test_the_effective_size_of_a_deep_stack_is_that_of_a_gaussian():
    """Boxes of 3 convolved n times have variance 2n/3; a Gaussian falls to the level at sqrt(-2 ln level) sigmas."""
    text = "INPUT[81x81x1] -> [CONV3-1(BIAS=no)]*36"
    weights = {name: weight / 9 for name, weight in ones(text).items()}
    last = fields(text, weights, images=1, layers=["conv36"])["conv36"]
    radius = np.sqrt(-2 * np.log(LEVEL)) * np.sqrt(36 * 2 / 3)
    assert last.size == pytest.approx(np.sqrt(np.pi) * radius, rel=0.02)
    assert last.share == pytest.approx(last.size / 73)


def test_dilated_kernels_have_holes():  # facts C9, C11
    text = "INPUT[21x21x1] -> CONV3-1(D=4, BIAS=no)"
    field = fields(text, ones(text))["conv1"]
    assert np.argwhere(field.influence).tolist() == [[j, i] for j in (6, 10, 14) for i in (6, 10, 14)]
    assert (field.size, field.theoretical_size) == (3, 9)
    assert field.view == ((6, 14), (6, 14))


def test_sequences_count_steps():
    text = "INPUT[30x2] -> CONV5-3(BIAS=no) -> CONV3-1(BIAS=no)"
    found = fields(text, ones(text))
    assert found["conv2"].influence.shape == (30,)
    np.testing.assert_allclose(found["conv2"].influence[11:20], np.array([0, 1, 2, 3, 3, 3, 2, 1, 0]) / 3)
    assert (found["conv1"].size, found["conv2"].size, found["conv2"].share) == (5, 7, 1)


def test_a_shortcut_draws_influence_to_the_centre():  # Luo et al., section 3.2
    plain = fields("INPUT[33x33x3] -> CONV3-8 -> [CONV3-8 -> RELU -> CONV3-8 -> RELU]*4", images=4)
    short = fields("INPUT[33x33x3] -> CONV3-8 -> [ADD[CONV3-8 -> RELU -> CONV3-8 | ID] -> RELU]*4", images=4)
    assert short["add4"].theoretical_size == plain["conv9"].theoretical_size == 19
    assert short["add4"].size < plain["conv9"].size


def test_given_weights_and_images_are_those_measured():
    text = "INPUT[9x9x1] -> CONV3-1(BIAS=no) -> RELU -> CONV3-1(BIAS=no)"
    weights = ones(text)
    weights["conv1.weight"][0, 0, :, 0] = 0  # blind to the left
    dark = np.full((2, 1, 9, 9), -1, np.float32)
    bright = fields(text, weights, images=-dark)["conv2"].influence
    assert np.flatnonzero(bright.any(axis=0)).tolist() == [3, 4, 5, 6]
    assert not fields(text, weights, images=dark)["conv2"].influence.any(), "the ReLU lets nothing through"
    assert fields(text, weights, images=dark)["conv2"].size == 0


def test_the_same_whatever_is_measured_together(monkeypatch):
    text = "INPUT[16x16x2] -> CONV3-4 -> RELU -> POOL2 -> CONV3-4"
    together = fields(text, images=5, seed=3)
    monkeypatch.setattr("neocog.measure.field.MEMORY", 1)
    alone = fields(text, images=5, seed=3, layers=["conv2"])
    np.testing.assert_allclose(alone["conv2"].influence, together["conv2"].influence, rtol=1e-5)
    assert not np.array_equal(fields(text, images=5, seed=4)["conv2"].influence, together["conv2"].influence)


def test_batch_normalization_keeps_deep_residual_networks_finite():
    """Each block, unless normalised, makes the volume several times as large."""
    text = "INPUT[12x3] -> CONV3-4 -> [ADD[BN -> [CONV3-4]*4 | ID]]*120"
    assert fields(text, images=2, layers=["add120"])["add120"].influence.max() == 1
    with pytest.raises(RunError, match="add120: the gradients overflow"):
        fields(text, initialise(Network.parse(text), 0, "he"), images=2, layers=["add120"])


def test_gradients_that_overflow_are_said():
    text = "INPUT[8x8x1] -> [CONV3-1(BIAS=no)]*2"
    weights = {name: weight * 1e30 for name, weight in ones(text).items()}
    with pytest.raises(RunError, match="conv2: the gradients overflow"):
        fields(text, weights)


LAYERS = (
    *("CONV3-4", "CONV5-3", "CONV1x3-4", "CONV3-2(D=2)", "CONV3-4(S=2, fit=floor)", "CONV3-4(P=0)", "RELU", "TANH"),
    *("POOL2(fit=ceil)", "POOL3(S=2, fit=floor)", "AVGPOOL2(fit=floor)", "L2POOL2(fit=floor)", "BN", "LRN"),
    *("ADD[CONV3-4 -> RELU | CONV1-4]", "CONCAT[CONV3-2 | POOL3(S=1, P=1) | ID]"),
)


def inside(field, slack=0) -> np.ndarray:
    """The pixels that the theoretical field covers, and so many around it."""
    axes = [
        (np.arange(side) >= low - slack) & (np.arange(side) <= high + slack)
        for side, (low, high) in zip(field.influence.shape, field.view, strict=True)
    ]
    return np.logical_and.outer(*axes) if len(axes) == 2 else axes[0]


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.lists(st.sampled_from(LAYERS), min_size=1, max_size=6), st.integers(0, 99))
def test_random_networks_never_see_more_than_in_theory(layers, seed):
    text = " -> ".join(["INPUT[37x41x2]", *layers])
    try:
        Network.parse(text).plan()
    except ShapeError:
        reject()  # shrunk to less than a window
    for field in fields(text, images=2, seed=seed).values():
        assert 0 <= field.size <= field.theoretical_size * (1 + 1e-9)
        assert field.influence.shape == (37, 41)
        assert not field.influence[~inside(field)].any()


NETWORKS = {
    "lenet5": zoo("lenet5"),
    "residual": Network.parse(
        "INPUT[20x20x3] -> CONV3-4 -> ADD[CONV3-8(S=2, fit=floor) -> BN | SHORTCUT(K=8)] -> RELU -> CONV3-4 -> FC2"
    ),
    "inception": Network.parse(
        "INPUT[24x20x3] -> CONV5-4(S=2, P=1, fit=floor) -> CONCAT[CONV1-2 | CONV1x5-2 -> CONV5x1-2 | POOL3(S=1, P=1)] "
        "-> LRN -> AVGPOOL3(S=2, fit=ceil) -> CONV3-4(D=2) -> FC2"
    ),
    "sequence": Network.parse("INPUT[64x5] -> CONV5-4 -> POOL2 -> ADD[CONV3-4(D=3) | ID] -> RELU -> LOCAL3-2 -> FC2"),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_influence_is_zero_outside_the_theoretical_field_of_every_spatial_layer(name):
    spatial = [row.name for row in NETWORKS[name].plan().rows[1:] if row.output.positions > 1]
    for field in effective_fields(NETWORKS[name], layers=spatial, images=1, device="cpu"):
        assert field.influence[inside(field)].any()
        assert not field.influence[~inside(field)].any(), field.row.name


def test_behind_a_layer_that_enlarges_the_view_is_right_to_one_position():
    text = "INPUT[24x30x2] -> CONV3-4 -> POOL2 -> SUBSAMPLE3 -> DECONV3-2(S=3, P=0) -> CONV3-2 -> UPSAMPLE2"
    for field in fields(text, images=1).values():
        assert not field.influence[~inside(field, slack=6)].any(), field.row.name


def test_layers_that_look_further_and_give_maps_are_measured_by_default():
    network = Network.parse(
        "INPUT[8x8x2] -> CONV3-4 -> BN -> RELU -> CONV1-4 -> ADD[CONV3-4 | ID] -> POOL2 -> GAP -> FC3"
    )
    assert looking(network.plan()) == ("conv1", "conv3", "add1", "pool1")
    assert summary(network.plan())[-1].startswith("from gap1 on, the one position sees all")
    (vector,) = effective_fields(network, layers=["fc1"], images=1, device="cpu")
    assert vector.clipped
    assert vector.influence.all()


def test_a_field_larger_than_the_image_is_said_to_be_clipped():
    found = fields("INPUT[9x9x1] -> [CONV3-2]*5", images=1)
    assert [field.clipped for field in found.values()] == [False, False, False, False, True]
    assert field_cells(found["conv5"])[-1] == "clipped by the image"
    assert field_cells(found["conv4"])[-1] == ""


def test_rows_and_documents_say_the_same():
    text = "INPUT[20x21x1] -> CONV1x3-1(BIAS=no) -> POOL2x1"
    field = fields(text, ones(text), images=1)["conv1"]
    assert field_cells(field) == ("conv1", "CONV1x3-1(BIAS=no)", "1x3", "1", "1.7", "100%", "")
    assert field.as_dict() == {
        "name": "conv1",
        "token": "CONV1x3-1(BIAS=no)",
        "receptive_field": {"size": [1, 3], "jump": 1, "start": 0},
        "position": [10, 10],
        "effective_size": 3**0.5,
        "share": 1.0,
        "clipped": False,
    }


@pytest.mark.parametrize(
    ("mistake", "says"),
    [
        ({"layers": ["cnv1"]}, "the network has no layer of this name\n  received: cnv1\n  try: conv1"),
        ({"images": 0}, "at least one image is needed"),
        (
            {"images": np.zeros((2, 8, 8, 1), np.float32)},
            "images are an array (N, 1, 8, 8)\n  received: an array (2, 8,",
        ),
        ({"images": np.zeros((0, 1, 8, 8), np.float32)}, "images are an array (N, 1, 8, 8)"),
    ],
)
def test_mistakes_are_explained(mistake, says):
    with pytest.raises(NeocogError) as caught:
        fields("INPUT[8x8x1] -> CONV3-2", **mistake)
    assert says in str(caught.value)


def test_the_picture_has_a_panel_for_each_layer_and_is_the_same_each_time():
    found = list(fields("INPUT[32x32x1] -> [CONV3-4 -> RELU]*6 -> POOL2", images=1).values())
    first, second = (draw_fields(found, "six convolutions") for _ in range(2))
    assert first == second
    picture = np.asarray(Image.open(BytesIO(first)))
    five_panels = np.flatnonzero((picture[150] == (0xC5, 0xC9, 0xCE)).all(axis=1))
    assert len(five_panels) == 10, "a frame's left and right side for each of five panels in a row"
    assert (picture[:30] == 255).all()
    assert (picture[:, -30:] == 255).all()
    assert draw_fields(found[:1]) != draw_fields(found[1:2])


def test_a_sequence_is_a_strip():
    found = list(fields("INPUT[50x3] -> CONV3-4 -> CONV3-4(D=4)", images=1).values())
    wide = Image.open(BytesIO(draw_fields(found)))
    assert wide.height < wide.width / 2


def test_a_picture_of_nothing_is_refused():
    with pytest.raises(NeocogError, match="no layer of this network gives a map"):
        draw_fields(tuple(fields("INPUT[8x8x1] -> FC3").values()))


def test_edges_surround_the_seen_pixels():
    seen = np.zeros((3, 4), bool)
    seen[1, 1:3] = True
    assert sorted(map(sorted, edges(seen))) == sorted(
        [[(1, 1), (1, 2)], [(1, 2), (1, 3)], [(2, 1), (2, 2)], [(2, 2), (2, 3)], [(1, 1), (2, 1)], [(1, 3), (2, 3)]]
    )
    assert len(edges(np.ones((2, 2), bool))) == 8


def test_more_influence_is_darker():
    brightness = heat(np.linspace(0, 1, 50)[None]).astype(int).sum(axis=-1)[0]
    assert brightness[0] == 3 * 255
    assert (np.diff(brightness) < 0).all()
