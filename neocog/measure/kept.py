"""What was measured of a machine, kept in the user's cache folder: it is measured once."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import torch

from ..errors import RunError
from ..files import cache_folder, write_atomically
from .clock import BUSY, watched

Report = Callable[[str], None]


class Keepable(Protocol):
    """What can be written as JSON and read again."""

    def as_dict(self) -> dict[str, Any]:
        """As JSON values."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """What `as_dict` wrote. Raises ValueError, TypeError or KeyError for anything else."""


Kept = TypeVar("Kept", bound=Keepable)


@dataclass(frozen=True)
class Question(Generic[Kept]):
    """Something to be known of a machine: `key` holds all that the answer depends on, `measure` finds it."""

    name: str
    key: Mapping[str, Any]
    kind: type[Kept]
    measure: Callable[[Report], Kept]

    def at_hand(self, folder: str | Path | None = None) -> Kept | None:
        """The answer that a file in the folder holds; None where there is none, or one that is damaged.

        `folder` None is `$NEOCOG_CACHE`, or `neocog` in the user's cache folder.
        """
        try:
            document = json.loads(self._path(folder).read_text(encoding="utf-8"))
            return self.kind.from_dict(document[self.name]) if document["key"] == self.key else None
        except (OSError, ValueError, TypeError, KeyError, RecursionError):
            return None

    def answer(self, folder: str | Path | None = None, report: Report | None = None) -> Kept:
        """The answer that is at hand, or else measured now and kept; `report` is told what is being done."""
        found = self.at_hand(folder)
        if found is not None:
            return found
        tell = report or (lambda text: None)
        with watched() as load:
            found = self.measure(tell)
        _keep(self._path(folder), json.dumps({"key": self.key, self.name: found.as_dict()}, indent=1), tell)
        if (load.others or 0.0) > BUSY:
            tell(f"other programs used {load.others:.1f} cores meanwhile: to measure again, remove that file")
        return found

    def _path(self, folder: str | Path | None) -> Path:
        return (Path(folder) if folder else cache_folder()) / f"{self.name}-{digest(self.key)}.json"


def _keep(path: Path, content: str, tell: Report) -> None:
    """Write the file; where that cannot be done, what was measured is still good for this time."""
    try:
        write_atomically(path, content.encode())
        tell(f"kept in {path}")
    except RunError as error:
        tell(str(error))


def digest(value: Any) -> str:
    """A short name for JSON values."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def machine_name(device: torch.device) -> str:
    """The model of the processor that does the work."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    about = dict(line.split(":", 1) for line in lines if ":" in line)  # the last core's; all are alike
    named = {name.strip(): value.strip() for name, value in about.items()}
    if "model name" not in named:
        return platform.processor() or platform.machine()
    family = "/".join(named.get(part, "?") for part in ("cpu family", "model", "stepping"))
    return f"{named['model name']} ({family})"
