from __future__ import annotations

import base64
import struct
import zlib

import numpy as np
import pytest

from neocog import DataError
from neocog.data import load_data
from neocog.data.matfile import read_mat

BY_SCIPY = base64.b64decode(
    "TUFUTEFCIDUuMCBNQVQtZmlsZSBQbGF0Zm9ybTogcG9zaXgsIENyZWF0ZWQgb246IFRodSBOb3YgMjYgMTE6MDM6MDMgMjAyNgAAAAAAAAAAAA"
    "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAABSU0PAAAAVgAAAHic7c49DkBgDIDhIv4WcQSDQziKIzuWCruRL3me"
    "5k2XDp0iYlsjutxDNsatzeZseWqeqpw9d30drVGA/usHAAAAAADgb46vHwDKNb6fAACFOQH9QQI1DwAAACoAAAB4nONjYGAwAGI2IOYAYk4GCG"
    "CF8pmBmBGMGRkqgTQTUISLmZEBABjrAPU="
)
"""What SciPy 1.17 writes for X (32, 32, 3, 3) with X[2, 5, 0, 0] = 7, X[0, 1, 1, 2] = 9, X[31, 30, 2, 1] = 200 and
y = [[10], [3], [1]]."""


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(name: str, values: np.ndarray, matlab_class: int = 9, stored: int = 2) -> bytes:
    """An array as the format's description says, its values stored as bytes whatever its class."""
    return element(
        14,
        element(6, struct.pack("<BBHI", matlab_class, 0, 0, 0))
        + element(5, struct.pack(f"<{values.ndim}i", *values.shape))
        + element(1, name.encode())
        + element(stored, values.astype(np.uint8).tobytes(order="F")),
    )


def mat(*elements: bytes) -> bytes:
    return b"MATLAB 5.0 MAT-file".ljust(124) + b"\x00\x01IM" + b"".join(elements)


def pictures(count: int) -> np.ndarray:
    return (np.arange(32 * 32 * 3 * count) % 251).astype(np.uint8).reshape(32, 32, 3, count)


def written(tmp_path, content: bytes):
    path = tmp_path / "x.mat"
    path.write_bytes(content)
    return path


def refusal(path) -> str:
    with pytest.raises(DataError) as caught:
        read_mat(path)
    return str(caught.value)


def test_a_file_that_scipy_wrote_is_read(tmp_path):
    for name in ("train_32x32.mat", "test_32x32.mat"):
        (tmp_path / name).write_bytes(BY_SCIPY)
    train, test = load_data(str(tmp_path))
    expected = np.zeros((3, 32, 32, 3), np.uint8)
    expected[0, 2, 5, 0], expected[2, 0, 1, 1], expected[1, 31, 30, 2] = 7, 9, 200
    assert np.array_equal(train.images, expected)
    assert [train.classes[label] for label in train.labels] == ["0", "3", "1"]
    assert np.array_equal(test.images, expected)


def test_svhn_is_a_set_with_a_name(tmp_path, monkeypatch):
    monkeypatch.setenv("NEOCOG_DATA", str(tmp_path))
    (tmp_path / "svhn").mkdir()
    for name in ("train_32x32.mat", "test_32x32.mat"):
        (tmp_path / "svhn" / name).write_bytes(BY_SCIPY)
    assert load_data("svhn").train.name == "svhn"


@pytest.mark.parametrize("packed", [False, True])
def test_values_are_what_was_written_whatever_they_are_stored_as(tmp_path, packed):
    parts = [matrix("X", pictures(2)), matrix("y", np.array([[1], [10]]), matlab_class=6)]
    if packed:
        parts = [struct.pack("<II", 15, len(c)) + c for c in map(zlib.compress, parts)]
    found = read_mat(written(tmp_path, mat(*parts)))
    assert np.array_equal(found["X"], pictures(2))
    assert found["X"].dtype == np.uint8
    assert found["y"].tolist() == [[1], [10]]
    assert found["y"].dtype == np.float64


@pytest.mark.parametrize("content", [mat(matrix("X", pictures(1))), BY_SCIPY], ids=["plain", "packed"])
def test_a_file_that_is_cut_off_anywhere_is_refused(tmp_path, content):
    between = {128, 136 + struct.unpack("<I", content[132:136])[0]}  # there a file may well end
    for length in {*range(0, len(content), 1 + len(content) // 300), len(content) - 1} - between:
        path = written(tmp_path, content[:length])
        assert str(path) in refusal(path)


@pytest.mark.parametrize("place", [136, 150, 170, 210, 218, 221], ids=lambda place: f"byte {place}")
def test_damage_within_a_packed_array_is_refused(tmp_path, place):  # the last four bytes are its checksum
    damaged = bytearray(BY_SCIPY)
    damaged[place] ^= 16
    assert "this MAT file is damaged" in refusal(written(tmp_path, bytes(damaged)))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "this is no MAT file of level 5"),
        (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM", "this is no MAT file of level 5"),
        (mat(element(2, b"12345678")), "only arrays of numbers"),
        (mat(matrix("s", pictures(1), matlab_class=2)), "only arrays of bytes and real numbers"),
        (mat(matrix("X", pictures(1), stored=9)), "damaged"),
        (mat(struct.pack("<II", 14, 2**31)), "damaged"),
    ],
    ids=["empty", "level 7.3", "no matrix", "a struct", "values of another width", "a length that lies"],
)
def test_what_is_no_array_of_numbers_is_refused(tmp_path, content, says):
    path = written(tmp_path, content)
    assert says in refusal(path)
    assert str(path) in refusal(path)


def test_sizes_that_promise_more_than_is_stored_are_refused_before_memory_is_taken(tmp_path):
    lying = bytearray(matrix("X", pictures(1)))
    place = lying.index(struct.pack("<4i", 32, 32, 3, 1))
    lying[place : place + 16] = struct.pack("<4i", 2**31 - 1, 2**31 - 1, 2**31 - 1, 2**31 - 1)
    assert "3,072 of" in refusal(written(tmp_path, mat(bytes(lying))))


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ([matrix("X", pictures(1))], "the file has arrays X and y\n  received: X"),
        ([matrix("X", pictures(1)[:16]), matrix("y", np.array([[1]]))], "X is bytes of 32x32x3xN"),
        ([matrix("X", pictures(1)), matrix("y", np.array([[0]]))], "y is digits from 1 to 10"),
        ([matrix("X", pictures(1)), matrix("y", np.array([[1], [2]]))], "one label for each image"),
    ],
)
def test_arrays_that_are_not_svhns_are_refused(tmp_path, arrays, says):
    for name in ("train_32x32.mat", "test_32x32.mat"):
        (tmp_path / name).write_bytes(mat(*arrays))
    with pytest.raises(DataError, match=says.split("\n")[0]):
        load_data(str(tmp_path))
