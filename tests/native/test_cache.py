from __future__ import annotations

import os
import stat
import tempfile

import numpy as np
import pytest

from neocog import Network
from neocog.data.sources import datasets_folder
from neocog.files import CACHE, cache_folder
from neocog.native import cache
from neocog.native.engine import NativeNetwork

SMALL = Network.parse("INPUT[4x4x1] -> FC3")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv(CACHE, str(tmp_path))
    return tmp_path / "native"


def test_what_was_made_once_is_not_made_again(folder):
    made = []

    def make():
        made.append(1)
        return b"code"

    assert cache.cached("a", make) == cache.cached("a", make) == b"code"
    assert cache.cached("b", make) == b"code"
    assert len(made) == 2
    assert sorted(path.name for path in folder.iterdir()) == ["a.o", "b.o"]


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 100])
def test_a_damaged_file_is_made_again(folder, damage):
    cache.cached("a", lambda: b"code")
    (folder / "a.o").write_bytes(damage)
    assert cache.cached("a", lambda: b"code") == b"code"
    assert cache.cached("a", lambda: b"other") == b"code"


def test_a_folder_that_cannot_be_written_is_no_error(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv(CACHE, str(tmp_path / "file"))
    assert cache.cached("a", lambda: b"code") == b"code"


def test_code_is_the_user_s_alone(folder):
    assert cache.cached("a", lambda: b"code") == b"code"
    assert [oct(stat.S_IMODE(path.stat().st_mode)) for path in (folder, folder / "a.o")] == ["0o700", "0o600"]
    (folder / "a.o").chmod(0o622)  # anybody may have written it
    assert cache.cached("a", lambda: b"made again") == b"made again"
    assert cache.cached("a", lambda: b"other") == b"made again"


def test_what_was_not_used_for_the_longest_time_goes_first(folder, monkeypatch):
    monkeypatch.setattr(cache, "LARGEST", 3 * (32 + 100))
    for when, key in enumerate("abc"):
        cache.cached(key, lambda: b"." * 100)
        os.utime(folder / f"{key}.o", (when, when))
    cache.cached("a", lambda: b"not made")
    cache.cached("d", lambda: b"." * 100)
    assert sorted(path.stem for path in folder.iterdir()) == ["a", "c", "d"]


def test_a_user_without_a_home_has_a_folder_among_the_temporary_files(tmp_path, monkeypatch):
    for name in (CACHE, "NEOCOG_DATA", "HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as where the user has no entry
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    assert cache_folder().is_relative_to(tmp_path)
    assert datasets_folder().is_relative_to(tmp_path)
    monkeypatch.setenv(CACHE, "somewhere")
    assert str(cache_folder()) == "somewhere"


def test_a_network_from_the_cache_gives_the_same_scores(folder):
    x = np.random.default_rng(0).standard_normal((5, 1, 4, 4)).astype(np.float32)
    weights = {"fc1.weight": np.arange(48, dtype=np.float32).reshape(3, 16), "fc1.bias": np.ones(3, np.float32)}
    scores = []
    for _ in range(2):
        compiled = NativeNetwork(SMALL, 1, "sgd")
        compiled.write_weights(weights)
        scores.append(compiled.score(x))
    assert len(list(folder.iterdir())) == 2  # the network, and its plan for few images
    np.testing.assert_array_equal(*scores)
    expected = x.reshape(5, 16) @ weights["fc1.weight"].T + 1
    np.testing.assert_allclose(scores[0], expected, rtol=1e-5, atol=1e-5)  # of terms up to 50, which may cancel
