"""What the functions of a program are for, in words: comments of the printed text."""

from __future__ import annotations

from ..layers import BY_OP
from .kernel import Function

PURPOSES = {
    "load": "Images, one after the other, into a volume where they stand side by side in the lanes",
    "sums": "A layer's weighted sums, with what follows them in the same pass",
    "blend": "The sum of what other layers gave, normalised or not, through an activation function",
    "moments": "Mean and squared deviations of each channel in a block, for its normalization",
    "meet": "Normalization: what all blocks know of each channel, put together",
    "running": "Normalization of what prediction reads, by the running statistics",
    "pool": "What a pooling layer makes of its windows",
    "halve": "Numbers rounded to bfloat16, in pairs",
    "loss": "The loss, how many scores are right, and the gradient for the scores",
    "put": "A gradient for a volume, back through what follows where its values are made",
    "weights": "Adds to the gradient for weights",
    "inputs": "The gradient for what a layer reads, back through what made it",
    "hand": "A gradient for a blend, handed on to one of the layers that it read",
    "spread": "A gradient for what was normalised, handed on to the layer before",
    "unpool": "A gradient for pooled values, shared out to the windows",
    "draw": "Stochastic pooling in training: one value of each window, drawn by its size",
    "expect": "Stochastic pooling in prediction: the mean of each window, weighted by size",
    "pack": "Weights in the order in which a kernel reads them",
    "clear": "Zeros",
    "margins": "Zeros around a volume",
    "lanes": "Sums of lanes and groups, added up into gradients",
    "mask": "No gradient for weights that are not there",
    "losses": "Losses and hits of all groups, added up",
    "update": "Parameters moved against their gradients, unless the loss is not a number",
    "scores": "A block's scores without gaps",
}
"""What functions are for, by their kind."""


def purpose(function: Function) -> str:
    """What a function is for; layers that run by themselves have kernels that are called after them."""
    kind = function.name.rpartition("_")[0]
    word = kind.removesuffix("_back")
    if kind not in PURPOSES and word.upper() in BY_OP:
        return f"{word.upper()}{', back from the gradient for what it gives' if word != kind else ''}"
    return PURPOSES.get(kind, "")
