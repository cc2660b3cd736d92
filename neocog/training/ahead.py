"""What an epoch needs, made by threads of their own while the engine learns from what came before."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from shlex import quote
from time import perf_counter
from types import TracebackType

import numpy as np

from ..data import Dataset
from ..data.dataset import Images, Rows, in_memory
from ..data.streamed import Streamed
from ..feed import Course, Pixels
from ..resources import cores
from ..wording import count_of
from .batches import Batches, Pass

READY_BYTES = 2**28
"""How much is read ahead at most, and how much an engine is given at once; a mini-batch or two in any case."""

WORTH_SAYING = 0.05
"""The share of an epoch's time that may pass with waiting before something is said of it."""


class Passes:
    """Epoch after epoch, from `first` to `last`: the next one's order and changes are drawn during the one before."""

    def __init__(self, batches: Batches, first: int, last: int) -> None:
        self._batches, self._last, self._epoch = batches, last, first
        self._thread = ThreadPoolExecutor(1, "epoch")
        self._drawn = self._begun()

    def __enter__(self) -> Passes:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=False)

    def next(self) -> Pass:
        """The next epoch's images."""
        found = self._drawn.result()
        self._epoch += 1
        self._drawn = self._begun()
        return found

    def _begun(self) -> Future[Pass]:
        if self._epoch > self._last:
            return Future()
        return self._thread.submit(self._batches.epoch, self._epoch)


class Ahead:
    """Courses of an epoch whose images are not at hand; where they are, there is nothing to do ahead.

    Mini-batches come in their order, so what is learned does not depend on the thread. `most` is how many may be asked
    for at once, `waited` how many seconds the engine had to wait. An error of the thread is raised where its mini-batch
    would have been taken.
    """

    def __init__(self, images: Pass) -> None:
        self.of = images
        self.waited = 0.0
        self.most = len(images.sizes) if images.at_hand else max(1, READY_BYTES // images.of.batch_bytes)
        self._ready: deque[Pixels] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._closed = False

    def __enter__(self) -> Ahead:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    def course(self, first: int, rates: Sequence[float]) -> Course:
        """Steps from mini-batch `first` on; calls follow one another."""
        if self.of.at_hand:
            return self.of.course(first, rates)
        started = perf_counter()
        if self._thread is None:
            # a daemon, so that a file that never answers cannot keep the process from ending
            self._thread = threading.Thread(target=self._read, args=(first,), daemon=True)
            self._thread.start()
        parts = [self._next() for _ in rates]
        self.waited += perf_counter() - started
        pixels = parts[0]._replace(images=np.concatenate([part.images for part in parts])) if parts[1:] else parts[0]
        return self.of.course(first, rates, pixels)

    def _read(self, first: int) -> None:
        try:
            for step in range(first, len(self.of.sizes)):
                with self._changed:
                    self._changed.wait_for(lambda: self._closed or len(self._ready) < max(2, self.most))
                    if self._closed:
                        return
                self._put(self.of.pixels(step))
        except BaseException as error:
            with self._changed:
                self._error = error
                self._changed.notify_all()

    def _put(self, pixels: Pixels) -> None:
        with self._changed:
            self._ready.append(pixels)
            self._changed.notify_all()

    def _next(self) -> Pixels:
        with self._changed:
            self._changed.wait_for(lambda: self._ready or self._error)
            if not self._ready and self._error is not None:
                raise self._error
            self._changed.notify_all()
            return self._ready.popleft()


def advice(waiting: float, dataset: Dataset, source: str | None = None) -> str:
    """What there is to say of an epoch's images: files that cannot be used, and what to do about waiting for long.

    Empty where nothing is worth saying; `waiting` is the share of the epoch's time, `source` what the images are from.
    """
    images = dataset.images.images if isinstance(dataset.images, Rows) else dataset.images
    waited = _of_waiting(images, source or "SOURCE", dataset.name) if waiting > WORTH_SAYING else ""
    return ". ".join(filter(None, (_of_files(images), waited)))


def _of_files(images: Images) -> str:
    if not isinstance(images, Streamed) or not images.bad:
        return ""
    bad = [f"{images.files.name(k)} ({error.rule})" for k, error in sorted(images.bad.items())]
    rest = f" and {len(bad) - 3:,} more" if len(bad) > 3 else ""
    return f"files that cannot be used, in place of which others of their class stand: {', '.join(bad[:3])}{rest}"


def _of_waiting(images: Images, source: str, name: str) -> str:
    if isinstance(images, Streamed):
        there, threads = cores(), images.threads
        why = f"{count_of(threads, 'thread')} on {count_of(there, 'core')} cannot decode them fast enough"
        size = "x".join(map(str, images.shape[1:]))
        command = f"neocog data pack {quote(source)} {quote(name)}.safetensors --size {size}"
        what = f"{command}, which decodes them once for all, and train on that"
        if threads < there:
            what = f"--decode-threads {there}, which decodes more at a time; or {what}"
    elif in_memory(images):
        why, what = "they are made to fit into the network's input", f"INPUT[{'x'.join(map(str, images.shape[1:]))}]"
    else:
        why, what = "they are read from a disk", "a faster disk, or memory that holds them all"
    return f"the engine waits for images: {why}. Try: {what}"
