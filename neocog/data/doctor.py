"""The data doctor: what in a data set would break training, or make its numbers untrue, before any is spent on it.

What is grave: files that cannot be decoded, images that are in two splits or two classes, classes that the splits do
not share or that two names stand for. What else is found is said, with its files and what to do.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import DataError, escaped
from ..finding import Finding
from . import sources
from .ailments import (
    Seen,
    balance,
    copies,
    empty_classes,
    equal_arrays,
    looks,
    spellings,
    strangers,
    unreadable_files,
)
from .dataset import Dataset
from .entries import SPLITS, Entry, Listing
from .files import in_splits, listed
from .preprocessing import mean_and_deviation
from .reading import THREADS
from .survey import Sight, survey

Watch = Callable[[Iterable[Sight], int], Iterable[Sight]]


def unwatched(sights: Iterable[Sight], total: int) -> Iterable[Sight]:
    """The sights, with nobody told of them."""
    return sights


@dataclass(frozen=True)
class Diagnosis:
    """What was found, gravest first, and the figures of the data: counts, sizes, mean and deviation, speed."""

    findings: tuple[Finding, ...]
    figures: Mapping[str, Any]

    @property
    def grave(self) -> bool:
        """Whether training would break or its numbers be untrue."""
        return any(finding.grave for finding in self.findings)


def diagnose(source: str, watch: Watch = unwatched) -> Diagnosis:
    """Look at a data set of any kind. `watch` sees the sights of files pass, and how many there will be.

    Raises DataError where the source itself cannot be read, or has no images.
    """
    data = sources.found(source)
    return (
        diagnose_files(data, watch)
        if isinstance(data, Path)
        else diagnose_images([s for s in (data.train, data.validation, data.test) if s])
    )


def diagnose_files(source: Path, watch: Watch = unwatched) -> Diagnosis:
    """Look at every image of a folder, a list, tar files or a set of Hugging Face."""
    listing = listed(source)
    if not listing.entries:
        raise DataError("there are no images", where=escaped(source), received="; ".join(listing.notes))
    entries, refusal = _in_splits(source, listing)
    sights = watch(survey([entry.path for entry in entries], listing.reader.read), len(entries))
    seen = [Seen(escaped(e.path.as_posix()), e.label, e.split, sight) for e, sight in zip(entries, sights, strict=True)]
    names = [*spellings(entries), *strangers(entries), *empty_classes(listing)]
    found = [*unreadable_files(seen), *copies(seen), *names, *balance(_counts(seen)), *looks(seen)]
    if refusal and not any(finding.grave for finding in names):
        found.append(Finding("refused", refusal.text(), refusal.hint or "see docs/data.md", grave=True))
    found += [Finding("left out", note, "nothing, if that is meant") for note in listing.notes]
    return Diagnosis(tuple(sorted(found, key=lambda finding: not finding.grave)), _figures(seen))


def first_look(splits: Sequence[Dataset]) -> list[Finding]:
    """What takes no time to find in images that are in memory, so that every run can begin with it."""
    return [*equal_arrays(splits), *balance(_by_class(splits))]


def _by_class(splits: Sequence[Dataset]) -> dict[str, dict[str, int]]:
    return {
        s.split: dict(zip(s.classes, np.bincount(s.labels, minlength=len(s.classes)).tolist(), strict=True))
        for s in splits
    }


def diagnose_images(splits: Sequence[Dataset]) -> Diagnosis:
    """Look at images of one size, as published sets and packed ones have."""
    found = first_look(splits)
    mean, std = mean_and_deviation(splits[0].images)
    figures = {
        "images": {s.split: len(s) for s in splits},
        "classes": _by_class(splits),
        "sizes": {"x".join(map(str, splits[0].images.shape[1:])): sum(map(len, splits))},
        "mean": mean.round(4).tolist(),
        "std": std.round(4).tolist(),
    }
    return Diagnosis(tuple(sorted(found, key=lambda finding: not finding.grave)), figures)


def _in_splits(source: Path, listing: Listing) -> tuple[list[Entry], DataError | None]:
    """The entries, in the splits in which training would see them, or why it would not."""
    try:
        splits = in_splits(listing, source)
    except DataError as error:
        return [entry._replace(split=entry.split or "train") for entry in listing.entries], error
    place = {path: split for split, files in splits.items() for path in files.paths}
    return [entry._replace(split=place[entry.path]) for entry in listing.entries], None


def _counts(seen: Iterable[Seen]) -> dict[str, Counter[str]]:
    counts: dict[str, Counter[str]] = {}
    for one in seen:
        counts.setdefault(one.split, Counter())[one.label] += 1
    return {split: counts[split] for split in SPLITS if split in counts}


def _figures(seen: Sequence[Seen]) -> dict[str, Any]:
    good = [one.sight for one in seen if not one.sight.trouble]
    sizes = Counter(f"{height}x{width}" for height, width in (sight.size for sight in good))
    seconds = sum(sight.seconds for sight in good)
    mean, std = _moments([one.sight for one in seen if one.split == "train" and one.sight.moments is not None])
    counts = _counts(seen)
    return {
        "images": {split: sum(each.values()) for split, each in counts.items()},
        "classes": {split: dict(sorted(each.items())) for split, each in counts.items()},
        "sizes": dict(sizes.most_common(8)),
        "not_square": sum(sight.size[0] != sight.size[1] for sight in good),
        "kinds": dict(Counter(kind for sight in good for kind in sight.kinds).most_common()),
        "mean": mean,
        "std": std,
        "decoded_per_second": round(len(good) / seconds * THREADS, 1) if seconds else None,
        "decoders": THREADS,
    }


def _moments(sights: Sequence[Sight]) -> tuple[list[float], list[float]]:
    """Mean and deviation of the training images' pixels, by channel, where grey counts as equal colours."""
    each = [sight.moments for sight in sights if sight.moments is not None]
    if not each:
        return [], []
    widest = max(map(len, each))
    total: NDArray[np.float64] = sum((np.broadcast_to(m, (widest, 3)) for m in each), np.zeros((widest, 3)))
    mean = total[:, 1] / total[:, 0]
    std = np.sqrt(np.maximum(0.0, total[:, 2] / total[:, 0] - mean**2))
    return mean.round(4).tolist(), std.round(4).tolist()
