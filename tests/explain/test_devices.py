"""Every method computes where its network is: on a GPU as on the CPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from explain.conftest import NETS, images_for, model_of

from neocog.explain import BY_NAME, METHODS, Attribution, ask, explain, integrated_gradients, picture, smoothgrad
from neocog.explain.evidence import likeness
from neocog.explain.method import Asked

ATTRIBUTIONS = [method.name for method in METHODS if isinstance(method, Attribution)]
VIEWS = ("filters", "filter-gradients", "activations", "activation-gradients", "field", "maximise", "deepdream")


@pytest.fixture(autouse=True)
def fewer_passes(monkeypatch):
    monkeypatch.setattr(smoothgrad, "COPIES", 3)
    monkeypatch.setattr(integrated_gradients, "MOST_STEPS", 32)


@pytest.mark.parametrize("name", ATTRIBUTIONS)
def test_what_a_method_makes_for_itself_it_makes_on_its_networks_device(name):
    """Where nobody says a device it is one that holds no numbers, so that such a tensor cannot be computed with."""
    model = model_of(NETS["resnet"])
    question = ask(model, images_for(model, 2))
    target, x = question.class_target(), question.x
    question.subject.scores(x, target)
    with torch.device("meta"):
        found = BY_NAME[name].attribute(question.subject, x, Asked(target))
    assert found.values.device.type == "cpu"
    assert torch.isfinite(found.values).all()


def test_a_network_without_parameters_is_where_its_buffers_are():
    model = model_of("INPUT[8x8x1] -> FILTER(sobel-x) -> RELU -> GAP", weights={})
    subject = ask(model, images_for(model, 1)).subject
    subject.module.to("meta")
    assert subject.device.type == "meta"


@pytest.mark.gpu
@pytest.mark.parametrize("net", NETS)
@pytest.mark.parametrize("name", ATTRIBUTIONS)
def test_a_gpu_gives_the_map_of_the_cpu(net, name):
    model = model_of(NETS[net])
    (mine,), (other,) = (explain(model, images_for(model, 1), name, target=1, device=d) for d in ("cpu", "cuda"))
    assert mine.map.any() == other.map.any()  # where every channel speaks against a class, some maps are empty
    assert likeness(mine.map, other.map) > 0.98 or not mine.map.any()
    assert mine.score == pytest.approx(other.score, rel=1e-2, abs=1e-2)
    assert np.isfinite(other.evidence.sanity)


@pytest.mark.gpu
@pytest.mark.parametrize("name", VIEWS)
def test_a_gpu_shows_what_the_cpu_does(name):
    model = model_of(NETS["resnet"])
    images = images_for(model, 1) if "image" in BY_NAME[name].needs else []
    mine, other = (picture(model, name, images, device=device) for device in ("cpu", "cuda"))
    assert [len(strip.panels) for strip in mine.strips] == [len(strip.panels) for strip in other.strips]
    assert mine.document.keys() == other.document.keys()
