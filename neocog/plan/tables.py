"""A plan as rows for people, for spreadsheets (CSV) and for documents (Markdown)."""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterable, Sequence

from ..layer import Shape
from ..wording import count_of
from .plan import Plan, Row
from .receptive_field import as_numbers
from .timeline import Timeline

HEADER = ("layer", "written", "output", "parameters", "connections", "MACs", "sees", "jump")


def cells(row: Row) -> tuple[str, ...]:
    """One row as text, numbers with thousands separators; zeros are left blank."""
    field = as_numbers(row.field)
    counts = (row.cost.parameters, row.cost.connections, row.cost.macs)
    numbers = (f"{count:,}" if count else "" for count in counts)
    return (
        row.name,
        row.node.layer.token,
        str(row.output),
        *numbers,
        per_axis(field["size"]),
        per_axis(field["jump"]),
    )


def per_axis(value: object) -> str:
    """A part of a receptive field: `7`, or `1x7` where the axes differ."""
    values = value if isinstance(value, list) else [value]
    return "x".join("?" if v is None else f"{v:g}" for v in values)


def summary(plan: Plan) -> list[str]:
    """The totals in words, each saying what it counts."""
    totals, memory = plan.totals, plan.memory
    fixed = f", {totals['fixed']:,} fixed" if totals["fixed"] else ""
    return [
        f"{count_of(totals['layers'], 'layer')}, {count_of(totals['parameters'], 'parameter')}{fixed}, "
        f"{count_of(totals['connections'], 'connection')}",
        f"{count_of(totals['macs'], 'MAC')} an image = {totals['flops']:,} flops",
        f"{count_of(totals['activations'], 'activation value')} an image "
        f"({totals['volumes']:,} if activation functions count)",
        f"inference peaks at {_peak(plan.inference)}, training at {_peak(plan.training)} "
        f"with {plan.optimizer}, batch {plan.batch}, {plan.dtype}",
        f"  if nothing were freed: volumes {size(memory['activations_bytes'])} and as much for gradients, "
        f"parameters {size(memory['parameters_bytes'])} and as much for gradients, "
        f"optimizer {size(memory['optimizer_bytes'])}, batch {size(memory['batch_bytes'])}",
        *_sequence(plan.rows[0].output),
    ]


def _sequence(shape: Shape) -> list[str]:
    """That an input of two numbers is no image, which the text of a network does not show."""
    if shape.rank != 1:
        return []
    (steps,) = shape.spatial
    image = f"; a grey image is INPUT[{shape}x1]" if steps == shape.channels else ""
    return [f"INPUT[{shape}] is a sequence, {count_of(steps, 'step')} of {count_of(shape.channels, 'channel')}{image}"]


def _peak(timeline: Timeline) -> str:
    """How much, and where: `781.6 KiB in the backward pass of conv2`."""
    phase, layer, count = timeline.peak
    return f"{size(count)} in the {phase if phase == 'update' else f'{phase} pass of {layer}'}"


TIMELINE_HEADER = ("phase", "layer", "written", "bytes alive", "of the peak")


def timeline_cells(plan: Plan, timeline: Timeline) -> list[tuple[str, ...]]:
    """Each moment of `plan.training` or `plan.inference` as text, in order."""
    tokens = {row.name: row.node.layer.token for row in plan.rows}
    peak = timeline.peak.bytes
    return [
        (moment.phase, moment.layer, tokens[moment.layer], size(moment.bytes), f"{moment.bytes / peak:.0%}")
        for moment in timeline.moments
    ]


def size(count: int) -> str:
    """Bytes for people: `512 B`, `3.4 KiB`, `93.1 MiB`."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def duration(seconds: float) -> str:
    """Seconds for people, with three digits: `12.3 us`, `4.56 ms`, `1.20 s`."""
    scale, unit = (1e6, "us") if seconds < 1e-3 else (1e3, "ms") if seconds < 1 else (1.0, "s")
    value = seconds * scale
    return f"{value:,.{0 if value >= 100 else 1 if value >= 10 else 2}f} {unit}"


def to_csv(plan: Plan) -> str:
    """One line for each layer, plain numbers."""
    columns = (
        "name",
        "op",
        "token",
        "input",
        "output",
        "parameters",
        "connections",
        "macs",
        "kept",
        "size",
        "jump",
        "start",
    )
    rows = []
    for row in plan.rows:
        values = row.as_dict()
        values.update(values.pop("receptive_field"))
        rows.append([flat(values[column]) for column in columns])
    return csv_table(columns, rows)


def csv_table(header: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A line for the header and one for each row."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def flat(value: object) -> object:
    """A value for a cell of CSV: `28x28x6` for a list."""
    return "x".join(map(str, value)) if isinstance(value, list) else value


def to_markdown(plan: Plan) -> str:
    """A table with a row of totals, and the totals in words below it."""
    totals = plan.totals
    last = ("**total**", "", "", *(f"**{totals[key]:,}**" for key in ("parameters", "connections", "macs")), "", "")
    table = markdown_table(HEADER, [*map(cells, plan.rows), last], text=HEADER[:2])
    return "\n".join([*table, "", *(f"- {line.strip()}" for line in summary(plan)), ""])


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]], text: Collection[str]) -> list[str]:
    """The lines of a table whose columns are numbers, except those named in `text`."""
    aligned = ["---" if name in text else "---:" for name in header]
    return [_line(header), _line(aligned), *(_line(cell.replace("|", "\\|") for cell in row) for row in rows)]


def _line(values: Iterable[str]) -> str:
    return "| " + " | ".join(values) + " |"
