"""The sections on what a model answered: confusions, classes, how far it can be believed, and its worst mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset
from ..statistics import BINS, Calibration, most_confused, scores_by_class
from .charts import bar_chart, reliability_chart
from .html import chart, share, table
from .pictures import picture

WORST = 24
LARGEST_MATRIX = 30
MOST_PAIRS = 30


def confusion_section(counts: NDArray[np.int64], classes: Sequence[str]) -> str:
    """The confusion matrix, in images and in shares of each class, unless there are too many to show."""
    if len(classes) > LARGEST_MATRIX:
        return ""
    in_images = [[f"{n}" for n in row] for row in counts.tolist()]
    in_shares = [[_percent(n, sum(row)) for n in row] for row in counts.tolist()]
    return (
        '<h2>What was taken for what</h2><p class="soft">Rows are the true class, columns what the network said.</p>'
        f'<div class="pair">{chart("Images", _matrix(counts, in_images, classes))}'
        f"{chart('Per cent of the class', _matrix(counts, in_shares, classes))}</div>"
    )


def _percent(part: int, whole: int) -> str:
    """Three digits: `100`, `99.4`, `0.1`; less than 0.05 is `<.1`."""
    value = 100 * part / max(1, whole)
    return "<.1" if value < 0.05 else f"{value:.0f}" if part == whole else f"{min(value, 99.9):.1f}"


def _matrix(counts: NDArray[np.int64], cells: Sequence[Sequence[str]], classes: Sequence[str]) -> str:
    names = [f'<th title="{escape(name)}">{escape(name)}</th>' for name in classes]
    rows = "".join(
        f"<tr>{name}" + "".join(_cell(int(n), int(row.sum()), k == j, cells[k][j]) for j, n in enumerate(row)) + "</tr>"
        for k, (name, row) in enumerate(zip(names, counts, strict=True))
    )
    head = "".join(names)
    return f'<div class="wide"><table class="confusion"><tr><th class="corner">true</th>{head}</tr>{rows}</table></div>'


def _cell(count: int, total: int, right: bool, text: str) -> str:
    """One cell, its colour as strong as the share of its row; mistakes are scaled up to be seen."""
    if not count:
        return '<td class="none">·</td>'
    strength = 0.15 + 0.45 * count / total if right else min(0.75, 0.12 + 12 * count / total)
    return f'<td class="{"right" if right else "wrong"}" style="--share:{strength:.2f}">{escape(text)}</td>'


def class_section(counts: NDArray[np.int64], classes: Sequence[str]) -> str:
    """For each class precision, recall, F1 and how many images it has; beside it the commonest mistakes."""
    scores = [
        (name, share(one.precision), share(one.recall), share(one.f1), f"{one.support:,}", f"{one.right:,}")
        for name, one in zip(classes, scores_by_class(counts), strict=True)
    ]
    pairs = [
        (classes[one.true], classes[one.said], f"{one.times:,}", share(one.share))
        for one in most_confused(counts, min(MOST_PAIRS, max(10, len(classes))))
    ]
    by_class = table(("class", "precision", "recall", "F1", "images", "right"), scores, text_columns=1)
    confused = table(("is", "read as", "times", "of the class"), pairs, text_columns=2) if pairs else "None."
    return (
        '<h2>Class by class</h2><p class="soft">Recall: how many of a class were found. Precision: how often the '
        "network was right when it named the class. F1: their harmonic mean.</p>"
        f'<div class="pair tall">{chart("Scores", by_class)}{chart("Most confused", confused)}</div>'
    )


def calibration_section(found: Calibration) -> str:
    """Whether being sure means being right."""
    widths = [k / BINS for k in range(BINS + 1)]
    accuracy = [None if b is None else (b.confidence, b.accuracy, b.answers) for b in found.bins]
    counts = [0 if b is None else b.answers for b in found.bins]
    return (
        '<h2>How sure, and how right</h2><p class="soft">Bars that end on the diagonal belong to a network that is '
        "right as often as it is sure. Expected calibration error (ECE), the mean distance from it: "
        f"<b>{found.ece:.2%}</b>. Negative log-likelihood (NLL) of the right class: <b>{found.nll:.4g}</b> nats.</p>"
        '<div class="charts">'
        + chart("Right, by how sure", reliability_chart(widths, accuracy, "probability of the answer"))
        + chart("Answers, by how sure", bar_chart(widths, counts, "probability of the answer"))
        + "</div>"
    )


def mistakes_section(test: Dataset, probabilities: NDArray[np.float64], classes: Sequence[str]) -> str:
    """The wrong answers of which the network was surest; of equally sure ones first those further from the truth."""
    predicted, rows = probabilities.argmax(axis=1), np.arange(len(probabilities))
    wrong = np.flatnonzero(predicted != test.labels)
    if not len(wrong):
        return "<h2>Worst mistakes</h2><p>None: every test image was read correctly.</p>"
    said, truth = probabilities[rows, predicted], probabilities[rows, test.labels]
    worst = wrong[np.lexsort((truth[wrong], -said[wrong]))][:WORST]
    cards = "".join(
        f'<div class="card">{picture(test.images[i], f"test image {i}")}'
        f"is <b>{escape(classes[test.labels[i]])}</b>, read as <b>{escape(classes[predicted[i]])}</b>"
        f'<br><span class="soft">{said[i]:.1%}, image {i}</span></div>'
        for i in worst
    )
    return (
        f'<h2>Worst mistakes</h2><p class="soft">Of {len(wrong):,} wrong answers those of which the network was '
        f'surest, each with how sure that was.</p><div class="cards">{cards}</div>'
    )
