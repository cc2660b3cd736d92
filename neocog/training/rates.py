"""Learning rates of their own for parts of a network: `conv1=0, fc*=0.1, bias=2`.

Each part names arrays and the factor on their learning rate: by a layer's name (`conv1`), an array's (`conv1.weight`)
or its kind (`bias`), where `*` stands for any letters. Of the parts that name an array the last one counts, so that
`*=0, fc1=1` trains fc1 alone; arrays that none names have the factor 1. Those with the factor 0 stay as they are,
without weight decay, and a normalization by the batch (BN) of which all arrays are frozen is that of prediction: it
takes its running statistics and leaves them as they are.

Sources: `lr_mult` of Caffe (factors); Howard and Ruder, arXiv 1801.06146, section 3.2 (smaller ones for early layers);
the frozen BN is that of Keras's `trainable = False`.
"""

from __future__ import annotations

import math
from fnmatch import fnmatchcase

from ..errors import NeocogError
from ..network import Network

NONE = "none"


def parse_rates(text: str) -> list[tuple[str, float]]:
    """Patterns with their factors, in order. Raises NeocogError for another text."""
    return [_one(part.strip()) for part in ([] if text.strip() == NONE else text.split(","))]


def _one(part: str) -> tuple[str, float]:
    pattern, _, value = (word.strip() for word in part.partition("="))
    try:
        factor = float(value)
    except ValueError:
        factor = math.nan
    if not pattern or not 0 <= factor < math.inf:
        raise NeocogError(
            f"rates is {NONE}, or of name=factor, with factors from 0",
            received=f"rates={part[:40]!r}",
            hint="conv1=0, fc*=0.1, bias=2",
        )
    return pattern, factor


def rate_factors(text: str, network: Network) -> dict[str, float]:
    """The factor of each array that has one, by `<node>.<parameter>`.

    Raises NeocogError for a pattern that no array has, and where nothing is left to be learned.
    """
    parameters = {
        (node.name, kind): parameter.trainable
        for node in network.nodes
        for kind, parameter in node.layer.parameters(*network.input_shapes(node)).items()
    }
    factors: dict[str, float] = {}
    for pattern, factor in parse_rates(text):
        named = [
            f"{node}.{kind}"
            for node, kind in parameters
            if any(fnmatchcase(name, pattern) for name in (node, f"{node}.{kind}", kind))
        ]
        if not named:
            layers = ", ".join(dict.fromkeys(node for node, _ in parameters))
            raise NeocogError("no layer and no array has this name", where="rates", received=pattern[:40], hint=layers)
        factors |= dict.fromkeys(named, factor)
    if not any(trainable and factors.get(f"{node}.{kind}", 1) for (node, kind), trainable in parameters.items()):
        raise NeocogError("some array must be left to be learned", received=f"rates={text}"[:80])
    return factors
