"""Bytes, by kind (fact M4): volumes with their gradients, parameters with theirs and the optimizer's, the batch."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import NeocogError
from ..layer import Shape
from ..network import Network

BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "float16": 2}
OPTIMIZER_COPIES = {"sgd": 0, "momentum": 1, "nesterov": 1, "adam": 2, "adamw": 2}

DEFINITIONS = {
    "activations": "one volume for each layer and the input; an activation function works in place and adds none",
    "volumes": "every layer's output and the input counted as a volume of its own",
    "connections": "for each output value the inputs it is computed from, plus one for a bias",
    "macs": "multiplications of an input with a weight, each with its addition, padding included; flops = 2 * macs",
    "receptive_field": "size and jump in input pixels; start is the centre of the first view, the first pixel being 0",
    "inference_bytes": "parameters, and the volumes alive at the fullest step of a forward pass",
    "training_bytes": "activations and as much for their gradients, parameters with gradients and optimizer state, "
    "and the batch of images and labels; workspace is not included",
    "im2col_bytes": "the largest matrix that unrolling one layer's windows would need; no engine here builds it",
}


def memory(
    network: Network, shapes: Sequence[Shape], totals: dict[str, int], batch: int, dtype: str, optimizer: str
) -> dict[str, int]:
    """Bytes by kind for a batch. Volumes have `dtype`; parameters are float32 masters unless that is float64.

    Raises NeocogError for a dtype, optimizer or batch that is not known.
    """
    for name, value, known in (("dtype", dtype, BYTES), ("optimizer", optimizer, OPTIMIZER_COPIES)):
        if value not in known:
            raise NeocogError(f"{name} is one of {', '.join(known)}", received=f"{name}={value}")
    if batch < 1:
        raise NeocogError("batch is a whole number from 1", received=f"batch={batch}")
    value_bytes, master_bytes = BYTES[dtype], max(4, BYTES[dtype])
    parameters = totals["parameters"] * master_bytes
    fixed = totals["fixed"] * master_bytes
    activations = totals["activations"] * batch * value_bytes
    state = parameters * OPTIMIZER_COPIES[optimizer]
    images = (shapes[0].elements * value_bytes + 8) * batch  # labels are 64-bit whole numbers
    return {
        "inference_bytes": parameters + fixed + _peak_elements(network, shapes) * batch * value_bytes,
        "training_bytes": 2 * activations + 2 * parameters + fixed + state + images,
        "activations_bytes": activations,
        "activation_gradients_bytes": activations,
        "parameters_bytes": parameters,
        "parameter_gradients_bytes": parameters,
        "optimizer_bytes": state,
        "batch_bytes": images,
        "im2col_bytes": totals["im2col"] * batch * value_bytes,
    }


def _peak_elements(network: Network, shapes: Sequence[Shape]) -> int:
    """The most values alive at once in a forward pass: each volume lives until its last reader has run."""
    nodes = network.nodes
    last_use = {i: k for k, node in enumerate(nodes) for i in node.inputs}
    alive = peak = 0
    for k, node in enumerate(nodes):
        dying = sum(shapes[i].elements for i in set(node.inputs) if last_use[i] == k)
        alive += shapes[k].elements
        peak = max(peak, alive - (dying if node.layer.in_place else 0))
        alive -= dying
    return peak
