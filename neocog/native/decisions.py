"""What the native engine decided for a network, stage by stage, as plain values: for people, and for JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from ..network import Network
from .c_network import step_calls
from .places import Places, kind_of, layer_of_stage
from .program import Call, Program
from .stages import PASSED_ON
from .steps import Sizes

PARTS = {"forward": "sums", "weight_gradient": "weights", "input_gradient": "inputs"}
"""The parts of a step that a choice is made for, by the kind of their functions."""


def decisions(program: Program) -> dict[str, Any]:
    """All of them. Memory is in bytes; `row` and `plane` are steps from one to the next, in vectors."""
    calls, places = step_calls(program, nesterov=True), Places(program)
    chosen = [call for call in (*calls.forward, *calls.backward) if call.function.form]
    names = [layer_of_stage(placed) for placed in program.stages]
    stages = [
        {
            "layers": layers,
            "output": str(placed.stage.output),
            "row": placed.y.row,
            "plane": placed.y.plane,
            **{
                part: _kernels(call for call in chosen if (places.layer(call), kind_of(call)) == (name, kind))
                for part, kind in PARTS.items()
            },
        }
        for name, layers, placed in zip(names, _fused(program.network, names), program.stages, strict=True)
    ]
    return {
        "network": str(program.network),
        "machine": asdict(program.machine),
        "stages": stages,
        "memory": _memory(program),
        "functions": len(program.functions),
    }


def _fused(network: Network, firsts: list[str]) -> list[list[str]]:
    """The layers of each stage, by the names of their first ones."""
    starts = [k for k, node in enumerate(network.nodes) if node.name in firsts]
    return [
        [node.name for k, node in enumerate(network.nodes[start:end]) if not k or node.layer.op not in PASSED_ON]
        for start, end in pairwise([*starts, len(network.nodes)])
    ]


def _kernels(calls: Iterable[Call]) -> list[dict[str, Any]]:
    """Every function among them once, and where it reads weights."""
    found = {call.function.name: call for call in calls}
    return [
        {"function": name, "form": call.function.form, "tile": call.function.tile, "weights": _weights(call)}
        for name, call in found.items()
    ]


def _weights(call: Call) -> str | None:
    """Weights are read where they lie, or packed in the order of reading; a gradient for weights reads none."""
    access = call.buffers.get("w")
    return None if access is None else "packed" if access.buffer == "packed" else "in place"


def _memory(program: Program) -> dict[str, int]:
    """A block is as many images as there are lanes; each group of blocks has gradients of its own."""
    sizes = Sizes.of(program, program.network)
    return {
        "block": sizes.arena,
        "scratch": sizes.scratch,
        "group": sizes.group,
        "weights": program.parameters * 4,
        "packed": program.packed * 4,
    }
