"""transplant: weights of another model's layers into those of the same name, with a report of what became of each.

    copied    the same name and shape
    coerced   the same name and as many values in another shape, as an FC's into the CONV that it is: they are read in
              their order
    dropped   the other's arrays that have no place here
    kept      arrays here that the other model does not have

Source: `transplant` in the FCN authors' surgery.py, which prints the same words.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..errors import RewriteError
from ..model import Model
from ..network import Network
from .parts import Rewritten, Weights


def transplant(network: Network, weights: Weights, source: Model | None = None) -> Rewritten:
    """The network with those of the source's arrays that fit. Raises RewriteError where none does."""
    if source is None:
        raise RewriteError("the model whose weights are wanted is needed", hint="--source other.safetensors")
    made = dict(weights)
    for name, array in source.weights.items():
        if name in made and made[name].size == array.size:
            made[name] = array.reshape(made[name].shape)
    if not any(name in weights and weights[name].size == array.size for name, array in source.weights.items()):
        raise RewriteError(
            "none of the other model's arrays has a place here", received=", ".join(source.weights)[:120]
        )
    return Rewritten(network, made)


def coercions(network: Network, weights: Weights, **settings: Any) -> Iterator[str]:
    """What became of each array."""
    source: Model = settings["source"]
    for name, array in source.weights.items():
        shape = "x".join(map(str, array.shape))
        if name not in weights or weights[name].size != array.size:
            here = f", which here is {'x'.join(map(str, weights[name].shape))}" if name in weights else ""
            yield f"dropped {name} ({shape}){here}"
        elif weights[name].shape != array.shape:
            yield f"coerced {name} from {shape} to {'x'.join(map(str, weights[name].shape))}"
        else:
            yield f"copied {name} ({shape})"
    for name in weights:
        if name not in source.weights:
            yield f"kept {name}"
