"""What a run's epochs came to: the best of them, and all as a table that any spreadsheet or library reads."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

COLUMNS = {
    "epoch": "epoch",
    "train/loss": "train_loss",
    "train/acc1": "train_accuracy",
    "val/loss": "loss",
    "val/acc1": "accuracy",
    "lr": "lr",
    "images_per_s": "images_per_second",
    "seconds": "seconds",
}
"""The columns of `results.csv`, under names in common use, and what each is called in `metrics.jsonl`. Accuracies are
shares, from 0 to 1."""


def best_epoch(epochs: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """The line of the most accurate epoch; of equally accurate ones the first with the smallest loss."""
    return max(epochs, key=lambda epoch: (epoch["accuracy"], -epoch["loss"]))


def append_results(path: Path, epoch: Mapping[str, Any]) -> None:
    """Add an epoch's line; a new file begins with the names. Raises OSError."""
    with path.open("a", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        if not file.tell():
            table.writerow(COLUMNS)
        table.writerow([f"{epoch[key]:.6g}" for key in COLUMNS.values()])
