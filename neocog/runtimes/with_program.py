"""Exported programs of torch, which run what their maker chose: opened only where they are trusted."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import ModelFileError
from ..export.torch_program import DOCUMENT
from ..files import first_bytes, read_json
from ..model import Model, described


class ProgramRuntime:
    """A program as torch loads it."""

    name = "torch"

    def __init__(self, program: torch.export.ExportedProgram, *, reads_bytes: bool) -> None:
        self._module, self.reads_bytes = program.module(), reads_bytes

    def scores(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """One forward pass."""
        with torch.inference_mode():
            y: NDArray[np.float32] = self._module(torch.from_numpy(np.require(x, requirements=["C", "W"]))).numpy()
        return y


def open_program(path: Path, *, trust: bool) -> Model:
    """The model in a `.pt2` file. Raises ModelFileError where it is not trusted, or not of neocog."""
    try:
        first_bytes(path)
    except OSError as error:
        raise ModelFileError("this file cannot be read", where=str(path), received=error.strerror or "") from None
    if not trust:
        raise ModelFileError(
            "torch runs what a .pt2 file holds, so it is not opened",
            where=str(path),
            hint="--trust, if you know who made it",
        )
    told = {DOCUMENT: ""}
    try:
        with warnings.catch_warnings(action="ignore"):
            program = torch.export.load(path, extra_files=told)
    except Exception as error:  # whatever torch raises, it cannot be used
        received = f"{type(error).__name__}: {error}".split("\n")[0][:120]
        raise ModelFileError("torch cannot load this program", where=str(path), received=received) from None
    if not told[DOCUMENT]:
        raise ModelFileError("this program was not written by neocog", where=str(path))
    try:
        document = read_json(told[DOCUMENT], "the description")
        model = described(document)
    except ModelFileError as error:
        raise error.at(str(path)) from None
    return replace(model, runtime=ProgramRuntime(program, reads_bytes=document.get("inside") is True))
