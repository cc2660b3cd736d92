"""A run's folder: settings and metrics while it trains; the model, its answers and the report after."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from ..errors import NeocogError, RunError
from ..files import write_atomically
from ..model import load
from ..report.comparison import Run
from ..report.events import append_scalars
from ..report.results import append_results

MODEL, METRICS, CONFIG, REPORT = "model.safetensors", "metrics.jsonl", "config.yaml", "report.html"
RESULTS, EVENTS, ANSWERS = "results.csv", "events.out.tfevents.neocog", "answers.npy"
INTERRUPTED = "interrupted.safetensors"
OWN = (MODEL, METRICS, CONFIG, REPORT, RESULTS, EVENTS, ANSWERS, INTERRUPTED)

SCALARS = {
    "steps": {"train/loss": "loss", "lr": "lr"},
    "epoch": {
        "epoch": "epoch",
        "train/acc1": "train_accuracy",
        "val/loss": "loss",
        "val/acc1": "accuracy",
        "images_per_s": "images_per_second",
    },
}
"""What of a line of `metrics.jsonl` becomes a curve in TensorBoard, by the line's kind, and under which name."""


@dataclass(frozen=True)
class RunFolder:
    """A folder of this run alone. `metrics.jsonl`, `results.csv` and the event file grow; the others appear whole."""

    path: Path

    @classmethod
    def create(cls, out: str | Path | None, name: str) -> RunFolder:
        """The folder `out`, or without one the first free `runs/<name>-N`, made and known to be writable.

        Raises NeocogError when it holds another run, RunError when it cannot be made or written.
        """
        with _explained(Path(out or "runs")):
            folder = cls(numbered(Path("runs"), name) if out is None else _given(Path(out)))
            folder.log_file.touch()
            return folder

    @property
    def log_file(self) -> Path:
        """`metrics.jsonl`."""
        return self.path / METRICS

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write `config.yaml`: what is needed to do the run again."""
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True, width=120)
        write_atomically(self.path / CONFIG, text.encode())

    def log(self, kind: str, values: Mapping[str, Any]) -> None:
        """Append one line to `metrics.jsonl`: a JSON object with its `kind`; `steps` and `epoch` become curves too."""
        line = json.dumps({"kind": kind, **values}, allow_nan=False)
        with _explained(self.path):
            with self.log_file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
            if kind == "epoch":
                append_results(self.path / RESULTS, values)
            if kind in SCALARS:
                step = values["step"] if kind == "steps" else values["steps"]
                append_scalars(self.path / EVENTS, step, {tag: values[key] for tag, key in SCALARS[kind].items()})

    def write_answers(self, labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> None:
        """Write `answers.npy`: for each test image its class and what the model said, as (2, N) small numbers.

        With them two runs can be compared image by image.
        """
        out = BytesIO()
        pairs = np.stack([labels, predicted])
        np.save(out, pairs.astype(np.min_scalar_type(int(pairs.max()))), allow_pickle=False)
        write_atomically(self.path / ANSWERS, out.getvalue())


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The lines of a run folder's `metrics.jsonl`."""
    return [json.loads(line) for line in (path / METRICS).read_text(encoding="utf-8").splitlines()]


def read_run(path: Path, name: str) -> Run:
    """A finished run, under a name to call it by. Raises NeocogError where the folder holds none, ModelFileError."""
    if not (path / MODEL).is_file():
        raise NeocogError(
            "this is no folder of a finished run", where=str(path), received=f"it has no {MODEL}", hint="runs/mnist-1"
        )
    record = load(path / MODEL).record
    try:
        metrics = read_metrics(path)
        answers = np.load(path / ANSWERS, allow_pickle=False) if (path / ANSWERS).is_file() else None
        run = Run(name, record, metrics, answers)
        if not run.epochs or not run.settings() or not run.figures() or (answers is not None and len(answers) != 2):
            raise ValueError("something is missing")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise NeocogError("the files of this run cannot be read", where=str(path), received=str(error)[:100]) from None
    return run


def _given(path: Path) -> Path:
    taken = [name for name in OWN if (path / name).exists()]
    if taken:
        raise NeocogError(
            "this folder holds another run, which is not overwritten",
            where=str(path),
            received=f"it has {', '.join(taken)}",
            hint=f"another folder, as {path}-2, or none: runs are then numbered",
        )
    path.mkdir(parents=True, exist_ok=True)
    return path


def numbered(parent: Path, name: str) -> Path:
    """The first folder `<name>-N` that is not there yet, made."""
    parent.mkdir(parents=True, exist_ok=True)
    for number in count(1):
        path = parent / f"{name}-{number}"
        try:
            path.mkdir()
        except FileExistsError:
            continue
        return path
    raise AssertionError  # count never ends


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Tell the user which folder failed and why, instead of a traceback."""
    try:
        yield
    except OSError as error:
        raise RunError(
            "the run folder cannot be written",
            where=str(path),
            received=error.strerror or str(error),
            hint="another out folder",
        ) from None
