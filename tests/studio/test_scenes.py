"""Numbers of the step view are the reference's, forwards and backwards, for any window."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from neocog import Network
from neocog.errors import NeocogError
from neocog.initialise import initialise
from neocog.layers import Conv
from neocog.reference import forward, gradients
from neocog.studio import scenes, workshop
from neocog.studio.scenes import Scene, dead_units, demo, untrained
from neocog.studio.telling import encoded

TOKENS = {
    "CONV3-4": "5x6x2",
    "CONV3-2(S=2, P=1)": "5x5x3",
    "CONV1x3-4(S=2x1)": "5x4x2",
    "CONV3-4(D=2, P=1)": "7x8x2",
    "CONV3-4(G=2, BIAS=no)": "4x5x6",
    "CONV2-3(P=0, FLIP=yes)": "4x3x2",
    'CONV3-3(P=0, TABLE="0 1; 1 2; 0 2")': "5x4x3",
    "CONV3-2(S=2, fit=floor)": "6x5x2",
    "CONV3-2(S=2, P=0, fit=ceil)": "6x5x2",
    "CONV3-4(S=2)": "9x3",
    "FC4": "3x2x5",
    "FC3(BIAS=no)": "1x1x7",
    "POOL2": "4x6x2",
    "POOL3(S=2)": "5x5x2",
    "AVGPOOL2": "4x4x3",
    "GAP": "3x4x2",
    "SOFTMAX": "1x1x6",
    "FLATTEN": "2x3x2",
}
OTHERS = {"RELU": "3x3x2", "TANH": "3x2", "BN": "4x4x3", "LRN": "4x4x5", "L2POOL2": "4x4x2", "ADD[RELU | ID]": "3x3x2"}


def scene_of(token: str, shape: str) -> Scene:
    network = Network.parse(f"INPUT[{shape}] -> {token}")
    return untrained(network, initialise(network, 3), seed=5)


def places(shape):
    return [(k, place) for k in range(shape.channels) for place in np.ndindex(*shape.spatial)]


@pytest.mark.parametrize("token", TOKENS)
def test_what_a_value_is_made_of_gives_the_value(token):
    scene = scene_of(token, TOKENS[token])
    y = scene.trace.outputs[1][0]
    name = scene.network.nodes[1].name
    for channel, place in places(scene.network.shapes[1]):
        told = scene.cell(name, channel, place)
        assert told["output"] == y[(channel, *place)]
        assert told["made"] == pytest.approx(told["output"], abs=1e-12)


@pytest.mark.parametrize("token", [token for token in TOKENS if token.startswith(("CONV", "FC"))])
def test_gradients_from_all_values_add_up_to_the_references(token):
    scene = scene_of(token, TOKENS[token])
    name, shape = scene.network.nodes[1].name, scene.network.shapes[1]
    volumes, grads = gradients(forward(scene.network, scene.weights, scene.x), np.ones_like(scene.trace.output))
    dx, dw = np.zeros_like(volumes[0][0]), {}
    for channel, place in places(shape):
        for part in scene.cell(name, channel, place)["parts"]:
            dw.setdefault((channel, part["channel"]), []).append(np.array(part["dw"]))
            for u, row in enumerate(part["rows"]):
                for v, column in enumerate(part["columns"]):
                    if part["inside"][u][v]:
                        at = (part["channel"], column) if dx.ndim == 2 else (part["channel"], row, column)
                        dx[at] += part["dx"][u][v]
    assert np.allclose(dx, volumes[0][0])
    for (channel, source), flows in dw.items():
        last = next(p for p in scene.cell(name, channel, (0,) * shape.rank)["parts"] if p["channel"] == source)
        assert np.allclose(sum(flows), last["dw_total"])
    total = sum(np.sum(flows) for flows in dw.values())
    assert total == pytest.approx(float(grads[f"{name}.weight"].sum()), rel=1e-9)


@pytest.mark.parametrize("token", OTHERS)
def test_other_layers_show_what_goes_in_and_what_comes_out(token):
    scene = scene_of(token, OTHERS[token])
    node, shape = scene.network.nodes[-1], scene.network.shapes[-1]
    told = scene.cell(node.name, shape.channels - 1, tuple(n - 1 for n in shape.spatial))
    assert told["output"] == scene.trace.outputs[-1][0].reshape(-1)[-1]
    assert "gradient" in told


def test_the_winner_of_a_pooling_gets_the_gradient():
    scene = scene_of("POOL2", "4x4x1")
    told = scene.cell("pool1", 0, (1, 0))
    (part,) = told["parts"]
    values, flow = np.array(part["values"]), np.array(part["dx"], float)
    assert np.unravel_index(values.argmax(), values.shape) == np.unravel_index(flow.argmax(), flow.shape)
    assert flow.sum() == told["gradient"] == 1.0


def test_many_channels_come_in_pages_and_the_sum_is_of_all():
    scene = scene_of("CONV1-2", "2x2x40")
    pages = [scene.cell("conv1", 1, (0, 1), first) for first in (0, 8, 32)]
    assert [len(page["parts"]) for page in pages] == [8, 8, 8]
    everything = [part["sum"] for first in range(0, 40, 8) for part in scene.cell("conv1", 1, (0, 1), first)["parts"]]
    assert sum(everything) == pytest.approx(pages[0]["sum"])


def test_the_demo_is_that_of_the_notes():
    scene = demo(7)
    assert [str(shape) for shape in scene.network.shapes] == ["5x5x3", "3x3x2"]
    assert set(np.unique(scene.x)) <= {0, 1, 2}
    assert set(np.unique(scene.weights["conv1.weight"])) <= {-1, 0, 1}
    assert scene.weights["conv1.bias"].tolist() == [1, 0]
    corner = scene.cell("conv1", 0, (0, 0))
    assert corner["geometry"] == {"kernel": [3, 3], "stride": [2, 2], "padding": [1, 1], "dilation": [1, 1]}
    assert [not any(row) for row in corner["parts"][0]["inside"]] == [True, False, False]
    assert float(corner["output"]).is_integer()


def test_dead_units_are_found():
    network = Network.parse("INPUT[4x4x1] -> CONV3-4 -> RELU -> FC2")
    weights = initialise(network, 0)
    weights["conv1.bias"][:3] = -1e6
    x = np.random.default_rng(0).standard_normal((8, 1, 4, 4)).astype(np.float32)
    assert dead_units(network, weights, x) == {"relu1": 0.75}


def test_what_is_not_there_is_refused(api):
    scene = api("POST", "scenes", {"seed": 1}).json["scene"]
    for cell in (
        {"layer": "conv9"},
        {"layer": "conv1", "channel": 2, "place": [0, 0]},
        {"layer": "conv1", "place": [3, 0]},
        {"layer": "conv1"},
    ):
        assert api("POST", f"scenes/{scene}/cell", cell).status == 400
    assert api("POST", "scenes/none/cell", {"layer": "conv1"}).status == 404
    assert api("POST", "scenes", {"text": "INPUT[224x224x3] -> [CONV3-512]*3"}).status == 400


def test_a_convolutions_gradient_is_of_its_window_alone(monkeypatch):
    """So that a large network's values are stepped through as fast as a small one's."""
    scene = scene_of("CONV3-4", "5x6x2")
    assert scene.gradients

    def whole(*_):
        raise AssertionError("the whole layer was gone back through")

    monkeypatch.setattr(Conv, "backward", whole)
    assert scene.cell("conv1", 0, (0, 0))["parts"][0]["dx"][0] == [None, None, None]  # on padding


def test_what_would_take_too_much_memory_is_not_followed(api, shop, monkeypatch):
    kept = [api("POST", "scenes", {"seed": k}).json["scene"] for k in range(2)]
    monkeypatch.setattr(workshop, "SCENE_BYTES", 1)
    latest = api("POST", "scenes", {"seed": 2}).json["scene"]
    assert [key in shop.scenes for key in (*kept, latest)] == [False, False, True]
    monkeypatch.setattr(scenes, "available_memory", lambda: 1000)
    monkeypatch.delattr(workshop, "initialise")  # it is refused before there are weights
    for body in ({"seed": 3}, {"text": "INPUT[9x9x3] -> FC5"}):
        answer = api("POST", "scenes", body)
        assert answer.status == 400
        assert "by the plan" in answer.json["error"]["received"]


def test_large_networks_are_followed_one_at_a_time_and_only_while_there_is_room(monkeypatch):
    monkeypatch.setattr(scenes, "LARGE", 0)
    meant, inside = threading.Barrier(2), threading.Lock()

    def alone(work):
        def done(*given):
            assert inside.acquire(blocking=False)  # nobody else follows a large network now
            try:
                return work(*given)
            finally:
                inside.release()

        return done

    monkeypatch.setattr(scenes.reference, "forward", alone(forward))
    monkeypatch.setattr(scenes.reference, "gradients", alone(gradients))
    first, second = demo(1), demo(2)
    with ThreadPoolExecutor(2) as both:
        for found in both.map(lambda scene: meant.wait(10) is None or scene.gradients, (first, second)):
            assert found
    third = demo(3)
    monkeypatch.setattr(scenes, "available_memory", lambda: 1000)  # which the others took since it was let in
    with pytest.raises(NeocogError, match="more memory than there is"):
        _ = third.trace


def test_numbers_that_overflow_are_told_as_none(api, shop):
    network = Network.parse("INPUT[2x2x1] -> CONV1-2 -> RELU -> FC2")
    weights = {name: np.full_like(w, 1e300, np.float64) for name, w in initialise(network, 0).items()}
    key, scene = shop._kept(Scene(network, weights, np.full((1, 1, 2, 2), 1e9), "cross-entropy", 0, classes=("a", "b")))
    layers = json.loads(encoded(scene.layers(0, 4, {}, {})))
    assert layers[1]["activation"]["range"] == [None, None]
    told = api("POST", f"scenes/{key}/cell", {"layer": "fc1", "place": [0, 0]})
    assert (told.status, told.json["output"]) == (200, None)
    assert api("GET", f"scenes/{key}/volume?layer=conv1").status == 200


def test_names_of_any_letters_are_told():
    assert json.loads(encoded({"\ud800": "\udcff\u4e2d"})) == {"\ud800": "\udcff\u4e2d"}


def test_a_text_is_followed_too(api):
    told = api("POST", "scenes", {"text": "INPUT[9x9x4] -> CONV3-6(S=2, G=2) -> RELU", "seed": 2}).json
    cell = api("POST", f"scenes/{told['scene']}/cell", {"layer": "conv1", "channel": 4, "place": [2, 2]}).json
    assert [part["channel"] for part in cell["parts"]] == [2, 3]
    assert cell["difference"] < 1e-12
