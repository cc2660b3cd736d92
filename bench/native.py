"""The native engine against torch: images a second of whole training steps, ratios of one run, and share of the limit.

    python bench/native.py [SECONDS]

For each network and batch all contenders take turns, `ROUNDS` times; the median counts. Torch runs as it comes and with
channels last, on all cores, with a fused optimizer. The limit is what one kernel of nothing but multiply-adds on
registers reaches on all cores in the same run; operations are counted as multiply-adds of the forward pass, of the
gradient of weights, and of the gradient of inputs except for the images.

The first table is the time to predict one image on one core, from Python and back, in microseconds: the best of many
calls in each round, and of those the median. ONNX Runtime takes part where it is installed.
"""

from __future__ import annotations

import ctypes
import io
import sys
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median
from time import perf_counter

import numpy as np
import torch

from neocog import Network, zoo
from neocog.initialise import initialise
from neocog.native.engine import aligned
from neocog.native.jit import Compiled, machine
from neocog.native.kernel import Function, Index, Type, constant, fma, load
from neocog.native.trainer import NativeTrainer
from neocog.torch_engine import build
from neocog.torch_engine.trainer import make_optimizer

ROUNDS = 5
NETWORKS = {
    "lenet5-relu": (64, 256, 1024),
    "convnetjs-cifar10": (64, 256),
    "INPUT[32x32x3] -> [CONV3-32 -> RELU]*2 -> POOL2 -> [CONV3-64 -> RELU]*2 -> POOL2 -> FC10": (64,),
    "INPUT[32x32x3] -> [CONV3-64 -> RELU -> POOL2]*2 -> [CONV3-256 -> RELU]*2 -> POOL2 -> FC10": (64,),
    "INPUT[100x64] -> CONV5-64 -> RELU -> POOL2 -> CONV5-64 -> RELU -> POOL2 -> FC128 -> RELU -> FC10": (64,),
}
Step = Callable[[np.ndarray, np.ndarray], object]


def native(network: Network) -> Step:
    trainer = NativeTrainer(network, initialise(network), loss="cross-entropy")
    return lambda x, labels: trainer.step(x, labels, 1e-4)


def by_torch(network: Network, channels_last: bool) -> Step:
    order = torch.channels_last if channels_last and network.input_shape.rank == 2 else torch.contiguous_format
    module = build(network).to(memory_format=order)
    optimizer = make_optimizer(module, "nesterov", 0.9, 0.0)

    def step(x: np.ndarray, labels: np.ndarray) -> float:
        scores = module(torch.from_numpy(x).contiguous(memory_format=order))
        loss = torch.nn.functional.cross_entropy(scores, torch.from_numpy(labels))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for group in optimizer.param_groups:
            group["lr"] = 1e-4
        optimizer.step()
        return loss.item()

    return step


def rate(step: Step, x: np.ndarray, labels: np.ndarray, seconds: float) -> float:
    """Images a second."""
    step(x, labels)
    steps, start = 0, perf_counter()
    while (elapsed := perf_counter() - start) < seconds:
        step(x, labels)
        steps += 1
    return steps * len(x) / elapsed


def predictors(network: Network, x: np.ndarray) -> dict[str, Callable[[], object]]:
    """What predicts the images x, by name."""
    trainer = NativeTrainer(network, initialise(network), loss="cross-entropy", threads=1)
    module = build(network).eval()
    images = torch.from_numpy(x)

    @torch.inference_mode()
    def predict() -> torch.Tensor:
        return module(images)

    found = {"native": lambda: trainer.scores(x), "torch": predict}
    try:
        import onnx  # noqa: F401  # torch needs it to export
        import onnxruntime
    except ImportError:
        return found
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    exported = io.BytesIO()
    with warnings.catch_warnings(action="ignore"):
        torch.onnx.export(module, (images,), exported, input_names=["x"], dynamo=False)
    session = onnxruntime.InferenceSession(exported.getvalue(), options)
    return found | {"ONNX Runtime": lambda: session.run(None, {"x": x})}


def latency(predict: Callable[[], object], seconds: float) -> float:
    """The shortest time of a call, in seconds."""
    predict()
    best, start = float("inf"), perf_counter()
    while (before := perf_counter()) - start < seconds:
        predict()
        best = min(best, perf_counter() - before)
    return best


def limit() -> float:
    """Multiply-adds a second of all cores, two operations each, at best."""
    vector = Type("f32", machine().lanes)
    f, sums, times = Function("limit", ["x"]), [], 1_000_000
    one = f.let(load(vector, "x", Index()))
    sums = [f.variable(constant(vector, 0.0)) for _ in range(12)]
    with f.loop(times):
        for sum_ in sums:
            f.set(sum_, fma(one, one, sum_.value))
    for k, sum_ in enumerate(sums):
        f.store("x", Index(k), sum_.value)
    code, cores = Compiled([f]), torch.get_num_threads()

    def once(_: int) -> float:
        memory, start = aligned(12 * vector.lanes), perf_counter()
        for _ in range(20):
            code.call("limit", [ctypes.c_void_p(memory.ctypes.data)])
        return 2 * 12 * vector.lanes * times * 20 / (perf_counter() - start)

    with ThreadPoolExecutor(cores) as pool:
        return sum(pool.map(once, range(cores)))


def training(seconds: float) -> None:
    """The table of training steps."""
    best = limit()
    print(f"\nlimit: {best / 1e9:.0f} GF/s on {torch.get_num_threads()} cores, vectors of {machine().lanes}\n")
    print("| network | batch | native | torch | torch, channels last | native / best torch | share of the limit |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    for text, batches in NETWORKS.items():
        network = Network.parse(text) if "[" in text else zoo(text)
        plan = network.plan()
        operations = 2 * (3 * plan.totals["macs"] - plan.rows[1].cost.macs)
        steps = {
            "native": native(network),
            "torch": by_torch(network, channels_last=False),
            "torch, channels last": by_torch(network, channels_last=True),
        }
        for batch in batches:
            draw = np.random.default_rng(0)
            shape = network.input_shape
            x = draw.random((batch, shape.channels, *shape.spatial), np.float32)
            labels = draw.integers(0, network.shapes[-1].channels, batch)
            rounds = [{name: rate(step, x, labels, seconds) for name, step in steps.items()} for _ in range(ROUNDS)]
            found = {name: median(seen[name] for seen in rounds) for name in steps}
            ratio = median(seen["native"] / max(seen["torch"], seen["torch, channels last"]) for seen in rounds)
            cells = " | ".join(f"{value:,.0f}" for value in found.values())
            share = found["native"] * operations / best
            name = f"`{text}`"
            print(f"| {name} | {batch} | {cells} | {ratio:.2f} | {share:.0%} |", flush=True)


def one_image(seconds: float) -> None:
    """The table of single predictions."""
    print("| network, one image, one core | native, us | others, us | best other / native |")
    print("| --- | ---: | ---: | ---: |")
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    for text in NETWORKS:
        network = Network.parse(text) if "[" in text else zoo(text)
        shape = network.input_shape
        x = np.random.default_rng(0).random((1, shape.channels, *shape.spatial), np.float32)
        contenders = predictors(network, x)
        rounds = [{name: latency(call, seconds) for name, call in contenders.items()} for _ in range(ROUNDS)]
        found = {name: 1e6 * median(seen[name] for seen in rounds) for name in contenders}
        native = found.pop("native")
        others = ", ".join(f"{name} {value:,.1f}" for name, value in found.items())
        print(f"| `{text}` | {native:,.1f} | {others} | {min(found.values()) / native:.1f} |", flush=True)
    torch.set_num_threads(cores)


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    one_image(seconds)
    training(seconds)


if __name__ == "__main__":
    main()
