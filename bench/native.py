"""The native engine against torch and ONNX Runtime: ratios of one run, and share of the processor's limit.

    python bench/native.py [--seconds 1] [--networks lenet5-relu,resnet20] [--write]

For each network and batch all contenders take turns, `ROUNDS` times; the median counts. Torch runs as it comes (images
as they lie, float32), with channels last, and so with bfloat16 autocast; all on all cores, with a fused optimizer. The
limit is what one kernel of nothing but multiply-adds on registers reaches on all cores in the same run; operations
are multiply-adds of the forward pass, of the gradient of weights, and of the gradient of inputs except for images.

`--write` puts the tables into docs/performance.md; it takes about ten minutes on a machine that does nothing else.
ONNX Runtime takes part in single predictions where it is installed.
"""

from __future__ import annotations

import argparse
import ctypes
import io
import platform
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import torch

from neocog import Network, zoo
from neocog.initialise import initialise
from neocog.losses import default_loss
from neocog.measure.kept import machine_name
from neocog.native.engine import aligned
from neocog.native.jit import Compiled, machine
from neocog.native.kernel import Function, Index, Type, constant, fma, load
from neocog.native.trainer import NativeTrainer
from neocog.torch_engine import build
from neocog.torch_engine.trainer import TorchTrainer

ROUNDS = 5
PAGE = Path(__file__).parents[1] / "docs" / "performance.md"
BEGIN, END = "<!-- tables: written by bench/native.py -->\n", "<!-- end of tables -->"
NETWORKS = {  # name: (text, batches)
    "lenet5-relu": ("lenet5-relu", (64, 256, 1024)),
    "lenet5": ("lenet5", (64, 256)),
    "convnetjs-cifar10": ("convnetjs-cifar10", (64, 256)),
    "32-32-64-64": (
        "INPUT[32x32x3] -> [CONV3-32 -> RELU]*2 -> POOL2 -> [CONV3-64 -> RELU]*2 -> POOL2 -> FC10",
        (64, 256),
    ),
    "small VGG": (
        "INPUT[32x32x3] -> CONV3-64 -> RELU -> POOL2 -> CONV3-128 -> RELU -> POOL2 -> [CONV3-256 -> RELU]*2 -> POOL2"
        " -> FC10",
        (64, 256),
    ),
    "resnet20": ("resnet20", (64, 256)),
    "112x112": (
        "INPUT[112x112x3] -> [CONV3-64 -> RELU]*2 -> POOL2 -> CONV3-128 -> RELU -> POOL2 -> CONV3-256 -> RELU -> POOL2"
        " -> GAP -> FC10",
        (32,),
    ),
    "1-D text": (
        "INPUT[100x64] -> CONV5-64 -> RELU -> POOL2 -> CONV5-64 -> RELU -> POOL2 -> FC128 -> RELU -> FC10",
        (64, 256),
    ),
}
Step = Callable[[np.ndarray, np.ndarray], object]


def network_of(name: str) -> Network:
    text = NETWORKS[name][0]
    return Network.parse(text) if "[" in text else zoo(text)


def images(network: Network, count: int) -> np.ndarray:
    shape = network.input_shape
    return np.random.default_rng(0).random((count, shape.channels, *shape.spatial), np.float32)


def trainers(network: Network, batch: int) -> dict[str, NativeTrainer | TorchTrainer]:
    """Every contender by name."""
    settings = {"loss": default_loss(network).name, "batch_size": batch}
    made: dict[str, NativeTrainer | TorchTrainer] = {}
    weights = initialise(network)
    for dtype in ("float32", "bfloat16") if machine().dots else ("float32",):
        made[f"native {dtype}"] = NativeTrainer(network, weights, dtype=dtype, **settings)
    made["torch"] = TorchTrainer(network, weights, **settings)
    made["torch"]._format = torch.contiguous_format  # as torch comes, which our trainer would not choose
    made["torch"].module.to(memory_format=torch.contiguous_format)
    for name, dtype in (("channels last", "float32"), ("bfloat16", "bfloat16")):
        made[f"torch {name}"] = TorchTrainer(network, weights, dtype=dtype, **settings)
    for trainer in made.values():
        trainer.threads = torch.get_num_threads()
    return made


def in_turns(calls: dict[str, Callable[[], object]], count: int, seconds: float) -> list[dict[str, float]]:
    """Things a second of each call that does `count` of them, by round."""
    return [{name: rate(call, count, seconds) for name, call in calls.items()} for _ in range(ROUNDS)]


def rate(call: Callable[[], object], count: int, seconds: float) -> float:
    call()
    calls, start = 0, perf_counter()
    while (elapsed := perf_counter() - start) < seconds or calls < 2:
        call()
        calls += 1
    return calls * count / elapsed


def training(names: list[str], seconds: float) -> Iterator[str]:
    best = limit()
    cores, lanes = torch.get_num_threads(), machine().lanes
    yield f"The limit was {best / 1e9:.0f} GFLOP/s on {cores} cores, {lanes} numbers in a vector."
    yield ""
    kinds = [
        "native float32",
        *(["native bfloat16"] * machine().dots),
        "torch",
        "torch channels last",
        "torch bfloat16",
    ]
    yield f"| network | batch | {' | '.join(kinds)} | float32: native / torch | best / best | share of the limit |"
    yield f"| --- | ---: | {'---: | ' * len(kinds)}---: | ---: | ---: |"
    for name in names:
        network = network_of(name)
        plan = network.plan()
        operations = 2 * (3 * plan.totals["macs"] - plan.rows[1].cost.macs)
        for batch in NETWORKS[name][1]:
            x = images(network, batch)
            labels = np.random.default_rng(0).integers(0, network.shapes[-1].channels, batch)
            made = trainers(network, batch)
            calls = {kind: partial(trainer.step, x, labels, 1e-4) for kind, trainer in made.items()}
            rounds = in_turns(calls, batch, seconds)
            found = {kind: median(seen[kind] for seen in rounds) for kind in kinds}
            float32 = median(
                seen["native float32"] / max(seen["torch"], seen["torch channels last"]) for seen in rounds
            )
            ratio = median(
                max(seen[k] for k in kinds if "native" in k) / max(seen[k] for k in kinds if "torch" in k)
                for seen in rounds
            )
            cells = " | ".join(f"{value:,.0f}" for value in found.values())
            share = found["native float32"] * operations / best
            yield f"| {name} | {batch} | {cells} | {float32:.2f} | {ratio:.2f} | {share:.0%} |"


def predicting(names: list[str], seconds: float) -> Iterator[str]:
    kinds = ["native float32", "torch", "torch channels last", "torch bfloat16"]
    yield f"| network | batch | {' | '.join(kinds)} | native / best torch |"
    yield f"| --- | ---: | {'---: | ' * len(kinds)}---: |"
    for name in names:
        network, batch = network_of(name), max(NETWORKS[name][1])
        x = images(network, batch)
        made = {kind: trainer for kind, trainer in trainers(network, batch).items() if kind in kinds}
        rounds = in_turns({kind: partial(trainer.scores, x) for kind, trainer in made.items()}, batch, seconds)
        found = {kind: median(seen[kind] for seen in rounds) for kind in kinds}
        ratio = median(seen["native float32"] / max(seen[k] for k in kinds[1:]) for seen in rounds)
        yield f"| {name} | {batch} | {' | '.join(f'{v:,.0f}' for v in found.values())} | {ratio:.2f} |"


def one_image(names: list[str], seconds: float) -> Iterator[str]:
    yield "| network | native, us | others, us | best other / native |"
    yield "| --- | ---: | ---: | ---: |"
    cores = torch.get_num_threads()
    torch.set_num_threads(1)
    for name in names:
        network = network_of(name)
        contenders = predictors(network, images(network, 1))
        rounds = [{k: latency(call, seconds) for k, call in contenders.items()} for _ in range(ROUNDS)]
        found = {k: 1e6 * median(seen[k] for seen in rounds) for k in contenders}
        native = found.pop("native")
        others = ", ".join(f"{k} {value:,.1f}" for k, value in found.items())
        yield f"| {name} | {native:,.1f} | {others} | {min(found.values()) / native:.1f} |"
    torch.set_num_threads(cores)


def predictors(network: Network, x: np.ndarray) -> dict[str, Callable[[], object]]:
    """What predicts the images x, by name."""
    trainer = NativeTrainer(network, initialise(network), loss=default_loss(network).name, threads=1)
    module = build(network).eval()
    tensor = torch.from_numpy(x)

    @torch.inference_mode()
    def predict() -> torch.Tensor:
        return module(tensor)

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
        torch.onnx.export(module, (tensor,), exported, input_names=["x"], dynamo=False)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.5, help="how long each contender runs in each round")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="names, joined by commas")
    parser.add_argument("--write", action="store_true", help="put the tables into docs/performance.md")
    args = parser.parse_args()
    names = args.networks.split(",")
    print(about := f"{machine_name(torch.device('cpu'))}, {platform.system()}, torch {torch.__version__}.")
    lines = [about]
    for title, table in (
        ("Training, images a second", training),
        ("Predicting, images a second", predicting),
        ("Predicting one image on one core, from Python and back", one_image),
    ):
        lines += ["", f"### {title}", ""]
        print(f"\n{title}\n")
        for line in table(names, args.seconds):
            print(line, flush=True)
            lines.append(line)
    if args.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(before + BEGIN + "\n" + "\n".join(lines) + "\n\n" + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
