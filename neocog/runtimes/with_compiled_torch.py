"""Our torch module compiled by `torch.compile`: C++ made for the network, where there is a compiler for it.

Compiling takes about as long as a thousand images, and its result is for one size of batch, so images are computed in
such batches, the last filled up. What the compiler makes is code that will run: it lies in a folder of this user's
alone, and torch finds it there the next time.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import NeocogError
from ..files import cache_folder
from ..model import Model
from ..network import Network
from ..torch_engine import InferenceModule, build
from ..torch_engine.device import precision
from .base import BFLOAT16, FLOAT32, Runtime, quiet

FOLDER = "TORCHINDUCTOR_CACHE_DIR"
"""Environment variable by which torch finds the folder of what it compiled."""
PRIVATE, OTHERS_WRITE = 0o700, 0o022
LARGEST = 2**29
"""Bytes in that folder; where there are more it is emptied."""
START, EACH = 10.0, 0.6
"""About how many seconds compiling takes: at first, and for each layer that prediction runs."""


class CompiledTorchRuntime(Runtime):
    """`torch_engine/inference.py`, compiled for a batch of one size."""

    name = "torch-compiled"

    def __init__(self, model: Model, dtype: str, batch: int = 1) -> None:
        self.dtype, self.batch = dtype, batch
        shape = model.network.input_shape
        x = np.zeros((batch, shape.channels, *shape.spatial), np.float32)
        try:
            with _own_folder(), _weights_as_constants(), quiet():
                self._module = torch.compile(_module(model, dtype), fullgraph=True, dynamic=False)
                self.scores(x)
        except NeocogError:
            raise
        except Exception as error:  # whatever torch or the compiler raises, it is not compiled
            said = (str(error).strip() or type(error).__name__).splitlines()[0][:120]
            raise NeocogError(
                "torch does not compile this network", received=f"{type(error).__name__}: {said}", hint="--runtime auto"
            ) from None

    @classmethod
    def lacks(cls, model: Model, dtype: str) -> str:
        """A compiler, or what it has to read."""
        if dtype not in (FLOAT32, BFLOAT16):
            return f"no products of {dtype}"
        if shutil.which(compiler()) is None:
            return f"no C++ compiler: {compiler()} is not there (CXX names another)"
        if not Path(sysconfig.get_path("include"), "Python.h").is_file():
            return "no Python.h, which a C++ compiler needs"
        return ""

    @classmethod
    def patience(cls, network: Network) -> float:
        """What compiling takes, by the number of layers."""
        return START + EACH * len(network.nodes)

    def scores(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """Batch by batch."""
        parts = [self._part(x[k : k + self.batch]) for k in range(0, len(x), self.batch)]
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def _part(self, x: NDArray[Any]) -> NDArray[np.float32]:
        count = len(x)
        if count < self.batch:
            x = np.concatenate([x, np.zeros((self.batch - count, *x.shape[1:]), np.float32)])
        with torch.inference_mode(), precision(self.dtype, torch.device("cpu")):
            y: NDArray[np.float32] = self._module(torch.from_numpy(x)).float().numpy()
        return y[:count]


def compiler() -> str:
    """The C++ compiler that torch would call."""
    usual = {"darwin": "clang++", "win32": "cl"}.get(sys.platform, "g++")
    return os.environ.get("CXX", usual)


def _module(model: Model, dtype: str) -> InferenceModule:
    if dtype == FLOAT32:
        return InferenceModule.of(model.network, model.weights, plain=True)
    return InferenceModule(build(model.network, weights=model.weights).eval(), dtype, plain=True)


def _weights_as_constants() -> AbstractContextManager[None]:
    """Have torch lay out weights for the processor once.

    As an option of `torch.compile` it is not known yet where the weights are told apart from those of other models.
    """
    from torch._inductor import config

    made: AbstractContextManager[None] = config.patch(freezing=True)
    return made


@contextmanager
def _own_folder() -> Iterator[None]:
    """Have torch keep what it compiles in a folder that nobody else can write to.

    Raises NeocogError where there is none.
    """
    folder = cache_folder() / "torch"
    try:
        folder.mkdir(PRIVATE, parents=True, exist_ok=True)
        status = folder.stat()
        if sum(path.lstat().st_size for path in folder.rglob("*")) > LARGEST:
            shutil.rmtree(folder)
            folder.mkdir(PRIVATE)
    except OSError as error:
        reason = error.strerror or str(error)
        raise NeocogError("compiled code is kept in a folder", where=str(folder), received=reason) from None
    if os.name == "posix" and (status.st_uid != os.geteuid() or status.st_mode & OTHERS_WRITE):
        raise NeocogError("others could write into the folder of compiled code", where=str(folder))
    before = os.environ.get(FOLDER)
    os.environ[FOLDER] = str(folder)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(FOLDER, None)
        else:
            os.environ[FOLDER] = before
