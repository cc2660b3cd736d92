"""Compiled code between runs: one file each in the user's cache folder, behind a checksum of its own."""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

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
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        with os.fdopen(handle, "wb") as file:
            file.write(hashlib.sha256(content).digest() + content)
        os.replace(temporary, path)  # two programs may write it at once; each file is whole
    return content
