"""Reliability D2: refused from the header. bench/image_refusals.py measures time and memory."""

from __future__ import annotations

import pytest
from image_bombs import HARMLESS, REFUSED

from neocog import DataError
from neocog.data.decode import decode


@pytest.mark.parametrize("kind", REFUSED)
def test_a_bomb_is_refused_before_a_pixel_is_decoded(tmp_path, monkeypatch, kind):
    content, rule = REFUSED[kind]
    path = tmp_path / "image"
    path.write_bytes(content)

    def load(*_):
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(DataError) as caught:
        decode(path)
    assert caught.value.rule == rule
    assert "pixels were decoded" not in str(caught.value)


@pytest.mark.parametrize("kind", HARMLESS)
def test_of_a_file_that_never_ends_the_first_image_is_taken(tmp_path, kind):
    content, size = HARMLESS[kind]
    path = tmp_path / "image"
    path.write_bytes(content)
    assert decode(path).shape[:2] == size
