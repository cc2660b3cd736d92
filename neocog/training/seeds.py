"""The same run with several seeds: one run says little about a network, whose accuracy varies with the seed.

The mean m = sum a_k / n and the deviation s = sqrt(sum (a_k - m)^2 / (n - 1)) are of n runs; the mean itself is known
to about s / sqrt(n).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Splits, load_data
from ..data.dataset import silence
from ..errors import NeocogError
from ..files import write_atomically
from ..model import Model
from ..network import Network
from .run import numbered
from .session import train

MOST = 1000
SUMMARY = "seeds.json"


@dataclass(frozen=True, eq=False)
class Runs:
    """Models of runs that differ in nothing but the seed, and the folder that holds their folders."""

    folder: Path
    seeds: tuple[int, ...]
    models: tuple[Model, ...]

    @property
    def accuracies(self) -> list[float]:
        """Of the test images, by views where they were asked for, in the order of the seeds."""
        return [model.record.get("tta_accuracy", model.record["test_accuracy"]) for model in self.models]

    @property
    def mean(self) -> float:
        """Of the accuracies."""
        return float(np.mean(self.accuracies))

    @property
    def deviation(self) -> float | None:
        """Of the accuracies; None for a single one."""
        return float(np.std(self.accuracies, ddof=1)) if len(self.models) > 1 else None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        runs = [
            {"seed": seed, "accuracy": accuracy, "epochs": model.record["epochs"], "seconds": model.record["seconds"]}
            for seed, accuracy, model in zip(self.seeds, self.accuracies, self.models, strict=True)
        ]
        return {"folder": str(self.folder), "runs": runs, "mean": self.mean, "deviation": self.deviation}


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds as they are written: `5` is 0 to 4, `3..7` is 3 to 7, `1, 4, 9` these. Raises NeocogError."""
    one, several, some = (re.fullmatch(p, text.strip(), re.ASCII) for p in (NUMBER, rf"{NUMBER}\.\.{NUMBER}", LIST))
    if several:
        low, high = map(int, several.groups())
        found = tuple(range(low, min(high, low + MOST) + 1))
    elif one:
        found = tuple(range(min(int(one[1]), MOST + 1)))
    else:
        found = tuple(dict.fromkeys(map(int, text.split(",")))) if some else ()
    if not 1 <= len(found) <= MOST:
        raise NeocogError(
            f"seeds are how many, a range or a list, of 1 to {MOST}", received=text[:40], hint="5, 0..4, or 1, 4, 9"
        )
    return found


NUMBER, LIST = r"(\d{1,9})", r"\d{1,9}( *, *\d{1,9})+"


def train_seeds(
    network: Network,
    data: Splits | str | Path,
    seeds: Sequence[int],
    *,
    out: str | Path | None = None,
    name: str | None = None,
    **settings: Any,
) -> Runs:
    """One run for each seed, with the settings of `train`, in the folders `seed-0`, `seed-1`, ... of one folder.

    That is `out`, or the first free `runs/<name>-seeds-N`; its `seeds.json` has what they came to. Raises what `train`
    raises.
    """
    told = settings.get("told", silence)
    data = load_data(str(data), network.input_shape, told) if isinstance(data, str | Path) else data
    folder = Path(out) if out is not None else numbered(Path("runs"), f"{name or data.train.name}-seeds")
    models = [train(network, data, seed=seed, out=folder / f"seed-{seed}", **settings) for seed in seeds]
    runs = Runs(folder, tuple(seeds), tuple(models))
    write_atomically(folder / SUMMARY, json.dumps(runs.as_json(), indent=2).encode())
    return runs
