"""`verify_resume`: whether stopping and resuming change a bit, tried on the user's own run."""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Splits
from ..errors import NeocogError
from .loop import Left
from .progress import Silence
from .resuming import Resumption
from .run import RunFolder


@dataclass(frozen=True)
class Comparison:
    """SHA-256 of all that an engine holds after `steps` steps: made in one go, and `stopped_at` one and resumed."""

    steps: int
    stopped_at: int
    uninterrupted: str
    resumed: str

    @property
    def same(self) -> bool:
        """Whether not a bit differs."""
        return self.uninterrupted == self.resumed


def verify_resume(run: str | Path, data: Splits | str | Path | None = None, steps: int = 20) -> Comparison:
    """Make the first steps of a run twice, stopped after a random one and resumed the second time.

    Network, settings, engine and data are the run's own; what is written goes into a temporary folder. The stop is as
    by Ctrl-C, and what goes on is a new engine that has nothing but the files. Raises NeocogError as `resume`.
    """
    plan = Resumption.of(Path(run))
    found = plan.data(data)
    plan.check_data(found, None, changed=False)
    total = plan.settings.epochs * len(plan.session(found).batches)
    if (last := min(steps, total)) < 2:
        raise NeocogError("two steps are needed, to stop after the first", received=f"{last}")
    stop = random.SystemRandom().randrange(1, last)
    with tempfile.TemporaryDirectory() as place:
        whole, parts = Path(place) / "whole", Path(place) / "parts"
        return Comparison(last, stop, _hash(plan, found, whole, last), _hash(plan, found, parts, stop, last))


def _hash(plan: Resumption, data: Splits, path: Path, *stops: int) -> str:
    """The hash after the last of the stops, a new engine beginning at each from what the one before wrote."""
    with RunFolder.create(path, "") as folder:
        for stop in stops:
            at, _ = plan.checkpoint(folder)
            session = plan.session(data)
            with suppress(Left):
                session.loop(folder, Silence(), at, until=stop).run()
    return state_hash(session.engine.state())


def state_hash(state: Mapping[str, NDArray[Any]]) -> str:
    """SHA-256 over names and bytes of arrays, in the order of their names."""
    digest = hashlib.sha256()
    for name in sorted(state):
        digest.update(name.encode())
        digest.update(np.asarray(state[name], order="C").data)
    return digest.hexdigest()
