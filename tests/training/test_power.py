"""A power failure keeps of a run at least what its last finished checkpoint had: a disk that forgets what it may."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path
from typing import NamedTuple

import pytest

from neocog import Network, RunError, train
from neocog.training.checkpoint import newest
from neocog.training.keeper import Keeper

NET = Network.parse("INPUT[28x28x1] -> POOL4 -> FC10")


class Disk(NamedTuple):
    """At one moment: contents by file number as written and as synced, names now and at the folder's last sync."""

    written: dict[int, bytes]
    synced: dict[int, bytes]
    names: dict[str, int]
    names_synced: dict[str, int]
    log_synced: int
    finished: int


class Journal:
    """Follows what is done to a folder of checkpoints, and remembers the disk before and after each call."""

    def __init__(self, patch):
        self.disk, self.moments = Disk({}, {}, {}, {}, 0, 0), []
        for place, name in ((tempfile, "mkstemp"), (os, "fsync"), (os, "replace"), (Path, "unlink")):
            patch.setattr(place, name, self.followed(name, getattr(place, name)))
        self.begun, write, finish = 0, Keeper.write, Keeper.finish

        def begun(keeper, step, *rest):
            write(keeper, step, *rest)
            self.begun = step

        def finished(keeper):
            finish(keeper)
            self.note(finished=self.begun)

        patch.setattr(Keeper, "write", begun)
        patch.setattr(Keeper, "finish", finished)

    def note(self, **changes):
        self.disk = self.disk._replace(**changes)
        self.moments.append(self.disk)

    def followed(self, name, function):
        def called(*arguments, **more):
            if name in ("replace", "fsync"):
                getattr(self, f"before_{name}")(*arguments)
            found = function(*arguments, **more)
            if name == "unlink" and "checkpoints" in str(arguments[0]):
                self.note(names={k: v for k, v in self.disk.names.items() if k != arguments[0].name})
            return found

        return called

    def before_fsync(self, handle):
        status, path = os.fstat(handle), Path(os.readlink(f"/proc/self/fd/{handle}"))
        if path.name == "metrics.jsonl":
            self.note(log_synced=status.st_size)
        elif stat.S_ISDIR(status.st_mode) and path.name == "checkpoints":
            self.note(names_synced=self.disk.names)
        elif path.parent.name == "checkpoints":
            content = path.read_bytes()
            self.note(written={**self.disk.written, status.st_ino: content})
            self.note(synced={**self.disk.synced, status.st_ino: content})

    def before_replace(self, old, new):
        if Path(new).parent.name == "checkpoints":
            number, content = os.stat(old).st_ino, Path(old).read_bytes()
            self.disk = self.disk._replace(written={**self.disk.written, number: content})
            self.note(names={**self.disk.names, Path(new).name: number})


def losses(moments, folder):
    """What is lost that was finished, at each moment, at two extremes: nothing that was not synced is there; and all
    names are, of files without what was not synced.
    """
    folder.mkdir()
    for disk in moments:
        for names in (disk.names_synced, disk.names):
            for old in folder.iterdir():
                old.unlink()
            for name, number in names.items():
                (folder / name).write_bytes(disk.synced.get(number, b""))
            if not whole(disk, folder):
                yield disk.finished


def whole(disk, folder):
    """Whether the last finished checkpoint or a newer one is there, and nothing that is damaged."""
    try:
        found, said = newest(folder, NET)
    except RunError:
        return False
    return (
        not said
        and (found is None or found.place.logs["metrics.jsonl"] <= disk.log_synced)
        and ((found.place.step if found else 0) >= disk.finished)
    )


@pytest.fixture
def moments(digits_folder, tmp_path, monkeypatch):
    monkeypatch.setattr("neocog.training.loop.FASTER", 1)
    with monkeypatch.context() as patch:
        journal = Journal(patch)
        out = tmp_path / "run"
        train(NET, digits_folder, epochs=2, batch_size=16, checkpoint_minutes=0, out=out, progress="none", device="cpu")
    return journal.moments


def test_power_may_fail_at_any_moment(moments, tmp_path):
    assert list(losses(moments, tmp_path / "after")) == []
    assert len(moments) > 60
    assert moments[-1].finished == 12


@pytest.mark.parametrize("forgotten", ["synced", "names_synced"])
def test_without_a_sync_it_may_not(forgotten, moments, tmp_path):
    """The disk is forgetful enough to show where a writer syncs no files, or no folders."""
    assert list(losses([disk._replace(**{forgotten: {}}) for disk in moments], tmp_path / "after"))
