"""What holds for every method on every make of network: batches, state, planted patterns, refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from explain.conftest import NETS, images_for, model_of
from torch import nn

from neocog import Model, Network
from neocog.data import Preprocessing
from neocog.errors import NeocogError, RunError
from neocog.explain import (
    BY_NAME,
    METHODS,
    Attribution,
    Subject,
    ask,
    colours,
    explain,
    integrated_gradients,
    picture,
    smoothgrad,
)
from neocog.explain.evidence import faithfulness, likeness, rank_correlation
from neocog.explain.method import Asked
from neocog.initialise import initialise
from neocog.interop import from_torch

ATTRIBUTIONS = [method.name for method in METHODS if isinstance(method, Attribution)]


@pytest.fixture(autouse=True)
def fewer_passes(monkeypatch):
    """What holds for a few copies and steps holds for many."""
    monkeypatch.setattr(smoothgrad, "COPIES", 5)
    monkeypatch.setattr(integrated_gradients, "MOST_STEPS", 64)


def maps(model, images, name, **question):
    return [found.map for found in explain(model, images, name, evidence=False, **question)]


@pytest.mark.parametrize("name", ATTRIBUTIONS)
def test_a_batch_gives_what_its_images_give_alone(model, images, name):
    together = maps(model, images, name, target="1")
    k = 0 if "smoothgrad" in name else 2  # an image's noise depends on its number
    (alone,) = maps(model, images[k], name, target="1")
    np.testing.assert_allclose(together[k], alone, rtol=1e-2, atol=1e-3 * np.abs(alone).max() + 1e-7)
    assert together[0].shape == model.network.input_shape.spatial
    assert np.isfinite(together).all()


IN_PARTS = (
    "gradient",
    "smoothgrad",
    "integrated-gradients",
    "occlusion",
    "lrp",
    "grad-cam",
    "score-cam",
    "ablation-cam",
)
"""Each way in which methods take images, copies or covers together."""


@pytest.mark.parametrize("name", IN_PARTS)
def test_memory_for_one_image_at_a_time_changes_nothing(name):
    model = model_of(NETS["resnet"])
    images = images_for(model)
    one = model.network.plan(optimizer="sgd").memory["training_bytes"]
    question = ask(model, images, memory_limit=one)
    assert question.subject.at_once(backward=True) == 1
    tight, roomy = maps(model, images, name, memory_limit=one), maps(model, images, name)
    np.testing.assert_allclose(tight, roomy, rtol=1e-2, atol=1e-3 * np.abs(roomy).max() + 1e-7)


def test_what_is_held_besides_makes_room_for_fewer_images():
    model = model_of(NETS["resnet"])
    one, two = (model.network.plan(batch=n).memory["inference_bytes"] for n in (1, 2))
    limit = one + 9 * (two - one)
    question = ask(model, images_for(model), memory_limit=limit)
    subject, more = question.subject, two - one
    assert subject.at_once(backward=False) == 10
    assert subject.at_once(backward=False, held=3 * more) == 7
    assert subject.at_once(backward=False, each=more) == 5
    assert subject.at_once(backward=False, each=limit, held=limit) == 1
    random = subject.randomised(question.x, seed=1)
    weights = sum(array.nbytes for name, array in model.weights.items() if "running" not in name)
    assert random.at_once(backward=False) == 10 - -(-2 * weights // more)


def test_what_does_not_fit_is_refused_with_the_plans_number():
    model = model_of(NETS["resnet"])
    with pytest.raises(
        RunError, match=r"one image needs more memory than it may take\n  received: [\d,]+ bytes by the plan"
    ):
        explain(model, images_for(model), "gradient", memory_limit=1000)


def test_a_model_is_left_as_it_was(model, images):
    module = model.module()
    before = {name: array.copy() for name, array in model.weights.items()}
    scores, modes = model.scores(model.preprocessing(images)), [m.training for m in module.modules()]
    random, threads = torch.random.get_rng_state(), torch.get_num_threads()
    for method in METHODS:
        if isinstance(method, Attribution):
            explain(model, images[:1], method.name, evidence=method.name == "grad-cam")
    picture(model, "filter-gradients", images[:1])
    picture(model, "activation-gradients", images[:1])
    assert all(np.array_equal(before[name], model.weights[name]) for name in before)
    assert [m.training for m in module.modules()] == modes
    assert not any(m._forward_hooks or m._backward_hooks or m._forward_pre_hooks for m in module.modules())
    assert all(p.grad is None and p.requires_grad for p in module.parameters())
    assert torch.equal(random, torch.random.get_rng_state())
    assert (torch.is_grad_enabled(), torch.get_num_threads()) == (True, threads)
    np.testing.assert_array_equal(scores, model.scores(model.preprocessing(images)))


# A 5x5 cross is looked for in every colour; class 1 has the largest match anywhere as its score, class 0 the rest.
CROSS = np.array([[0, 0, 1, 0, 0], [0, 0, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 0, 0], [0, 0, 1, 0, 0]], np.float32)


def detector(height, width, channels, padding=2):
    """A model whose class 1 is sure where there is a cross, and the text of its layers."""
    text = f"INPUT[{height}x{width}x{channels}] -> CONV5-2(P={padding}) -> RELU -> GAP -> FC2"
    kernel = np.where(CROSS > 0, 1.0, -1.0).astype(np.float32) / channels
    weights = {
        "conv1.weight": np.stack([np.stack([kernel] * channels), np.zeros((channels, 5, 5), np.float32)]),
        "conv1.bias": np.array([-14.0, 1.0], np.float32),
        "fc1.weight": np.array([[0, 0.09], [16.0, 0]], np.float32) * (height * width) / 20,
        "fc1.bias": np.zeros(2, np.float32),
    }
    return model_of(text, weights=weights, std=0.5)


def planted(height, width, channels, at, ground=0):
    image = np.full((height, width, channels), ground, np.uint8)
    image[at[0] : at[0] + 5, at[1] : at[1] + 5] = (255 * CROSS[..., None]).astype(np.uint8)
    return image


WHERE = [(20, 34, 1, (9, 24), 2), (31, 17, 3, (22, 3), 2), (24, 24, 3, (2, 15), 0), (18, 40, 1, (11, 30), 0)]


@pytest.mark.parametrize(("height", "width", "channels", "at", "padding"), WHERE)
@pytest.mark.parametrize("name", [name for name in ATTRIBUTIONS if name not in ("deconvnet", "eigen-cam")])
def test_maps_lie_on_the_pattern_that_was_planted(name, height, width, channels, at, padding):
    model = detector(height, width, channels, padding)
    (found,) = (
        explain(model, planted(height, width, channels, at), name, layers=("relu1",), target="1", evidence=False)
        if BY_NAME[name].layer == "reads"
        else explain(model, planted(height, width, channels, at), name, target="1", evidence=False)
    )
    inside = np.zeros((height, width), bool)
    inside[at[0] : at[0] + 5, at[1] : at[1] + 5] = True
    i, j = found.peak
    assert inside[i, j], found.peak
    if BY_NAME[name].layer == "reads" and "guided" not in name:
        assert (i, j) == (at[0] + 2, at[1] + 2), "the map's largest value is at the middle of what the unit sees"
        assert found.map[~np.pad(inside, 0)].max() <= found.map.max() / 2


def test_planted_patterns_are_where_the_evidence_finds_them():
    model = detector(20, 34, 1)
    (found,) = explain(model, planted(20, 34, 1, (9, 24)), "grad-cam", layers=("relu1",), target="1")
    assert found.probability > 0.9
    evidence = found.evidence.faithfulness
    assert evidence.deletion < evidence.random_deletion - 0.05
    assert evidence.insertion > evidence.random_insertion + 0.1
    assert evidence.lead > 0.15


def test_the_best_order_of_pixels_has_the_best_areas():
    model = detector(20, 34, 1)
    question = ask(model, planted(20, 34, 1, (9, 24)), target="1")
    truth = np.zeros((20, 34), np.float32)
    truth[9:14, 24:29] = CROSS
    target = question.class_target()
    good, bad = (faithfulness(question.subject, question.x, target, m, 0) for m in (truth, -truth))
    assert good.insertion > good.random_insertion + 0.2
    assert good.deletion < good.random_deletion - 0.15
    assert bad.lead < 0 < good.lead
    assert good == faithfulness(question.subject, question.x, target, truth, 0)


def test_ranks_share_places():
    assert rank_correlation(np.array([1, 2, 3, 4]), np.array([10, 20, 30, 400])) == pytest.approx(1)
    assert rank_correlation(np.array([1, 2, 2, 4]), np.array([4, 2, 2, 1])) == pytest.approx(-1)
    assert rank_correlation(np.ones(4), np.arange(4)) == 0
    assert likeness(np.array([-3.0, 1, 2]), np.array([3.0, 1, 2])) == pytest.approx(1)
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 5, 50), rng.integers(0, 5, 50)
    ranks = [np.array([(v < w).sum() + ((v == w).sum() + 1) / 2 for w in v]) for v in (a, b)]
    assert rank_correlation(a, b) == pytest.approx(np.corrcoef(*ranks)[0, 1])


SEQUENCE = "INPUT[40x3] -> CONV5-6 -> RELU -> POOL2 -> ADD[CONV3-6 | ID] -> RELU -> CONV3-5 -> RELU -> GAP -> FC3"


@pytest.mark.parametrize("name", ATTRIBUTIONS)
def test_sequences_are_explained_too(name):
    network = Network.parse(SEQUENCE)
    subject = Subject.from_arrays(network, initialise(network))
    x = subject.tensor(np.random.default_rng(0).standard_normal((2, 3, 40)).astype(np.float32))
    found = BY_NAME[name].attribute(subject, x, Asked(subject.classes([0, 2])))
    assert found.values.shape[2:] == (40,)
    assert torch.isfinite(found.values).all()
    assert found.maps(signed=True).shape == (2, 40)


def test_a_torch_module_whose_relu_is_in_place_and_used_twice_is_explained():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second, self.last = (
                nn.Conv2d(3, 4, 3, padding=1),
                nn.Conv2d(4, 4, 3, padding=1),
                nn.Linear(4, 3),
            )
            self.relu = nn.ReLU(inplace=True)

        def forward(self, x):
            y = self.relu(self.first(x))
            y = self.relu(self.second(y) + y)
            return self.last(y.mean((2, 3)))

    torch.manual_seed(0)
    module = Own().eval()
    network, weights = from_torch(module, "10x12x3")[:2]
    model = model_of(str(network), weights=weights)
    image = images_for(model, 1)
    x = torch.from_numpy(model.preprocessing(image)).requires_grad_()
    (dx,) = torch.autograd.grad(module(x)[0, 2], x)
    (found,) = explain(model, image, "gradient", target="2", evidence=False)
    np.testing.assert_allclose(found.values, dx[0], rtol=1e-4, atol=1e-6)
    assert all(np.isfinite(maps(model, image, name)).all() for name in ATTRIBUTIONS)


def test_without_noise_smoothgrad_is_the_gradient():
    model = model_of(NETS["vgg"])
    (image,) = images_for(model, 1)
    shown = picture(model, "smoothgrad-noise", [image], target=1)
    (plain,) = explain(model, [image], "gradient", target=1, evidence=False)
    assert [row["noise"] for row in shown.document["maps"]] == list(smoothgrad.LEVELS)
    assert shown.document["maps"][0]["scale"] == pytest.approx(plain.scale, rel=1e-4)
    expected = colours.painted(plain.map, signed=False, scale=plain.scale)
    np.testing.assert_allclose(shown.strips[0].panels[1].pixels.astype(int), expected, atol=1)


def test_a_unit_of_a_layer_can_be_explained():
    model = detector(20, 34, 1)
    image = planted(20, 34, 1, (9, 24))
    (found,) = explain(model, image, "gradient", layers=("conv1",), unit=0)
    assert found.target == "unit 0 of conv1"
    (strongest,) = explain(model, image, "guided-backprop", layers=("relu1",), evidence=False)
    assert strongest.target == "unit 0 of relu1"
    assert found.probability is None


@pytest.mark.parametrize(
    ("question", "says"),
    [
        ({"method": "grad-cm"}, "there is no such method\n  received: grad-cm\n  try: grad-cam"),
        ({"method": "maximise"}, "this method gives a picture, not a map"),
        ({"layers": ("relu9",)}, "the network has no layer of this name\n  received: relu9"),
        ({"layers": ("gap1",)}, "gap1: grad-cam reads maps, and this layer has one position\n  try: layer relu1"),
        ({"layers": ("softmax1",)}, "softmax1: the scores are made before this layer"),
        ({"target": "dog"}, "the model knows no such class\n  received: dog\n  try: class 0, class 1; or 0 to 1"),
        ({"target": "class2"}, "class 0"),
        (
            {"method": "gradient", "layers": ("conv1",), "unit": 7},
            "conv1: its maps are numbered 0 to 1\n  received: unit 7",
        ),
        ({"layers": ("aux1",)}, "no output depends on this layer"),
        ({"unit": 1}, "grad-cam takes no unit\n  try: it takes image, target, layers"),
        ({"count": 3}, "grad-cam takes no count"),
        ({"method": "gradient", "unit": 1}, "a unit is one of a layer\n  received: unit 1 of no layer"),
        (
            {"method": "gradient", "layers": ("conv1",), "unit": 1, "target": "1"},
            "either a class is explained or a unit",
        ),
        (
            {"method": "occlusion", "layers": ("fc2",), "unit": 1},
            "fc2: the units of this layer are the classes\n  try: a target, and no layer",
        ),
        ({"target": 2}, "the model knows no such class\n  received: 2"),
        ({"target": -1}, "the model knows no such class\n  received: -1"),
        ({"layers": "relu1"}, "layers are names, in a tuple\n  received: 'relu1'"),
        ({"layers": (3,)}, "layers are names, in a tuple\n  received: (3,)"),
        ({"seed": -1}, "seed is a whole number from 0\n  received: seed=-1"),
        ({"device": "tpu"}, "this device is unknown"),
    ],
)
def test_mistakes_are_explained(question, says):
    text = "INPUT[8x8x1] -> CONV3-2 -> RELU -> AUX(0.3)[GAP -> FC2] -> GAP -> FC2 -> SOFTMAX"
    with pytest.raises(NeocogError) as caught:
        explain(model_of(text.replace("GAP -> FC2]", "FC2]")), np.zeros((8, 8), np.uint8), **question)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("method", "question", "says"),
    [
        ("maximise", {"sources": [np.zeros((8, 8), np.uint8)]}, "maximise takes no image\n  try: it takes layer, unit"),
        ("maximise", {"target": "1"}, "maximise takes no target"),
        ("maximise", {"layers": ("conv1", "relu1")}, "maximise looks at one layer\n  received: conv1, relu1"),
        ("class-image", {"layers": ("conv1",)}, "class-image takes no layer"),
        ("filters", {"count": 0}, "count is a whole number from 1\n  received: count=0"),
        ("filters", {"layers": ("relu1",)}, "relu1: only convolutions have filters that can be shown\n  try: conv1"),
    ],
)
def test_what_a_method_does_not_listen_to_is_refused(method, question, says):
    with pytest.raises(NeocogError) as caught:
        picture(model_of("INPUT[8x8x1] -> CONV3-2 -> RELU -> GAP -> FC2"), method, **question)
    assert says in str(caught.value)


def test_a_network_whose_numbers_overflow_is_refused():
    model = model_of("INPUT[8x8x1] -> CONV3-2 -> RELU -> GAP -> FC2")
    with np.errstate(over="ignore"):
        huge = {name: array * np.float32(1e30) for name, array in model.weights.items()}
    with pytest.raises(RunError, match="the network's scores overflow"):
        explain(replace(model, weights=huge), images_for(model), "input-x-gradient")
    with pytest.raises(RunError, match="input-x-gradient: the network's values overflow, so there is no map"):
        explain(replace(model, weights=huge), images_for(model), "input-x-gradient", target="1")


@pytest.mark.parametrize(("loss", "sign"), [("cross-entropy", 1), ("sigmoid", -1)])
def test_one_output_is_one_class_or_says_yes_or_no(loss, sign):
    """Class 0 is the only class of a single score, or, where the loss asks yes or no, what it speaks against."""
    model = model_of("INPUT[8x8x1] -> CONV3-2 -> RELU -> GAP -> FC1")
    model = replace(model, loss=loss, classes=("no", "yes") if loss == "sigmoid" else ("only",))
    (image,) = images_for(model, 1)
    (found,) = explain(model, image, "gradient", target=0)
    score = float(model.scores(model.preprocessing(image[None]))[0, 0])
    assert found.score == pytest.approx(sign * score, rel=1e-4)
    assert found.probability == pytest.approx(1 if loss == "cross-entropy" else 1 / (1 + np.exp(score)), rel=1e-4)


@pytest.mark.parametrize("method", ["gradient", "maximise", "deepdream"])
def test_pictures_for_a_network_of_sequences_are_refused(method):
    network = Network.parse("INPUT[40x3] -> CONV5-6 -> RELU -> GAP -> FC3")
    preprocessing = Preprocessing((40, 1), (40, 1), (0.5,) * 3, (0.25,) * 3)
    model = Model(network, initialise(network), preprocessing, ("a", "b", "c"), "cross-entropy")
    images = [np.zeros((40, 1, 3), np.uint8)] if "image" in BY_NAME[method].needs else []
    with pytest.raises(NeocogError, match="this network reads sequences, not images\n  received: INPUT"):
        picture(model, method, images)


def test_without_a_layer_between_there_is_nothing_to_invert():
    model = model_of("INPUT[8x8x1] -> FC2")
    with pytest.raises(NeocogError, match="so there is no layer to invert"):
        picture(model, "inversion", images_for(model, 1))


def test_a_network_without_maps_is_refused():
    with pytest.raises(NeocogError, match="no layer of this network has more than one position"):
        explain(model_of("INPUT[8x8x1] -> FC4 -> RELU -> FC2"), np.zeros((8, 8), np.uint8))
