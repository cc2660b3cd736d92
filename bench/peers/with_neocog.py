"""neocog's own engines, each as it comes."""

from __future__ import annotations

from serve import LEARNING_RATE, MOMENTUM, CannotError, Nodes, Work, images, labels, serve

import neocog
from neocog import NeocogError, Network
from neocog.initialise import initialise
from neocog.losses import default_loss
from neocog.native.jit import machine
from neocog.native.trainer import not_covered
from neocog.training.engine import MAKERS


def make(text: str, nodes: Nodes, batch: int, training: bool, engine: str, dtype: str) -> Work:
    network = Network.parse(text)
    loss = default_loss(network).name
    if engine == "native" and (missing := not_covered(network, loss, "nesterov")):
        raise CannotError(missing)
    if engine == "native" and dtype == "bfloat16" and not machine().dots:
        raise CannotError("no instruction for products of bfloat16 on this processor")
    settings = {"loss": loss, "optimizer": "nesterov", "momentum": MOMENTUM, "batch_size": batch, "dtype": dtype}
    try:
        trainer = MAKERS[engine](network, initialise(network), **settings)
    except NeocogError as error:
        raise CannotError(str(error)) from None
    parameters = network.plan().totals["parameters"]
    x, y = images(nodes, batch), labels(nodes, batch)
    return Work(parameters, lambda: trainer.step(x, y, LEARNING_RATE) if training else trainer.scores(x))


if __name__ == "__main__":
    serve(make, {"neocog": neocog.__version__})
