"""Data folders as MNIST is published: IDX files."""

from __future__ import annotations

import struct
from pathlib import Path

from neocog.data import load_data


def write_idx(path: Path, values) -> None:
    """Bytes of any shape as an IDX file."""
    header = bytes((0, 0, 8, values.ndim)) + struct.pack(f">{values.ndim}I", *values.shape)
    path.write_bytes(header + values.astype("u1").tobytes())


def write_digits(folder: Path, train: int, test: int) -> Path:
    """A new folder of the first training and test digits."""
    folder.mkdir()
    whole = load_data("mnist")
    for prefix, dataset, count in (("train", whole.train, train), ("t10k", whole.test, test)):
        write_idx(folder / f"{prefix}-images-idx3-ubyte", dataset.images[:count, :, :, 0])
        write_idx(folder / f"{prefix}-labels-idx1-ubyte", dataset.labels[:count])
    return folder
