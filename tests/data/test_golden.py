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


def test_of_83_files_78_are_exact_and_none_is_off_by_more_than_a_grey_level(tmp_path):
    off = []
    for content, expected, _ in GOLDEN.values():
        (tmp_path / "image").write_bytes(content)
        off.append(np.abs(decode(tmp_path / "image").astype(int) - expected).max())
    assert len(off) == 83
    assert max(off) <= 1
    assert off.count(0) >= 78


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
