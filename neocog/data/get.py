"""Published sets brought into the datasets folder, complete or not at all."""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

from ..errors import DataError, RunError
from .download import check_space, download
from .published import PUBLISHED, Published, Remote


class Watcher(Protocol):
    """Is told what is being fetched and how far it is."""

    def file(self, remote: Remote) -> None:
        """A file comes next."""

    def told(self, done: int) -> None:
        """So many of its bytes are there."""


def find(name: str) -> Published:
    """The set of that name. Raises DataError where none is published."""
    if name not in PUBLISHED:
        raise DataError("there is no such set to get", received=name[:80], hint=", ".join(PUBLISHED))
    return PUBLISHED[name]


def get(name: str, folder: Path, watcher: Watcher, sleep: Callable[[float], None] = time.sleep) -> int:
    """Fetch what a set's folder lacks. Returns how many files were fetched, 0 where all are there.

    Raises DataError for a name that is not published, RunError where a download or a disk fails.
    """
    published = find(name)
    lacking = published.missing(folder)
    if not lacking:
        return 0
    wanted = published.files if published.members else tuple(r for r in published.files if r.name in lacking)
    check_space(folder, sum(remote.size for remote in wanted) + sum(published.members.values()))
    for remote in wanted:
        watcher.file(remote)
        download(remote, folder / remote.name, watcher.told, sleep)
        if published.members:
            unpack(folder / remote.name, published)
    return len(wanted)


def unpack(archive: Path, published: Published) -> None:
    """Take a set's files out of its .tar.gz, under the names known here, and remove it.

    Names in the archive only say which member is which; none of them becomes a path.
    """
    found = set()
    try:
        with tarfile.open(archive, "r|gz") as members:
            for member in members:
                name = member.name.rsplit("/", 1)[-1]
                if member.isreg() and published.members.get(name) == member.size:
                    content = members.extractfile(member)
                    if content is not None:
                        _write(content, archive.parent / name)
                        found.add(name)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise RunError("this archive is damaged", where=str(archive), received=str(error)[:100]) from None
    except OSError as error:
        raise RunError("this archive cannot be unpacked", where=str(archive), received=error.strerror or "") from None
    if lacking := sorted(published.members.keys() - found):
        raise RunError("this archive lacks files of the set", where=str(archive), received=", ".join(lacking))
    archive.unlink()


def _write(content: IO[bytes], path: Path) -> None:
    """Write a stream to a file whose name always stands for the whole of it."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            shutil.copyfileobj(content, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    finally:
        Path(temporary).unlink(missing_ok=True)
