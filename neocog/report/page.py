"""The page itself: what came out, what the network is, how it learned, what it sees and where it is wrong.

Everything that comes from outside (network text, class names, settings) is escaped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset
from ..files import write_atomically
from ..finding import Finding
from ..model import Model
from ..plan.tables import HEADER, cells, summary
from ..statistics import calibration, confusion_matrix, share_interval
from ..wording import count_of
from .answers import calibration_section, class_section, confusion_section, mistakes_section
from .charts import Mark, Series, line_chart
from .html import chart, document, duration, facts, plain, table
from .pictures import filter_pixels, picture
from .results import best_epoch

MOST_FILTERS = 96
Metrics = Sequence[Mapping[str, Any]]


def write_report(path: Path, model: Model, metrics: Metrics, test: Dataset, probabilities: NDArray[np.float64]) -> None:
    """Write the page of a finished run. Raises RunError where it cannot be written.

    `metrics` are the lines of `metrics.jsonl`, `probabilities` (N, K) the model's for the test images.
    """
    write_atomically(path, render(model, metrics, test, probabilities).encode())


def render(model: Model, metrics: Metrics, test: Dataset, probabilities: NDArray[np.float64]) -> str:
    """The page as HTML."""
    counts = confusion_matrix(test.labels, probabilities.argmax(axis=1), len(model.classes))
    title = f"{model.record['data']['name']}: {model.record['test_accuracy']:.2%}"
    sections = (
        headline(model, counts),
        findings_section(metrics),
        network_section(model),
        learning_section(metrics),
        confusion_section(counts, model.classes),
        class_section(counts, model.classes),
        calibration_section(calibration(probabilities, test.labels)),
        mistakes_section(test, probabilities, model.classes),
        filter_section(model),
        settings_section(model.record),
    )
    return document(title, sections)


def headline(model: Model, counts: NDArray[np.int64]) -> str:
    """The result in one sentence and a few numbers."""
    record = model.record
    total, right = int(counts.sum()), int(np.trace(counts))
    within = share_interval(right, total)
    values = [
        (f"{total - right:,}", f"wrong of {total:,}"),
        (f"{100 * within.low:.2f}–{within.high:.2%}", "accuracy, 95 % interval"),
        (duration(record["seconds"]), f"{count_of(record['epochs'], 'epoch')}, measuring included"),
        (f"{record['images_per_second']:,.0f}", "training images a second"),
        (f"{model.network.plan().totals['parameters']:,}", "parameters"),
    ]
    name, version = escape(record["data"]["name"]), escape(record["versions"]["neocog"])
    when = escape(record["started"][:16].replace("T", " "))
    return (
        f"<h1>{right / total:.2%} of the {count_of(total, f'{name} test image')} read correctly</h1>"
        f'<p class="soft">trained {when} UTC by neocog {version}, {escape(record["reason"])}</p>{facts(values)}'
    )


def findings_section(metrics: Metrics) -> str:
    """What the doctor found, if anything."""
    found = [Finding.from_dict(line["finding"]) for line in metrics if line["kind"] == "finding"]
    items = "".join(
        f"<dt>{escape(one.name)}</dt><dd>{escape(one.says)}"
        + (f'<br><span class="soft">{escape(one.where())}</span>' if one.places else "")
        + f"<br>Try: {escape(one.action)}.</dd>"
        for one in found
    )
    return f'<h2>To look at</h2><dl class="findings">{items}</dl>' if found else ""


def network_section(model: Model) -> str:
    """The network's text, its plan, and the totals in words."""
    plan = model.network.plan(
        batch=model.record["settings"]["batch_size"], optimizer=model.record["settings"]["optimizer"]
    )
    totals = "<br>".join(escape(line.strip()) for line in summary(plan))
    rows = table(HEADER, (cells(row) for row in plan.rows), text_columns=3)
    text = escape(str(model.network)).replace("-&gt;", '<span class="arrow">-&gt;</span>')
    return f'<h2>Network</h2><pre>{text}</pre>{rows}<p class="soft">{totals}</p>'


def learning_section(metrics: Metrics) -> str:
    """Curves of loss, accuracy and learning rate over epochs."""
    epochs = [line for line in metrics if line["kind"] == "epoch"]
    steps = [line for line in metrics if line["kind"] == "steps"]
    length = epochs[0]["steps"] / epochs[0]["epoch"]
    measured = epochs[0]["measured_on"]
    running = [(line["step"] / length, max(line["loss"], 1e-9)) for line in steps]
    after = [(e["epoch"], max(e["loss"], 1e-9)) for e in epochs]
    best = best_epoch(epochs)
    mark = Mark(best["epoch"], f"best: epoch {best['epoch']}")
    loss = line_chart([Series("training", running), Series(measured, after, dots=True)], "epoch", log=True, mark=mark)
    accuracy = line_chart(
        [
            Series("training", [(e["epoch"], e["train_accuracy"]) for e in epochs], dots=True),
            Series(measured, [(e["epoch"], e["accuracy"]) for e in epochs], dots=True),
        ],
        "epoch",
        percent=True,
        mark=mark,
    )
    rate = line_chart(
        [Series("learning rate", [(line["step"] / length, line["lr"]) for line in steps])], "epoch", mark=mark
    )
    figures = chart("Loss", loss) + chart("Accuracy", accuracy) + chart("Learning rate", rate)
    note = (
        "Training figures are means over images just before the network learned from them. "
        f"The best epoch is that with the highest accuracy on {escape(measured)} images, {best['accuracy']:.2%}."
    )
    return f'<h2>Learning</h2><p class="soft">{note}</p><div class="charts">{figures}</div>'


def filter_section(model: Model) -> str:
    """The first layer's filters as pictures, where they look at one or three channels."""
    for node in model.network.nodes:
        weight = model.weights.get(f"{node.name}.weight")
        if node.layer.op == "CONV" and weight is not None:
            break
    else:
        return ""
    if weight.ndim != 4 or weight.shape[1] not in (1, 3):
        return ""
    pictures = [picture(p, f"filter {k}") for k, p in enumerate(filter_pixels(weight)[:MOST_FILTERS])]
    shown = f"the first {MOST_FILTERS} of {len(weight)}" if len(weight) > MOST_FILTERS else f"all {len(weight)}"
    scale = f"mid-grey is 0, black and white are -{np.abs(weight).max():.2g} and {np.abs(weight).max():.2g}"
    return (
        f'<h2>Filters of {node.name}</h2><p class="soft">{shown}, on one scale for all filters: {scale}.</p>'
        f'<div class="cards filters">{"".join(pictures)}</div>'
    )


def settings_section(record: Mapping[str, Any]) -> str:
    """Everything needed to do the run again."""
    flat = {**record["settings"], **{key: record[key] for key in ("engine", "device", "threads")}}
    flat |= {f"data: {key.replace('_', ' ')}": value for key, value in record["data"].items() if key != "name"}
    flat |= {f"{key} version": value for key, value in record["versions"].items()}
    rows = "".join(
        f'<tr><th>{escape(key.replace("_", " "))}</th><td class="wrap"><code>{escape(plain(value))}</code></td></tr>'
        for key, value in flat.items()
    )
    return f'<h2>Settings</h2><div class="wide"><table>{rows}</table></div>'
