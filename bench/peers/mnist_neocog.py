"""neocog: the recipe recipes/mnist-fast.toml, as `neocog train --recipe` runs it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from digits import SEED, TARGET

from neocog import Network, load_data, train
from neocog.training.recipe import read_recipe

RECIPE = Path(__file__).parents[2] / "recipes" / "mnist-fast.toml"
TOLD = {"epoch": "epochs", "accuracy": "test_accuracy", "seconds": "seconds"}


def main() -> None:
    recipe = read_recipe(RECIPE)
    settings = {**recipe.settings, "seed": SEED, "target_accuracy": TARGET, "progress": "none"}
    with tempfile.TemporaryDirectory() as folder:
        model = train(Network.parse(recipe.network), load_data(recipe.data), out=Path(folder, "run"), **settings)
    print(json.dumps({name: model.record[key] for name, key in TOLD.items()}), flush=True)


if __name__ == "__main__":
    main()
