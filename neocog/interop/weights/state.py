"""Another library's state dict: arrays by name, from a safetensors file, from what torch.save wrote, or from a dict."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ModelFileError
from ...files import PICKLE, SAFETENSORS, ZIP, first_bytes, kind, read_header

READER = Path(__file__).with_name("unpickle.py")
PREFIXES = ("module.", "_orig_mod.", "model.")
"""What DataParallel, torch.compile and training frameworks put before every name."""
FLOATING = {"F32": "float32", "F16": "float16", "BF16": "bfloat16", "F64": "float64"}


@dataclass(frozen=True)
class Stored:
    """One array: its type and shape are known at once, its values when they are read, as float32."""

    dtype: str
    shape: tuple[int, ...]
    read: Callable[[], NDArray[np.float32]]

    @property
    def is_floating(self) -> bool:
        """Whether its values are weights and not counters, indices or quantised."""
        return self.dtype in FLOATING.values()

    def __str__(self) -> str:
        size = "x".join(map(str, self.shape)) or "one number"
        return size if self.dtype == "float32" else f"{self.dtype} {size}"


@dataclass(frozen=True)
class State:
    """Arrays by name, what was done to find them, and the entries that are none."""

    arrays: Mapping[str, Stored]
    notes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()

    def below(self, prefix: str) -> State:
        """The same without a prefix of some names; the others stay as they are."""
        if not prefix:
            return self
        arrays = {name.removeprefix(prefix): array for name, array in self.arrays.items()}
        return replace(self, arrays=arrays, notes=(*self.notes, f"the prefix {prefix} is left out of all names"))


@contextmanager
def opened(source: str | os.PathLike[str] | Mapping[str, Any]) -> Iterator[State]:
    """The state dict in a file or a dict, readable while the context lasts.

    A file is safetensors, or what torch.save wrote (.pt, .pth, .bin); the latter is a pickle, which is read by a
    process of its own with limited means (see unpickle.py) and never otherwise. Raises ModelFileError.
    """
    if isinstance(source, Mapping):
        yield _unprefixed(_from_dict(source))
        return
    path = Path(source)
    with ExitStack() as stack:
        try:
            state = stack.enter_context(_open_file(path))
        except ModelFileError as error:
            raise error.at(str(path)) from None
        except (OSError, ValueError) as error:  # ValueError for a name with a zero byte
            reason = getattr(error, "strerror", None) or str(error)
            raise ModelFileError("this file cannot be read", where=str(path), received=reason) from None
        yield _unprefixed(state)


@contextmanager
def _open_file(path: Path) -> Iterator[State]:
    start = first_bytes(path)
    found = kind(start)
    if found == SAFETENSORS:
        with _open_safetensors(path) as state:
            yield state
    elif found in (ZIP, PICKLE):
        with tempfile.NamedTemporaryFile(suffix=".safetensors") as arrays:
            _unpickle(path, arrays)
            with _open_safetensors(Path(arrays.name)) as state:
                yield state
    else:
        raise ModelFileError(
            f"weights are a safetensors file or what torch.save writes; this is {found}, and was not opened further",
            received=f"first bytes {start[:8].hex(' ')}",
        )


@contextmanager
def _open_safetensors(path: Path) -> Iterator[State]:
    from safetensors import SafetensorError, safe_open

    header, _ = read_header(path)
    told = header.pop("__metadata__", {})
    try:
        with safe_open(path, "pt") as file:
            arrays = {name: _stored(file, name) for name in header}
            yield State(arrays, *_told(told))
    except SafetensorError as error:
        raise ModelFileError("the header is damaged", received=str(error)[:100]) from None


def _stored(file: Any, name: str) -> Stored:
    part = file.get_slice(name)

    def read() -> NDArray[np.float32]:
        return _values(file.get_tensor(name))

    dtype = str(part.get_dtype())
    return Stored(FLOATING.get(dtype, dtype), tuple(part.get_shape()), read)


def _told(metadata: Mapping[str, str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What unpickle.py says it passed over, as notes, and the entries it ignored."""
    told: dict[str, list[str]] = {}
    for key in ("wrapped", "beside", "ignored"):
        try:
            told[key] = [str(name) for name in json.loads(metadata.get(key, "[]"))]
        except (TypeError, ValueError):
            told[key] = []
    notes = [f"taken from its entry {' -> '.join(told['wrapped'])}"] if told["wrapped"] else []
    if told["beside"]:
        notes.append(f"beside it there are {', '.join(told['beside'])}, which are no part of the network")
    return tuple(notes), tuple(told["ignored"])


def _values(tensor: Any) -> NDArray[np.float32]:
    import torch

    values: NDArray[np.float32] = tensor.detach().to("cpu", torch.float32, copy=True).contiguous().numpy()
    return values


def _from_dict(source: Mapping[str, Any]) -> State:
    """Arrays of NumPy or torch; anything else in the dict is ignored."""
    arrays: dict[str, Stored] = {}
    for name, value in source.items():
        if hasattr(value, "detach"):
            arrays[name] = Stored(str(value.dtype).removeprefix("torch."), tuple(value.shape), partial(_values, value))
        elif isinstance(value, np.ndarray):
            arrays[name] = Stored(str(value.dtype), value.shape, partial(value.astype, np.float32))
    return State(arrays, (), tuple(str(name) for name in source if name not in arrays))


def _unprefixed(state: State) -> State:
    """The same without the prefixes that all names share, and without the `:0` of old Keras."""
    if state.arrays and all(name.endswith(":0") for name in state.arrays):
        state = replace(state, arrays={name.removesuffix(":0"): array for name, array in state.arrays.items()})
    for prefix in PREFIXES:
        if state.arrays and all(name.startswith(prefix) for name in state.arrays):
            state = state.below(prefix)
    return state


def _unpickle(path: Path, arrays: IO[bytes]) -> None:
    """Have another process write the arrays of a file that torch.save wrote. Raises ModelFileError."""
    done = subprocess.run(
        [sys.executable, "-P", str(READER), str(path.absolute())],  # -P: it imports nothing from where the user is
        stdin=subprocess.DEVNULL,
        stdout=arrays,
        stderr=subprocess.PIPE,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    if done.returncode:
        raise ModelFileError(**_reason(done))


def _reason(done: subprocess.CompletedProcess[bytes]) -> dict[str, str]:
    rule = "this file cannot be read as weights"
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return {"rule": f"{rule}: the process that read it was stopped by {name}"}
    try:
        told = json.loads(done.stderr.splitlines()[-1])
        reason, received = str(told["rule"]), str(told["received"])
    except (ValueError, IndexError, KeyError, TypeError):
        reason, received = "the process that read it failed", done.stderr.decode(errors="replace")[-200:]
    more = "only arrays are read" in reason
    hint = "torch.save(model.state_dict(), ...) where it was made, or safetensors" if more else ""
    return {"rule": f"{rule}: {reason}", "received": received, "hint": hint}
