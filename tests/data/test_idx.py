from __future__ import annotations

import gzip
import struct
import tracemalloc

import numpy as np
import pytest

from neocog import DataError
from neocog.data.idx import read_idx


def idx(shape: tuple[int, ...], values: bytes, kind: int = 8) -> bytes:
    return struct.pack(f">BBBB{len(shape)}I", 0, 0, kind, len(shape), *shape) + values


def refusal(path, axes: int = 3) -> str:
    with pytest.raises(DataError) as caught:
        read_idx(path, axes)
    return str(caught.value).replace(str(path), "FILE")


@pytest.fixture
def stored(tmp_path):
    def write(content: bytes, name: str = "images-idx3-ubyte"):
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("packed", [False, True])
def test_the_array_comes_back_with_its_shape(stored, packed):
    array = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(2, 3, 5)
    content = idx(array.shape, array.tobytes())
    path = stored(gzip.compress(content), "x.gz") if packed else stored(content)
    assert np.array_equal(read_idx(path, 3), array)


def test_an_empty_array_is_an_array(stored):
    assert read_idx(stored(idx((0, 28, 28), b"")), 3).shape == (0, 28, 28)


NOT_IDX = (
    "FILE: this is no IDX file of bytes with 3 axes\n  received: {}\n  try: a file whose first bytes are 00 00 08 03"
)
FEWER = "FILE: the header promises {} bytes\n  received: fewer; the file is damaged or cut off"
MORE = FEWER.replace("fewer", "more")

DAMAGED = {
    "empty": (b"", NOT_IDX.format("no bytes")),
    "two bytes": (b"\0\0", NOT_IDX.format("00 00")),
    "header cut off": (idx((2, 3, 5), b"")[:-1], NOT_IDX.format("00 00 08 03")),
    "another magic": (b"\x01" + idx((1, 1, 1), b"x")[1:], NOT_IDX.format("01 00 08 03")),
    "text": (b"hello, this is no data at all", NOT_IDX.format("68 65 6c 6c")),
    "labels": (idx((16,), bytes(16)), NOT_IDX.format("00 00 08 01")),
    "floats": (idx((1, 1, 1), bytes(4), kind=0x0D), NOT_IDX.format("00 00 0d 03")),
    "gzip under a plain name": (gzip.compress(idx((1, 1, 1), b"x"), mtime=0), NOT_IDX.format("1f 8b 08 00")),
    "values cut off": (idx((2, 3, 5), bytes(29)), FEWER.format(30)),
    "no values": (idx((2, 3, 5), b""), FEWER.format(30)),
    "trailing bytes": (idx((2, 3, 5), bytes(31)), MORE.format(30)),
    "bytes after nothing": (idx((0, 3, 5), b"x"), MORE.format(0)),
    "a large promise": (idx((46340, 46340, 1), bytes(99)), FEWER.format("2,147,395,600")),
    "2^96": (
        idx((2**32 - 1,) * 3, bytes(99)),
        "FILE: an IDX file holds at most 2,147,483,648 bytes\n  received: 4294967295x4294967295x4294967295",
    ),
}


@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_file_is_refused_with_its_reason(stored, kind):
    content, message = DAMAGED[kind]
    assert refusal(stored(content)) == message


@pytest.mark.parametrize("kind", ["values cut off", "trailing bytes", "2^96", "another magic"])
def test_packing_changes_nothing_about_a_refusal(stored, kind):
    content, message = DAMAGED[kind]
    assert refusal(stored(gzip.compress(content), "x.gz")) == message


def test_labels_are_asked_for_by_their_one_axis(stored):
    message = NOT_IDX.replace("3 axes", "1 axis").replace("08 03", "08 01").format("00 00 08 03")
    assert refusal(stored(idx((2, 3, 5), bytes(30))), axes=1) == message


def damaged_at(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]


def test_a_damaged_gzip_file_is_refused(stored):
    values = np.random.default_rng(0).integers(0, 256, 600, dtype=np.uint8).tobytes()
    packed = gzip.compress(idx((6, 10, 10), values), mtime=0)
    assert "received: Not a gzipped file" in refusal(stored(idx((1, 1, 1), b"x"), "plain.gz"))
    assert "received: CRC check failed" in refusal(stored(damaged_at(packed, len(packed) - 6), "sum.gz"))
    assert "received: Compressed file ended before" in refusal(stored(packed[:-20], "cut.gz"))
    for place in range(10, len(packed) - 4, 7):
        assert refusal(stored(damaged_at(packed, place), f"{place}.gz")).startswith("FILE: ")


def test_a_missing_file_is_refused(tmp_path):
    assert refusal(tmp_path / "none") == "FILE: this file cannot be read\n  received: No such file or directory"


@pytest.mark.parametrize(
    ("promised", "size"),
    [((2, 1, 2), 40_000_000), ((46340, 46340, 1), 100_000)],
    ids=["far less than follows", "more than can follow"],
)
def test_a_gzip_bomb_takes_little_memory(stored, promised, size):
    path = stored(gzip.compress(idx(promised, bytes(size)), compresslevel=1), "bomb.gz")
    tracemalloc.start()
    try:
        refusal(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000
