"""What the studio works on: runs, images that were brought, and scenes; each kind up to a number, the oldest go."""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import partial
from io import BytesIO
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple, TypeVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from ..data import Splits, load_data
from ..data.decode import quiet, read_stream
from ..errors import DataError, NeocogError, escaped
from ..initialise import initialise
from ..model import Model
from ..network import Network
from ..torch_engine.optimizers import OPTIMIZERS
from ..training.batches import held_out
from ..training.fits import check_fits
from ..training.settings import Settings
from ..wording import Text
from .attached import Attached
from .choosing import available, check_settings, chosen_settings
from .foreseen import Foreseen
from .inside import Inside, Picture, Run, Seen, scene_of, test_images
from .restoring import restored
from .running import Live
from .scenes import Scene, check_followed, demo, untrained

MOST_RUNS, MOST_IMAGES, MOST_SCENES = 12, 32, 8
SCENE_BYTES, IMAGE_BYTES = 2 * 2**30, 2**28
"""Of all scenes, and of all images, that are kept; the latest is kept whatever it takes."""
HELD_OUT = 10
"""One in so many training images is held out."""
QUOTED = 40
"""Characters of a name in an error."""


class Gone(NeocogError):
    """What was asked for is not there, or not any more."""


class Upload(NamedTuple):
    """An image somebody brought: its name, its pixels (H, W, 1 or 3), and what was done to read it."""

    name: str
    pixels: NDArray[np.uint8]
    notes: tuple[Text, ...]

    @property
    def bytes(self) -> int:
        """What it holds."""
        return self.pixels.nbytes


T = TypeVar("T", Upload, Scene)


class Workshop:
    """Everything that the page shows, safe to be asked by several threads."""

    def __init__(self) -> None:
        self._runs: OrderedDict[str, Run] = OrderedDict()
        self.images: OrderedDict[str, Upload] = OrderedDict()
        self.scenes: OrderedDict[str, Scene] = OrderedDict()
        self._insides: WeakKeyDictionary[Run, Inside] = WeakKeyDictionary()
        self._numbers, self._lock = count(1), Lock()
        self._loaded: tuple[str, Splits] | None = None
        self._foreseen, self._loading = Foreseen(), Lock()

    @classmethod
    def open(cls, source: str | None) -> Workshop:
        """With a run's folder or a model file, if one is named. Raises NeocogError where it is neither."""
        made = cls()
        if source is not None:
            made.attach(Path(source))
        return made

    # runs

    def foresee(self) -> None:
        """Make the run ready that the page offers first."""
        self._foreseen.begin(self._data, _first_settings)

    def _data(self, name: str, network: Network) -> Splits:
        """A published data set; the latest stays, so that run after run reads it once."""
        with self._loading:
            if self._loaded is None or self._loaded[0] != name:
                self._loaded = name, load_data(name, network.input_shape)
            return self._loaded[1]

    @property
    def runs(self) -> list[Run]:
        """All runs as they are now, the oldest first."""
        with self._lock:
            return list(self._runs.values())

    def run(self, name: str) -> Run:
        """The run of that name. Raises Gone."""
        found = self._runs.get(name)
        if found is None:
            raise Gone("there is no such run", received=name[:QUOTED])
        return found

    def live(self, name: str) -> Live:
        """The run of that name, which learns here. Raises Gone, and NeocogError for one that is only looked at."""
        run = self.run(name)
        if not isinstance(run, Live):
            raise NeocogError("this run is only looked at", received=name[:QUOTED])
        return run

    def attach(self, path: Path) -> Attached:
        """Show a run's folder or a model file. Raises NeocogError, ModelFileError."""
        try:
            is_there = path.is_dir() or path.is_file()
        except (OSError, ValueError):
            is_there = False
        if not is_there:
            raise NeocogError("there is no such run or model", where=str(path)[:200], hint="runs/mnist-1")
        whole = path.resolve()
        name = f"{whole.parent.name}, {whole.name}" if whole.is_file() else whole.name
        attached = Attached(escaped(name), path)
        self._add(attached)
        return attached

    def begin(
        self, text: str, data: str, settings: Mapping[str, Any], engine: str = "auto", *, paused: bool = False
    ) -> Live:
        """A new run, with the others at rest. Raises NeocogErrors for what cannot be trained."""
        return self._started(Network.parse(text), data, settings, {"engine": engine, "paused": paused})

    def again(self, name: str) -> Live:
        """A run with the same edits at the same steps, up to where the other is now. Raises Gone, NeocogError."""
        other = self.live(name)
        more = {"engine": other.asked_engine, "script": other.events, "until": other.step}
        return self._started(other.network, other.data.train.name, other.first.as_dict(), more)

    def restore(self, content: bytes) -> Live:
        """A run that goes on from a snapshot, or begins with a model's weights. Raises ModelFileError, NeocogError."""
        return self._started(*restored(content))

    def compare(self, text: str, data: str, settings: Mapping[str, Any], steps: int) -> list[Live]:
        """A run with each optimizer, at its usual learning rate and else the same; they learn in turn.

        Each rests after so many steps, and then the next one learns. Raises NeocogErrors, as `begin` does.
        """
        network = Network.parse(text)
        more = {"paused": True, "until": steps}
        runs = [self._started(network, data, {**settings, "optimizer": one, "lr": None}, more) for one in OPTIMIZERS]
        self._relay(runs)
        return runs

    def _relay(self, runs: Sequence[Live]) -> None:
        """Have the first of some runs that is still there learn to its end, and then the next."""
        there = [run for run in runs if run in self.runs]
        if there:
            there[0].arrived = partial(self._relay, there[1:])
            self._go(there[0])

    def resume(self, name: str) -> Live:
        """Have a run go on, with the others at rest. Raises Gone, NeocogError."""
        run = self.live(name)
        self._go(run)
        return run

    def _go(self, run: Live) -> None:
        with self._lock:  # one at a time learns, also when several are told to at once
            self._rest(but=run)
            run.pause(False)

    def _rest(self, but: Live) -> None:
        for other in self._runs.values():
            if isinstance(other, Live) and other is not but:
                other.pause(True)

    def _started(self, network: Network, data: str, settings: Mapping[str, Any], more: Mapping[str, Any]) -> Live:
        if data not in available():
            raise DataError(
                "the studio trains on data sets that are there", received=data[:QUOTED], hint=", ".join(available())
            )
        splits = self._data(data, network)
        chosen = chosen_settings(network, settings, held=len(splits.train) // HELD_OUT)
        check_fits(network, splits.train, chosen.loss)
        check_settings(network, chosen, len(held_out(len(splits.train), chosen.validation)[0]))
        alone = not any(more.get(name) for name in ("script", "start", "weights")) and more.get("engine") == "auto"
        made = self._foreseen.take(network, splits, chosen) if alone else None
        live = Live(f"{data}-{next(self._numbers)}", network, splits, chosen, made=made, **more)
        self._add(live)
        return live

    def _add(self, run: Run) -> None:
        with self._lock:
            self._runs[run.name] = run
            if isinstance(run, Live):
                self._rest(but=run)
            gone = [self._runs.popitem(last=False)[1] for _ in range(len(self._runs) - MOST_RUNS)]
        for one in gone:
            one.close()

    def remove(self, name: str) -> None:
        """End a run and forget it. Raises Gone."""
        run = self.run(name)
        with self._lock:
            self._runs.pop(name, None)
        run.close()

    def close(self) -> None:
        """End all runs."""
        for run in self.runs:
            run.close()

    # images

    def bring(self, name: str, content: bytes) -> tuple[str, Upload]:
        """Keep an image file's pixels, under a key to ask for them. Raises DataError."""
        with quiet():
            image = read_stream(BytesIO(content), name)
        pixels = np.ascontiguousarray(image.pixels)  # and not a part of something larger
        upload = Upload(name, pixels, image.notes)
        return self._keep(self.images, upload, MOST_IMAGES, IMAGE_BYTES), upload

    def upload(self, key: str) -> Upload:
        """The image that was given this key. Raises Gone."""
        found = self.images.get(key)
        if found is None:
            raise Gone("this image is not kept any more", hint="the file again")
        return found

    def picture(self, run: Run, model: Model, source: Mapping[str, Any]) -> Picture:
        """An image as a run's network learns from them.

        `source` is `{"upload": key}` or `{"number": n}` of the test images. Raises NeocogError.
        """
        if key := source.get("upload"):
            upload = self.upload(str(key))
            standard, notes = model.preprocessing.standardise(upload.pixels)
            return Picture(standard, None, (*upload.notes, *notes))
        test = test_images(run)
        number = int(source.get("number") or 0) % len(test)
        return Picture(np.asarray(test.images[number]), int(test.labels[number]), ())

    def layers(self, name: str, source: Mapping[str, Any], first: int, number: int) -> Seen:
        """What is inside a run's network for an image: see `Inside.look`. Raises NeocogErrors."""
        run = self.run(name)
        with self._lock:
            inside = self._insides.setdefault(run, Inside())
        return inside.look(run, source, lambda model: self.picture(run, model, source), first, number)

    # scenes

    def scene_of(self, name: str, source: Mapping[str, Any], label: int | None = None) -> tuple[str, Scene]:
        """Follow an image through a run's network, with the loss for a class. Raises NeocogErrors."""
        run = self.run(name)
        model = run.model()
        shown = self.picture(run, model, source)
        chosen = shown.label if label is None else label
        if chosen is not None and chosen >= len(model.classes):
            raise NeocogError(f"classes are numbers from 0 to {len(model.classes) - 1}", received=str(chosen))
        return self._kept(scene_of(model, shown, chosen))

    def demo_scene(self, seed: int) -> tuple[str, Scene]:
        """The convolution of the CS231n notes with numbers from a seed."""
        return self._kept(demo(seed))

    def text_scene(self, text: str, seed: int) -> tuple[str, Scene]:
        """A network that was never trained. Raises NeocogErrors."""
        network = Network.parse(text)
        check_followed(network)  # before there are weights
        return self._kept(untrained(network, initialise(network, seed), seed))

    def scene(self, key: str) -> Scene:
        """The scene that was given this key. Raises Gone."""
        found = self.scenes.get(key)
        if found is None:
            raise Gone("this scene is not kept any more", hint="the image again")
        return found

    def _kept(self, scene: Scene) -> tuple[str, Scene]:
        return self._keep(self.scenes, scene, MOST_SCENES, SCENE_BYTES), scene

    def _keep(self, kept: OrderedDict[str, T], one: T, most: int, most_bytes: int) -> str:
        """A key for something, in place of the oldest where there are too many, or they hold too much."""
        key = secrets.token_urlsafe(9)
        with self._lock:
            kept[key] = one
            while len(kept) > most or (len(kept) > 1 and sum(other.bytes for other in kept.values()) > most_bytes):
                kept.popitem(last=False)
        return key


def _first_settings(network: Network, data: Splits) -> Settings:
    """Those that the page offers."""
    return chosen_settings(network, {}, held=len(data.train) // HELD_OUT)
