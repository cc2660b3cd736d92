"""The torch modules give the same numbers on a GPU as on the CPU; run where there is a GPU."""

from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from tokens import layer_of, shapes_of

from neocog import Network, zoo
from neocog.feed import Course, Pixels
from neocog.initialise import initialise
from neocog.layer import Shape
from neocog.layers import LAYERS
from neocog.torch_engine.trainer import TorchTrainer

pytestmark = pytest.mark.gpu

EXAMPLES = [example for layer in LAYERS for example in layer.examples]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.token)
def test_a_layer_gives_the_same_values_and_gradients(example):
    shapes = shapes_of(example.inputs)
    module = layer_of(example.token).module(*shapes).double().eval()
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter)
    xs = [torch.randn(2, shape.channels, *shape.spatial, dtype=torch.float64) for shape in shapes or ()]
    xs = xs or [torch.randn(2, 1, 4, 4, dtype=torch.float64)]
    results = []
    for device in ("cpu", "cuda"):
        moved = [x.detach().to(device, copy=True).requires_grad_() for x in xs]
        y = module.to(device)(*moved)
        y.square().sum().backward()
        results.append([y.detach().cpu(), *(x.grad.cpu() for x in moved)])
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("order", [torch.channels_last, torch.contiguous_format], ids=str)
@pytest.mark.parametrize(
    ("token", "size"), [("POOL2(fit=floor)", (3, 7, 9)), ("POOL3x2(S=3x2)", (5, 6, 6)), ("POOL5", (1, 5, 5))]
)
def test_pooling_by_tiles_learns_as_torchs_own_pooling_does(token, size, order, dtype):
    shape = Shape(size[1:], size[0])
    module = layer_of(token).module(shape).train()
    given = torch.randint(-3, 3, (4, *size), device="cuda").to(dtype).contiguous(memory_format=order)  # many ties
    results = []
    for pool in (module, partial(F.max_pool2d, kernel_size=module.tile)):
        x = given.clone().requires_grad_()
        y = pool(x)
        y.backward(torch.arange(y.numel(), device="cuda").view(y.shape).to(dtype))
        results.append((y, x.grad))
    for mine, other in zip(*results, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["lenet5", "convnetjs-cifar10", "resnet20"])
def test_a_network_gives_the_same_scores(name):
    network = zoo(name)
    module = network.build().double().eval()
    shape = network.input_shape
    x = torch.randn(4, shape.channels, *shape.spatial, dtype=torch.float64)
    with torch.inference_mode():
        expected = module(x)
        torch.testing.assert_close(module.cuda()(x.cuda()).cpu(), expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_prediction_between_steps_gives_the_same_scores(dtype):
    network = Network.parse("INPUT[6x6x2] -> CONV3-8(BIAS=no) -> BN -> RELU -> CONV3-8 -> POOL2 -> FC9 -> BN -> FC4")
    rng = np.random.default_rng(5)
    x, labels = rng.standard_normal((8, 2, 6, 6)).astype(np.float32), rng.integers(0, 4, 8)
    trainer = TorchTrainer(network, initialise(network, 1), loss="cross-entropy", device="cuda", dtype=dtype)
    for _ in range(4):
        trainer.step(x, labels, 0.05)
        cpu = TorchTrainer(network, trainer.weights(), loss="cross-entropy", device="cpu", dtype=dtype)
        off = 5e-3 if dtype == "float32" else 0.1  # products of float32 may be of shorter numbers on a GPU
        np.testing.assert_allclose(trainer.scores(x), cpu.scores(x), rtol=off, atol=off)


FROZEN = {f"bn1.{kind}": 0.0 for kind in ("weight", "bias", "running_mean", "running_var")}


@pytest.mark.parametrize("class_weights", [None, np.array([1, 2, 0.5, 1], np.float32)], ids=["alike", "weighted"])
@pytest.mark.parametrize(
    "settings",
    [
        {"optimizer": "muon"},
        {"optimizer": "adamw", "ema": 0.9},
        {"momentum": 0.5},
        {"clip": 0.5, "label_smoothing": 0.1, "factors": {"conv1.weight": 0.0, "fc1.bias": 2.0}},
        {"accumulate": 2, "factors": FROZEN},
    ],
    ids=lambda settings: ", ".join(settings),
)
def test_steps_that_are_recorded_learn_what_steps_on_the_cpu_do(settings, class_weights):
    # no bias before BN: its gradient is rounding alone, which AdamW makes as large as any other
    network = Network.parse("INPUT[6x6x2] -> CONV3-8(BIAS=no) -> BN -> TANH -> CONV3-8 -> TANH -> POOL2 -> FC4")
    rng = np.random.default_rng(5)
    pixels = Pixels(
        rng.integers(0, 256, (64, 6, 6, 2), np.uint8), np.full(2, 0.01, np.float32), np.full(2, -1, np.float32)
    )
    labels = rng.integers(0, 4, 64)
    sizes, rates = np.full(8, 8), np.linspace(0.01, 0.001, 8)
    course = Course(pixels, np.arange(64), labels, None, sizes, rates, class_weights=class_weights)
    taken, trained = {}, {}
    for device in ("cpu", "cuda"):
        trainer = TorchTrainer(network, initialise(network, 1), loss="cross-entropy", device=device, **settings)
        taken[device], trained[device] = trainer.learn(course), trainer.weights()
    np.testing.assert_allclose(taken["cuda"].losses, taken["cpu"].losses, rtol=2e-2)
    for name, expected in trained["cpu"].items():
        np.testing.assert_allclose(trained["cuda"][name], expected, rtol=0.1, atol=2e-2, err_msg=name)


def test_a_recorded_step_whose_loss_is_not_finite_changes_nothing_and_ends_the_course():
    network = Network.parse("INPUT[2x2x1] -> FC4")
    pixels = Pixels(np.full((12, 2, 2, 1), 255, np.uint8), np.ones(1, np.float32), np.zeros(1, np.float32))
    trainer = TorchTrainer(network, initialise(network, 1), loss="cross-entropy", optimizer="sgd", device="cuda")
    rates = np.array([1e-9, 1e-9, 1e-9, 1e-9, 1e36, 1e-9])
    course = Course(pixels, np.arange(12), np.arange(12) % 4, None, np.full(6, 2), rates)
    taken = trainer.learn(course)
    assert len(taken.losses) == 6
    assert np.isfinite(taken.losses).tolist() == [True] * 5 + [False]
    before = trainer.weights()
    assert not np.isfinite(trainer.learn(course).losses[0])
    np.testing.assert_array_equal(trainer.weights()["fc1.weight"], before["fc1.weight"])
