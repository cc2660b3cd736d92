"""What all peers share: commands on standard input, one JSON object a line, each with one line in answer.

    {"do": "make", "nodes": [...], "batch": 64, "training": true, ...}    {"parameters": 61706}
    {"do": "run", "seconds": 0.5}                                         {"rate": 9251.3}     images a second
    {"do": "drop"}                                                        {}                   its memory is free again

A peer begins with {"versions": {"torch": "2.13.0"}} and ends with its input. {"cannot": "no LRN"} says that the library
lacks something; {"failed": "..."} that it went wrong. Between commands a peer waits and takes no processor time.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import traceback
from collections.abc import Callable
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

LEARNING_RATE, MOMENTUM = 1e-4, 0.9
Nodes = list[dict[str, Any]]


class CannotError(Exception):
    """What the library cannot do, in a few words."""


class Work(NamedTuple):
    """A network that is ready: how many parameters it has, a step from arrays in memory to a loss or scores, and what
    is to be said of it.
    """

    parameters: int
    step: Callable[[], object]
    note: str = ""


def serve(make: Callable[..., Work], versions: dict[str, str]) -> None:
    """Answer commands until there are no more. `make` gets those of `make` by name."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no answer
    work: Work | None = None
    size = 0

    def answer(command: dict[str, Any]) -> dict[str, Any]:
        nonlocal work, size
        match command.pop("do"):
            case "make":
                work, size = make(**command), command["batch"]
                work.step()
                return {"parameters": work.parameters, "note": work.note}
            case "run" if work:
                return {"rate": rate(work.step, size, command["seconds"])}
            case "drop":
                work = None
                gc.collect()
                return {}
        raise ValueError("this command is unknown here")

    _send(answers, {"versions": versions})
    for line in sys.stdin:
        try:
            _send(answers, answer(json.loads(line)))
        except CannotError as error:
            _send(answers, {"cannot": str(error)})
        except Exception as error:  # whatever a library raises is an answer too
            traceback.print_exc()
            _send(answers, {"failed": f"{type(error).__name__}: {error}".split("\n")[0][:160]})


def _send(answers: Any, value: dict[str, Any]) -> None:
    print(json.dumps(value), file=answers, flush=True)


def rate(step: Callable[[], object], count: int, seconds: float) -> float:
    """Things a second, for steps that do `count` of them.

    The first step wakes caches and threads up; it counts only where it takes longer than the whole time given.
    """
    start = perf_counter()
    step()
    if (first := perf_counter() - start) > seconds:
        return count / first
    steps, start = 0, perf_counter()
    while (passed := perf_counter() - start) < seconds or not steps:
        step()
        steps += 1
    return steps * count / passed


def images(nodes: Nodes, batch: int) -> np.ndarray:
    """Images (N, C, H, W) of the network's input shape."""
    return np.random.default_rng(0).random((batch, *nodes[0]["shape"]), np.float32)


def labels(nodes: Nodes, batch: int) -> np.ndarray:
    """Classes (N,)."""
    return np.random.default_rng(1).integers(0, nodes[-1]["shape"][0], batch)


def channels_last(array: np.ndarray) -> np.ndarray:
    """(N, C, H, W) as (N, H, W, C)."""
    return np.ascontiguousarray(np.moveaxis(array, 1, -1))


def refuse_rare_forms(nodes: Nodes) -> None:
    """Raise CannotError for settings that no peer's layer has."""
    for node in nodes:
        if node.get("table") or node.get("flip"):
            raise CannotError("no convolution with a table or a flipped kernel")
        if node["op"] == "AVGPOOL" and any(any(pair) for pair in node["pads"]):
            raise CannotError("no average pooling with padding")
        if node["op"] == "LRN" and node["region"] != "across":
            raise CannotError("no LRN within maps")


def check_shape(node: dict[str, Any], shape: tuple[int, ...]) -> None:
    """Raise ValueError where a layer gave another volume than planned; a vector's ones may be left out."""
    found, planned = (tuple(n for n in sizes if n != 1) for sizes in (shape, node["shape"]))
    if found != planned:
        raise ValueError(f"{node['op']} gave {shape} instead of {tuple(node['shape'])}")
