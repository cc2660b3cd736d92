"""Runs beside each other: the settings in which they differ, what came of it, and whether chance would do as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..statistics import Contest, Interval, other_images, same_images, share_interval
from ..wording import count_of
from .charts import Series, line_chart
from .html import chart, document, duration, plain, table
from .results import best_epoch

FIGURES = ("test accuracy", "95 % interval", "wrong", "test loss", "best epoch", "epochs", "time", "images/s")
SURE = "This speaks of these models on images like these, not of their recipes: another seed moves every one of them."


@dataclass(frozen=True, eq=False)
class Run:
    """A finished run: its record, the lines of `metrics.jsonl`, and its answers (2, N), class and what was said."""

    name: str
    record: Mapping[str, Any]
    metrics: Sequence[Mapping[str, Any]]
    answers: NDArray[Any] | None

    @property
    def epochs(self) -> list[Mapping[str, Any]]:
        """The lines on epochs."""
        return [line for line in self.metrics if line["kind"] == "epoch"]

    @property
    def total(self) -> int:
        """How many test images there were."""
        return int(self.record["test_images"])

    @property
    def right(self) -> int:
        """How many of them were read correctly."""
        return round(float(self.record["test_accuracy"]) * self.total)

    @property
    def interval(self) -> Interval:
        """Where the test accuracy lies with 95 % confidence."""
        return share_interval(self.right, self.total)

    def settings(self) -> dict[str, Any]:
        """All that was decided before the run, flat, by name."""
        record = self.record
        flat = {"network": record["network"], **record["settings"]}
        flat |= {name: record[name] for name in ("engine", "device", "threads")}
        flat |= {f"data: {name.replace('_', ' ')}": value for name, value in record["data"].items()}
        return flat | {f"{name} version": value for name, value in record["versions"].items()}

    def figures(self) -> tuple[str, ...]:
        """What came of it, as text, in the order of `FIGURES`."""
        best = best_epoch(self.epochs)
        low, high = self.interval
        return (
            f"{self.record['test_accuracy']:.2%}",
            f"{100 * low:.2f}–{high:.2%}",
            f"{self.total - self.right:,} of {self.total:,}",
            f"{self.record['test_loss']:.4g}",
            f"{best['epoch']} ({best['accuracy']:.2%})",
            f"{self.record['epochs']:,}",
            duration(self.record["seconds"]),
            f"{self.record['images_per_second']:,.0f}",
        )


def differences(runs: Sequence[Run]) -> list[tuple[str, list[Any]]]:
    """The settings that are not the same in all runs: their names, and each run's value, None where it has none."""
    each = [run.settings() for run in runs]
    names = dict.fromkeys(name for settings in each for name in settings)
    rows = [(name, [settings.get(name) for settings in each]) for name in names]
    return [(name, values) for name, values in rows if any(value != values[0] for value in values)]


def contest(first: Run, second: Run) -> Contest:
    """The second run's model against the first's: on the same images where they were the same, else by counts."""
    prints = [run.record["data"]["test_fingerprint"] for run in (first, second)]
    if first.answers is None or second.answers is None or prints[0] != prints[1]:
        return other_images((first.right, first.total), (second.right, second.total))
    return same_images(*(np.equal(*run.answers) for run in (first, second) if run.answers is not None))


def verdict(first: Run, second: Run) -> str:
    """`contest` in words."""
    found = contest(first, second)
    points = (
        f"{100 * found.difference:+.2f} points ({100 * found.interval.low:+.2f} to {100 * found.interval.high:+.2f})"
    )
    if found.p is None:
        how = "on different images"
    else:
        alone = count_of(found.only_second or 0, "image")
        how = f"alone right on {alone}, {first.name} on {found.only_first:,}, p = {found.p:.2g}"
    said = f"{second.name} against {first.name}: {points}, {how}"
    if not found.decided:
        return f"{said}: chance would do as well"
    return f"{said}: {'better' if found.difference > 0 else 'worse'}, and more than chance explains"


def render_comparison(runs: Sequence[Run]) -> str:
    """The page of several runs, the first of which is what the others are compared with."""
    return document(
        " · ".join(run.name for run in runs),
        (
            f"<h1>{escape(', '.join(run.name for run in runs))}</h1>",
            _results(runs),
            _curves(runs),
            _settings(runs),
        ),
    )


def _results(runs: Sequence[Run]) -> str:
    rows = table(("run", *FIGURES), ((run.name, *run.figures()) for run in runs), text_columns=1)
    verdicts = "".join(f"<p>{escape(verdict(runs[0], run))}.</p>" for run in runs[1:])
    note = (
        "Differences of the test accuracy with their 95 % intervals; p is how often two equally good models would "
        f"differ as much or more (McNemar's exact test). {SURE}"
    )
    return f'<h2>Results</h2>{rows}{verdicts}<p class="soft">{escape(note)}</p>'


def _curves(runs: Sequence[Run]) -> str:
    def over_epochs(key: str) -> list[Series]:
        return [Series(run.name, [(e["epoch"], e[key]) for e in run.epochs], dots=True) for run in runs]

    def positive(series: Sequence[Series]) -> list[Series]:
        return [one._replace(points=[(x, max(y, 1e-9)) for x, y in one.points]) for one in series]

    drawn = (
        ("Accuracy", line_chart(over_epochs("accuracy"), "epoch", percent=True)),
        ("Loss", line_chart(positive(over_epochs("loss")), "epoch", log=True)),
        ("Training loss", line_chart(positive(over_epochs("train_loss")), "epoch", log=True)),
        ("Accuracy by time", line_chart([*map(_by_time, runs)], "seconds of training", percent=True)),
        ("Learning rate", line_chart(over_epochs("lr"), "epoch")),
    )
    figures = "".join(chart(title, drawing) for title, drawing in drawn)
    return f'<h2>Learning</h2><div class="charts">{figures}</div>'


def _by_time(run: Run) -> Series:
    times = np.cumsum([epoch["seconds"] for epoch in run.epochs]).tolist()
    return Series(run.name, [(t, e["accuracy"]) for t, e in zip(times, run.epochs, strict=True)], dots=True)


def _settings(runs: Sequence[Run]) -> str:
    rows = [(name.replace("_", " "), *map(plain, values)) for name, values in differences(runs)]
    if not rows:
        return "<h2>Settings</h2><p>The same in all.</p>"
    cells = "".join(
        f"<tr><th>{escape(name)}</th>"
        + "".join(f'<td class="wrap"><code>{escape(value)}</code></td>' for value in values)
        + "</tr>"
        for name, *values in rows
    )
    head = "".join(f"<th>{escape(run.name)}</th>" for run in runs)
    return f'<h2>Settings that differ</h2><div class="wide"><table><tr><th></th>{head}</tr>{cells}</table></div>'
