"""Kernels on torch's own threads.

Threads beside them would have to share the cores with them: those of OpenMP look for work for milliseconds before they
sleep. So a kernel's tasks are handed out inside a parallel region of the OpenMP that torch runs on, where that is GNU's
or gives its names: torch for Linux.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..native.jit import Compiled
from ..native.kernel import Function

SHARE = """
define void @share_{name}(ptr %job) #0 {{
entry:
 %count = load i64, ptr %job, align 8
 %next = getelementptr i64, ptr %job, i64 1
 %number.at = getelementptr i64, ptr %job, i64 2
 %number = load ptr, ptr %number.at, align 8
 %thread = call i32 %number()
 %who = sext i32 %thread to i64
 %table.at = getelementptr i64, ptr %job, i64 3
 %table = load ptr, ptr %table.at, align 8
 %size.at = getelementptr i64, ptr %job, i64 4
 %size = load i64, ptr %size.at, align 8
 %offset = mul i64 %size, %who
 %calls.at = getelementptr i64, ptr %job, i64 5
 %calls = load i64, ptr %calls.at, align 8
{buffers}
 br label %take
take:
 %task = atomicrmw add ptr %next, i64 1 monotonic
 %more = icmp slt i64 %task, %count
 br i1 %more, label %run, label %done
run:
 %first = mul i64 %task, %calls
 br label %call
call:
 %made = phi i64 [ 0, %run ], [ %now, %call ]
 %which = add i64 %first, %made
 %row.at = mul i64 %which, {width}
 %row = getelementptr i64, ptr %table, i64 %row.at
{numbers}
 call void @{name}({arguments})
 %now = add i64 %made, 1
 %again = icmp slt i64 %now, %calls
 br i1 %again, label %call, label %take
done:
 ret void
}}
"""
HEAD = 6
"""Words of a job before its buffers."""


def _shared(function: Function) -> str:
    """Run by each thread of a team: takes tasks, each so many rows of numbers, until none is left.

    The last buffer is the thread's own part of what is given.
    """
    buffers, numbers = [], []
    for k, name in enumerate(function.buffers):
        own = k == len(function.buffers) - 1
        buffers += [
            f" %{name}.at = getelementptr i64, ptr %job, i64 {HEAD + k}",
            f" %{name}.all = load ptr, ptr %{name}.at, align 8",
            f" %{name} = getelementptr i8, ptr %{name}.all, i64 {'%offset' if own else 0}",
        ]
    for k, name in enumerate(function.numbers):
        numbers += [
            f" %{name}.at = getelementptr i64, ptr %row, i64 {k}",
            f" %{name} = load i64, ptr %{name}.at, align 8",
        ]
    arguments = [f"ptr %{name}" for name in function.buffers] + [f"i64 %{name}" for name in function.numbers]
    return SHARE.format(
        name=function.name,
        buffers="\n".join(buffers),
        numbers="\n".join(numbers),
        width=len(function.numbers),
        arguments=", ".join(arguments),
    )


@cache
def openmp() -> Any | None:
    """The library that torch's threads are from, if it can be asked for a team."""
    found = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    if not found.exists():
        return None
    library = ctypes.CDLL(str(found))  # already there; names are looked up in what it needs as well
    return library if hasattr(library, "GOMP_parallel") and hasattr(library, "omp_get_thread_num") else None


class Team:
    """Compiled kernels, each run for a table of tasks by as many threads as torch has."""

    def __init__(self, functions: Iterable[Function], shared: Sequence[Function]) -> None:
        library = openmp()
        assert library  # noqa: S101  # the caller has asked
        self._code = Compiled(functions, [_shared(function) for function in shared])
        self._run = library.GOMP_parallel
        self._run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
        self._who = ctypes.cast(library.omp_get_thread_num, ctypes.c_void_p).value
        self._at = {f.name: self._code.address(f"share_{f.name}") for f in shared}

    def run(self, name: str, tasks: NDArray[np.int64], buffers: Sequence[Tensor], own_bytes: int = 0) -> None:
        """Have all tasks (tasks, numbers) done, or (tasks, calls, numbers) where one is several calls in order.

        With `own_bytes` the last buffer has so many for each thread.
        """
        calls = tasks.shape[1] if tasks.ndim == 3 else 1
        places = [buffer.data_ptr() for buffer in buffers]
        job = np.array([len(tasks), 0, self._who, tasks.ctypes.data, own_bytes, calls, *places], np.int64)
        self._run(self._at[name], job.ctypes.data, torch.get_num_threads(), 0)
