"""Exported C, compiled by the system's compiler to see whether it gives the model's answers."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import weakref
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError
from ..model import Model

FLAGS = ("-std=c11", "-O2", "-shared", "-fPIC", "-Wall", "-Wextra", "-Werror")


class CompiledC:
    """The library that a compiler made of an export."""

    name = "c"

    def __init__(self, model: Model, source: Path, compiler: str) -> None:
        folder = TemporaryDirectory(prefix="neocog-")
        self._end = weakref.finalize(self, folder.cleanup)
        library = Path(folder.name) / "exported.so"
        done = subprocess.run(
            [compiler, *FLAGS, str(source), "-o", str(library), "-lm"], capture_output=True, text=True, check=False
        )
        if done.returncode:
            first = next(iter(done.stderr.strip().splitlines()), "")
            raise RunError("the C compiler does not take what was written", where=str(source), received=first[:200])
        self._library = ctypes.CDLL(str(library))
        self._outputs, stem = model.network.shapes[-1].channels, source.stem
        self.reads_bytes = hasattr(self._library, f"{stem}_scores_of_bytes")
        self._call = getattr(self._library, f"{stem}_scores_of_bytes" if self.reads_bytes else f"{stem}_scores")
        self._call.argtypes, self._call.restype = [ctypes.c_void_p, ctypes.c_void_p], None

    def scores(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """One image after the other."""
        images = np.ascontiguousarray(x)
        found = np.empty((len(images), self._outputs), np.float32)
        for image, row in zip(images, found, strict=True):
            self._call(image.ctypes.data, row.ctypes.data)
        return found


def compiled_c(model: Model, source: Path) -> Model | None:
    """The model computed by its export; None where there is no C compiler.

    Raises RunError where the compiler does not take it.
    """
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return None
    return replace(model, runtime=CompiledC(model, source, compiler))
