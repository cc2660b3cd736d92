"""One contender trains `lenet5-relu` for some seconds and prints how many images a second it took in.

    python bench/contenders.py NAME BATCH SECONDS

All do the same work: random 28x28 images already in memory, softmax cross-entropy, SGD with Nesterov momentum 0.9,
float32, the library's own defaults otherwise. The first steps, which compile and allocate, are not timed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from time import perf_counter

import numpy as np

WARM_UP = 5
Step = Callable[[np.ndarray, np.ndarray], object]


def neocog() -> Step:
    from neocog import zoo
    from neocog.initialise import initialise
    from neocog.torch_engine.trainer import TorchTrainer

    net = zoo("lenet5-relu")
    trainer = TorchTrainer(net, initialise(net, 0, "he"), loss="cross-entropy", device="cpu")
    return lambda x, labels: trainer.step(x, labels, 0.01)


def torch() -> Step:
    import torch
    from torch import nn

    model = nn.Sequential(
        *(nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(6, 16, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()),
        *(nn.Linear(400, 120), nn.ReLU(), nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)),
    )
    optimizer = torch.optim.SGD(model.parameters(), 0.01, momentum=0.9, nesterov=True)

    def step(x: np.ndarray, labels: np.ndarray) -> float:
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(labels))
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def keras() -> Step:
    os.environ["KERAS_BACKEND"] = "jax"
    import keras
    from keras import layers

    model = keras.Sequential(
        [
            *(keras.Input((28, 28, 1)), layers.Conv2D(6, 5, padding="same", activation="relu"), layers.MaxPool2D()),
            *(layers.Conv2D(16, 5, activation="relu"), layers.MaxPool2D(), layers.Flatten()),
            *(layers.Dense(120, "relu"), layers.Dense(84, "relu"), layers.Dense(10)),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(optimizer=keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True), loss=loss)
    return lambda x, labels: model.train_on_batch(x.transpose(0, 2, 3, 1), labels)


CONTENDERS: dict[str, Callable[[], Step]] = {"neocog": neocog, "torch": torch, "keras": keras}


def images_per_second(step: Step, batch: int, seconds: float) -> float:
    draw = np.random.default_rng(0)
    x = draw.random((batch, 1, 28, 28), np.float32)
    labels = draw.integers(0, 10, batch)
    for _ in range(WARM_UP):
        step(x, labels)
    steps, start = 0, perf_counter()
    while (elapsed := perf_counter() - start) < seconds:
        step(x, labels)
        steps += 1
    return steps * batch / elapsed


if __name__ == "__main__":
    name, batch, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    print(images_per_second(CONTENDERS[name](), batch, seconds))
