"""What can be the matter with a data set of images, one check after the other: each gives findings or none."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..errors import escaped
from ..finding import Finding
from ..wording import count_of
from .dataset import Dataset
from .entries import SPLITS, Disk, Entry, Listing
from .likeness import alike, equal
from .survey import Sight

UNEVEN = 3.0
"""How many times as many images as the rarest class the commonest may have before anything is said."""
TINY = 16
"""Pixels of a side below which an image is very small."""


class Seen(NamedTuple):
    """A file: its name, class and split, and what it shows."""

    name: str
    label: str
    split: str
    sight: Sight


def unreadable_files(seen: Sequence[Seen]) -> Iterator[Finding]:
    """Files that are damaged, empty, or no images at all."""
    bad = [one for one in seen if one.sight.trouble]
    if bad:
        yield Finding(
            "corrupt",
            f"{_files(len(bad))} cannot be decoded ({bad[0].name}: {bad[0].sight.trouble})",
            "take them out, or get them anew: training leaves them out",
            tuple((one.name,) for one in bad),
            grave=True,
        )


def copies(seen: Sequence[Seen]) -> Iterator[Finding]:
    """Images that are the same, and images that look the same, once each: by what is gravest about them."""
    good = [one for one in seen if not one.sight.trouble]
    by_digest: dict[bytes, list[int]] = {}
    for k, one in enumerate(good):
        by_digest.setdefault(one.sight.digest, []).append(k)
    exact = [members for members in by_digest.values() if len(members) > 1]
    yield from _by_gravity(good, exact, "the same image", "duplicate")
    if not good:
        return
    hashes = np.stack([one.sight.hashed for one in good if one.sight.hashed is not None])
    pictures = np.stack([one.sight.small for one in good if one.sight.small is not None])
    near = [members for members in alike(hashes, pictures) if len({good[k].sight.digest for k in members}) > 1]
    yield from _by_gravity(good, near, "nearly the same image", "near-duplicate")


def _by_gravity(seen: Sequence[Seen], together: Sequence[Sequence[int]], what: str, kind: str) -> Iterator[Finding]:
    across, disagreeing, within = [], [], []
    for members in together:
        group = [seen[k] for k in members]
        if len({one.split for one in group}) > 1:
            across.append(group)
        elif len({one.label for one in group}) > 1:
            disagreeing.append(group)
        else:
            within.append(group)
    near = kind != "duplicate"
    if across:
        yield Finding(
            "leak",
            f"{what} in two splits, {_times(across)}: what is measured was learned by heart",
            "take them out of the training split, or of the other",
            _named(across),
            grave=True,
        )
    if disagreeing:
        yield Finding(
            "two classes",
            f"{what} under two classes, {_times(disagreeing)}",
            "look which is right, and take out the other",
            _named(disagreeing),
            grave=not near,
        )
    if within:
        yield Finding(kind, f"{what} again within a class, {_times(within)}", "keep one of each", _named(within))


def _named(groups: Iterable[Sequence[Seen]]) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(one.name for one in group) for group in groups)


def _times(groups: Sequence[object]) -> str:
    return count_of(len(groups), "time")


def equal_arrays(splits: Sequence[Dataset]) -> Iterator[Finding]:
    """Images in memory that are the same, called by their split and number. Those in files are not all read for it."""
    inside = [s.images for s in splits if isinstance(s.images, np.ndarray) and not isinstance(s.images, np.memmap)]
    if len(inside) < len(splits) or len({images.shape[1:] for images in inside}) > 1:
        return
    starts = np.cumsum([0, *map(len, splits)])
    seen: list[Seen] = []
    together: list[list[int]] = []
    for members in equal(inside):
        together.append([*range(len(seen), len(seen) + len(members))])
        for k in members:
            place = int(np.searchsorted(starts, k, side="right")) - 1
            split, number = splits[place], int(k - starts[place])
            name = split.classes[split.labels[number]]
            seen.append(Seen(f"{split.split} image {number}", name, split.split, Sight("")))
    yield from _by_gravity(seen, together, "the same image", "duplicate")


def spellings(entries: Sequence[Entry]) -> Iterator[Finding]:
    """Class names that differ in case or Unicode form only."""
    folded: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        key = unicodedata.normalize("NFC", unicodedata.normalize("NFC", entry.label).casefold())
        folded.setdefault(key, {}).setdefault(entry.label, entry)
    for spelled in folded.values():
        if len(spelled) > 1:
            names = " and ".join(ascii(name) for name in spelled)
            yield Finding(
                "class names",
                f"{names} differ in case or Unicode form only",
                "one name for both",
                tuple((escaped(entry.path.as_posix()),) for entry in spelled.values()),
                grave=True,
            )


def strangers(entries: Sequence[Entry]) -> Iterator[Finding]:
    """Classes of other splits that the training split lacks."""
    by_split: dict[str, dict[str, Entry]] = {}
    for entry in entries:
        by_split.setdefault(entry.split, {}).setdefault(entry.label, entry)
    known = by_split.get("train", {})
    for split, classes in by_split.items():
        for label, entry in classes.items():
            if known and label not in known:
                near = get_close_matches(label, known, n=1)
                yield Finding(
                    "class mismatch",
                    f"the {split} split has a class {escaped(label)} that the training split lacks",
                    f"is it {escaped(near[0])}?" if near else "training images of it, or none to measure on",
                    ((escaped(entry.path.as_posix()),),),
                    grave=True,
                )


def empty_classes(listing: Listing) -> Iterator[Finding]:
    """Folders beside those of classes that hold no images; what a list names says nothing of others."""
    if listing.numbered or not isinstance(listing.reader, Disk):
        return
    classes: dict[Path, set[str]] = {}
    for entry in listing.entries:
        classes.setdefault(Path(*entry.path.parts[: entry.path.parts.index(entry.label)]), set()).add(entry.label)
    for parent, names in classes.items():
        with os.scandir(listing.root / parent) as found:
            there = sorted(e.name for e in found if os.path.isdir(e.path) and not e.name.startswith("."))
        splits = {entry.path.parts[0] for entry in listing.entries if entry.split} if parent == Path() else set()
        for name in there:
            if name not in names and name not in splits:
                yield Finding(
                    "empty class",
                    f"the folder {escaped(name)} holds no images and is no class",
                    "images of it, or no folder",
                    ((escaped((parent / name).as_posix()),),),
                )


def balance(counts: Mapping[str, Mapping[str, int]]) -> Iterator[Finding]:
    """Of images by split and class: classes that are not there, one class alone, and classes that are rare."""
    training = counts.get("train") or next(iter(counts.values()))
    there = {name: count for name, count in training.items() if count}
    if len(there) < 2:
        yield Finding(
            "single class",
            f"all images are of the class {escaped(next(iter(there), ''))}",
            "a second class",
            grave=True,
        )
        return
    for split in SPLITS:
        absent = [name for name in {**training, **counts.get(split, {})} if not counts.get(split, {}).get(name)]
        if split in counts and absent:
            listed = ", ".join(map(escaped, absent[:10]))
            says = f"the {split} split has no images of {listed}" + (" and others" if len(absent) > 10 else "")
            yield Finding("absent class", says, "images of it: nothing can be learned or said of a class without")
    common, rare = max(there, key=lambda name: there[name]), min(there, key=lambda name: there[name])
    if there[common] > UNEVEN * there[rare]:
        total = sum(there.values())
        weights = {name: total / (len(there) * count) for name, count in there.items()}
        rarest = sorted(weights.items(), key=lambda item: -item[1])[:5]
        shown = ", ".join(f"{escaped(name)} {weight:.3g}" for name, weight in rarest)
        yield Finding(
            "imbalance",
            f"{count_of(there[common], 'training image')} of {escaped(common)}, {there[rare]:,} of {escaped(rare)}",
            f"--class-weights balanced, which are N / (K n): {shown}{', ...' if len(weights) > 5 else ''}; "
            "or --sampling balanced; and F1 by class in place of accuracy",
        )


KINDS = {
    "grey": ("grey among colour images", "nothing: they are made colour; but see that grey is not a class's mark"),
    "transparent": ("with transparency, which is laid on an even ground", "see that the ground is what you mean"),
    "16-bit": ("of 16 bits, of which the upper 8 are kept", "scale them yourself if the lower bits matter"),
    "floating-point": ("of floating-point values, scaled by their range", "bytes, scaled as you mean it"),
    "1-bit": ("in black and white alone", "nothing, if that is meant"),
    "CMYK": ("in CMYK, made for printing; colours change a little", "RGB copies"),
    "turned by EXIF": ("turned upright as EXIF says", "nothing: but what else reads them may not turn them"),
}
"""What is said of files of a kind, and what to do."""


def looks(seen: Sequence[Seen]) -> Iterator[Finding]:
    """What sets some images apart from the others: their kinds of pixels and their sizes."""
    good = [one for one in seen if not one.sight.trouble]
    for kind, (says, action) in KINDS.items():
        some = [one for one in good if kind in one.sight.kinds]
        if some and not (kind == "grey" and len(some) == len(good)):
            yield Finding(kind, f"{_files(len(some))} {says}", action, tuple((one.name,) for one in some))
    small = [one for one in good if min(one.sight.size) < TINY]
    if small and len(small) < len(good):
        yield Finding(
            "very small",
            f"{_files(len(small))} with a side below {TINY} pixels",
            "larger ones, or none: enlarged they are blurs",
            tuple((one.name,) for one in small),
        )
    sizes = {one.sight.size for one in good}
    tall = [one for one in good if max(one.sight.size) > 2 * min(one.sight.size)]
    if len(sizes) > 1 and tall:
        yield Finding(
            "far from square",
            f"{_files(len(tall))} more than twice as long as wide",
            "crop them to what they show: fitted into a network's input little of them is left",
            tuple((one.name,) for one in tall),
        )


def _files(count: int) -> str:
    return count_of(count, "file")
