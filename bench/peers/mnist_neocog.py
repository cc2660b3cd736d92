"""neocog: LeNet-5 in today's terms with the settings that `neocog train` has by itself."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from digits import SEED, TARGET

from neocog import load_data, train, zoo


def main() -> None:
    data = load_data("mnist")
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        model = train(zoo("lenet5-relu"), data, out=out, seed=SEED, target_accuracy=TARGET, progress="none")
    told = {name: model.record[key] for name, key in TOLD.items()}
    print(json.dumps(told), flush=True)


TOLD = {"epoch": "epochs", "accuracy": "test_accuracy", "seconds": "seconds"}


if __name__ == "__main__":
    main()
