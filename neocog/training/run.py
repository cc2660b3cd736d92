"""A run's folder, for one process at a time.

| file                                     | holds                                                          |
|------------------------------------------|----------------------------------------------------------------|
| `config.yaml`                            | what is needed to do the run again                             |
| `metrics.jsonl`                          | what it came to, a line for every few steps and every epoch    |
| `checkpoints/step-00000120.safetensors`  | what is needed to go on from there: see `checkpoint.py`        |
| `checkpoints/best.safetensors`           | the model of the best epoch so far                             |
| `interrupted.safetensors`                | the model as it was when the run was interrupted               |
| `non-finite.json`                        | the mini-batch whose loss was not finite                       |
| `results.csv`, `events.out.tfevents...`  | the same as `metrics.jsonl`, as a table and for TensorBoard    |
| `model.safetensors`, `report.html`       | the model and the report of a run that is finished             |
| `answers.npy`                            | what that model said of each test image                        |
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from itertools import count
from pathlib import Path
from shlex import quote
from typing import Any, Self

import numpy as np
import yaml
from numpy.typing import NDArray

from ..errors import NeocogError, RunError
from ..files import near_name, write_atomically
from ..model import load
from ..report.comparison import Run
from ..report.events import append_scalars
from ..report.results import append_results
from .lock import Lock
from .metrics import Epoch

MODEL, METRICS, CONFIG, REPORT = "model.safetensors", "metrics.jsonl", "config.yaml", "report.html"
RESULTS, EVENTS, ANSWERS = "results.csv", "events.out.tfevents.neocog", "answers.npy"
INTERRUPTED, NON_FINITE = "interrupted.safetensors", "non-finite.json"
CHECKPOINTS = "checkpoints"
OWN = (MODEL, METRICS, CONFIG, REPORT, RESULTS, EVENTS, ANSWERS, INTERRUPTED, CHECKPOINTS)
LOGS = (METRICS, RESULTS, EVENTS)
"""Files that grow."""
LARGEST_CONFIG = 1 << 20
"""Bytes."""

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
    """A folder of this run alone. `metrics.jsonl`, `results.csv` and the event file grow; the others appear whole.

    It is locked until it is left as a context manager, or its process ends.
    """

    path: Path
    lock: Lock

    @classmethod
    def create(cls, out: str | Path | None, name: str) -> RunFolder:
        """The folder `out`, or without one the first free `runs/<name>-N`, made and known to be writable.

        Raises NeocogError when it holds another run, RunError when another process is in it, and when it cannot be
        made or written.
        """
        with _explained(Path(out or "runs")):
            path = numbered(Path("runs"), name) if out is None else Path(out)
            path.mkdir(parents=True, exist_ok=True)
            lock = Lock(path)
            try:
                _check_free(path)
                (path / METRICS).touch()
            except BaseException:
                lock.free()
                raise
            return cls(path, lock)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """The folder of a run that was begun before. What a killed process left half written is removed.

        Raises NeocogError where there is no run, RunError when another process is in it and when it cannot be written.
        """
        check_run(path)
        with _explained(path):
            folder = cls(path, Lock(path))
            for place in (path, folder.checkpoints):
                for left in place.glob(".*.part"):
                    left.unlink()
            return folder

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.lock.free()

    @property
    def going_on(self) -> str:
        """What to do where writing failed within the run."""
        return f"make room, then neocog train --resume {quote(str(self.path))}"

    @property
    def log_file(self) -> Path:
        """`metrics.jsonl`."""
        return self.path / METRICS

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints, which may not exist yet."""
        return self.path / CHECKPOINTS

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write `config.yaml`: what is needed to do the run again."""
        plain = json.loads(json.dumps(dict(config)))  # nothing shared, which YAML would write as a reference
        text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)
        write_atomically(self.path / CONFIG, text.encode())

    def log(self, kind: str, values: Mapping[str, Any]) -> None:
        """Append one line to `metrics.jsonl`: a JSON object with its `kind`; `steps` and `epoch` become curves too."""
        line = json.dumps({"kind": kind, **values}, allow_nan=False)
        with _explained(self.path, hint=self.going_on):
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

    def epochs(self) -> list[Epoch]:
        """Those that are in `metrics.jsonl`."""
        try:
            lines = [line for line in read_metrics(self.path) if line.pop("kind") == "epoch"]
            return [Epoch(**line) for line in lines]
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise RunError(
                "this is not as it was written", where=str(self.log_file), received=str(error)[:80]
            ) from None

    def note_non_finite(self, batch: Mapping[str, Any]) -> None:
        """Write `non-finite.json`: the step whose loss was not finite, and the numbers of its images."""
        write_atomically(self.path / NON_FINITE, json.dumps(dict(batch), indent=1).encode())

    def log_lengths(self) -> dict[str, int]:
        """How long the files are that grow, once all of them is on the disk."""
        found = {}
        with _explained(self.path, hint=self.going_on):
            for name in self._logs():
                with (self.path / name).open("ab") as file:
                    os.fsync(file.fileno())
                    found[name] = file.tell()
        return found

    def cut_logs(self, lengths: Mapping[str, int]) -> None:
        """Cut the files that grow back to these lengths. Raises RunError where `metrics.jsonl` is shorter."""
        with _explained(self.path):
            found = {name: (self.path / name).stat().st_size for name in self._logs()}
            if found.get(METRICS, 0) < lengths.get(METRICS, 0):
                raise RunError(
                    "lines are missing that were written before the checkpoint",
                    where=str(self.log_file),
                    received=f"{found.get(METRICS, 0):,} bytes, {lengths[METRICS]:,} then",
                )
            for name, length in found.items():
                os.truncate(self.path / name, min(length, lengths.get(name, 0)))

    def _logs(self) -> list[str]:
        return [name for name in LOGS if (self.path / name).exists()]


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


def check_run(path: Path) -> None:
    """Whether a folder is that of a run. Raises NeocogError."""
    if not (path / CONFIG).is_file():
        hint = near_name(path) or "the folder that the lines `model` and `report` name at the end of neocog train"
        raise NeocogError("there is no run in this folder", where=str(path), received=f"no {CONFIG}", hint=hint)


def read_config(path: Path) -> dict[str, Any]:
    """What a run folder's `config.yaml` says. Raises NeocogError where there is none or it is no such file."""
    check_run(path)
    where = str(path / CONFIG)
    try:
        with (path / CONFIG).open("rb") as file:
            content = file.read(LARGEST_CONFIG + 1)
        if len(content) > LARGEST_CONFIG:
            raise NeocogError(f"the file has at most {LARGEST_CONFIG:,} bytes", where=where)
        found = yaml.load(content, _Plain)
    except OSError as error:
        raise NeocogError("this file cannot be read", where=where, received=error.strerror or str(error)) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, NeocogError):
            raise
        raise NeocogError("this is not as it was written", where=where, received=str(error)[:200]) from None
    if not isinstance(found, dict):
        raise NeocogError("this does not say how a run is done", where=where)
    return found


class _Plain(yaml.SafeLoader):
    """YAML without references, which a small file could multiply into a huge one."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("a reference, which no run writes")
        return super().compose_node(parent, index)


def _check_free(path: Path) -> None:
    if taken := [name for name in OWN if (path / name).exists()]:
        raise NeocogError(
            "this folder holds another run, which is not overwritten",
            where=str(path),
            received=f"it has {', '.join(taken)}",
            hint=f"another folder, as {path}-2, or none: runs are then numbered; --resume {path} continues it",
        )


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
def _explained(path: Path, hint: str = "another out folder") -> Iterator[None]:
    """Tell the user which folder failed and why, instead of a traceback."""
    try:
        yield
    except OSError as error:
        raise RunError(
            "the run folder cannot be written",
            where=str(path),
            received=error.strerror or str(error),
            hint=hint,
        ) from None
