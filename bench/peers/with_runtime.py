"""neocog as it predicts: with the runtime that it finds fastest, or one that is named."""

from __future__ import annotations

from serve import CannotError, Nodes, Work, images, serve

import neocog
from neocog import Model, NeocogError, Network
from neocog.data import Preprocessing
from neocog.initialise import initialise
from neocog.losses import default_loss
from neocog.runtimes import choose

MANY = 10**6


def make(text: str, nodes: Nodes, batch: int, training: bool, runtime: str, dtype: str) -> Work:
    if training:
        raise CannotError("no training")
    network = Network.parse(text)
    height, width = network.input_shape.spatial
    channels = network.input_shape.channels
    preprocessing = Preprocessing((height, width), (height, width), (0.5,) * channels, (0.25,) * channels)
    classes = tuple(map(str, range(network.shapes[-1].channels)))
    model = Model(network, initialise(network), preprocessing, classes, default_loss(network).name)
    try:
        choice = choose(model, MANY, runtime, dtype, batch=batch)
    except NeocogError as error:
        raise CannotError(str(error)) from None
    x = images(nodes, batch)
    return Work(network.plan().totals["parameters"], lambda: choice.model.scores(x), choice.runtime)


if __name__ == "__main__":
    serve(make, {"neocog": neocog.__version__})
