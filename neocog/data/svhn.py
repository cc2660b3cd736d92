"""SVHN's cropped digits: two MAT files with X (32, 32, 3, N) and y (N, 1), in which 10 stands for the digit 0.

Source: Netzer, Wang, Coates, Bissacco, Wu and Ng, "Reading digits in natural images with unsupervised feature
learning", 2011.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError
from .matfile import read_mat

FILES = {"train": "train_32x32.mat", "test": "test_32x32.mat"}


def read_svhn(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images (N, 32, 32, 3) and labels (N,) of one of the files. Raises DataError."""
    arrays = read_mat(path)
    if not {"X", "y"} <= arrays.keys():
        raise DataError("the file has arrays X and y", where=str(path), received=", ".join(arrays)[:80] or "none")
    x, y = arrays["X"], arrays["y"].ravel()
    if x.dtype != np.uint8 or x.ndim != 4 or x.shape[:3] != (32, 32, 3):
        raise DataError("X is bytes of 32x32x3xN", where=str(path), received=f"{x.dtype} {x.shape}")
    if not np.isin(y, np.arange(1, 11)).all():
        raise DataError("y is digits from 1 to 10, which stands for 0", where=str(path))
    return np.asarray(x.transpose(3, 0, 1, 2), np.uint8), y.astype(np.uint8) % np.uint8(10)
