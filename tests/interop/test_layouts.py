"""Weights in other libraries' layouts give the scores of independent implementations, and come out as they went in."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import published_caffe as caffe
import published_torch as published
import pytest
import torch

from neocog import NeocogError, Network, load_data, zoo
from neocog.initialise import initialise
from neocog.interop import export_weights, import_weights
from neocog.interop.weights.keras import default_names
from neocog.interop.weights.layouts import LAYOUTS, map_in, maps_for
from neocog.model import Model
from neocog.torch_engine import build

EVERY_MAP = [one for maps in LAYOUTS.values() for one in maps]
LARGE = re.compile(r"vgg(11|13|19)|resnet(101|152)")
COUNTER = "a counter that torch's batch normalization keeps"


def agree(model, module, size):
    """Whether a model and a torch module are one function of two images, and the model's scores as near it as float32.

    Those of a module of 152 layers are 1e-3 off by rounding alone, on some processors.
    """
    torch.manual_seed(5)
    x = torch.randn(2, 3, size, size)
    own = build(model.network, weights=model.weights).double().eval()
    with torch.no_grad():
        rounded = module(x).numpy()
        wanted = module.double()(x.double()).numpy()
        module.float()
        np.testing.assert_allclose(own(x.double()).numpy(), wanted, rtol=0, atol=1e-9 * np.abs(wanted).max())
    assert wanted.std() > 0.1
    off = max(1e-3 * max(1.0, wanted.std()), 4 * np.abs(rounded - wanted).max())
    np.testing.assert_allclose(model.scores(x.numpy()), wanted, rtol=0, atol=off)


def slow(*values):
    return pytest.param(*values, marks=pytest.mark.slow)


TORCHVISION = [
    ("alexnet-one", lambda: published.AlexNet(side=3), 127),
    ("vgg16", lambda: published.VGG(16, side=2), 64),
    ("vgg16-bn", lambda: published.VGG(16, norm=True, side=2), 64),
    ("resnet18", lambda: published.ResNet(18), 64),
    ("resnet50", lambda: published.ResNet(50), 64),
    ("googlenet-bn", published.GoogLeNet, 64),
    ("inception-v3", published.InceptionV3, 107),
    slow("vgg11", lambda: published.VGG(11, side=2), 64),
    slow("vgg13", lambda: published.VGG(13, side=2), 64),
    slow("vgg19", lambda: published.VGG(19, side=2), 64),
    slow("vgg11-bn", lambda: published.VGG(11, norm=True, side=2), 64),
    slow("vgg19-bn", lambda: published.VGG(19, norm=True, side=2), 64),
    slow("resnet34", lambda: published.ResNet(34), 64),
    slow("resnet101", lambda: published.ResNet(101), 64),
    slow("resnet152", lambda: published.ResNet(152), 64),
]


@pytest.mark.parametrize(("name", "make", "size"), TORCHVISION)
def test_weights_named_as_torchvisions_give_the_scores_of_an_independent_network(name, make, size, small):
    module = published.trained(make, size)
    state = module.state_dict()
    model, report = import_weights(small(name, size), state)
    assert (report.network, report.layout, report.complete) == (name, "torchvision", True)
    assert all(why for _, why in report.unused)
    assert len(report.matched) + len(report.unused) == len(state)
    agree(model, module, size)
    back = export_weights(model, "torchvision")
    assert back.keys() == state.keys() - {one.name for one in report.unused}
    for key, array in back.items():
        np.testing.assert_array_equal(array, state[key].numpy(), strict=True)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("alexnet-one", published.AlexNet),
        ("vgg16", lambda: published.VGG(16)),
        ("vgg16-bn", lambda: published.VGG(16, norm=True)),
        ("resnet50", lambda: published.ResNet(50)),
    ],
)
def test_so_do_weights_and_images_of_the_published_size(name, make):
    module = published.trained(make, 224)
    model, report = import_weights(name, module.state_dict())
    assert report.complete
    agree(model, module, 224)


def test_timms_vgg_keeps_its_first_fully_connected_layers_as_convolutions(small):
    module = published.trained(lambda: published.VGG(13, norm=True, side=2), 64)
    state = module.state_dict()
    renamed = {"classifier.0": "pre_logits.fc1", "classifier.3": "pre_logits.fc2", "classifier.6": "head.fc"}
    for ours, theirs in renamed.items():
        for part in ("weight", "bias"):
            state[f"{theirs}.{part}"] = state.pop(f"{ours}.{part}")
    state["pre_logits.fc1.weight"] = state["pre_logits.fc1.weight"].reshape(4096, 512, 2, 2)
    state["pre_logits.fc2.weight"] = state["pre_logits.fc2.weight"].reshape(4096, 4096, 1, 1)
    model, report = import_weights(small("vgg13-bn", 64), state)
    assert (report.layout, report.complete, {why for _, why in report.unused}) == ("timm", True, {COUNTER})
    agree(model, module, 64)
    back = export_weights(model, "timm")
    assert all(np.array_equal(array, state[name].numpy()) for name, array in back.items())


def test_timms_inception_v4_has_the_published_parameters_under_its_names():
    (one,) = maps_for(zoo("inception-v4"))
    shapes = {place.name: place.shape for place in one.places(zoo("inception-v4")).values()}
    trained = [shape for name, shape in shapes.items() if ".running_" not in name]
    assert sum(int(np.prod(shape)) for shape in trained) == 42_679_816
    assert shapes["features.0.conv.weight"] == (32, 3, 3, 3)
    assert shapes["features.4.branch1.2.conv.weight"] == (64, 64, 7, 1)
    assert shapes["features.12.branch2.4.conv.weight"] == (256, 224, 1, 7)
    assert shapes["features.18.branch1.3.bn.running_mean"] == (320,)
    assert shapes["features.20.branch2_1.conv.weight"] == (448, 384, 3, 1)
    assert shapes["features.21.branch2_3b.conv.weight"] == (256, 512, 3, 1)
    assert shapes["last_linear.weight"] == (1000, 1536)


IMAGENET_MEAN = (104.007, 116.669, 122.679)
RESNET_MEAN = (103.06262, 115.90288, 123.15163)
CAFFE = [
    ("alexnet-caffe", caffe.alexnet, 99, IMAGENET_MEAN),
    ("caffenet", caffe.caffenet, 99, IMAGENET_MEAN),
    ("vgg16", caffe.vgg16, 64, (103.939, 116.779, 123.68)),
    ("googlenet", caffe.googlenet, 64, (104, 117, 123)),
    ("resnet50-caffe", partial(caffe.resnet, depth=50), 66, RESNET_MEAN),
    slow("resnet101-caffe", partial(caffe.resnet, depth=101), 66, RESNET_MEAN),
    slow("resnet152-caffe", partial(caffe.resnet, depth=152), 66, RESNET_MEAN),
]


def caffe_state(network, name):
    """Weights under Caffe's names, which leave signals about as large as they come."""
    random = torch.Generator().manual_seed(3)
    (one,) = [one for one in LAYOUTS["caffe"] if one.network == name]
    state = {}
    for place in one.places(network).values():
        fan_in = max(1, int(np.prod(place.shape[1:])))
        values = torch.empty(place.shape).uniform_(-1.7, 1.7, generator=random)  # of deviation 1
        if place.name.endswith("running_var"):
            state[place.name] = values.square() + 2
        elif len(place.shape) == 1:
            state[place.name] = values * 0.1 + (0.5 if "scale" in place.name and "weight" in place.name else 0)
        else:
            state[place.name] = values * (2 / fan_in) ** 0.5
    return state


@pytest.mark.parametrize(("name", "run", "size", "mean"), CAFFE)
def test_caffes_weights_give_for_red_green_blue_what_they_give_for_blue_green_red(name, run, size, mean, small):
    network = small(name, size)
    state = caffe_state(network, name)
    model, report = import_weights(network, state)
    assert (report.network, report.layout, report.complete) == (name, "caffe", True)
    images = np.random.default_rng(1).integers(0, 256, (2, size, size, 3), dtype=np.uint8)
    bgr = images[..., ::-1].astype(np.float32) - np.array(mean, np.float32)
    wanted = run(state, torch.from_numpy(bgr.transpose(0, 3, 1, 2).copy())).numpy()
    got = model.scores(model.preprocessing(images))
    assert wanted.std() > 0.1
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-3 * max(1.0, wanted.std()))
    other_way_round = model.scores(model.preprocessing(images[..., ::-1].copy()))
    assert np.abs(other_way_round - wanted).max() > 0.01 * wanted.std()
    back = export_weights(model, "caffe")
    assert back.keys() == state.keys()
    assert all(np.array_equal(array, state[name].numpy()) for name, array in back.items())


def test_caffes_network_in_network_takes_cifars_colours_as_they_are():
    state = caffe_state(zoo("nin"), "nin")
    model, report = import_weights("nin", state)
    assert "whitened" in " ".join(report.notes)
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    wanted = caffe.nin(state, torch.from_numpy(images.astype(np.float32).transpose(0, 3, 1, 2))).numpy()
    got = model.scores(model.preprocessing(images))
    np.testing.assert_allclose(got, wanted, rtol=0, atol=1e-3 * wanted.std())


@pytest.mark.parametrize(
    "one",
    [slow(one) if LARGE.match(one.network) else one for one in EVERY_MAP],
    ids=[f"{one.layout}-{one.network}" for one in EVERY_MAP],
)
def test_what_goes_out_under_other_names_comes_back_the_same_bit_for_bit(one, small):
    size = {"alexnet": 67, "caffenet": 67, "vgg": 32, "inception": 107, "nin": 32}
    family = re.match("[a-z]+", one.network)[0]
    network = zoo(one.network) if one.network.endswith("-aux") else small(one.network, size.get(family, 64))
    places = one.places(network)
    assert len({place.name for place in places.values()}) == len(places)
    weights = {
        name: np.arange(np.prod(place.own_shape), dtype=np.float32).reshape(place.own_shape)
        for name, place in places.items()
    }
    model = Model(network, weights, one.preprocessing(network), ("x",), "cross-entropy")
    state = export_weights(model, one.layout)
    assert {name: array.shape for name, array in state.items()} == {p.name: p.shape for p in places.values()}
    again, report = import_weights(network, state, one.layout)
    assert report.complete
    assert report.unused == ()
    assert again.weights.keys() == weights.keys()
    for name, array in again.weights.items():
        np.testing.assert_array_equal(array, weights[name], strict=True)


def test_every_zoo_network_with_weights_for_photographs_says_how_they_were_prepared():
    for one in EVERY_MAP:
        made = one.preprocessing(zoo(one.network))
        assert made.size == made.source == zoo(one.network).input_shape.spatial
        assert 0.8 < made.crop <= 1
    inputs = {one.layout: one.expects(one.preprocessing(zoo("vgg16"))) for one in maps_for(zoo("vgg16"))}
    assert inputs == {
        "torchvision": "red, green, blue from 0 to 1, minus 0.485, 0.456, 0.406, over 0.229, 0.224, 0.225",
        "timm": "red, green, blue from 0 to 1, minus 0.485, 0.456, 0.406, over 0.229, 0.224, 0.225",
        "caffe": "blue, green, red from 0 to 255, minus 103.939, 116.779, 123.68",
        "keras": "blue, green, red from 0 to 255, minus 103.939, 116.779, 123.68",
    }


def test_a_network_or_layout_without_names_is_refused_with_those_that_have(small):
    with pytest.raises(NeocogError, match=r"no other library's names are known.*\n  try: alexnet-one, vgg11"):
        map_in(zoo("lenet5"), "torchvision")
    assert maps_for(zoo("lenet5")) == ()
    with pytest.raises(
        NeocogError, match=r"^caffe has no names for resnet18\n  try: torchvision, timm, neocog, keras$"
    ):
        import_weights("resnet18", {"conv1.weight": np.zeros(3)}, layout="caffe")
    with pytest.raises(NeocogError, match=r"received: mxnet\n  try: torchvision, timm, caffe, keras, neocog$"):
        import_weights("resnet18", {"conv1.weight": np.zeros(3)}, layout="mxnet")


def kerass_names(network, weights):
    """A network's arrays as Keras has them, number by number."""
    state, kinds = {}, {"CONV": "conv2d", "FC": "dense", "BN": "batch_normalization"}
    for node in [node for node in network.nodes if node.layer.op in kinds]:
        own = {name: weights.get(f"{node.name}.{name}") for name in ("weight", "bias", "running_mean", "running_var")}
        number, owner = int(node.name[-1]) - 1, kinds[node.layer.op]
        owner = f"{owner}_{number}" if number else owner
        if node.layer.op == "CONV":
            k, c, height, width = own["weight"].shape
            kernel = np.empty((height, width, c, k), np.float32)
            for i, j, u, v in np.ndindex(k, c, height, width):
                kernel[u, v, j, i] = own["weight"][i, j, u, v]
            state |= {f"{owner}/kernel": kernel, f"{owner}/bias": own["bias"]}
        elif node.layer.op == "FC":
            (x,) = network.input_shapes(node)
            (height, width), c = x.spatial, x.channels
            kernel = np.empty((height * width * c, len(own["weight"])), np.float32)
            for i, j, u, v in np.ndindex(len(own["weight"]), c, height, width):
                kernel[(u * width + v) * c + j, i] = own["weight"][i, (j * height + u) * width + v]
            state |= {f"{owner}/kernel": kernel, f"{owner}/bias": own["bias"]}
        elif node.layer.op == "BN":
            names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
            state |= {f"{owner}/{names[name]}": array for name, array in own.items()}
    return state


@pytest.mark.parametrize(("before", "behind"), [("", ""), ("sequential/", ":0")])
def test_layers_that_keras_named_itself_are_counted_by_kind(before, behind):
    network = Network.parse("INPUT[28x28x1] -> CONV3-4(P=0) -> BN -> POOL2(fit=floor) -> CONV2x3-5(P=0) -> FC6 -> FC10")
    weights = {name: np.random.default_rng(1).random(a.shape, np.float32) for name, a in initialise(network).items()}
    state = kerass_names(network, weights)
    found = {f"{before}{name}{behind}": array for name, array in state.items()}
    model, report = import_weights(network, found, data=load_data("mnist").test)
    assert (report.layout, report.complete, report.unused) == ("keras", True, ())
    for name, array in weights.items():
        np.testing.assert_array_equal(model.weights[name], array)
    back = export_weights(model, "keras")
    assert back.keys() == state.keys()
    for name, array in back.items():
        np.testing.assert_array_equal(array, state[name])


def test_layers_that_keras_has_not_leave_a_network_without_its_names():
    assert default_names(zoo("lenet5")) == ()
