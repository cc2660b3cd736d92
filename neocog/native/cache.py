"""Compiled code between runs: one file each in the user's cache folder, behind a checksum of its own.

It is code that will run, so only what this user alone could have written is read. Together the files take no more than
`LARGEST`: those that were not used for the longest time go first.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from ..errors import RunError
from ..files import cache_folder, write_atomically

LARGEST = 2**29
"""Bytes of all files together."""
PRIVATE_FOLDER, PRIVATE_FILE = 0o700, 0o600
OTHERS_WRITE = 0o022


def folder() -> Path:
    """Where compiled code is kept."""
    return cache_folder() / "native"


def cached(key: str, make: Callable[[], bytes]) -> bytes:
    """The content kept under a key, or what `make` gives, then kept. A damaged file counts as none.

    A folder that cannot be read or written is no error: the content is made each time.
    """
    path = folder() / f"{key}.o"
    with contextlib.suppress(OSError):
        stored = path.read_bytes() if _is_ours(path) else b""
        digest, content = stored[:32], stored[32:]
        if hashlib.sha256(content).digest() == digest:
            with contextlib.suppress(OSError):
                os.utime(path)  # it was used
            return content
    content = make()
    with contextlib.suppress(RunError, OSError):
        path.parent.mkdir(PRIVATE_FOLDER, parents=True, exist_ok=True)
        write_atomically(path, hashlib.sha256(content).digest() + content, PRIVATE_FILE)
        _make_room(path.parent)
    return content


def _is_ours(path: Path) -> bool:
    """Whether nobody else could have written a file; where there are no users, it is."""
    status = path.stat()
    return os.name != "posix" or (status.st_uid == os.geteuid() and not status.st_mode & OTHERS_WRITE)


def _make_room(place: Path) -> None:
    """Remove files until the rest is small enough; other processes may do so at the same time."""
    found = []
    for path in place.iterdir():
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            found.append((status.st_mtime, status.st_size, path))
    total = sum(size for _, size, _ in found)
    for _, size, path in sorted(found):
        if total <= LARGEST:
            break
        path.unlink(missing_ok=True)
        total -= size
