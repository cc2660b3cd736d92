"""neocog's `train`, with a run folder of checkpoints, logs and a report, as a user gets it."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from fit import MOMENTUM, RATE, Clock, given

from neocog import Network, train
from neocog.data import Dataset, Splits


def main() -> None:
    work = given()
    clock = Clock()
    classes = tuple(map(str, range(1 + int(work.y.max()))))
    sets = (
        Dataset("images", split, x, y.astype(np.int64), classes)
        for split, x, y in (("train", work.x, work.y), ("test", work.x_test, work.y_test))
    )
    with tempfile.TemporaryDirectory() as folder:
        model = train(
            Network.parse(work.text),
            Splits(*sets),
            epochs=work.epochs,
            batch_size=work.batch,
            lr=RATE,
            momentum=MOMENTUM,
            weight_decay=0.0,
            schedule="constant",
            measure_every=work.epochs,
            seed=work.seed,
            out=Path(folder, "run"),
            progress="none",
        )
    clock.tell(model.record["test_accuracy"])


if __name__ == "__main__":
    main()
