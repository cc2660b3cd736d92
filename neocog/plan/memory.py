"""Bytes by kind, the classic account (fact M4), and what every number of a plan means.

The account adds up volumes with their gradients, parameters with theirs and the optimizer's state, and the batch. What
a network really takes is `timeline`'s to say: not all of it is alive at once, and torch keeps more than volumes.
"""

from __future__ import annotations

from ..errors import NeocogError
from ..layer import MASTER, Pass, Shape
from .timeline import batch_bytes

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
OPTIMIZER_COPIES = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2, "muon": 1}

DEFINITIONS = {
    "activations": "one volume for each layer and the input; an activation function works in place and adds none",
    "volumes": "every layer's output and the input counted as a volume of its own",
    "connections": "for each output value the inputs it is computed from, plus one for a bias",
    "macs": "multiplications of an input with a weight, each with its addition, padding included; flops = 2 * macs",
    "receptive_field": "size and jump in input pixels; start is the centre of the first view, the first pixel being 0",
    "inference_bytes": "what the torch engine holds at the fullest moment of predicting a batch: parameters, images, "
    "the volumes alive and workspace; torch itself and what malloc keeps back are not included",
    "training_bytes": "what it holds at the fullest moment of a training step: parameters, optimizer state, images and "
    "labels, what autograd has kept, the gradients alive and workspace; the same is not included",
    "activations_bytes": "the classic account: activations, as many bytes for their gradients, parameters, as many for "
    "their gradients, optimizer state and the batch; their sum is an estimate that nothing is freed or kept besides",
    "im2col_bytes": "the largest matrix that unrolling one layer's windows would need",
}


def run_of(batch: int, dtype: str, *, training: bool) -> Pass:
    """The pass that a plan's memory is for. Raises NeocogError for a dtype or batch that is not known."""
    if dtype not in BYTES:
        raise NeocogError(f"dtype is one of {', '.join(BYTES)}", received=f"dtype={dtype}")
    if batch < 1:
        raise NeocogError("batch is a whole number from 1", received=f"batch={batch}")
    return Pass(batch, BYTES[dtype], training)


def copies_of(optimizer: str) -> int:
    """How many numbers of state the optimizer has for a parameter. Raises NeocogError for an unknown one."""
    if optimizer not in OPTIMIZER_COPIES:
        raise NeocogError(f"optimizer is one of {', '.join(OPTIMIZER_COPIES)}", received=f"optimizer={optimizer}")
    return OPTIMIZER_COPIES[optimizer]


def by_kind(totals: dict[str, int], source: Shape, run: Pass, optimizer: str) -> dict[str, int]:
    """The classic account for a batch. Parameters are float32 unless volumes are larger."""
    parameters = totals["parameters"] * max(MASTER, run.value_bytes)
    activations = totals["activations"] * run.images * run.value_bytes
    return {
        "activations_bytes": activations,
        "activation_gradients_bytes": activations,
        "parameters_bytes": parameters,
        "parameter_gradients_bytes": parameters,
        "optimizer_bytes": parameters * copies_of(optimizer),
        "batch_bytes": batch_bytes(source, run),
        "im2col_bytes": totals["im2col"] * run.images * run.value_bytes,
    }
