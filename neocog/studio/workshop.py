"""What the studio works on: runs, images that were brought, and scenes; each kind up to a number, the oldest go."""

from __future__ import annotations

import secrets
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from io import BytesIO
from itertools import count
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data import Dataset, load_data
from ..data.decode import quiet, read_stream
from ..errors import DataError, ModelFileError, NeocogError
from ..files import read_document, read_header
from ..initialise import initialise
from ..model import Model, load
from ..network import Network
from ..training.batches import held_out
from ..training.checkpoint import FORMAT, KEY, read_checkpoint
from ..training.fits import check_batches, check_fits
from .attached import Attached
from .choosing import available, check_memory, chosen_settings
from .records import Allowance
from .running import EDITABLE, LOOK_SECONDS, LOOKING, MOST_EDITS, Live
from .scenes import Scene, dead_units, demo, untrained

MOST_RUNS, MOST_IMAGES, MOST_SCENES = 12, 32, 8
HELD_OUT = 10
"""One in so many training images is held out."""

Run = Live | Attached


class Gone(NeocogError):
    """What was asked for is not there, or not any more."""


class Upload(NamedTuple):
    """An image somebody brought: its name, its pixels (H, W, 1 or 3), and what was done to read it."""

    name: str
    pixels: NDArray[np.uint8]
    notes: tuple[str, ...]


class Inside(NamedTuple):
    """What was last seen inside a run, what had been asked, and when looking again is cheap enough."""

    asked: tuple[dict[str, Any], int, int]
    told: dict[str, Any]
    allowance: Allowance


class Workshop:
    """Everything that the page shows, safe to be asked by several threads."""

    def __init__(self) -> None:
        self.runs: OrderedDict[str, Run] = OrderedDict()
        self.images: OrderedDict[str, Upload] = OrderedDict()
        self.scenes: OrderedDict[str, Scene] = OrderedDict()
        self._numbers, self._lock = count(1), Lock()
        self._dead: dict[str, tuple[int, dict[str, float]]] = {}
        self._inside: dict[str, Inside] = {}

    @classmethod
    def open(cls, source: str | None) -> Workshop:
        """With a run's folder or a model file, if one is named. Raises NeocogError where it is neither."""
        made = cls()
        if source is not None:
            made.attach(Path(source))
        return made

    # runs

    def attach(self, path: Path) -> Attached:
        """Show a run's folder or a model file. Raises NeocogError, ModelFileError."""
        try:
            is_there = path.is_dir() or path.is_file()
        except (OSError, ValueError):
            is_there = False
        if not is_there:
            raise NeocogError("there is no such run or model", where=str(path)[:200], hint="runs/mnist-1")
        whole = path.resolve()
        attached = Attached(f"{whole.parent.name}, {whole.name}" if whole.is_file() else whole.name, path)
        self._add(attached)
        return attached

    def begin(
        self, text: str, data: str, settings: Mapping[str, Any], engine: str = "auto", *, paused: bool = False
    ) -> Live:
        """A new run, with the others at rest. Raises NeocogErrors for what cannot be trained."""
        network = Network.parse(text)
        return self._started(network, data, settings, {"engine": engine, "paused": paused})

    def again(self, name: str) -> Live:
        """A run with the same edits at the same steps, up to where the other is now."""
        other = self.run(name)
        if not isinstance(other, Live):
            raise NeocogError("runs of the studio can be done again", received=name[:40])
        chosen = other.first.as_dict()
        more = {"engine": other.asked_engine, "script": other.events, "until": other.step}
        return self._started(other.network, other.data.train.name, chosen, more)

    def restore(self, content: bytes) -> Live:
        """A run that goes on from a snapshot, or begins with a model's weights. Raises ModelFileError, NeocogError."""
        with tempfile.TemporaryDirectory(prefix="neocog-studio-") as folder:
            path = Path(folder) / "snapshot.safetensors"
            path.write_bytes(content)
            try:
                return self._restored(path)
            except NeocogError as error:
                raise type(error)(error.rule, received=error.received, hint=error.hint) from None
            except OSError as error:
                raise ModelFileError("this file cannot be read", received=error.strerror or "") from None

    def _restored(self, path: Path) -> Live:
        header, _ = read_header(path)
        if KEY not in header.get("__metadata__", {}):
            model = load(path)
            chosen = {"loss": model.loss}
            return self._started(
                model.network, _data_for(model), chosen, {"weights": dict(model.weights), "paused": True}
            )
        document = read_document(header, KEY, FORMAT, ModelFileError("this is no snapshot"))
        config = document.get("config")
        text = config.get("network") if isinstance(config, dict) else None
        network = Network.parse(text if isinstance(text, str) else "")
        checkpoint = read_checkpoint(path, network)
        kept = checkpoint.config.get("studio")
        if kept is None or not _is_ours(kept):
            raise ModelFileError("this is no snapshot of the studio", hint="neocog train --resume FOLDER")
        data, settings = checkpoint.config["data"], checkpoint.config["settings"]
        more = {"start": checkpoint, "engine": str(kept.get("engine")), "paused": True}
        return self._started(network, str(data.get("name")), settings, more)

    def _started(self, network: Network, data: str, settings: Mapping[str, Any], more: Mapping[str, Any]) -> Live:
        if data not in available():
            raise DataError(
                "the studio trains on data sets that are there", received=data[:40], hint=", ".join(available())
            )
        splits = load_data(data, network.input_shape)
        chosen = chosen_settings(network, settings, held=len(splits.train) // HELD_OUT)
        check_fits(network, splits.train, chosen.loss)
        check_memory(network, chosen)
        check_batches(network, len(held_out(len(splits.train), chosen.validation)[0]), chosen.batch_size)
        for run in self.runs.values():
            if isinstance(run, Live):
                run.pause(True)
        live = Live(f"{data}-{next(self._numbers)}", network, splits, chosen, **more)
        self._add(live)
        return live

    def _add(self, run: Run) -> None:
        with self._lock:
            self.runs[run.name] = run
            gone = [self.runs.popitem(last=False)[1] for _ in range(len(self.runs) - MOST_RUNS)]
        for one in gone:
            one.close()

    def run(self, name: str) -> Run:
        """The run of that name. Raises Gone."""
        found = self.runs.get(name)
        if found is None:
            raise Gone("there is no such run", received=name[:40])
        return found

    def remove(self, name: str) -> None:
        """End a run and forget it. Raises Gone."""
        run = self.run(name)
        with self._lock:
            self.runs.pop(name, None)
            self._dead.pop(name, None)
            self._inside.pop(name, None)
        run.close()

    def scene(self, key: str) -> Scene:
        """The scene that was given this key. Raises Gone."""
        found = self.scenes.get(key)
        if found is None:
            raise Gone("this scene is not kept any more", hint="the image again")
        return found

    def close(self) -> None:
        """End all runs."""
        for run in list(self.runs.values()):
            run.close()

    # images and scenes

    def bring(self, name: str, content: bytes) -> str:
        """Keep an image file's pixels; the key to ask for them. Raises DataError."""
        with quiet():
            pixels, notes = read_stream(BytesIO(content), name[:80])
        key = secrets.token_urlsafe(9)
        with self._lock:
            self.images[key] = Upload(name[:80], pixels, notes)
            while len(self.images) > MOST_IMAGES:
                self.images.popitem(last=False)
        return key

    def upload(self, key: str) -> Upload:
        """The image that was given this key. Raises Gone."""
        found = self.images.get(key)
        if found is None:
            raise Gone("this image is not kept any more", hint="the file again")
        return found

    def picture(self, run: Run, source: Mapping[str, Any]) -> tuple[NDArray[np.uint8], int | None, tuple[str, ...]]:
        """An image as the network's training set has them (h, w, C), its class if known, and what was done to it.

        `source` is `{"upload": key}` or `{"number": n}` of the test images. Raises NeocogError.
        """
        model = run.model()
        if key := source.get("upload"):
            upload = self.upload(str(key))
            standard, notes = model.preprocessing.standardise(upload.pixels)
            return standard, None, (*upload.notes, *notes)
        test = test_images(run)
        number = int(source.get("number") or 0) % len(test)
        return np.asarray(test.images[number]), int(test.labels[number]), ()

    def scene_of(self, name: str, source: Mapping[str, Any], label: int | None = None) -> str:
        """Follow an image through a run's network, with the loss for a class. Raises NeocogErrors."""
        run = self.run(name)
        model = run.model()
        pixels, own, notes = self.picture(run, source)
        x = model.preprocessing(pixels[None])
        chosen = own if label is None else label
        if chosen is not None and chosen >= len(model.classes):
            raise NeocogError(f"classes are numbers from 0 to {len(model.classes) - 1}", received=str(chosen))
        return self._keep(_scene(model, x, chosen, pixels, notes))

    def demo_scene(self, seed: int) -> str:
        """The convolution of the CS231n notes with numbers from a seed."""
        return self._keep(demo(seed))

    def text_scene(self, text: str, seed: int) -> str:
        """A network that was never trained. Raises NeocogErrors."""
        network = Network.parse(text)
        _ = network.shapes
        return self._keep(untrained(network, initialise(network, seed), seed))

    def _keep(self, scene: Scene) -> str:
        key = secrets.token_urlsafe(9)
        with self._lock:
            self.scenes[key] = scene
            while len(self.scenes) > MOST_SCENES:
                self.scenes.popitem(last=False)
        return key

    def layers(self, name: str, source: Mapping[str, Any], first: int, number: int) -> dict[str, Any]:
        """What is inside a run's network for an image: see `Scene.layers`. Raises NeocogErrors.

        While a run learns, the same question gets the same answer until looking inside has become cheap enough again.
        """
        run, asked = self.run(name), (dict(source), first, number)
        kept = self._inside.get(name)
        learning = isinstance(run, Live) and run.status == "running"
        if kept and kept.asked == asked and learning and not kept.allowance.due:
            return kept.told
        allowance = kept.allowance if kept else Allowance(LOOKING, LOOK_SECONDS)
        with allowance.spent():
            told = self._look_inside(run, source, first, number)
        self._inside[name] = Inside(asked, told, allowance)
        return told

    def _look_inside(self, run: Run, source: Mapping[str, Any], first: int, number: int) -> dict[str, Any]:
        looks, model = run.state()["looks"], run.model()
        pixels, label, notes = self.picture(run, source)
        x = model.preprocessing(pixels[None])
        scene = _scene(model, x, label, pixels)
        ratios = run.ratios if isinstance(run, Live) else {}
        found = scene.layers(first, number, ratios, self._dead_of(run, model, looks))
        return {"layers": found, "total": len(model.network.nodes), "looks": looks, "notes": list(notes)} | {
            "top": scene.overview().get("top", []),
            "label": None if label is None else model.classes[label],
            "pixels": pixels,
            "gradient": scene.gradients[0][0][0],
        }

    def _dead_of(self, run: Run, model: Model, looks: int) -> dict[str, float]:
        """Units that never answer, found anew every few looks."""
        kept = self._dead.get(run.name)
        if kept is None or looks - kept[0] >= 8 or looks < kept[0]:
            images = test_images(run).images
            x = model.preprocessing(np.asarray(images[: min(32, len(images))]))
            kept = self._dead[run.name] = (looks, dead_units(model.network, model.weights, x))
        return kept[1]


def _scene(
    model: Model,
    x: NDArray[np.float32],
    label: int | None,
    pixels: NDArray[np.uint8],
    notes: tuple[str, ...] = (),
) -> Scene:
    return Scene(model.network, model.weights, x, model.loss, label, pixels, model.classes, notes)


def _is_ours(kept: Any) -> bool:
    """Whether this is what the studio writes beside a run's settings: its edits, each with its step."""
    if not isinstance(kept, dict) or not isinstance(kept.get("seen"), int):
        return False
    events = kept.get("events")
    return isinstance(events, list) and len(events) <= MOST_EDITS and all(map(_is_edit, events))


def _is_edit(event: Any) -> bool:
    if not isinstance(event, dict) or event.keys() != {"step", "changes"} or not isinstance(event["step"], int):
        return False
    changes = event["changes"]
    return isinstance(changes, dict) and all(
        key in EDITABLE and isinstance(value, int | float) for key, value in changes.items()
    )


def test_images(run: Run) -> Dataset:
    """Images that a run's network has not learned from."""
    return run.data.test if isinstance(run, Live) else run.test


def _data_for(model: Model) -> str:
    told = model.record.get("data")
    return str(told.get("name", "mnist")) if isinstance(told, Mapping) else "mnist"
