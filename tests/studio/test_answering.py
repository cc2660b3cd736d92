"""Questions about a network in the studio are answered by the methods of `neocog.explain`, and change no run."""

from __future__ import annotations

from base64 import b64decode

import numpy as np
import pytest
from studio_requests import rest

from neocog.explain import METHODS, explain
from neocog.studio import Workshop, scenes
from neocog.studio.answering import answer, methods


def test_every_method_without_extras_is_offered(api):
    offered = api("GET", "methods").json
    assert offered == methods()
    assert {one["name"] for one in offered} == {one.name for one in METHODS if getattr(one, "extra", None) is None}


@pytest.mark.parametrize("method", ["gradient", "grad-cam", "integrated-gradients", "lrp", "activations", "filters"])
def test_answers_are_pictures_with_words(api, digits, method):
    told = api("POST", f"runs/{digits.name}/why", {"method": method, "image": {"number": 3}, "evidence": False}).json
    assert b64decode(told["picture"]).startswith(b"\x89PNG")
    assert told["title"]


def test_answers_are_in_the_language_asked_for(api, digits):
    body = {"method": "gradient", "image": {"number": 3}, "evidence": False, "language": "zh"}
    told = api("POST", f"runs/{digits.name}/why", body).json
    assert told["title"] == "gradient：普通反向传播：得分随每个像素如何变化"
    assert "类别" in told["lines"][0]
    assert api("POST", f"runs/{digits.name}/why", {**body, "language": "xx"}).status == 422


def test_maps_come_with_evidence_and_are_those_of_explain(shop, digits):
    told = answer(shop, digits.name, {"method": "grad-cam", "image": {"number": 3}, "target": 7, "layer": "conv1"})
    (one,) = told["document"]["explanations"]
    pixels = np.asarray(digits.data.test.images[3])
    (expected,) = explain(digits.model(), pixels, "grad-cam", target="7", layers=("conv1",))
    assert one["layer"] == "conv1"
    assert one["target"] == "class 7"
    assert set(one["evidence"]) == set(expected.evidence.as_json())


@pytest.mark.usefixtures("few_digits")
def test_asking_does_not_change_what_a_run_draws():
    text = "INPUT[28x28x1] -> POOL2 -> CONV3-4 -> RELU -> DROPOUT(0.5) -> FC10"
    ended = []
    for ask_meanwhile in (False, True):
        shop = Workshop()
        live = shop.begin(text, "mnist", {"seed": 5}, "torch", paused=True)
        rest(live, 4)
        if ask_meanwhile:
            answer(shop, live.name, {"method": "gradient", "image": {"number": 1}, "evidence": False})
            shop.layers(live.name, {}, 0, 8)
            shop.scene_of(live.name, {"number": 2})
        ended.append(rest(live, 9))
        shop.close()
    assert all(np.array_equal(ended[0][name], ended[1][name]) for name in ended[0])


def test_a_network_that_is_too_large_to_follow_still_answers(api, digits, monkeypatch):
    followed = api("POST", "scenes", {"run": digits.name, "image": {"number": 5}}).json
    monkeypatch.setattr(scenes, "MOST_MACS", 1)
    assert api("POST", "scenes", {"run": digits.name}).status == 400
    told = api("POST", f"runs/{digits.name}/answer", {"image": {"number": 5}}).json
    assert [name for name, _ in told["top"]] == [name for name, _ in followed["top"]]
    assert [share for _, share in told["top"]] == pytest.approx([share for _, share in followed["top"]], abs=1e-5)
    assert (told["label"], told["layers"]) == (followed["label"], followed["layers"])


def test_what_cannot_be_asked_is_refused(api, digits):
    for body in (
        {"method": "none"},
        {"method": "grad-cam", "layer": "conv9"},
        {"method": "grad-cam", "target": 99},
        {"method": "atlas"},
    ):
        assert api("POST", f"runs/{digits.name}/why", body).status == 400, body


def test_a_network_slides_over_a_large_image(api, shop, digits):
    from io import BytesIO

    from PIL import Image

    from neocog.dense import score

    rng = np.random.default_rng(0)
    page = rng.integers(0, 256, (60, 90), np.uint8)
    file = BytesIO()
    Image.fromarray(page).save(file, "PNG")
    key = api("POST", "images", file.getvalue()).json["upload"]
    told = api("POST", f"runs/{digits.name}/dense", {"upload": key, "target": 3}).json
    found = score(digits.model(), page)
    assert b64decode(told["picture"]).startswith(b"\x89PNG")
    assert (tuple(told["cells"]), told["crops"]) == (found.cells, found.crops)
    assert api("POST", f"runs/{digits.name}/dense", {"upload": key}).status == 200
    assert api("POST", f"runs/{digits.name}/dense", {"upload": key, "target": 10}).status == 400
    assert api("POST", f"runs/{digits.name}/dense", {"upload": "none"}).status == 404
