"""Reliability D3: every kind of image becomes the bytes that it stands for."""

from __future__ import annotations

import numpy as np
import pytest
from golden_images import GOLDEN

from neocog.data.decode import FIRST, LAID, TURNED, decode, decode_noted


@pytest.mark.parametrize("kind", GOLDEN)
def test_a_file_of_each_kind_is_what_it_stands_for(tmp_path, kind):
    content, expected, tolerance = GOLDEN[kind]
    path = tmp_path / "image"
    path.write_bytes(content)
    pixels = decode(path)
    assert pixels.shape == expected.shape
    assert np.abs(pixels.astype(int) - expected).max() <= tolerance


def test_the_set_is_large_and_mostly_exact():
    assert len(GOLDEN) >= 60
    assert sum(golden.tolerance == 0 for golden in GOLDEN.values()) > 0.7 * len(GOLDEN)


@pytest.mark.parametrize("kind", GOLDEN)
def test_what_a_person_may_not_expect_is_noted(tmp_path, kind):
    path = tmp_path / "image"
    path.write_bytes(GOLDEN[kind].content)
    expected = {
        TURNED: "orientation" in kind and not kind.endswith("1"),
        FIRST: "animated" in kind or "pages" in kind,
        LAID: "alpha" in kind or "RGBA" in kind or "transparent" in kind,
    }
    assert decode_noted(path).notes == tuple(note for note, holds in expected.items() if holds)
