"""What the native engine decided for a network, stage by stage, as plain values: for people, and for JSON."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from .places import Places, kind_of, layer_of
from .program import Call, Program
from .sizes import Sizes
from .stages import PASSED_ON, Pool
from .step_calls import step_calls

PARTS = {"forward": "sums", "weight_gradient": "weights", "input_gradient": "inputs"}
"""The parts of a step that a choice is made for, by the kind of their functions."""


def decisions(program: Program, optimizer: str = "nesterov") -> dict[str, Any]:
    """All of them. Memory is in bytes; `row` and `plane` are steps from one to the next, in vectors."""
    calls, places = step_calls(program, optimizer), Places(program)
    chosen = [call for segment in calls.segments for call in segment.calls if call.function.form]
    fused = _fused(program)
    stages = [
        {
            "layers": fused[layer_of(part)],
            "kind": type(part.stage).__name__.lower(),
            "output": str(part.stage.output),
            "row": part.y.row,
            "plane": part.y.plane,
            **{
                name: _kernels(call for call in chosen if (places.layer(call), kind_of(call)) == (layer_of(part), kind))
                for name, kind in PARTS.items()
            },
        }
        for part in program.parts
    ]
    return {
        "network": str(program.network),
        "loss": program.loss,
        "optimizer": optimizer,
        "machine": asdict(program.machine),
        "stages": stages,
        "memory": _memory(program),
        "segments": len(calls.segments),
        "functions": len(program.functions),
    }


def _fused(program: Program) -> dict[str, list[str]]:
    """The layers of each stage, by the names of their first ones.

    What is no first layer follows the layer it reads, but for a term of a sum, which belongs to the sum, and an
    activation function that pooling has taken over.
    """
    network, firsts = program.network, [layer_of(part) for part in program.parts]
    pools = [part.stage for part in program.parts if isinstance(part.stage, Pool) and part.stage.activation]
    stage_of = {pool.node.inputs[0]: pool.node.name for pool in pools}
    for k, node in enumerate(network.nodes):
        if k in stage_of:
            continue
        if node.name in firsts:
            stage_of[k] = node.name
        elif node.layer.op in ("BN", "SHORTCUT"):
            stage_of[k] = next(other.name for other in network.nodes if k in other.inputs)
        elif node.layer.op not in PASSED_ON:
            stage_of[k] = stage_of[node.inputs[0]]
    return {
        first: [network.nodes[k].name for k, stage in sorted(stage_of.items()) if stage == first] for first in firsts
    }


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
    """Of training. Each thread has an arena; each block, as many images as there are lanes, keeps what outlasts a
    meeting of threads; each group of blocks has gradients of its own.
    """
    sizes = Sizes.of(program)
    return {
        "arena": sizes.arena,
        "kept": sizes.kept,
        "scratch": sizes.scratch,
        "group": sizes.group,
        "weights": program.parameters * 4,
        "packed": program.packed * 4,
    }
