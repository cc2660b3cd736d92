"""Importing weights: what matches, what does not and why, and what is left as it starts."""

from __future__ import annotations

import json

import numpy as np
import published_torch as published
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file, save_file
from torch import nn
from torch.nn import functional as F

from neocog import ModelFileError, NeocogError, Network, load, load_data, zoo
from neocog.cli import main
from neocog.initialise import initialise
from neocog.interop import export_weights, import_weights
from neocog.interop.weights import FORMATS, WeightsError
from neocog.interop.weights.layouts import maps_for
from neocog.zoo import text

COUNTER = "a counter that torch's batch normalization keeps"


def small_text(classes=1000):
    return text("resnet18").replace("INPUT[224x224x3]", "INPUT[32x32x3]").replace("FC1000", f"FC{classes}")


@pytest.fixture(scope="module")
def state():
    """The keys of a ResNet-18 as torchvision saves it."""
    return {
        name: value.numpy() for name, value in published.trained(lambda: published.ResNet(18), 32).state_dict().items()
    }


@pytest.fixture
def folder(state, tmp_path, monkeypatch):
    """A folder with such weights and a network's text for ten classes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    save_file(state, tmp_path / "resnet18.safetensors")
    (tmp_path / "small.net").write_text(small_text())
    (tmp_path / "ten.net").write_text(small_text(10))
    return tmp_path


def changed(state, **entries):
    """The state dict with entries replaced, or removed where they are None; `__` stands for a dot."""
    new = {name.replace("__", "."): value for name, value in entries.items()}
    return {name: value for name, value in {**state, **new}.items() if value is not None}


def test_a_model_carries_classes_preprocessing_and_where_it_came_from(state):
    model, report = import_weights(Network.parse(small_text()), state, classes=[f"kind {k}" for k in range(1000)])
    assert model.classes[7] == "kind 7"
    assert (model.preprocessing.size, model.preprocessing.crop) == ((32, 32), 0.875)
    assert model.preprocessing.mean == (0.485, 0.456, 0.406)
    assert model.preprocessing.std == (0.229, 0.224, 0.225)
    assert model.record == {"imported": {"layout": "torchvision", "file": "", "initialised": []}}
    assert report.unused_by_reason() == {COUNTER: [name for name in state if name.endswith("num_batches_tracked")]}
    assert report.as_json()["complete"] is True


def test_inceptions_photographs_are_brought_to_minus_one_to_one():
    for name in ("inception-v3", "inception-v4", "googlenet-bn"):
        for one in maps_for(zoo(name)):
            made = one.preprocessing(zoo(name))
            white = np.full((1, *made.size, 3), 255, np.uint8)
            assert made(white).max() == pytest.approx(1)
            assert made(white * 0).min() == pytest.approx(-1)


def test_what_does_not_match_is_listed_by_what_is_wrong(state):
    odd = changed(state, conv1__weight=None, bn1__weight=np.ones(65, np.float32), fc__bias=np.ones(1000, np.int64))
    odd["surprise"] = np.ones(3, np.float32)
    with pytest.raises(WeightsError) as caught:
        import_weights(Network.parse(small_text()), odd)
    assert str(caught.value) == (
        "3 of the 102 arrays of resnet18 have no value in these weights\n"
        "  received: bn1.weight of 65 for 64, fc.bias of int64 1000 for 1000, no conv1.weight\n"
        "  try: --partial, which keeps freshly initialised values for them"
    )
    report = caught.value.report
    assert (len(report.matched), report.complete) == (99, False)
    assert [tuple(one) for one in report.mismatched] == [
        ("bn1.weight", "64", "bn1.weight", "65"),
        ("fc1.bias", "1000", "fc.bias", "int64 1000"),
    ]
    assert [tuple(one) for one in report.missing] == [("conv1.weight", "conv1.weight")]
    assert report.unused_by_reason()[""] == ["surprise"]


def test_partial_leaves_what_is_missing_as_training_would_start(state):
    network = Network.parse(small_text())
    odd = changed(state, layer4__1__conv2__weight=None)
    model, report = import_weights(network, odd, partial=True)
    assert report.unmatched == ("conv20.weight",)
    np.testing.assert_array_equal(model.weights["conv20.weight"], initialise(network)["conv20.weight"])
    np.testing.assert_array_equal(model.weights["conv1.weight"], state["conv1.weight"])
    assert model.record["imported"]["initialised"] == ["conv20.weight"]


def test_a_name_that_differs_is_shown_beside_the_one_it_should_be(state):
    odd = changed(state, fc__weight=None, fc__bias=None)
    odd |= {"classifier.bias": state["fc.bias"], "classifier.weight": state["fc.weight"]}
    with pytest.raises(WeightsError) as caught:
        import_weights(Network.parse(small_text()), odd)
    assert (
        caught.value.received
        == "no fc.weight (classifier.weight has its size), no fc.bias (classifier.bias has its size)"
    )


def test_names_below_a_prefix_are_found(state):
    below = {f"net.backbone.{name}": array for name, array in state.items()} | {"head.scale": np.ones(1, np.float32)}
    model, report = import_weights(Network.parse(small_text()), below)
    assert report.notes == ("the prefix net.backbone. is left out of all names",)
    assert report.unused_by_reason()[""] == ["head.scale"]
    np.testing.assert_array_equal(model.weights["conv2.weight"], state["layer1.0.conv1.weight"])


def test_another_number_of_classes_is_an_error_with_two_ways_on(state):
    with pytest.raises(WeightsError) as caught:
        import_weights(Network.parse(small_text(10)), state)
    assert str(caught.value) == (
        "the weights tell 1,000 classes apart, the network 10\n"
        "  received: fc.weight of 1000x512 for 10x512, fc.bias of 1000 for 10\n"
        "  try: the network's text with FC1000 at its end (neocog zoo resnet18 > my.net), "
        "or --partial for an output layer that starts afresh"
    )
    model, report = import_weights(Network.parse(small_text(10)), state, partial=True)
    assert report.unmatched == ("fc1.weight", "fc1.bias")
    assert model.classes == tuple(f"class {k}" for k in range(10))


def test_weights_of_a_larger_network_are_not_taken_for_a_smaller_one():
    """ResNet-34 has every array of ResNet-18, in the same sizes, and more blocks behind them."""
    with torch.device("meta"):
        larger = {name: np.ones(value.shape, np.float32) for name, value in published.ResNet(34).state_dict().items()}
    with pytest.raises(WeightsError, match=r"^these weights fill resnet18, but they are those of resnet34\n") as caught:
        import_weights("resnet18", larger)
    assert caught.value.hint == "resnet34"
    assert import_weights("resnet18", larger, partial=True)[1].complete


@pytest.mark.parametrize("name", ["vgg16", "resnet34"])
def test_weights_of_another_network_are_recognised(name, state):
    with pytest.raises(ModelFileError) as caught:
        import_weights(name, state)
    assert caught.value.hint.startswith("resnet18")


def test_the_command_writes_a_model_that_predicts_a_photograph(folder, capsys):
    (folder / "names.txt").write_text("".join(f"kind {k}\n" for k in range(1000)))
    words = ["import", "small.net", "resnet18.safetensors", "-o", "model.safetensors", "--classes", "names.txt"]
    assert main(words) == 0
    assert capsys.readouterr().out.splitlines() == [
        "network     resnet18, under the names of torchvision",
        "matched     102 of 102 arrays",
        f"unused      20: {COUNTER}",
        "model       model.safetensors",
        "",
        "next:",
        "  neocog predict model.safetensors IMAGE...",
    ]
    photo = np.random.default_rng(0).integers(0, 256, (60, 90, 3), dtype=np.uint8)
    Image.fromarray(photo).save("photo.png")
    assert main(["predict", "model.safetensors", "photo.png", "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)["predictions"]
    assert found["class"].startswith("kind ")
    assert found["notes"] == ["middle 87.5% resized to 32x32"]
    assert load("model.safetensors").predict("photo.png")[0].best == found["class"]


def test_the_command_answers_in_json_also_when_weights_do_not_do(folder, capsys):
    assert main(["import", "small.net", "resnet18.safetensors", "-o", "m.safetensors", "--json"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert (done["model"], done["complete"], done["layout"]) == ("m.safetensors", True, "torchvision")
    assert main(["import", "ten.net", "resnet18.safetensors", "-o", "n.safetensors", "--json"]) == 2
    failed = json.loads(capsys.readouterr().out)
    assert failed["error"]["kind"] == "WeightsError"
    assert failed["mismatched"][0] == {
        "name": "fc1.weight",
        "shape": "10x512",
        "foreign_name": "fc.weight",
        "foreign": "1000x512",
    }
    assert not (folder / "n.safetensors").exists()


def test_the_command_shows_the_report_before_the_reason(folder, capsys):
    assert main(["import", "ten.net", "resnet18.safetensors", "-o", "n.safetensors"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "mismatched  2: fc.weight is 1000x512, not 10x512, fc.bias is 1000, not 10\n" in err
    assert "\nerror: resnet18.safetensors: the weights tell 1,000 classes apart, the network 10\n" in err
    assert main(["import", "ten.net", "resnet18.safetensors", "-o", "n.safetensors", "--partial"]) == 0
    assert "fresh       2 arrays with the values that training starts from\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["small.net", "none.pth"], "none.pth: this file cannot be read\n  received: No such file"),
        (["small.net", "small.net"], "weights are a safetensors file or what torch.save writes"),
        (["lenet5", "resnet18.safetensors"], "arrays of the network have no value in these weights"),
        (["lenet5", "resnet18.safetensors", "--layout", "timm"], "no other library's names are known for this network"),
        (["small.net", "resnet18.safetensors", "--layout", "mxnet"], "there is no such layout"),
        (["small.net", "resnet18.safetensors", "-o", "model.pth"], "a name ending in .safetensors is needed"),
        (
            ["small.net", "resnet18.safetensors", "--classes", "two.txt"],
            "two.txt: one name a line is needed, for 1,000 classes\n  received: 2 lines",
        ),
    ],
)
def test_mistakes_on_the_command_line_are_explained(words, says, folder, capsys):
    (folder / "two.txt").write_text("cat\ndog\n")
    before = sorted(folder.iterdir())
    assert main(["import", "-o", "m.safetensors", *words]) == 2
    assert says in capsys.readouterr().err
    assert sorted(folder.iterdir()) == before


class Tutorial(nn.Module):
    """LeNet-5 as people write it, whose names happen to be those of our plan."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 16, 5)
        self.fc1, self.fc2, self.fc3 = nn.Linear(400, 120), nn.Linear(120, 84), nn.Linear(84, 10)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv2(F.max_pool2d(F.relu(self.conv1(x)), 2))), 2)
        return self.fc3(F.relu(self.fc2(F.relu(self.fc1(x.flatten(1))))))


def test_names_of_the_plan_are_a_layout_that_every_network_has(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    module = Tutorial().eval()
    torch.save(module.state_dict(), "lenet.pth")
    assert main(["import", "lenet5-relu", "lenet.pth", "--data", "mnist", "-o", "lenet.safetensors"]) == 0
    assert "the network, under the names of neocog\nmatched     10 of 10 arrays" in capsys.readouterr().out
    model, digits = load("lenet.safetensors"), load_data("mnist")
    assert (model.classes, model.loss, model.preprocessing.mean) == (digits.test.classes, "cross-entropy", (0.13066,))
    images = digits.test.images[:8]
    with torch.no_grad():
        wanted = module(torch.from_numpy(model.preprocessing(images))).numpy()
    np.testing.assert_allclose(model.answers(images), wanted, rtol=0, atol=1e-5)
    assert len(model.golden[0]) == 4
    for words, says in [
        ([], "nothing here says how images become numbers"),
        (["--layout", "caffe"], "no other library's names are known"),
    ]:
        assert main(["import", "lenet5-relu", "lenet.pth", "-o", "other.safetensors", *words]) == 2
        assert says in capsys.readouterr().err


def test_data_of_other_classes_are_refused(state):
    digits = load_data("mnist").train
    with pytest.raises(NeocogError, match="the data set tells 10 classes apart, the network 1,000"):
        import_weights(Network.parse(small_text()), state, data=digits)


def test_names_that_nobody_has_are_answered_with_those_that_would_do():
    weights = {f"layers.{k}.kernel": np.ones(3, np.float32) for k in range(3)}
    with pytest.raises(ModelFileError, match="none of these names") as caught:
        import_weights("lenet5-relu", weights)
    assert caught.value.hint.startswith(
        "names as in the network's plan, from conv1.weight on; in Python neocog.interop"
    )


def test_a_files_words_cannot_steer_the_terminal(folder, state, capsys):
    save_file({**state, "a\x1b[31m": np.ones(1, np.float32)}, "odd.safetensors")
    assert main(["import", "small.net", "odd.safetensors", "-o", "m.safetensors"]) == 0
    assert "unused      1: a?[31m (nothing is known of them)" in capsys.readouterr().out


def test_export_writes_what_was_imported(folder, state, capsys):
    assert main(["import", "small.net", "resnet18.safetensors", "-o", "model.safetensors"]) == 0
    assert main(["export", "model.safetensors", "--to", "timm", "-o", "out.safetensors"]) == 0
    *_, count, note = capsys.readouterr().out.splitlines()
    assert count == "102 arrays in the layout of timm: out.safetensors"
    assert note.startswith("note: the network's input is red, green, blue from 0 to 1, minus 0.485, 0.456, 0.406, over")
    back = load_file("out.safetensors")
    assert back.keys() == {name for name in state if not name.endswith("num_batches_tracked")}
    for name, array in back.items():
        np.testing.assert_array_equal(array, state[name], strict=True)
    assert main(["export", "model.safetensors", "--to", "torchvision", "-o", "out.safetensors", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["arrays"] == 102


def test_what_was_exported_loads_into_the_other_librarys_module(state):
    model, _ = import_weights(Network.parse(small_text()), state)
    module = published.ResNet(18).eval()
    module.load_state_dict({name: torch.from_numpy(a) for name, a in export_weights(model, "torchvision").items()})
    x = torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        np.testing.assert_allclose(model.scores(x.numpy()), module(x).numpy(), rtol=0, atol=1e-3)


def test_export_refuses_a_format_or_a_network_it_does_not_know(folder, capsys):
    assert main(["import", "small.net", "resnet18.safetensors", "-o", "model.safetensors"]) == 0
    for to, says in [
        ("coreml", f"try: onnx, torch, c, {', '.join(FORMATS)}"),
        ("caffe", "caffe has no names for resnet18"),
    ]:
        assert main(["export", "model.safetensors", "--to", to, "-o", "out.safetensors"]) == 2
        assert says in capsys.readouterr().err
    assert not (folder / "out.safetensors").exists()
