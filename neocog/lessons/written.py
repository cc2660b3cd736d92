"""Matrices as text: numbers in columns, several matrices side by side under their names."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from numpy.typing import NDArray


def beside(matrices: Mapping[str, NDArray[Any]]) -> tuple[str, ...]:
    """Lines with the matrices (H, W), or rows of numbers (W,), from left to right, each under its name."""
    columns = [_column(name, values) for name, values in matrices.items()]
    widths = [max(map(len, column)) for column in columns]
    rows = zip_longest(*columns, fillvalue="")
    return tuple("   ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows)


def _column(name: str, values: NDArray[Any]) -> list[str]:
    table = values.reshape(-1, values.shape[-1])
    cells = [[f"{value:.4g}" for value in row] for row in table]
    width = max(len(cell) for row in cells for cell in row)
    return [name, *(" ".join(cell.rjust(width) for cell in row) for row in cells)]
