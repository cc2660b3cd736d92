"""`resume`: a run goes on from its folder, by its own configuration, as if it had not stopped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from ..data import Splits, load_data
from ..data.dataset import Told, silence
from ..data.reading import How
from ..errors import DataError, ModelFileError, NeocogError, RunError
from ..files import canonical
from ..model import Model, load
from ..network import Network
from .checkpoint import Checkpoint, Place, newest
from .keeper import Keeping
from .metrics import Epoch
from .progress import Progress, choose_progress
from .run import CONFIG, MODEL, RunFolder, read_config
from .session import Session
from .settings import Settings

ENGINE = ("engine", "device")
"""What does a run's arithmetic: settings of `train` that are no settings of the run."""


def resume(
    run: str | Path,
    network: Network | None = None,
    data: Splits | str | Path | None = None,
    *,
    changed_data: bool = False,
    progress: str | Progress = "auto",
    told: Told = silence,
    **settings: Any,
) -> Model:
    """Continue a run from its folder, and return the finished run's model, of the bits it would have had anyway.

    Nothing needs to be repeated: network, settings and engine are the run's own, and so is the data, unless `train` was
    given it as arrays. What is repeated, under the names of `train`, must be as it was; but `epochs` may be more where
    the schedule does not depend on their number, and `keep_checkpoints` and `checkpoint_minutes` may be others.
    `changed_data` lets the run go on with data that have changed, no longer as if it had not stopped. A run that is
    finished only gives its model. See docs/resume.md for the conditions.

    Raises NeocogError, naming it, for what is not as it was, RunError where another process is at the run, where no
    checkpoint is whole and in all the cases of `train`.
    """
    watcher = choose_progress(progress)
    with RunFolder.open(Path(run)) as folder:
        plan = Resumption.of(folder.path).given(network, settings)
        if model := plan.finished():
            watcher.started(f"the run in {folder.path} is finished", plan.settings.epochs, 0)
            watcher.finished()
            return model
        at, notes = plan.checkpoint(folder)
        found = plan.data(data, told)
        changes = plan.check_data(found, at, changed=changed_data)
        session = plan.session(found, told)
        was, now = ((at or plan).config.get("preprocessing"), session.config["preprocessing"])
        if not changes and canonical({"": was}) != canonical({"": now}):
            raise _changed("preprocessing", str(was), str(now), "the file that the run started from is another")
        if at and changes:
            at = _within(at, len(session.batches))
        folder.cut_logs(at.place.logs if at else {})
        if at:
            _check_place(at.place, len(session.batches), folder.epochs(), plan.settings.measure_every)
        return session.run(folder, watcher, at, [*notes, *changes, *plan.differences(session)])


@dataclass(frozen=True)
class Resumption:
    """How a run goes on: what its folder says, with what may be asked for anew."""

    path: Path
    config: Mapping[str, Any]
    network: Network
    settings: Settings
    keeping: Keeping

    @classmethod
    def of(cls, path: Path) -> Resumption:
        """How the run in a folder went on by itself. Raises NeocogError where its configuration does not say."""
        config = read_config(path)
        try:
            _check_kinds(config)
            network, settings = Network.parse(config["network"]), _settings(config["settings"])
            return cls(path, config, network, settings, Keeping(**config["checkpoints"]))
        except (KeyError, TypeError) as error:
            raise NeocogError(
                "this does not say how the run is done", where=str(path / CONFIG), received=str(error)[:80]
            ) from None

    def given(self, network: Network | None, settings: Mapping[str, Any]) -> Resumption:
        """With what was repeated or asked for anew. Raises NeocogError for what is not as it was."""
        if network is not None and network != self.network:
            raise _changed("network", str(self.network), str(network))
        rest = dict(settings)
        own = [("keep_checkpoints", "checkpoints"), ("checkpoint_minutes", "minutes")]
        kept = {name: rest.pop(key) for key, name in own if key in rest}
        epochs = int(rest.pop("epochs", self.settings.epochs))
        was = {**self.settings.as_dict(), **{name: self.config[name] for name in ENGINE}}
        for name, value in rest.items():
            if name not in was:
                raise NeocogError("there is no such setting", received=name[:40], hint=", ".join(was))
            if value != was[name] and not (value == "auto" and name in (*ENGINE, "dtype")):
                raise _changed(name, str(was[name]), str(value), "another rounds otherwise" if name in ENGINE else "")
        made = replace(self, keeping=replace(self.keeping, **kept))
        return made if epochs == self.settings.epochs else made._longer(epochs)

    def _longer(self, epochs: int) -> Resumption:
        settings = self.settings
        if epochs < settings.epochs or not _any_length(settings):
            why = "the learning rates depend on it, as all but constant ones do" if epochs > settings.epochs else ""
            raise _changed("epochs", str(settings.epochs), str(epochs), why)
        return replace(self, settings=replace(settings, epochs=epochs))

    def finished(self) -> Model | None:
        """The run's model, if the run has come to its end by these settings."""
        if not (self.path / MODEL).is_file():
            return None
        try:
            model = load(self.path / MODEL)
        except ModelFileError:  # damaged: the last checkpoint gives it again
            return None
        return model if model.record.get("settings") == self.settings.as_dict() else None

    def checkpoint(self, folder: RunFolder) -> tuple[Checkpoint | None, list[str]]:
        """The newest whole checkpoint, and what there is to say. Raises NeocogError where it is of another run."""
        at, notes = newest(folder.checkpoints, self.network)
        if at is None:
            return None, ["resumed from the start: there was no checkpoint yet"]
        mine, its = _deciding(self.config), _deciding(at.config)
        if _any_length(self.settings):
            its["epochs"] = mine["epochs"]
        for name in [*mine, *its]:
            if mine.get(name) != its.get(name):
                raise _changed(name, str(its.get(name)), str(mine.get(name)), f"config.yaml and step {at.place.step}")
        return at, [*notes, f"resumed in epoch {at.place.epoch}, after step {at.place.step:,}"]

    def data(self, given: Splits | str | Path | None, told: Told = silence) -> Splits:
        """What the run learns from. Raises NeocogError where nothing says where that is."""
        if isinstance(given, Splits):
            return given
        source = given or self.config["data"].get("source")
        if not isinstance(source, str | Path):
            raise NeocogError(
                "this run was given its data as arrays", where=str(self.path), hint="resume(run, data=...)"
            )
        how = How(stream=bool(self.config["data"].get("streamed")))  # so that the same stands for an image
        return load_data(str(source), self.network.input_shape, told, how)

    def check_data(self, data: Splits, at: Checkpoint | None, *, changed: bool) -> list[str]:
        """What has changed in the data. Raises DataError for that, unless it is told that data have changed."""
        was = (at.config if at else self.config)["data"]
        found, named = [], data.named()
        for name in ("training", "validation", "test"):
            count = len(named[name].labels) if name in named else None
            if count != (before := was.get(f"{name}_images")):
                found.append(f"{count or 'no'} {name} images instead of {before or 'none'}")
            elif name in named and named[name].fingerprint() != was.get(f"{name}_fingerprint"):
                found.append(f"other {name} images, labels or class names")
        if found and not changed:
            raise DataError(
                "the data are not those that the run began with",
                where=str(was.get("source") or was.get("name")),
                received="; ".join(found),
                hint="the data as they were, or --changed-data to go on with these",
            )
        return [f"the data have changed: {', '.join(found)}"] if found else []

    def session(self, data: Splits, told: Told = silence) -> Session:
        """The session that goes on: the same engine on the same device, and for torch the same number of threads."""
        engine = self.config["engine"]
        session = Session(
            self.network,
            data,
            self.settings,
            engine,
            self.config["device"],
            keeping=self.keeping,
            threads=self.config["threads"] if engine == "torch" else None,  # native bits do not depend on it
            told=told,
        )
        session.config |= {name: self.config.get(name) for name in ("reason", "started")}
        return session

    def differences(self, session: Session) -> list[str]:
        """In words, in what the program or the machine is another, so that bits may be."""
        before, now = self.config.get("versions", {}), session.config["versions"]
        changed = [f"{name} {before.get(name)} then, {now[name]} now" for name in now if now[name] != before.get(name)]
        if (was := self.config.get("processor")) != session.config["processor"]:
            changed.append(f"{was} then, {session.config['processor']} now")
        return [f"the last bits may differ from a run without a stop: {'; '.join(changed)}"] if changed else []


def _any_length(settings: Settings) -> bool:
    """Whether learning rates do not depend on how long the run is to be."""
    return settings.schedule == "constant" and not settings.warmup


def _check_kinds(config: Mapping[str, Any]) -> None:
    """Whether the parts that are read are what they should be. Raises KeyError or TypeError."""
    kinds: dict[str, type] = {"network": str, "engine": str, "device": str, "threads": int}
    kinds |= dict.fromkeys(("settings", "data", "checkpoints", "versions"), dict)
    for name, kind in kinds.items():
        if not isinstance(config[name], kind):
            raise TypeError(f"{name}: {config[name]!r}")
    if config["threads"] < 1:
        raise TypeError(f"threads: {config['threads']}")


def _settings(found: Any) -> Settings:
    """Settings as they were written; another version may have others. Raises TypeError for what is none."""
    names = {field.name for field in fields(Settings)}
    if names != set(found):
        raise TypeError(f"settings {', '.join(sorted(names ^ set(found)))}")
    return Settings(**found)


def _deciding(config: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a configuration that decides, with the data, the weights after each step."""
    names = ["network", "engine", "device", *(["threads"] if config.get("engine") == "torch" else [])]
    return {**config["settings"], **{name: config.get(name) for name in names}}


def _changed(name: str, was: str, found: str, why: str = "") -> NeocogError:
    return NeocogError(
        "a run is continued as it was begun",
        where=name,
        received=f"{found} instead of {was}" + (f"; {why}" if why else ""),
        hint="a new run for what is new",
    )


def _within(at: Checkpoint, batches: int) -> Checkpoint:
    """The same checkpoint, its place one in epochs of so many mini-batches: the data are others."""
    done = min(at.place.done, batches)
    place = replace(at.place, done=done, step=(at.place.epoch - 1) * batches + done)
    return Checkpoint(place, at.config, at.resumed, at.state)


def _check_place(place: Place, batches: int, epochs: Sequence[Epoch], every: int) -> None:
    """Whether a place is one in a run of such epochs, of which these were measured."""
    measured, before = {epoch.epoch for epoch in epochs}, set(range(1, place.epoch))
    fits = {number for number in before if number % every == 0} <= measured <= before
    if not fits or place.done > batches or place.step != (place.epoch - 1) * batches + place.done:
        raise RunError(
            "the checkpoint and metrics.jsonl are not of one run",
            received=f"step {place.step}, {place.done} of {batches} in epoch {place.epoch}; {len(epochs)} measured",
        )
