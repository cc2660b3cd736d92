"""The Plan: one row for each layer, totals and memory, and the error that shows the rows before it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from ..errors import ShapeError
from ..layer import Cost, Layer, Shape, Window
from ..network import VAST, Network, Node, node_shape
from . import timeline
from .memory import DEFINITIONS, by_kind, copies_of, run_of
from .receptive_field import Axis, Field, as_numbers, joined, through
from .timeline import Timeline


class PlanError(ShapeError):
    """A layer that cannot take its input; `rows` are the layers before it, which could."""

    rows: tuple[Row, ...] = ()


@dataclass(frozen=True)
class Row:
    """One layer of the plan. Shapes and costs are for one image."""

    node: Node
    inputs: tuple[Shape, ...]
    input_names: tuple[str, ...]
    output: Shape
    cost: Cost
    field: Field

    @property
    def name(self) -> str:
        """The node's name."""
        return self.node.name

    def as_dict(self) -> dict[str, Any]:
        """The row as plain numbers and text. INPUT's own volume stands as its input too."""
        layer = self.node.layer
        return {
            "name": self.name,
            "op": layer.op,
            "token": layer.token,
            "from": list(self.input_names),
            "input": (self.inputs[0] if self.inputs else self.output).as_list(),
            "output": self.output.as_list(),
            "parameters": self.cost.parameters,
            "connections": self.cost.connections,
            "macs": self.cost.macs,
            "kept": self.cost.kept,
            "receptive_field": as_numbers(self.field),
        }


@dataclass(frozen=True)
class Plan:
    """Everything about a network that is known before it runs."""

    network: Network
    rows: tuple[Row, ...]
    totals: dict[str, int]
    memory: dict[str, int]
    batch: int
    dtype: str
    optimizer: str
    inference: Timeline
    training: Timeline

    def __getitem__(self, name: str) -> Row:
        """The row of the node with that name."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    @property
    def last_map(self) -> Row:
        """The last layer with more than one position on the way to the output; INPUT where there is none."""
        on_the_way = {self.rows[-1].name}  # which side branches are not
        for row in reversed(self.rows):
            if row.name in on_the_way:
                if row.output.positions > 1:
                    return row
                on_the_way.update(row.input_names)
        return self.rows[0]

    def overview(self) -> dict[str, Any]:
        """The network as a whole, JSON-ready: its text, totals, memory and the receptive field of its last map."""
        return {
            "network": str(self.network),
            "totals": self.totals,
            "memory": {
                **self.memory,
                "inference_peak": self.inference.peak._asdict(),
                "training_peak": self.training.peak._asdict(),
                **{"batch": self.batch, "dtype": self.dtype, "optimizer": self.optimizer},
            },
            "receptive_field": as_numbers(self.last_map.field),
        }

    def as_dict(self) -> dict[str, Any]:
        """The plan as one JSON-ready document."""
        overview = self.overview()
        layers = [row.as_dict() for row in self.rows]
        return {"network": overview["network"], "layers": layers} | overview | {"definitions": DEFINITIONS}


def plan(network: Network, batch: int = 1, dtype: str = "float32", optimizer: str = "momentum") -> Plan:
    """Every shape, cost and byte of a network, without running it.

    `batch`, `dtype` (of the volumes) and `optimizer` matter to memory only.
    Raises PlanError, a ShapeError, where a layer cannot take its input, and NeocogError for a batch, dtype or optimizer
    that is not known.
    """
    rows = _rows(network)
    totals = _totals(rows)
    shapes = [row.output for row in rows]
    inference = timeline.inference(network, shapes, run_of(batch, dtype, training=False))
    run = run_of(batch, dtype, training=True)
    training = timeline.training(network, shapes, run, copies_of(optimizer))
    memory = {"inference_bytes": inference.peak.bytes, "training_bytes": training.peak.bytes}
    memory |= by_kind(totals, shapes[0], run, optimizer)
    return Plan(network, rows, totals, memory, batch, dtype, optimizer, inference, training)


def _rows(network: Network) -> tuple[Row, ...]:
    rows: list[Row] = []
    shapes: list[Shape] = []
    for node in network.nodes:
        try:
            shapes.append(node_shape(node, shapes))
            rows.append(_row(node, rows, shapes))
        except ShapeError as error:
            hint = ", ".join(filter(None, (_channels_last(network.input_shape), error.hint)))
            failure = PlanError(error.rule, where=error.where, received=error.received, hint=hint)
            failure.rows = tuple(rows)
            raise failure from None
    return tuple(rows)


def _channels_last(source: Shape) -> str:
    """What to write where INPUT seems to have its channels first, as torch's volumes do; else nothing."""
    if source.rank == 2 and source.spatial[0] in (1, 3) and source.spatial[1] == source.channels > 3:
        channels, side = source.spatial
        return f"INPUT[{side}x{side}x{channels}] if {channels} are the channels"
    return ""


class _Own(NamedTuple):
    """What a layer is on given volumes, wherever in a network it stands."""

    cost: Cost
    window: Window | None
    fixed: int
    unrolled: int


@lru_cache(maxsize=4096)
def _own(layer: Layer, inputs: tuple[Shape, ...]) -> _Own:
    """Worked out once for equal layers on equal volumes: deep networks and families repeat theirs."""
    fixed = sum(p.size for p in layer.parameters(*inputs).values() if not p.trainable)
    return _Own(layer.cost(*inputs), layer.window(*inputs), fixed, layer.unrolled(*inputs))


def _row(node: Node, rows: list[Row], shapes: list[Shape]) -> Row:
    inputs = tuple(shapes[i] for i in node.inputs)
    own = _own(node.layer, inputs)
    sources = [rows[i] for i in node.inputs]
    before = joined([row.field for row in sources]) if sources else (Axis(),) * shapes[-1].rank
    field = through(before, own.window)
    if max(axis.jump or 0 for axis in field) > VAST:
        raise ShapeError(
            f"neighbouring positions of {node.layer} look more than 10^18 pixels apart",
            where=node.place,
            hint="smaller strides",
        )
    return Row(
        node=node,
        inputs=inputs,
        input_names=tuple(row.name for row in sources),
        output=shapes[-1],
        cost=own.cost,
        field=field,
    )


def _totals(rows: tuple[Row, ...]) -> dict[str, int]:
    """Sums over the layers, each defined in `memory.DEFINITIONS`."""
    own = [_own(row.node.layer, row.inputs) for row in rows]
    macs = sum(row.cost.macs for row in rows)
    return {
        "layers": len(rows) - 1,
        "parameters": sum(row.cost.parameters for row in rows),
        "fixed": sum(one.fixed for one in own),
        "connections": sum(row.cost.connections for row in rows),
        "macs": macs,
        "flops": 2 * macs,
        "activations": sum(row.output.elements for row in rows if not row.node.layer.in_place),
        "volumes": sum(row.output.elements for row in rows),
        "im2col": max(one.unrolled for one in own),
    }
