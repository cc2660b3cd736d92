from __future__ import annotations

from inspect import signature
from pathlib import Path

import pytest

from neocog import NeocogError, Network, train, zoo
from neocog.training.recipe import FLAGS, REAL, TEXTS, WHOLE, read_recipe
from neocog.training.schedule import SCHEDULES
from neocog.training.settings import Settings

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
GOOD = 'network = "INPUT[28x28x1] -> FC10"\ndata = "mnist"\n'


def written(folder, text):
    path = folder / "a.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_recipe_is_network_data_and_settings(tmp_path):
    recipe = read_recipe(written(tmp_path, GOOD + 'epochs = 2\nlr = 1\naugment = "shift=1"\n'))
    assert (recipe.network, recipe.data) == ("INPUT[28x28x1] -> FC10", "mnist")
    assert recipe.settings == {"epochs": 2, "lr": 1, "augment": "shift=1"}


def test_a_recipe_may_hold_whatever_decides_a_run():
    names = {*TEXTS, *FLAGS, *WHOLE, *REAL}
    assert names <= set(signature(train).parameters)
    assert set(Settings.__dataclass_fields__) <= names


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_that_comes_along_can_be_followed(path):
    recipe = read_recipe(path)
    assert Network.parse(recipe.network).plan().totals["parameters"] > 0
    known = {
        name: p.default for name, p in signature(train).parameters.items() if name in Settings.__dataclass_fields__
    }
    known |= {"lr": 0.1, "loss": "cross-entropy"}  # which have no default of their own
    assert Settings(**{name: recipe.settings.get(name, value) for name, value in known.items()}).epochs >= 1


def test_the_papers_resnet20_has_its_network_steps_and_rates():
    """He et al., arXiv 1512.03385, section 4.2: 64,000 steps, and a tenth of the rate from 32,000 and 48,000 on."""
    recipe = read_recipe(next(path for path in RECIPES if path.stem == "resnet20-paper"))
    assert Network.parse(recipe.network) == zoo("resnet20")
    steps = recipe.settings["epochs"] * -(-50_000 // recipe.settings["batch_size"])
    assert steps == pytest.approx(64_000, rel=0.002)
    factor = SCHEDULES[recipe.settings["schedule"]].factor
    rates = [recipe.settings["lr"] * factor(step / 64_000) for step in (0, 31_999, 32_000, 47_999, 48_000, 63_999)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("network = ", "a recipe is a TOML file"),
        (b"\xff", "this recipe cannot be read"),
        (" " * 70000, "this recipe cannot be read\n  received: more than 65536 bytes"),
        ('data = "mnist"', 'a recipe says which network it is for\n  try: network = "..."'),
        ('network = "INPUT[28x28x1] -> FC10"', "a recipe says which data it is for"),
        (GOOD + "shift = 1", "a recipe has no such setting\n  received: shift\n  try: network, data, optimizer"),
        (GOOD + "epochs = 1.5", "epochs is a whole number\n  received: epochs = 1.5"),
        (GOOD + "epochs = true", "epochs is a whole number\n  received: epochs = True"),
        (GOOD + "whiten = 1", "whiten is true or false\n  received: whiten = 1"),
        (GOOD + 'lr = "fast"', "lr is a number\n  received: lr = 'fast'"),
        (GOOD + "augment = 2", "augment is a text in quotes\n  received: augment = 2"),
    ],
)
def test_what_is_no_recipe_is_refused_with_the_files_name(text, says, tmp_path):
    path = written(tmp_path, text)
    with pytest.raises(NeocogError) as refused:
        read_recipe(path)
    assert str(refused.value).startswith(f"{path}: {says}")


def test_a_recipe_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(NeocogError, match="this recipe cannot be read\n  received: No such file"):
        read_recipe(tmp_path / "none.toml")
