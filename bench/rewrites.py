"""What rewrites do to networks that were really trained: digits read right before and after, as a Markdown table.

python bench/rewrites.py            three networks, one epoch of MNIST each, then every rewrite and 10,000 digits
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np

from neocog import Model, Network, load_data, train, zoo
from neocog.rewrite import Report, apply

TEXTS = {
    "lenet5-relu": str(zoo("lenet5-relu")),
    "a residual network with groups": (
        "INPUT[28x28x1] -> CONV5-8 -> BN -> RELU -> POOL2 -> ADD[CONV3-8(G=2) -> BN -> RELU -> CONV3-8 -> BN | ID]"
        " -> RELU -> POOL2 -> CONV3-16(G=2) -> BN -> RELU -> GAP -> FC10"
    ),
    "one with average pooling": "INPUT[28x28x1] -> AVGPOOL2 -> CONV5-4 -> TANH -> AVGPOOL2 -> FC10",
}

CASES: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "lenet5-relu": [
        ("fc-to-conv", {}),
        ("grow-head", {"add": "ten,eleven"}),
        ("swap-layer", {"layer": "relu3", "by": "LRELU(0.01)"}),
        ("swap-layer", {"layer": "fc2", "fresh": True}),
        ("prune-channels", {"layer": "conv2", "share": 0.1}),
        ("prune-channels", {"layer": "conv2", "share": 0.25}),
        ("prune-channels", {"layer": "conv2", "share": 0.5}),
        ("pool-to-stride", {"by": "conv"}),
        ("pool-to-stride", {"by": "stride"}),
        ("set-weights", {"layer": "conv1", "filter": 0, "to": "gaussian"}),
        ("set-weights", {"layer": "conv1", "bias": 1.0}),
    ],
    "a residual network with groups": [
        ("fold-batchnorm", {}),
        ("split-groups", {}),
        ("merge-groups", {"dense": True}),
        ("fc-to-conv", {}),
    ],
    "one with average pooling": [("conv-to-fc", {}), ("pool-to-stride", {"by": "conv"})],
}


def right(model: Model, images: Any, labels: Any) -> int:
    """How many images get their class by the largest score."""
    chunks = range(0, len(images), 500)
    scores = [model.scores(model.preprocessing(images[k : k + 500])) for k in chunks]
    return int((np.concatenate(scores).argmax(axis=1) == labels).sum())


def rows() -> Iterator[tuple[str, ...]]:
    """The table's rows, each network's own first."""
    data = load_data("mnist")
    test = data.test
    for name, cases in CASES.items():
        model = train(Network.parse(TEXTS[name]), data, epochs=1, progress="none")
        before = right(model, test.images, test.labels)
        totals = model.network.plan().totals
        yield name, f"{totals['parameters']:,}", f"{totals['macs']:,}", "", f"{before:,}"
        for rewrite, options in cases:
            made, report = apply(model, rewrite, **options)
            yield (written(rewrite, options), *costs(report), f"{right(made, test.images, test.labels):,}")


def written(name: str, options: dict[str, Any]) -> str:
    """The rewrite as on the command line."""
    flags = [f"--{key}" if value is True else f"--{key} {value:g}" if isinstance(value, float) else f"--{key} {value}"
             for key, value in options.items()]  # fmt: skip
    return f"`{' '.join([name, *flags])}`"


def costs(report: Report) -> tuple[str, str, str]:
    """Parameters and MACs afterwards, and the largest difference of outputs on the samples."""
    figures = {figure.name: figure.b for figure in report.difference.figures}
    return f"{figures['parameters']:,}", f"{figures['macs']:,}", f"{report.verification.error:.1e}"


def main() -> int:
    """Print the table as its rows are known."""
    print("| rewrite | parameters | MACs | largest difference | right of 10,000 |\n| --- | ---: | ---: | ---: | ---: |")
    for row in rows():
        print(f"| {' | '.join(row)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
