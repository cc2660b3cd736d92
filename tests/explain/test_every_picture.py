"""Each method that gives a picture of its own gives one of a network with branches, joins and an auxiliary output."""

from __future__ import annotations

from dataclasses import replace
from io import BytesIO

import numpy as np
import pytest
from explain.conftest import NETS, images_for, model_of
from PIL import Image

from neocog.data import Dataset
from neocog.errors import RunError
from neocog.explain import METHODS, View, class_image, deep_dream, inversion, maximise, picture

VIEWS = [method for method in METHODS if isinstance(method, View)]


@pytest.fixture(autouse=True)
def two_steps(monkeypatch):
    for module, name in (
        *((maximise, "HOW"), (deep_dream, "HOW"), (inversion, "HOW")),
        *((class_image, "PLAIN"), (class_image, "REGULARISED")),
    ):
        monkeypatch.setattr(module, name, replace(getattr(module, name), steps=2))
    monkeypatch.setattr(deep_dream, "FRAMES", (0, 1))


def asked(model, method):
    """What a method needs, and no more units than one."""
    images = images_for(model, 20)
    data = Dataset("made up", "test", images, np.arange(20) % 4, model.classes)
    given = {"data": data} if "data" in method.needs else {}
    if "count" in method.takes and not given:
        given["count"] = 1
    return picture(model, method.name, images[:1] if "image" in method.needs else [], **given)


@pytest.mark.parametrize("method", [one for one in VIEWS if one.name != "filters"], ids=lambda method: method.name)
def test_no_picture_is_made_of_values_that_overflow(method):
    model = model_of("INPUT[16x16x1] -> CONV3-4 -> RELU -> POOL2 -> CONV3-4 -> RELU -> GAP -> FC4")
    weights = {name: np.where(array < 0, -1e25, 1e25).astype(np.float32) for name, array in model.weights.items()}
    with pytest.raises(RunError, match="overflow"):
        asked(replace(model, weights=weights), method)


@pytest.mark.parametrize("method", VIEWS, ids=lambda method: method.name)
def test_every_picture_is_made_of_a_network_with_branches(method):
    model = model_of(NETS["googlenet"])
    shown = asked(model, method)
    assert shown.lines()
    with Image.open(BytesIO(shown.picture())) as drawn:
        assert min(drawn.size) > 100
