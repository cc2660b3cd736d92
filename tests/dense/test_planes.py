"""A map sees the pixels that classification sees, and says where in the image they are."""

from __future__ import annotations

import numpy as np
import pytest
from dense_models import model_of, picture

from neocog import NeocogError
from neocog.data import Preprocessing
from neocog.data.glyph import Glyph
from neocog.data.raster import Held
from neocog.data.resample import resized, resized_part
from neocog.dense import score
from neocog.dense.plane import FIT, Picture, plane, scale_of

NET = "INPUT[32x32x1] -> CONV5-4(P=0) -> RELU -> POOL2 -> FC3"
COLOUR = "INPUT[32x32x3] -> CONV5-4(P=0) -> RELU -> POOL2 -> FC3"
DIGITS = Glyph((28, 28), 0, 20, (14.0, 14.0), 3.0)


@pytest.mark.parametrize(
    ("text", "how"),
    [
        (NET, {"source": (32, 32)}),
        (NET, {"source": (28, 28)}),  # ground around it
        (NET, {"source": (28, 28), "glyph": DIGITS}),
        (NET, {"source": (15, 13)}),  # enlarged twice, then ground around it
        (NET, {"source": (45, 64)}),  # made smaller
        (COLOUR, {"source": (20, 32)}),
    ],
)
def test_an_image_of_the_training_sets_size_is_one_cell_with_the_scores_of_classification(text, how):
    model = model_of(text, **how)
    channels = model.preprocessing.channels
    image = picture(*how["source"], channels)
    image[[0, -1]], image[:, [0, -1]] = 0, 0
    found = score(model, image)
    assert found.cells == (1, 1)
    assert found.scores[:, 0, 0] == pytest.approx(model.scores(model.preprocessing(image[None]))[0], abs=1e-5)
    assert found.window(0, 0) == pytest.approx((0, 0, how["source"][1], how["source"][0]))


@pytest.mark.parametrize("crop", [1.0, 0.875])
def test_at_the_scale_fit_a_photograph_is_as_large_as_for_classification(crop):
    model = model_of(COLOUR, crop=crop)
    found = score(model, picture(64, 64, 3), scale=FIT)
    assert found.plane.inner == (round(32 / crop), round(32 / crop))
    wide = score(model, picture(64, 100, 3), scale=FIT)
    assert wide.plane.inner[0] == round(32 / crop)
    if crop == 1:
        image = picture(64, 64, 3)
        standard, _ = model.preprocessing.standardise(image)
        expected = model.scores(model.preprocessing(standard[None]))[0]
        assert found.scores[:, 0, 0] == pytest.approx(expected, abs=1e-5)


def test_channels_and_polarity_become_the_sets():
    grey = model_of(NET, source=(28, 28), glyph=DIGITS)
    dark = np.zeros((40, 44, 1), np.uint8)
    dark[10:20, 12:14] = 255
    as_is = score(grey, dark)
    assert score(grey, 255 - dark).scores == pytest.approx(as_is.scores)
    assert "inverted" in score(grey, 255 - dark).plane.notes
    assert as_is.plane.notes == ("ground put around it",)
    assert score(grey, np.repeat(dark, 3, axis=2)).scores == pytest.approx(as_is.scores, abs=1e-4)
    assert "colour made grey" in score(grey, np.repeat(dark, 3, axis=2)).plane.notes
    colour = model_of(COLOUR)
    assert "grey made colour" in score(colour, dark).plane.notes


@pytest.mark.parametrize(
    ("scale", "how"),
    [
        (1.0, {}),
        (1.0, {"source": (28, 28)}),
        (1.0, {"source": (15, 15)}),
        (0.7, {}),
        (1.6, {"source": (15, 15)}),
        (1.3, {"source": (60, 60)}),
    ],
)
def test_a_plane_read_in_parts_is_the_plane(scale, how):
    model = model_of(NET, **how)
    seen = plane(Picture("it", Held(picture(57, 83))), model.preprocessing, scale)
    height, width = seen.size
    whole = seen.read((slice(0, height), slice(0, width)))
    for rows, columns in (((0, 7), (0, width)), ((3, 31), (20, 33)), ((height - 5, height), (width - 9, width))):
        part = seen.read((slice(*rows), slice(*columns)))
        assert np.array_equal(part, whole[:, slice(*rows), slice(*columns)])


@pytest.mark.parametrize("new", [(20, 31), (90, 40), (57, 200), (13, 83), (56, 84)])
def test_a_part_of_a_resized_image_has_the_bits_of_the_whole(new):
    image = picture(57, 83, 3)
    whole = resized_part(lambda r, c: image[r, c], (57, 83), new, (slice(0, new[0]), slice(0, new[1])))
    for rows, columns in ((slice(0, 5), slice(7, 9)), (slice(new[0] - 3, new[0]), slice(0, new[1]))):
        part = resized_part(lambda r, c: image[r, c], (57, 83), new, (rows, columns))
        assert np.array_equal(part, whole[rows, columns])
        assert part == pytest.approx(resized(image, new)[rows, columns], abs=1e-4)


def test_boxes_are_in_the_images_own_pixels():
    model = model_of(NET, source=(28, 28))
    found = score(model, picture(60, 84), scale=0.5)
    assert found.plane.inner == (30, 42)
    assert found.route.stride == (2, 2)
    assert found.cells == ((30 + 4 - 32) // 2 + 1, (42 + 4 - 32) // 2 + 1)
    assert found.window(0, 0) == (0, 0, 60, 60)  # 32 pixels less 2 of ground, twice as large
    assert found.window(1, 3) == (8, 0, 72, 60)
    assert found.field(0, 0) == found.window(0, 0)


@pytest.mark.parametrize("scale", [0, -1, 1000, float("nan"), "large"])
def test_scales_that_are_none_are_refused(scale):
    preprocessing = Preprocessing((8, 8), (8, 8), (0.5,), (0.5,))
    with pytest.raises(NeocogError, match="a scale is a number"):
        scale_of(scale, (20, 20), preprocessing)
