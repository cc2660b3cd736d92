"""Operations -> layers: one table of what is known, and one walk from the output back to the input."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ..errors import NeocogError
from ..layers.input import Input
from ..layers.relu import ReLU
from ..layers.sigmoid import Sigmoid
from ..layers.silu import SiLU
from ..layers.tanh import Tanh
from ..spelling import write_dims
from . import operations, patterns, windows
from .operations import Recognised
from .torch_graph import BATCH, Operation

SINGLE: Mapping[str, Callable[[Operation], Recognised]] = {
    **dict.fromkeys(("conv1d", "conv2d"), windows.convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d"), windows.transposed_convolution),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool1d_with_indices"), windows.max_pool),
    "max_pool2d_with_indices": windows.max_pool,
    **dict.fromkeys(("avg_pool1d", "avg_pool2d"), windows.avg_pool),
    **dict.fromkeys(
        (f"adaptive_{how}_pool{rank}d" for how in ("avg", "max") for rank in (1, 2)), windows.adaptive_pool
    ),
    "mean": windows.mean,
    **dict.fromkeys(("amax", "max"), windows.largest),
    **dict.fromkeys(
        ("upsample_nearest1d", "upsample_nearest2d", "upsample_linear1d", "upsample_bilinear2d"), windows.upsample
    ),
    "linear": operations.linear,
    "batch_norm": operations.batch_norm,
    "group_norm": operations.group_norm,
    "instance_norm": operations.instance_norm,
    "local_response_norm": operations.response_norm,
    "relu": operations.by_itself(ReLU()),
    **dict.fromkeys(("clamp", "clamp_min"), operations.clamp),
    "leaky_relu": operations.leaky_relu,
    "prelu": operations.prelu,
    "sigmoid": operations.by_itself(Sigmoid()),
    "tanh": operations.by_itself(Tanh()),
    "gelu": operations.gelu,
    "silu": operations.by_itself(SiLU()),
    "softmax": operations.softmax,
    "dropout": operations.dropout,
    **dict.fromkeys(("flatten", "reshape", "view", "squeeze", "unsqueeze", "unflatten"), operations.reshape),
    **dict.fromkeys(("contiguous", "clone", "alias"), operations.same),
    "to": operations.moved,
    "add": operations.add,
    "cat": operations.concatenation,
    "input": lambda op: Recognised(Input(operations.volume(op)), ()),
}
"""What an operation is by itself, by ATen's name."""

SEVERAL: Mapping[str, tuple[Callable[[Operation], Recognised | None], ...]] = {
    "div": (patterns.response_norm_across,),
    "mul": (patterns.response_norm_within, patterns.scaled_tanh),
    "pad": (patterns.shortcut,),
    "slice": (patterns.shortcut,),
    "cat": (patterns.spatial_pyramid,),
    "addcmul": (patterns.subsample,),
    **dict.fromkeys(("add", "reshape"), (patterns.group_norm_of_rows,)),
    "linear": (patterns.linear_of_channels_last,),
}
"""What an operation may be the last of; looked at first."""

INSTEAD: Mapping[str, str] = {
    "permute": "channels before positions all the way, (N, C, H, W); only an input, or what FC reads, is turned",
    "pad": "zeros, which a convolution or a mean behind them takes as its own padding",
    **dict.fromkeys(("mul", "sub", "div"), "numbers outside the network, in its preprocessing, or part of weights"),
    "lift_fresh_copy": "numbers outside the network, in its preprocessing, or part of weights",
    "feature_dropout": "nn.Dropout, or none: at prediction it does nothing",
    "hardtanh": "nn.ReLU() or nn.Tanh()",
}
"""What to do about an operation that has no other name here."""


def recognise(output: Operation) -> dict[Operation, Recognised]:
    """The layer of each operation that the output depends on; operations inside a pattern are none.

    Raises NeocogError for the first operation that is refused, naming the others too.
    """
    found: dict[Operation, Recognised] = {}
    refused: dict[Operation, NeocogError] = {}
    parts: set[Operation] = set()  # of what is refused for a reason that explains them, such as uneven padding
    waiting = [output]
    while waiting:
        op = waiting.pop()
        if op in found:
            continue
        try:
            found[op] = _recognised(op)
        except NeocogError as error:
            if op not in parts:
                refused[op] = error
            found[op] = Recognised(None, tuple(_read(op.arguments)))
            parts.update(found[op].inputs if op.name in SINGLE and all(map(_is_volume, _given(op))) else ())
        waiting += found[op].inputs
    if refused:
        raise _first(refused)
    return found


def _recognised(op: Operation) -> Recognised:
    for recogniser in SEVERAL.get(op.name, ()):
        if (found := recogniser(op)) and all(map(_is_volume, (op, *found.inputs))):
            return found
    if op.name in SINGLE and all(map(_is_volume, (op, *_given(op)))):
        return SINGLE[op.name](op)
    if op.name == "log_softmax":
        raise NeocogError("log_softmax is part of the loss here", hint="without it: losses take the scores before it")
    if op.name in SINGLE:
        raise NeocogError(
            f"{op.name} is no layer of the notation where it does not go over each image of a batch by itself",
            received=write_dims(op.shape) if op.shape else "a size that is not known",
            hint="(N, C, H, W) to (N, C', H', W') or (N, K)",
        )
    hint = INSTEAD.get(op.name, f"layers made of {_known()}")
    raise NeocogError(f"{op.name} is no layer of the notation, nor part of one", hint=hint)


def _is_volume(value: Any) -> bool:
    """Whether something is made of each image of the batch, rather than of weights or of the batch as a whole."""
    return isinstance(value, Operation) and len(value.shape) >= 2 and value.shape[0] == BATCH


def _given(op: Operation) -> Sequence[Any]:
    """What an operation is applied to; some take a list."""
    given = op.arguments.get("input", ())
    return given if isinstance(given, list | tuple) else (given,)


def _read(value: Any) -> Iterator[Operation]:
    """All operations among arguments, also in lists."""
    if isinstance(value, Operation):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _read(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _read(part)


def _first(refused: Mapping[Operation, NeocogError]) -> NeocogError:
    """The error of the operation that runs first, with the names of others that will be next."""
    first, *others = sorted(refused, key=lambda op: op.position)
    error = refused[first]
    names = ", ".join(dict.fromkeys(op.name for op in others if op.name != first.name))
    received = f"{error.received or first.name}, and {names} later on" if names else error.received
    return NeocogError(error.rule, where=first.where, received=received, hint=error.hint)


def _known() -> str:
    """The names of all operations that are layers by themselves, without their number of axes."""
    plain = {re.sub(r"[12]d(_with_indices)?$", "", name) for name in SINGLE}
    return ", ".join(sorted(plain - {"input", "alias", "to", "contiguous", "clone", "amax", "clamp_min"}))
