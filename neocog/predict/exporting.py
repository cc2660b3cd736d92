"""A model written in another form, and shown to be the same right away: a file that is not is not left behind."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import NeocogError, RunError
from ..export.c_file import write_c
from ..export.onnx_file import write_onnx
from ..model import Model
from ..runtimes import open_model
from ..runtimes.choice import AGREED, Agreement, compared
from ..runtimes.compiled import compiled_c
from .evaluate import at_once

INSIDE, BESIDE = "inside", "beside"
IMAGES, FEWEST, CHECKED_MACS = 64, 4, 10_000_000_000
"""Random images that are compared: fewer of networks that take longer, in all about so many multiplications."""
TIMED, REPEATS = 0.3, 200
"""Seconds and calls that one latency is the best of, whichever is over first."""
SUFFIXES = {"onnx": ".onnx", "torch": ".pt2", "c": ".c"}


class Latency(NamedTuple):
    """Seconds for one image, and for a batch."""

    one: float
    batch: float


class Checked(NamedTuple):
    """An export beside its source: on golden images, if there are any, and on random ones; `batch` images at once."""

    golden: Agreement | None
    random: Agreement
    batch: int
    source: Latency
    export: Latency


class Report(NamedTuple):
    """What was written, and how it compares; `checked` is None where there was nothing to run it with."""

    files: tuple[Path, ...]
    checked: Checked | None
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        found: dict[str, Any] = {
            "files": [str(path) for path in self.files],
            "notes": list(self.notes),
            "checked": None,
        }
        if (checked := self.checked) is not None:
            found["checked"] = {
                "golden": checked.golden and checked.golden._asdict(),
                "random": checked.random._asdict(),
                "batch": checked.batch,
                "source_seconds": checked.source._asdict(),
                "export_seconds": checked.export._asdict(),
            }
        return found


def export(model: Model, to: str, path: str | Path, *, preprocessing: str = INSIDE) -> Report:
    """Write a model as `onnx`, `torch` or `c`, and compare what was written with the model.

    `preprocessing` is `inside`, so that the export takes images as bytes, or `beside` it. Raises NeocogError for a
    model that has no such form, and RunError where the file cannot be written, or does not give the model's answers:
    then it is deleted.
    """
    if to not in SUFFIXES:
        raise NeocogError("there is no such format", received=to[:40], hint=", ".join(SUFFIXES))
    if preprocessing not in (INSIDE, BESIDE):
        raise NeocogError("preprocessing is inside or beside", received=preprocessing[:40])
    target = Path(path)
    if target.suffix.lower() != SUFFIXES[to]:
        raise NeocogError(
            f"a name ending in {SUFFIXES[to]} is needed",
            received=target.name[:80],
            hint=f"{target.stem or to}{SUFFIXES[to]}",
        )
    files, opened, notes = WRITERS[to](model, target, inside=preprocessing == INSIDE)
    try:
        exported = opened()
        checked = None if exported is None else check(model, exported)
        if checked and max(one.error for one in (checked.golden, checked.random) if one) > AGREED:
            raise RunError(
                "the export does not give the model's answers, and was deleted",
                where=str(target),
                received=str(max(filter(None, (checked.golden, checked.random)), key=lambda one: one.error)),
                hint="--preprocessing beside" if preprocessing == INSIDE else "",
            )
    except BaseException:
        for file in files:
            file.unlink(missing_ok=True)
        raise
    return Report(files, checked, notes)


Written = tuple[tuple[Path, ...], Callable[[], Model | None], tuple[str, ...]]
"""The files, what opens them as a model (or cannot), and what whoever uses them must know."""


def _onnx(model: Model, path: Path, *, inside: bool) -> Written:
    write_onnx(model, path, inside=inside)
    return (path,), functools.partial(open_model, path), (_takes(model, inside=inside),)


def _torch(model: Model, path: Path, *, inside: bool) -> Written:
    import torch

    from ..export.torch_program import write_program

    write_program(model, path, inside=inside)
    notes = (
        _takes(model, inside=inside),
        f"written by torch {torch.__version__}",
        "loading it runs what is in it: whoever gets it must trust you",
    )
    return (path,), functools.partial(open_model, path, trust=True), notes


def _c(model: Model, path: Path, *, inside: bool) -> Written:
    header = path.with_suffix(".h")
    notes = write_c(model, path, header, inside=inside)
    return (path, header), functools.partial(compiled_c, model, path), notes


WRITERS: dict[str, Callable[..., Written]] = {"onnx": _onnx, "torch": _torch, "c": _c}


def _takes(model: Model, *, inside: bool) -> str:
    """What an export is to be given."""
    if inside:
        (height, width), channels = model.preprocessing.source, model.preprocessing.channels
        return f"it takes images (N, {height}, {width}, {channels}) of bytes"
    shape = model.network.input_shape
    size = ", ".join(map(str, (shape.channels, *shape.spatial)))
    return f"it takes x (N, {size}): bytes / 255, less the mean, over the deviation"


def check(model: Model, export: Model) -> Checked:
    """An export beside the model: outputs and times."""
    macs = max(1, model.network.plan().totals["macs"])
    batch = min(IMAGES, at_once(model.network), max(FEWEST, CHECKED_MACS // macs))
    shape = (batch, *model.preprocessing.source, model.preprocessing.channels)
    images = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    golden = None
    if model.golden is not None:
        golden = compared(model, model.golden[1], export.answers(model.golden[0]))
    random = compared(model, model.answers(images), export.answers(images))
    return Checked(golden, random, batch, _latency(model, images), _latency(export, images))


def _latency(model: Model, images: NDArray[np.uint8]) -> Latency:
    return Latency(_seconds(lambda: model.answers(images[:1])), _seconds(lambda: model.answers(images)))


def _seconds(run: Callable[[], object]) -> float:
    """The best of some calls: what it takes when nothing comes between."""
    best, end = float("inf"), perf_counter() + TIMED
    for _ in range(REPEATS):
        start = perf_counter()
        run()
        best = min(best, perf_counter() - start)
        if perf_counter() > end:
            break
    return best
