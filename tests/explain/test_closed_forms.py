"""Methods whose answer is known in another way: by formula, by brute force, or by what it must sum to."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch

from neocog import Network, reference
from neocog.explain import (
    BY_NAME,
    Subject,
    grad_cam_pp,
    guided_backprop,
    integrated_gradients,
    lrp,
    occlusion,
    smoothgrad,
)
from neocog.explain.method import Asked
from neocog.explain.placing import onto_image
from neocog.initialise import initialise
from neocog.interop import from_torch

GAP_NET = "INPUT[12x10x2] -> CONV3-5 -> RELU -> POOL2 -> CONV3-6 -> RELU -> GAP -> FC3"


def attribute(name, subject, x, classes, **asked):
    target = subject.classes(classes)
    return BY_NAME[name].attribute(subject, x, Asked(target, **asked))


def noise(subject, count=2, seed=0):
    shape = subject.network.input_shape
    rng = np.random.default_rng(seed)
    return subject.tensor(rng.standard_normal((count, shape.channels, *shape.spatial)).astype(np.float32))


@pytest.fixture(scope="module")
def gap() -> Subject:
    network = Network.parse(GAP_NET)
    return Subject.from_arrays(network, initialise(network, 3))


def test_the_gradient_is_that_of_the_reference(model, subject, x):
    classes = [0, 1, 2]
    found = attribute("gradient", subject, x, classes).values
    network = model.network
    if network.nodes[-1].layer.op == "SOFTMAX":
        network = Network(network.chain[:-1])
    weights = {name: array.astype(np.float64) for name, array in model.weights.items()}
    trace = reference.forward(network, weights, x.numpy().astype(np.float64))
    dy = np.zeros((3, 4))
    dy[np.arange(3), classes] = 1
    expected, _ = reference.backward(trace, dy)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4 * np.abs(expected).max())


def test_grad_cam_of_a_network_that_ends_in_gap_is_the_class_activation_map(gap):
    x, layer = noise(gap), gap.position("relu2")
    maps = gap.volumes(x, {layer})[layer]
    weight = gap.module.get_submodule("fc1").weight
    field = gap.planned["relu2"].field
    for name in ("grad-cam", "hires-cam"):
        found = attribute(name, gap, x, [2, 0], layer=layer).values
        for k, c in enumerate((2, 0)):
            cam = (weight[c][:, None, None] * maps[k]).sum(0).clamp(min=0) / maps[0, 0].numel()
            torch.testing.assert_close(found[k], onto_image(cam[None], field, (12, 10)))


def test_the_default_layer_is_the_last_map_that_sees_part_of_the_image(gap):
    assert attribute("grad-cam", gap, noise(gap), [0, 0]).values.shape == (2, 1, 12, 10)
    net = "INPUT[16x16x1] -> [CONV3-4 -> RELU]*4 -> POOL2 -> [CONV3-4 -> RELU]*4 -> GAP -> FC2"
    from neocog.explain.placing import default_layer

    network = Network.parse(net)
    plan, found = network.plan(), default_layer(Subject.from_arrays(network, initialise(network)))
    fields = [row.field[0].size for row in plan.rows]
    assert plan.rows[found].name == "relu5"
    assert fields[found] < 16 <= fields[found + 1]


def test_ablation_cam_of_a_linear_head_is_each_maps_share(gap):
    x, layer = noise(gap), gap.position("relu2")
    maps = gap.volumes(x, {layer})[layer]
    weight, bias = gap.module.get_submodule("fc1").weight, gap.module.get_submodule("fc1").bias
    shares = weight[1] * maps.flatten(2).mean(2)
    score = shares.sum(1) + bias[1]
    cam = (shares / score.abs()[:, None])[:, :, None, None] * maps
    expected = onto_image(cam.sum(1).clamp(min=0), gap.planned["relu2"].field, (12, 10))
    torch.testing.assert_close(
        attribute("ablation-cam", gap, x, [1, 1], layer=layer).values[:, 0], expected, rtol=1e-3, atol=1e-5
    )


def test_score_cam_runs_the_image_under_each_map(gap):
    x, layer = noise(gap, 1), gap.position("relu2")
    maps = gap.volumes(x, {layer})[layer][0]
    field, gains = gap.planned["relu2"].field, []
    for one in maps:
        if one.max() == one.min():
            gains.append(-np.inf)
            continue
        mask = onto_image(((one - one.min()) / (one.max() - one.min()))[None], field, (12, 10))
        gains.append(float(gap.module(x * mask[:, None])[0, 1] - gap.module(0 * x)[0, 1]))
    w = torch.softmax(torch.tensor(gains), 0)
    expected = onto_image((w[:, None, None] * maps).sum(0).clamp(min=0)[None], field, (12, 10))
    torch.testing.assert_close(
        attribute("score-cam", gap, x, [1], layer=layer).values[:, 0], expected, rtol=1e-3, atol=1e-5
    )


def test_maps_keep_their_weight_as_their_formulas_say(gap):
    """XGrad-CAM conserves the sum of products."""
    from neocog.explain import layer_cam, xgrad_cam

    rng = torch.Generator().manual_seed(0)
    maps = torch.rand(2, 3, 4, 4, generator=rng)
    slopes = torch.randn(2, 3, 4, 4, generator=rng)
    torch.testing.assert_close(
        xgrad_cam.by_active_gradient(maps, slopes).sum((1, 2)), (maps * slopes).sum((1, 2, 3)), rtol=1e-4, atol=1e-4
    )
    torch.testing.assert_close(layer_cam.by_positive_gradient(maps, slopes), (maps * slopes.clamp(min=0)).sum(1))


def test_grad_cam_pp_is_equation_19_with_the_derivatives_of_the_exponential_score():
    """Of a layer with a linear head of different weights at each position; derivatives by autograd, one value each."""
    rng = torch.Generator().manual_seed(0)
    maps = torch.rand(3, 2, 2, generator=rng, dtype=torch.float64)
    head = torch.randn(3, 2, 2, generator=rng, dtype=torch.float64)
    first, second, third = (torch.empty(12, dtype=torch.float64) for _ in range(3))
    for k in range(12):
        step = torch.zeros((), dtype=torch.float64, requires_grad=True)
        moved = maps + step * torch.eye(12, dtype=torch.float64)[k].reshape(3, 2, 2)
        y = torch.exp((head * moved).sum())
        (one,) = torch.autograd.grad(y, step, create_graph=True)
        (two,) = torch.autograd.grad(one, step, create_graph=True)
        (three,) = torch.autograd.grad(two, step)
        first[k], second[k], third[k] = one.detach(), two.detach(), three
    first, second, third = (one.reshape(3, 2, 2) for one in (first, second, third))
    alpha = second / (2 * second + maps.sum((1, 2), keepdim=True) * third)
    w = (alpha * first.clamp(min=0)).sum((1, 2)) / torch.exp((head * maps).sum())
    expected = (w[:, None, None] * maps).sum(0)
    torch.testing.assert_close(grad_cam_pp.by_raising_positions(maps[None], head[None])[0], expected)


def test_grad_cam_pp_of_a_network_that_ends_in_gap_is_its_closed_form(gap):
    """With v the head's weights and m the maps' means: each map counts max(0, v) / (2 + m max(0, v))."""
    x, layer = noise(gap), gap.position("relu2")
    maps = gap.volumes(x, {layer})[layer]
    v = gap.module.get_submodule("fc1").weight[[2, 0]].clamp(min=0)
    w = v / (2 + maps.mean((2, 3)) * v)
    expected = onto_image((w[:, :, None, None] * maps).sum(1), gap.planned["relu2"].field, (12, 10))
    torch.testing.assert_close(attribute("grad-cam++", gap, x, [2, 0], layer=layer).values[:, 0], expected)


class Residual(torch.nn.Module):
    """Every activation a module of its own, which can be hooked."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.conv2 = torch.nn.Conv2d(2, 4, 3, padding=1), torch.nn.Conv2d(4, 4, 3, padding=1)
        self.relu1, self.relu2, self.pool = torch.nn.ReLU(), torch.nn.ReLU(), torch.nn.MaxPool2d(2)
        self.fc = torch.nn.Linear(4 * 9, 3)

    def forward(self, x):
        y = self.relu1(self.conv1(x))
        return self.fc(self.pool(self.relu2(self.conv2(y) + y)).flatten(1))


@pytest.mark.parametrize("name", ["guided-backprop", "deconvnet"])
def test_guided_and_deconvolved_gradients_are_what_hooks_on_a_torch_module_make(name):
    torch.manual_seed(0)
    module = Residual()
    network, weights = from_torch(module, "6x6x2")
    subject = Subject.from_arrays(network, weights)
    x = noise(subject)

    def hooked(_, dx, dy):
        return ((dx if name == "guided-backprop" else dy)[0].clamp(min=0),)

    for relu in (module.relu1, module.relu2):
        relu.register_full_backward_hook(hooked)
    x.requires_grad_()
    (expected,) = torch.autograd.grad(module(x)[[0, 1], [2, 0]].sum(), x)
    torch.testing.assert_close(attribute(name, subject, x.detach(), [2, 0]).values, expected)


def test_integrated_gradients_are_complete(subject, x):
    found = attribute("integrated-gradients", subject, x, [0, 1, 3])
    target = subject.classes([0, 1, 3])
    expected = subject.scores(x, target) - subject.scores(0 * x, target)
    assert (found.gap <= 1e-3).all(), found.notes
    torch.testing.assert_close(found.values.flatten(1).sum(1), expected, rtol=1.2e-3, atol=1e-5)


def cliffs(*places: float, width: float = 1e-3, heights=(1.0, -0.75)) -> Subject:
    """On the way of an image of ones each of its halves, once half of it is there, adds a step of so much height."""
    network = Network.parse("INPUT[2x1x1] -> FC4 -> RELU -> FC1(BIAS=no)")
    places = [edge for place in places for edge in (place, place + width)]
    slopes = [sign * height / width for height in heights for sign in (1, -1)]
    weights = {
        "fc1.weight": np.array([[1, 0], [1, 0], [0, 1], [0, 1]], np.float32),
        "fc1.bias": -np.array(places, np.float32),
        "fc2.weight": np.array([slopes], np.float32),
    }
    return Subject.from_arrays(network, weights, loss="sigmoid")


def test_integrated_gradients_are_complete_where_a_score_leaps():
    """Steep for 1e-3 of the way: 2,048 even steps, two on each cliff, could miss a quarter of it."""
    subject = cliffs(0.3337, 0.81013)
    x = subject.tensor(np.ones((1, 1, 2, 1), np.float32))
    found = attribute("integrated-gradients", subject, x, [1])
    assert found.gap[0] <= 1e-3
    assert found.values.flatten().tolist() == pytest.approx([1, -0.75], abs=1e-3)
    (steps,) = found.notes
    assert int(steps.en.removesuffix(" steps")) < 250


def test_an_integral_that_stays_open_says_what_its_sum_is_off_by(monkeypatch):
    monkeypatch.setattr(integrated_gradients, "MOST_STEPS", 20)
    subject = cliffs(0.3124, 0.81013)
    x = subject.tensor(np.ones((1, 1, 2, 1), np.float32))
    found = attribute("integrated-gradients", subject, x, [1])
    assert found.gap[0] > 1e-3
    magnitudes = float(found.values.abs().sum())
    off = abs(float(found.values.sum()) - 0.25) / magnitudes
    change, said = map(float, re.findall(r"\d\.\de-?\+?\d+", found.notes[0].en))
    assert change == pytest.approx(0.25 / magnitudes, rel=0.1)
    assert said == pytest.approx(off, rel=0.1)


def test_without_biases_input_times_gradient_sums_to_the_score():
    network = Network.parse("INPUT[9x9x2] -> CONV3-4(BIAS=no) -> RELU -> POOL3 -> FC3(BIAS=no)")
    subject = Subject.from_arrays(network, initialise(network))
    x = noise(subject)
    found = attribute("input-x-gradient", subject, x, [0, 2]).values
    torch.testing.assert_close(
        found.flatten(1).sum(1), subject.scores(x, subject.classes([0, 2])), rtol=1e-4, atol=1e-5
    )


def test_occlusion_is_brute_force(subject, x):
    found = attribute("occlusion", subject, x, [0, 1, 2]).values[:, 0]
    size = tuple(x.shape[2:])
    side, stride = occlusion.square(size)
    corners = [
        (i, j)
        for i in sorted({*range(0, size[0] - side, stride), size[0] - side})
        for j in sorted({*range(0, size[1] - side, stride), size[1] - side})
    ]
    target = subject.classes([0, 1, 2])
    total, times = torch.zeros(3, *size), torch.zeros(size)
    for i, j in corners:
        covered = x.clone()
        covered[:, :, i : i + side, j : j + side] = 0
        fall = subject.score(x, target) - subject.score(covered, target)
        total[:, i : i + side, j : j + side] += fall[:, None, None].detach()
        times[i : i + side, j : j + side] += 1
    assert (times > 0).all()
    torch.testing.assert_close(found, total / times, rtol=1e-3, atol=1e-4)


def test_relevance_is_conserved(subject, x):
    found = attribute("lrp", subject, x, [0, 1, 2])
    assert found.gap.max() < 1e-3
    relevance, biases, score = lrp.propagate(subject, x, subject.classes([0, 1, 2]), 0)
    torch.testing.assert_close(relevance.flatten(1).double().sum(1) + biases, score, rtol=1e-3, atol=1e-5)


def test_without_biases_all_relevance_reaches_the_image():
    network = Network.parse(
        "INPUT[9x9x2] -> CONV3-4(BIAS=no) -> RELU -> POOL3 -> CONV3-4(BIAS=no) -> RELU -> FC3(BIAS=no)"
    )
    subject = Subject.from_arrays(network, initialise(network))
    x = noise(subject)
    found = attribute("lrp", subject, x, [0, 2]).values.flatten(1).sum(1)
    torch.testing.assert_close(found, subject.scores(x, subject.classes([0, 2])), rtol=1e-3, atol=1e-5)


def test_relevance_goes_back_through_a_table_with_its_normalization():
    """As through the same connections written as a full convolution with zeros."""
    text = "INPUT[7x6x3] -> CONV3-4 -> RELU -> CONV3-3({0}) -> BN -> RELU -> FC3"
    table = Network.parse(text.format('TABLE="0 1; 1 2 3; 0 3"'))
    weights, rng = initialise(table), np.random.default_rng(3)
    weights |= {name: rng.uniform(0.5, 2, 3).astype(np.float32) for name in ("bn1.weight", "bn1.running_var")}
    dense = np.zeros((3, 4, 3, 3), np.float32)
    dense[[0, 0, 1, 1, 1, 2, 2], [0, 1, 1, 2, 3, 0, 3]] = weights["conv2.weight"]
    first = Subject.from_arrays(table, weights)
    second = Subject.from_arrays(Network.parse(text.format("D=1")), weights | {"conv2.weight": dense})
    found, expected = (attribute("lrp", one, noise(one), [0, 2]) for one in (first, second))
    torch.testing.assert_close(found.values, expected.values)
    assert found.values.any()
    assert found.gap.max() < 1e-3


def test_relevance_goes_back_through_a_normalization_that_learns_nothing():
    """As where it has the weights 1 and the biases 0."""
    text = "INPUT[7x6x3] -> CONV3-4 -> {0} -> RELU -> FC3"
    learning, fixed = Network.parse(text.format("BN")), Network.parse(text.format("BN(AFFINE=no)"))
    weights = initialise(learning) | {"bn1.running_var": np.array([0.5, 1, 2, 3], np.float32)}
    first = Subject.from_arrays(learning, weights)
    second = Subject.from_arrays(fixed, {k: v for k, v in weights.items() if k not in ("bn1.weight", "bn1.bias")})
    found, expected = (attribute("lrp", one, noise(one), [0, 2]) for one in (second, first))
    torch.testing.assert_close(found.values, expected.values)
    assert found.values.any()


def test_the_way_back_through_a_normalization_keeps_no_volume():
    network = Network.parse("INPUT[9x8x3] -> BN -> FC2")
    subject = Subject.from_arrays(network, initialise(network))
    x, sizes = noise(subject).requires_grad_(), []

    def noted(kept):
        sizes.append(kept.numel())
        return kept

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(noted, lambda kept: kept):
        assert subject.volumes(x, [1])[1].requires_grad
    assert max(sizes) <= 3


def test_relevance_of_a_linear_layer_is_each_products_share():
    network = Network.parse("INPUT[1x1x3] -> FC1(BIAS=no)")
    weights = {"fc1.weight": np.array([[2.0, -1.0, 0.5]], np.float32)}
    subject = Subject.from_arrays(network, weights, loss="sigmoid")
    x = subject.tensor(np.array([1.0, 1.0, 4.0], np.float32).reshape(1, 3, 1, 1))
    assert attribute("lrp", subject, x, [1]).values.flatten().tolist() == pytest.approx([2, -1, 2], rel=1e-5)
    assert attribute("lrp", subject, x, [0]).values.flatten().tolist() == pytest.approx([-2, 1, -2], rel=1e-5)


def test_guided_and_deconvolved_gradients_by_hand():
    """y = 2 relu(x0) - 3 relu(x1) + 1 relu(x2), for x = (1, 1, -1)."""
    network = Network.parse("INPUT[1x1x3] -> RELU -> FC1(BIAS=no)")
    subject = Subject.from_arrays(network, {"fc1.weight": np.array([[2.0, -3.0, 1.0]], np.float32)}, loss="sigmoid")
    x = subject.tensor(np.array([1.0, 1.0, -1.0], np.float32).reshape(1, 3, 1, 1))
    expected = {"gradient": [2, -3, 0], "guided-backprop": [2, 0, 0], "deconvnet": [2, 0, 1]}
    for name, values in expected.items():
        assert attribute(name, subject, x, [1]).values.flatten().tolist() == values


def test_guided_values_forward_are_the_networks_own(subject, x):
    target = subject.classes([0, 1, 2])
    from neocog.explain.deconvnet import deconvolved

    for rule in (guided_backprop.guided, deconvolved):
        torch.testing.assert_close(subject.score(x, target, rule), subject.score(x, target))


def test_smoothgrad_adds_noise_of_the_stated_deviation(subject):
    image = torch.zeros(3, 40, 40)
    image[0, 0, 0], image[1, 0, 0] = 3.0, -1.0

    def copies(*parts, seed=0):
        drawing = np.random.default_rng(seed)
        return torch.cat([smoothgrad.noisy(subject, image, drawing, count, 0.15) for count in parts])

    drawn = copies(50) - image
    assert float(drawn.std()) == pytest.approx(0.15 * 4, rel=0.01)
    assert torch.equal(copies(50), copies(1, 30, 19))  # however many are made at once
    assert not torch.equal(copies(50), copies(50, seed=1))


def test_smoothgrad_of_a_linear_network_is_its_gradient():
    network = Network.parse("INPUT[6x6x1] -> CONV3-2 -> FC3")
    subject = Subject.from_arrays(network, initialise(network))
    x = noise(subject)
    torch.testing.assert_close(
        attribute("smoothgrad", subject, x, [0, 1]).values, attribute("gradient", subject, x, [0, 1]).values
    )


def test_guided_grad_cam_is_the_product(gap):
    x = noise(gap)
    product = attribute("grad-cam", gap, x, [0, 1]).values * attribute("guided-backprop", gap, x, [0, 1]).values
    torch.testing.assert_close(attribute("guided-grad-cam", gap, x, [0, 1]).values, product)


def test_eigen_cam_is_the_first_component(gap):
    x, layer = noise(gap, 1), gap.position("relu2")
    maps = gap.volumes(x, {layer})[layer][0].flatten(1).T.numpy()
    left, strength, _ = np.linalg.svd(maps, full_matrices=False)
    along = left[:, 0] * strength[0]
    along = np.clip(along * np.sign(along.sum()), 0, None).reshape(1, 6, 5).astype(np.float32)
    expected = onto_image(torch.from_numpy(along), gap.planned["relu2"].field, (12, 10))
    found = attribute("eigen-cam", gap, x, [0], layer=layer).values[:, 0]
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)


def test_a_penalty_and_a_single_output_are_turned_to_scores():
    text = "INPUT[6x6x1] -> CONV3-2 -> TANH -> FC84 -> TANH -> RBF3"
    network = Network.parse(text)
    subject = Subject.from_arrays(network, initialise(network), loss="map")
    x = noise(subject)
    penalties = subject.module(x)
    torch.testing.assert_close(subject.scores(x, subject.classes([0, 2])), -penalties[[0, 1], [0, 2]])
    place, target = subject.position("tanh2"), subject.classes([0, 2])
    relevance, biases, score = lrp.propagate(subject, x, target, place)
    torch.testing.assert_close(relevance.flatten(1).double().sum(1), score, rtol=1e-4, atol=1e-4)
    assert not biases.any(), "a distance is handed on whole"
    assert attribute("lrp", subject, x, [0, 2]).gap.max() < 1e-3
    assert subject.probabilities(x).argmax(1).tolist() == penalties.argmin(1).tolist()
