"""A run between two steps, as a file from which it can go on exactly as if it had not stopped.

The file is a sealed safetensors file (`files.py`): the engine's state as arrays, and a JSON document with the place in
the run, the means of the running epoch and the run's configuration. It holds no code, and is believed only if its
checksum is right and its arrays are of this network. The file's name has the number of steps made, by which
checkpoints are ordered: clocks and times of files decide nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from ..errors import ModelFileError, RunError
from ..files import (
    Described,
    check_finite,
    check_size,
    read_document,
    read_header,
    read_sealed,
    seal,
    write_atomically,
)
from ..model import weight_shapes
from ..network import Network
from .metrics import Meter

FORMAT = 1
KEY = "neocog-checkpoint"
FILE = re.compile(r"step-(\d{8,18})\.safetensors")
MOST_KINDS = 8
"""How many arrays an engine may remember for each of the network's."""


@dataclass(frozen=True)
class Place:
    """How far a run has come: `step` mini-batches in all, `done` of them in the running `epoch`, counted from 1.

    `whole` and `recent` are the numbers of the meters of the epoch and of the steps since the last logged ones,
    `logs` the lengths of the files that grow, `seconds` the time spent so far.
    """

    step: int
    epoch: int
    done: int
    whole: Mapping[str, Any]
    recent: Mapping[str, Any]
    logs: Mapping[str, int]
    seconds: float


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """A place in the run of a `config`, and the engine's state there; `resumed` tells how it was taken up before."""

    place: Place
    config: Mapping[str, Any]
    resumed: tuple[Mapping[str, Any], ...]
    state: Mapping[str, NDArray[Any]]

    def save(self, folder: Path) -> Path:
        """Write it under its name, whole or not at all. Raises RunError where that fails."""
        path = folder / f"step-{self.place.step:08}.safetensors"
        write_atomically(path, self.sealed())
        return path

    def sealed(self) -> bytes:
        """The content of its file."""
        document = {
            "format": FORMAT,
            **vars(self.place),
            "config": dict(self.config),
            "resumed": [dict(one) for one in self.resumed],
        }
        return seal(KEY, document, self.state)


def read_checkpoint(path: Path, network: Network) -> Checkpoint:
    """The checkpoint of a network's training in a file. Nothing in it is executed, and no array is read unseen.

    Raises ModelFileError where the file is damaged, foreign, or not what its name says.
    """
    try:
        return _read(path, network)
    except ModelFileError as error:
        raise error.at(str(path)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ModelFileError("this file cannot be read", where=str(path), received=reason) from None


def checkpoint_files(folder: Path) -> list[Path]:
    """The checkpoints in a folder, by the number of steps, the fewest first."""
    found = [(int(match[1]), path) for path in folder.glob("step-*") if (match := FILE.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def newest(folder: Path, network: Network) -> tuple[Checkpoint | None, list[str]]:
    """The newest checkpoint that is whole, and in words why newer ones are not used; None where there are none at all.

    Raises RunError where there are some but none is whole.
    """
    said: list[str] = []
    for path in reversed(checkpoint_files(folder)):
        try:
            return read_checkpoint(path, network), said
        except ModelFileError as error:
            said.append(f"{path.name} is not used: {error.rule}")
    if said:
        raise RunError(
            "no checkpoint is whole", where=str(folder), received="; ".join(said), hint="a run from the start"
        )
    return None, said


def _read(path: Path, network: Network) -> Checkpoint:
    header, stored = read_header(path)
    document = read_document(header, KEY, FORMAT, ModelFileError("this is no checkpoint"))
    _check_arrays(header, network)
    check_size(header, stored)
    state = read_sealed(path, document)
    check_finite(state)
    try:
        step, epoch, done = (_count(document[name]) for name in ("step", "epoch", "done"))
        logs = {name: _count(length) for name, length in document["logs"].items()}
        whole, recent = document["whole"], document["recent"]
        for meter in (whole, recent):
            Meter.of(meter)
        place = Place(step, epoch, done, whole, recent, logs, float(document["seconds"]))
        config, resumed = document["config"], tuple(dict(one) for one in document["resumed"])
        if not all(isinstance(part, dict) for part in (config["settings"], config["data"])):
            raise TypeError
    except (AttributeError, KeyError, TypeError, ValueError, OverflowError):
        raise ModelFileError("the description is damaged: it does not say how far the run was") from None
    named = FILE.fullmatch(path.name)
    if named and int(named[1]) != place.step:
        raise ModelFileError("this is not the checkpoint that its name says", received=f"step {place.step}")
    return Checkpoint(place, config, resumed, state)


def _check_arrays(header: Described, network: Network) -> None:
    """Whether arrays are numbers that an engine may remember: counts, and some for each of the network's arrays."""
    shapes, kinds = weight_shapes(network), set()
    for name, entry in header.items():
        kind, slash, array = name.partition("/")
        found = (entry.get("dtype"), entry.get("shape"))
        allowed = [("F32", shapes[array]["shape"]), ("F32", [])] if array in shapes else [("I64", [])] * (not slash)
        if found not in allowed:
            raise ModelFileError("an array is not one of this network's training", received=f"{name[:40]} {found}"[:80])
        kinds.add(kind)
    if len(kinds) > MOST_KINDS:
        raise ModelFileError(f"there are at most {MOST_KINDS} kinds of arrays", received=f"{len(kinds)}")


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise ValueError
    return value
