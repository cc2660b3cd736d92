"""Turns what torch.save wrote into safetensors, in a process of its own: `python unpickle.py FILE > ARRAYS`.

A pickle is a program. This process asks torch for its weights-only reader, which knows a handful of harmless
instructions, and before it looks at the file it gives up opening others and limits its own memory, time and output.
What it writes is only arrays, and whoever started it reads them as distrustfully as any other file. Failures end with
exit code 1 and one line of JSON, `{"rule": ..., "received": ...}`, on stderr.
"""

from __future__ import annotations

import json
import os
import re
import struct
import sys
from collections.abc import Mapping
from typing import Any, BinaryIO, NoReturn

import torch
import torch.utils.serialization  # which torch.load would import when no file may be opened any more

try:
    import resource
except ImportError:  # not on Windows, where the weights-only reader alone must do
    resource = None  # type: ignore[assignment]

SECONDS = 120
MIB = 2**20
WRAPPERS = ("state_dict", "model_state_dict", "model")
DTYPES = {
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.float64: "F64",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def main() -> None:
    """Read the file named on the command line and write its arrays to stdout."""
    with open(sys.argv[1], "rb") as file:
        restrict(os.path.getsize(sys.argv[1]))
        torch.set_num_threads(1)
        try:
            content = torch.load(file, map_location="cpu", weights_only=True)
            arrays, told = find_arrays(content)
            write(arrays, told, sys.stdout.buffer)
        except Exception as error:  # a damaged file can make the reader fail in any way
            fail(*explained(error))


def restrict(size: int) -> None:
    """Limit this process, for good, to what reading `size` bytes honestly takes."""
    if resource is None:
        return
    limits = {
        resource.RLIMIT_CPU: SECONDS,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: 0,  # no other file, socket or pipe
        resource.RLIMIT_FSIZE: 2 * size + MIB,
    }
    if os.path.exists("/proc/self/statm"):  # elsewhere the limit is not kept
        with open("/proc/self/statm", "rb") as status:
            in_use = int(status.read().split()[0]) * resource.getpagesize()
        limits[resource.RLIMIT_AS] = in_use + 3 * size + 256 * MIB
    for kind, limit in limits.items():
        hard = resource.getrlimit(kind)[1]  # which nobody may raise, and -1 is none
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (limit, limit))


def find_arrays(content: Any) -> tuple[dict[str, torch.Tensor], dict[str, list[str]]]:
    """The arrays, and for `__metadata__` what was passed over: around them (`beside`) and among them (`ignored`)."""
    wrapped, beside = [], []
    for _ in range(len(WRAPPERS)):  # a dict may hold itself
        inner = next((name for name in WRAPPERS if isinstance(content, Mapping) and is_dict(content.get(name))), None)
        if inner is None:
            break
        wrapped.append(inner)
        beside += [str(name) for name in content if name != inner]
        content = content[inner]
    entries = content if isinstance(content, Mapping) else {}
    arrays = {str(name): value for name, value in entries.items() if is_array(value)}
    if not arrays:
        fail("there is no state dict in it, a dict of arrays by name", type(content).__name__)
    ignored = [str(name) for name, value in entries.items() if not is_array(value)]
    return arrays, {"wrapped": wrapped, "beside": beside, "ignored": ignored}


def is_dict(value: Any) -> bool:
    """Whether a value is a dict with something in it."""
    return isinstance(value, Mapping) and len(value) > 0


def is_array(value: Any) -> bool:
    """Whether a value is a plain array in memory."""
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and value.dtype in DTYPES
    )


def write(arrays: Mapping[str, torch.Tensor], told: Mapping[str, list[str]], out: BinaryIO) -> None:
    """A safetensors file: the header's length, the header, the arrays one after another."""
    header: dict[str, Any] = {"__metadata__": {key: json.dumps(value) for key, value in told.items()}}
    end = 0
    for name, array in arrays.items():
        start, end = end, end + array.numel() * array.element_size()
        header[name] = {"dtype": DTYPES[array.dtype], "shape": list(array.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    out.write(struct.pack("<Q", len(text)) + text)
    for array in arrays.values():
        out.write(array.detach().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    out.flush()


def explained(error: Exception) -> tuple[str, str]:
    """A rule and what was received, for an error of torch's reader."""
    message = str(error).split("\n")[0]
    if wanted := re.search(r"GLOBAL (\S+)", str(error)):
        return "it holds more than arrays, and only arrays are read", wanted[1]
    if isinstance(error, MemoryError | OSError) or "alloc" in message:
        asked = re.search(r"\d+ bytes", message)
        return "it needs more memory or room than a file of its size may", asked[0] if asked else message
    return "it is damaged, or was not written by torch.save", message.partition(". ")[0] or type(error).__name__


def fail(rule: str, received: str) -> NoReturn:
    """End with the reason."""
    sys.stderr.write(json.dumps({"rule": rule, "received": received[:200]}) + "\n")
    raise SystemExit(1)


if __name__ == "__main__":
    main()
