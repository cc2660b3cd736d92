"""One process at a time in a run's folder: the system's lock on an open file, gone when its holder is."""

from __future__ import annotations

import json
import os
import platform
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from ..errors import RunError

NAME = ".lock"
LONGEST = 1000
"""Bytes of a lock's file that are read."""


class Lock:
    """The sole use of a folder until `free`, or until the process dies, however it does.

    Raises RunError where another holds it, with that one's process, host and start, and OSError where it cannot be had.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / NAME
        self._handle = _locked(self.path)
        holder = {
            "pid": os.getpid(),
            "host": platform.node(),
            "started": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        os.ftruncate(self._handle, 0)
        os.write(self._handle, json.dumps(holder).encode())

    def free(self) -> None:
        """Let others have the folder. The file goes first: who waits for the lock on it finds that it is no more."""
        with suppress(OSError):  # Windows removes no open file; one that nobody holds is no lock either
            self.path.unlink()
        os.close(self._handle)


def _locked(path: Path) -> int:
    """The file, open and locked, and still the one that has this name."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not held(handle):
                raise RunError(
                    "another process is training in this folder",
                    where=str(path.parent),
                    received=_holder(os.read(handle, LONGEST)),
                    hint="another folder, or wait until that one has ended",
                )
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), path.stat()):
                    return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _holder(content: bytes) -> str:
    """Who holds the lock, as it wrote itself."""
    try:
        found = json.loads(content)
        return f"process {found['pid']} on {found['host']}, since {found['started']}"
    except (ValueError, TypeError, KeyError):
        return "a process that has only begun"


if sys.platform == "win32":
    import msvcrt

    def held(handle: int) -> bool:
        """Whether the file is now locked by this handle."""
        os.lseek(handle, LONGEST, os.SEEK_SET)  # behind what others read: Windows locks bytes against reading
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            os.lseek(handle, 0, os.SEEK_SET)
            return False
        os.lseek(handle, 0, os.SEEK_SET)
        return True

else:
    import fcntl

    def held(handle: int) -> bool:
        """Whether the file is now locked by this handle."""
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
