from __future__ import annotations

import numpy as np
import pytest

from neocog import NeocogError
from neocog.feed import Pixels, moved
from neocog.views import Views

IMAGES = np.random.default_rng(6).integers(0, 256, (3, 5, 6, 1), np.uint8)
PIXELS = Pixels(IMAGES, np.ones(1, np.float32), np.zeros(1, np.float32))


def answers(pixels, moves):
    """Every pixel is an output."""
    return pixels.numbers(pixels.images if moves is None else moved(pixels.images, moves)).reshape(3, -1)


def averaged(text):
    return Views.parse(text).scores(PIXELS, answers).reshape(3, 5, 6)


def shifted(by):
    """Images (N, H, W) moved down and right, with edges that go on, padded by NumPy."""
    padded = np.pad(IMAGES[..., 0].astype(float), ((0, 0), (2, 2), (2, 2)), mode="edge")
    return padded[:, 2 - by : 7 - by, 2 - by : 8 - by]


def test_one_view_is_the_image_as_it_is():
    np.testing.assert_array_equal(averaged("none"), IMAGES[..., 0])


def test_views_are_averaged_by_their_shares():
    plain = IMAGES[..., 0].astype(float)
    np.testing.assert_allclose(averaged("flip"), (plain + plain[:, :, ::-1]) / 2)
    six = plain / 2 + shifted(1) / 4 + shifted(-1) / 4
    np.testing.assert_allclose(averaged("shift=1"), six)
    mirrored = [
        np.pad(plain[:, :, ::-1], ((0, 0), (2, 2), (2, 2)), mode="edge")[:, 2 - k : 7 - k, 2 - k : 8 - k]
        for k in (0, 2, -2)
    ]
    both = (plain / 2 + shifted(2) / 4 + shifted(-2) / 4) / 2 + (mirrored[0] / 2 + (mirrored[1] + mirrored[2]) / 4) / 2
    np.testing.assert_allclose(averaged("shift=2, flip"), both)


@pytest.mark.parametrize(
    "text", ["", "flip, flip", "shift", "shift=0", "shift=65", "shift=1, shift=2", "rotate=1", "none, flip"]
)
def test_other_views_are_refused(text):
    with pytest.raises(NeocogError, match=r"tta is none, or of flip and shift=\.\.\., 1 to 64 pixels, each once"):
        Views.parse(text)
