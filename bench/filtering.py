"""Does a network learn as well where its 3x3 convolutions are filtered? Both ways on CIFAR-10, by turns, over seeds.

    bench/filtering.py [--dtype float32] [--seeds 3] [--epochs 4]

Prints right answers on the test images and seconds of training: by Winograd's filtering and by oneDNN. The images,
their order and the first weights of a seed are the same.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from statistics import mean, stdev
from tempfile import TemporaryDirectory
from time import perf_counter

from neocog import Network, load_data, train
from neocog.torch_engine import winograd
from neocog.torch_engine.device import DTYPES

TEXT = """INPUT[32x32x3] -> CONV3-32(BIAS=no) -> BN -> RELU -> CONV3-32(BIAS=no) -> BN -> RELU -> POOL2
  -> [CONV3-64(BIAS=no) -> BN -> RELU]*2 -> POOL2 -> [CONV3-128(BIAS=no) -> BN -> RELU]*2 -> GAP -> FC10"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtype", choices=DTYPES, default="bfloat16")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=4)
    args = parser.parse_args()
    if not winograd.possible(args.dtype):
        sys.exit("this processor does not gain by filtering")
    network = Network.parse(TEXT)
    data = load_data("cifar10", network.input_shape)
    found: dict[str, list[float]] = {"filtered": [], "oneDNN": []}
    for seed in range(args.seeds):
        for which, answers in found.items():
            winograd.possible = lambda dtype, which=which: which == "filtered"  # type: ignore[assignment,misc]
            start = perf_counter()
            with TemporaryDirectory() as folder:
                run = train(
                    network,
                    data,
                    out=Path(folder, "run"),
                    progress="none",
                    engine="torch",
                    dtype=args.dtype,
                    epochs=args.epochs,
                    seed=seed,
                    batch_size=128,
                    lr=0.1,
                    schedule="one-cycle",
                    weight_decay=5e-4,
                    augment="shift=4, flip",
                )
            answers.append(100 * run.record["test_accuracy"])
            print(f"seed {seed}, {which}: {answers[-1]:.2f} %, {perf_counter() - start:.0f} s", flush=True)
    for which, answers in found.items():
        print(f"{which}: {mean(answers):.2f} +- {stdev(answers):.2f} %")


if __name__ == "__main__":
    main()
