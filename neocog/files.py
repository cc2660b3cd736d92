"""Files: written whole or not at all, and safetensors files, read without trusting anything in them.

A sealed file is a safetensors file whose metadata hold one JSON document; its checksum covers document and arrays.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import struct
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .errors import ModelFileError, RunError

HEADER_BYTES = 4 * 2**20
MOST_NAMES = 10_000
"""Of a folder that are looked at for one like another."""
LEGIBLE = 50
"""Characters of a file's name that its unfinished one begins with: all of it and more could be too long a name."""

SAFETENSORS = "a safetensors file"
ZIP = "a zip archive, as torch.save writes"
PICKLE = "a pickle"
_KINDS = {
    b"PK": ZIP,
    b"\x80\x02": PICKLE,
    b"\x80\x03": PICKLE,
    b"\x80\x04": PICKLE,
    b"\x80\x05": PICKLE,
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"\x89HDF": "an HDF5 file, as Keras writes",
    b"\x93NUMPY": "a NumPy array",
    b"GGUF": "a GGUF file",
}


_SEALED = {
    "neocog": "a model",
    "neocog-index": "an index, as neocog embed writes and neocog search reads",
    "neocog-checkpoint": "a checkpoint of a run, from which neocog train --resume goes on",
}
"""What the sealed files are that have such a key, for those who give one in place of another."""

CACHE = "NEOCOG_CACHE"
"""Environment variable that names another cache folder."""


def cache_folder() -> Path:
    """The user's folder for what can be made again: `$NEOCOG_CACHE`, or the usual one."""
    given = os.environ.get(CACHE)
    return Path(given) if given else usual_cache_folder()


def usual_cache_folder() -> Path:
    """`neocog` where the system keeps caches; for a user without a home, as in some containers, a temporary one."""
    from platformdirs import user_cache_path

    nowhere = Path(tempfile.gettempdir()) / f"neocog-{os.getuid() if os.name == 'posix' else 'cache'}"
    try:
        found = user_cache_path("neocog")
    except RuntimeError:  # newer versions say that there is no home; older ones give a relative path
        return nowhere
    return found if found.is_absolute() else nowhere


def write_atomically(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file so that its name always stands for a complete one, also after a crash. `mode` says who may read it.

    Raises RunError naming the folder or file and the reason.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:LEGIBLE]}.", suffix=".part")
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, mode)
        os.replace(temporary, path)
        _sync_folder(path.parent)
    except OSError as error:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise RunError("this file cannot be written", where=str(path), received=error.strerror or str(error)) from None
    except BaseException:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Make the rename itself durable; folders cannot be opened so on Windows, where the rename is."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def near_name(path: str | Path) -> str:
    """The path beside one that will not do whose name is most like it; empty where none is like it."""
    path = Path(path)
    try:
        with os.scandir(path.parent) as found:
            names = [entry.name for entry in islice(found, MOST_NAMES) if entry.name != path.name]
    except (OSError, ValueError):  # ValueError for a name with a zero byte
        return ""
    near = get_close_matches(path.name, names, n=1)
    return str(path.parent / near[0]) if near else ""


def first_bytes(path: Path) -> bytes:
    """The first nine bytes of a regular file that is not empty; fewer where it is shorter.

    Raises ModelFileError for a folder, a pipe or an empty file, and OSError.
    """
    status = path.stat()
    if stat.S_ISDIR(status.st_mode):
        raise ModelFileError("this is a folder, not a model file", hint="the model.safetensors in it")
    if not stat.S_ISREG(status.st_mode):  # opening a pipe would wait for ever
        raise ModelFileError("this is not a regular file")
    if not status.st_size:
        raise ModelFileError("this file is empty")
    with path.open("rb") as file:
        return file.read(9)


def kind(start: bytes) -> str:
    """What a file that begins so seems to be: `SAFETENSORS`, `ZIP`, `PICKLE`, or other words."""
    if start[8:] == b"{":
        return SAFETENSORS
    return next((found for mark, found in _KINDS.items() if start.startswith(mark)), "something else")


def read_header(path: Path) -> tuple[dict[str, Any], int]:
    """The arrays' descriptions in a safetensors header, and how many bytes of arrays follow it.

    Raises ModelFileError for another kind of file or a damaged header, and OSError.
    """
    start, size = first_bytes(path), path.stat().st_size
    if kind(start) != SAFETENSORS:
        rule = f"a model file is a safetensors file; this is {kind(start)}, and was not opened further"
        received = f"first bytes {start[:8].hex(' ')}"
        raise ModelFileError(rule, received=received, hint="model.safetensors in the folder of a run")
    (length,) = struct.unpack("<Q", start[:8])
    if length > HEADER_BYTES:
        raise ModelFileError(f"a header has at most {HEADER_BYTES:,} bytes", received=f"{length:,} bytes")
    if length > size - 8:
        raise ModelFileError(
            "this file is cut off within its header", received=f"{size:,} of {length + 8:,} bytes or more"
        )
    with path.open("rb") as file:
        file.seek(8)
        header = read_json(file.read(length), "the header")
    if not all(isinstance(entry, dict) for entry in header.values()):
        raise ModelFileError("the header is damaged: it does not describe arrays")
    return header, size - 8 - length


def read_json(text: str | bytes, what: str) -> dict[str, Any]:
    """The JSON object in a text. Raises ModelFileError where it is none or has a name twice."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            raise ValueError
        return found

    try:
        value = json.loads(text, object_pairs_hook=unique)
    except (ValueError, RecursionError):
        raise ModelFileError(f"{what} is damaged: it is not JSON with each name once") from None
    if not isinstance(value, dict):
        raise ModelFileError(f"{what} is damaged: it is not a JSON object")
    return value


@contextmanager
def said_of(path: str | Path, instead: str = "") -> Iterator[None]:
    """Have what goes wrong within be a ModelFileError that names the file, or what to do where there is none."""
    try:
        yield
    except ModelFileError as error:
        raise error.at(str(path)) from None
    except RecursionError:  # what JSON can just be read cannot always be written again, to be compared
        raise ModelFileError("the description is damaged: it is nested too deeply", where=str(path)) from None
    except (OSError, ValueError) as error:  # ValueError for a name with a zero byte
        reason = getattr(error, "strerror", None) or str(error)
        hint = near_name(path) or instead if isinstance(error, FileNotFoundError) else ""
        raise ModelFileError("this file cannot be read", where=str(path), received=reason, hint=hint) from None


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """All arrays of a safetensors file. Raises ModelFileError where its header does not describe its bytes."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return load_file(path)
    except (SafetensorError, ValueError, TypeError, KeyError) as error:
        raise ModelFileError("the header is damaged", received=str(error)[:100]) from None


Document = dict[str, Any]
Tensors = Mapping[str, NDArray[Any]]
Described = dict[str, dict[str, Any]]
"""Arrays by name as a safetensors header describes them: `{"dtype": "F32", "shape": [2, 3]}`."""
BYTES = {"F32": 4, "I64": 8, "U8": 1}
"""Of one number of the dtypes that are stored."""


def seal(key: str, document: Mapping[str, Any], tensors: Tensors) -> bytes:
    """A safetensors file of arrays and a document, which stands in the metadata under `key` with the checksum."""
    from safetensors.numpy import save

    plain: Document = json.loads(canonical(document))
    plain["sha256"] = checksum(plain, tensors)
    return save({name: np.asarray(a, order="C") for name, a in tensors.items()}, {key: canonical(plain)})


def read_document(header: Document, key: str, newest: int, foreign: ModelFileError) -> Document:
    """The document in a header, out of which its metadata are taken; of a format up to the newest.

    Raises the error `foreign` where there is none under that key, and ModelFileError for a damaged one.
    """
    told = header.pop("__metadata__", {})
    text = told.get(key)
    if not isinstance(text, str):
        received = next((words for other, words in _SEALED.items() if other in told), foreign.received)
        raise ModelFileError(foreign.rule, received=received, hint=foreign.hint)
    document = read_json(text, "the description")
    version = document.get("format")
    if not isinstance(version, int) or version < 1:
        raise ModelFileError("the description is damaged: it names no format")
    if version > newest:
        raise ModelFileError(f"the file has format {version}, this neocog reads up to {newest}", hint="a newer neocog")
    if canonical(document) != text:
        raise ModelFileError("the description is damaged: it is not as it was written")
    return document


def read_sealed(path: Path, document: Document) -> dict[str, NDArray[Any]]:
    """The arrays of a sealed file. Raises ModelFileError where the checksum, taken out of the document, differs."""
    tensors = read_tensors(path)
    if document.pop("sha256", None) != checksum(document, tensors):
        raise ModelFileError("this is not what was saved: the checksum differs", hint="another copy of the file")
    return tensors


def check_size(header: Described, stored: int) -> None:
    """Whether the file holds as many bytes as its arrays need. Dtypes and shapes must be known to be sound."""
    needed = sum(BYTES[entry["dtype"]] * math.prod(entry["shape"]) for entry in header.values())
    if stored != needed:
        rule = "this file is cut off" if stored < needed else "there is something behind the arrays"
        raise ModelFileError(rule, received=f"{stored:,} bytes of arrays instead of {needed:,}")


def check_finite(tensors: Tensors) -> None:
    """Whether every value is a number to calculate with. Raises ModelFileError naming an array that has others."""
    if bad := [name for name, array in tensors.items() if not np.isfinite(array).all()]:
        raise ModelFileError(f"{bad[0]} holds values that are not finite numbers")


def canonical(document: Mapping[str, Any]) -> str:
    """The one way a document is written, so that any change to its text shows."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"))


def checksum(document: Mapping[str, Any], tensors: Tensors) -> str:
    """SHA-256 over the document and over name, type, shape and values of each array, in the order of their names."""
    digest = hashlib.sha256(canonical(document).encode())
    for name in sorted(tensors):
        array = np.asarray(tensors[name], order="C")
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.data)
    return digest.hexdigest()
