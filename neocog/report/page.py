"""The page itself: what came out, what the network is, how it learned, what it sees and where it is wrong.

Everything that comes from outside (network text, class names, settings) is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset
from ..files import write_atomically
from ..model import Model
from ..plan.tables import HEADER, cells, summary
from .charts import Series, line_chart
from .pictures import filter_pixels, picture
from .style import CSS

WORST = 24
LARGEST_CONFUSION = 30
MOST_FILTERS = 96
Metrics = Sequence[Mapping[str, Any]]


def write_report(path: Path, model: Model, metrics: Metrics, test: Dataset, probabilities: NDArray[np.float64]) -> None:
    """Write the page of a finished run. Raises RunError where it cannot be written.

    `metrics` are the lines of `metrics.jsonl`, `probabilities` (N, K) the model's for the test images.
    """
    write_atomically(path, render(model, metrics, test, probabilities).encode())


def render(model: Model, metrics: Metrics, test: Dataset, probabilities: NDArray[np.float64]) -> str:
    """The page as HTML."""
    predicted = probabilities.argmax(axis=1)
    counts = confusion(test.labels, predicted, len(model.classes))
    title = f"{model.record['data']['name']}: {model.record['test_accuracy']:.2%}"
    sections = [
        headline(model, counts),
        network_section(model),
        learning_section(metrics),
        confusion_section(counts, model.classes),
        class_section(counts, model.classes),
        filter_section(model),
        mistakes_section(test, probabilities, model.classes),
        settings_section(model.record),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{CSS}</style></head>\n<body><main>\n"
        + "\n".join(section for section in sections if section)
        + "\n</main></body></html>\n"
    )


def confusion(labels: NDArray[np.int64], predicted: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """How often each class (row) was taken for each class (column)."""
    return np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)


def headline(model: Model, counts: NDArray[np.int64]) -> str:
    """The result in one sentence and a few numbers."""
    record = model.record
    total, right = int(counts.sum()), int(np.trace(counts))
    facts = [
        (f"{total - right:,}", f"wrong of {total:,}"),
        (duration(record["seconds"]), f"{record['epochs']} epochs, measuring included"),
        (f"{record['images_per_second']:,.0f}", "training images a second"),
        (f"{model.network.plan().totals['parameters']:,}", "parameters"),
    ]
    items = "".join(f"<li><b>{escape(value)}</b><span>{escape(what)}</span></li>" for value, what in facts)
    name, version = escape(record["data"]["name"]), escape(record["versions"]["neocog"])
    when = escape(record["started"][:16].replace("T", " "))
    return (
        f"<h1>{right / total:.2%} of the {total:,} {name} test images read correctly</h1>"
        f'<p class="soft">trained {when} UTC by neocog {version}, {escape(record["reason"])}</p>'
        f'<ul class="facts">{items}</ul>'
    )


def duration(seconds: float) -> str:
    """`42 s`, `3 min 5 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 100:
        return f"{seconds:.1f} s" if seconds < 10 else f"{whole} s"
    return f"{whole // 60} min {whole % 60} s" if whole < 6000 else f"{whole // 3600} h {whole % 3600 // 60} min"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], text_columns: int) -> str:
    """An HTML table of escaped text; the columns after the first `text_columns` are numbers."""
    marks = ['class="cut"' if k < text_columns else 'class="n"' for k in range(len(header))]
    head = "".join(f"<th {mark}>{escape(cell)}</th>" for mark, cell in zip(marks, header, strict=True))
    body = "".join(
        "<tr>" + "".join(f"<td {mark}>{escape(cell)}</td>" for mark, cell in zip(marks, row, strict=True)) + "</tr>"
        for row in rows
    )
    return f'<div class="wide"><table><tr>{head}</tr>{body}</table></div>'


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
    loss = line_chart([Series("training", running), Series(measured, after, dots=True)], "epoch", log=True)
    accuracy = line_chart(
        [
            Series("training", [(e["epoch"], e["train_accuracy"]) for e in epochs], dots=True),
            Series(measured, [(e["epoch"], e["accuracy"]) for e in epochs], dots=True),
        ],
        "epoch",
        percent=True,
    )
    rate = line_chart([Series("learning rate", [(line["step"] / length, line["lr"]) for line in steps])], "epoch")
    charts = (("Loss", loss), ("Accuracy", accuracy), ("Learning rate", rate))
    figures = "".join(f"<div><h3>{title}</h3>{chart}</div>" for title, chart in charts)
    note = "Training figures are means over images just before the network learned from them."
    return f'<h2>Learning</h2><p class="soft">{note}</p><div class="charts">{figures}</div>'


def confusion_section(counts: NDArray[np.int64], classes: Sequence[str]) -> str:
    """The confusion matrix, or the commonest confusions where there are too many classes to show."""
    if len(classes) > LARGEST_CONFUSION:
        return f"<h2>Commonest confusions</h2>{_commonest(counts, classes)}"
    head = "".join(f'<th title="{escape(name)}">{escape(name)}</th>' for name in classes)
    rows = "".join(
        f'<tr><th title="{escape(name)}">{escape(name)}</th>'
        + "".join(_confusion_cell(int(n), int(counts[k].sum()), k == j) for j, n in enumerate(counts[k]))
        + "</tr>"
        for k, name in enumerate(classes)
    )
    return (
        "<h2>What was taken for what</h2>"
        '<p class="soft">Rows are the true class, columns what the network said.</p>'
        f'<div class="wide"><table class="confusion"><tr><th class="corner">true</th>{head}</tr>{rows}</table></div>'
    )


def _confusion_cell(count: int, total: int, right: bool) -> str:
    """One cell, its colour as strong as the share of its row; mistakes are scaled up to be seen."""
    if not count:
        return '<td class="none">·</td>'
    share = 0.15 + 0.45 * count / total if right else min(0.75, 0.12 + 12 * count / total)
    return f'<td class="{"right" if right else "wrong"}" style="--share:{share:.2f}">{count}</td>'


def _commonest(counts: NDArray[np.int64], classes: Sequence[str]) -> str:
    wrong = counts.copy()
    np.fill_diagonal(wrong, 0)
    order = np.argsort(-wrong, axis=None, kind="stable")[:LARGEST_CONFUSION]
    pairs = (divmod(int(flat), len(classes)) for flat in order)
    rows = [(classes[k], classes[j], f"{wrong[k, j]:,}") for k, j in pairs if wrong[k, j]]
    return table(("true", "taken for", "times"), rows, text_columns=2)


def class_section(counts: NDArray[np.int64], classes: Sequence[str]) -> str:
    """For each class: recall and precision."""
    rows = [
        (name, f"{counts[k].sum():,}", f"{counts[k, k]:,}", _share(counts[k, k], counts[k].sum()),
         _share(counts[k, k], counts[:, k].sum()))
        for k, name in enumerate(classes)
    ]  # fmt: skip
    header = ("class", "images", "right", "recall", "precision")
    return (
        '<h2>Class by class</h2><p class="soft">Recall: how many of a class were found. Precision: how often the '
        f"network was right when it named the class.</p>{table(header, rows, text_columns=1)}"
    )


def _share(part: int, whole: int) -> str:
    return f"{part / whole:.2%}" if whole else ""


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


def mistakes_section(test: Dataset, probabilities: NDArray[np.float64], classes: Sequence[str]) -> str:
    """The wrong answers for which the truth was held least likely."""
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != test.labels)
    if not len(wrong):
        return "<h2>Worst mistakes</h2><p>None: every test image was read correctly.</p>"
    worst = wrong[np.argsort(probabilities[wrong, test.labels[wrong]], kind="stable")][:WORST]
    cards = []
    for i in worst:
        said, true = classes[predicted[i]], classes[test.labels[i]]
        image = picture(test.images[i], f"test image {i}")
        sure = f"{probabilities[i, predicted[i]]:.1%}"
        cards.append(
            f'<div class="card">{image}is <b>{escape(true)}</b>, read as <b>{escape(said)}</b>'
            f'<br><span class="soft">{sure}, image {i}</span></div>'
        )
    return (
        f'<h2>Worst mistakes</h2><p class="soft">Of {len(wrong):,} wrong answers those that held the truth least '
        "likely, each with how sure the network was of what it said.</p>"
        f'<div class="cards">{"".join(cards)}</div>'
    )


def settings_section(record: Mapping[str, Any]) -> str:
    """Everything needed to do the run again."""
    flat = {**record["settings"], **{key: record[key] for key in ("engine", "device", "threads")}}
    flat |= {f"data: {key.replace('_', ' ')}": value for key, value in record["data"].items() if key != "name"}
    flat |= {f"{key} version": value for key, value in record["versions"].items()}
    rows = "".join(
        f'<tr><th>{escape(key.replace("_", " "))}</th><td class="wrap"><code>{escape(_plain(value))}</code></td></tr>'
        for key, value in flat.items()
    )
    return f'<h2>Settings</h2><div class="wide"><table>{rows}</table></div>'


def _plain(value: object) -> str:
    if isinstance(value, list):
        return "; ".join(map(str, value))
    return "none" if value is None else str(value)
