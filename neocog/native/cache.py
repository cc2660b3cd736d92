"""Compiled code between runs: one file each in the user's cache folder, behind a checksum of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from ..errors import RunError
from ..files import write_atomically

FOLDER = "NEOCOG_CACHE"
"""Environment variable that names another folder."""


def folder() -> Path:
    """Where compiled code is kept."""
    from platformdirs import user_cache_dir

    return Path(os.environ.get(FOLDER) or user_cache_dir("neocog")) / "native"


def cached(key: str, make: Callable[[], bytes]) -> bytes:
    """The content kept under a key, or what `make` gives, then kept. A damaged file counts as none.

    A folder that cannot be read or written is no error: the content is made each time.
    """
    path = folder() / f"{key}.o"
    with contextlib.suppress(OSError):
        stored = path.read_bytes()
        digest, content = stored[:32], stored[32:]
        if hashlib.sha256(content).digest() == digest:
            return content
    content = make()
    with contextlib.suppress(RunError):
        write_atomically(path, hashlib.sha256(content).digest() + content)
    return content
