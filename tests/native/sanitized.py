"""C that neocog prints, compiled by the system's compiler with sanitizers and run as a process of its own.

Functions run on buffers of exactly the bytes that they may touch, beside the machine code for the same kernels.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from neocog.native.c import c_functions
from neocog.native.expressions import Access, Bound, Index, Type
from neocog.native.jit import Compiled
from neocog.native.kernel import Call, Function, Let, LoadTile, Loop, ShapeTiles, Store, StoreTile

COMPILER = shutil.which("cc")
FLAGS = (
    *("-std=c11", "-O1", "-g1", "-Wall", "-Wno-psabi", "-Wno-unused-variable", "-ffp-contract=off", "-DINLINE=static"),
    *("-fsanitize=address,undefined", "-fno-sanitize-recover=all"),
)
TRIAL = """typedef float f32x4 __attribute__((vector_size(16)));
int main(void) { f32x4 a = {0, 1, 2, 3}; return (int)__builtin_shufflevector(a, a, 0, 5)[0]; }
"""


@cache
def why_not() -> str:
    """Why nothing can be compiled here; empty where it can."""
    if not COMPILER:
        return "there is no C compiler"
    with TemporaryDirectory() as folder:
        Path(folder, "trial.c").write_text(TRIAL)
        done = subprocess.run([COMPILER, *FLAGS, "trial.c"], cwd=folder, capture_output=True, check=False)
    return "" if done.returncode == 0 else "the C compiler has no sanitizers, or is older than gcc 12"


needs_compiler = pytest.mark.skipif(bool(why_not()), reason=why_not() or "it can run")


def run(folder: Path, text: str, given: bytes) -> bytes:
    """What a program prints that is given some bytes; a report of a sanitizer fails the test."""
    (folder / "program.c").write_text(text)
    command = [str(COMPILER), *FLAGS, "program.c", "-lm", "-o", "program"]
    compiled = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert compiled.returncode == 0, compiled.stderr[:4000]
    assert "warning" not in compiled.stderr, compiled.stderr[:4000]
    environment = os.environ | {"ASAN_OPTIONS": "detect_leaks=0"}  # which needs rights that a container may lack
    done = subprocess.run(
        ["./program"], cwd=folder, input=given, capture_output=True, env=environment, timeout=300, check=False
    )
    assert (done.returncode, done.stderr) == (0, b""), done.stderr[:4000].decode()
    return done.stdout


STEP = """
#include <stdio.h>

static void *read_numbers(size_t count) {
    void *made = malloc(count * 4);
    if (fread(made, 4, count, stdin) != count)
        abort();
    return made;
}

int main(void) {
    int32_t *counts = read_numbers(2);
    double *rates = read_numbers(6);
    float *weights = read_numbers(PARAMETERS);
    float *images = read_numbers((size_t)counts[0] * IMAGE);
    int32_t *labels = read_numbers(counts[0]);
    float *scores = malloc((size_t)counts[0] * CLASSES * 4);
    struct net n;
    net_open(&n);
    memcpy(n.weights, weights, PARAMETERS * 4);
    score(&n, images, counts[0], scores);
    fwrite(scores, 4, (size_t)counts[0] * CLASSES, stdout);
    for (int k = 0; k < counts[1]; k++) {
        float loss = train(&n, images, labels, counts[0], rates[0], rates[1], rates[2]);
        fwrite(&loss, 4, 1, stdout);
        fwrite(n.settings + 9, 4, 1, stdout);
    }
    fwrite(n.weights, 4, PARAMETERS, stdout);
    net_close(&n);
    void *all[] = {counts, rates, weights, images, labels, scores};
    for (int k = 0; k < 6; k++)
        free(all[k]);
}
"""
"""Reads weights, images and labels; prints scores, then loss and hits of each step, then the weights."""


def run_steps(folder, network_text, weights, x, labels, rates, steps):
    """Scores, (loss, hits) of each step, and the weights, all as one array of f32."""
    given = [np.array([len(x), steps], np.int32), np.array(rates, np.float64), weights, x, labels.astype(np.int32)]
    printed = run(folder, network_text + STEP, b"".join(np.ascontiguousarray(part).tobytes() for part in given))
    return np.frombuffer(printed, np.float32)


NUMBERS = {"first": 1, "last": 3, "groups": 2, "blocks": 2, "count": 2}
SIZES = {"f32": 4, "i32": 4, "i8": 1}

# -- what memory a function touches ----------------------------------------------------------------------------------


class Touched:
    """The bytes of each buffer that a function may touch, from its loops and addresses; and as what kinds."""

    def __init__(self, function: Function, others: dict[str, Function], numbers=None) -> None:
        self.bytes: dict[str, tuple[int, int]] = {}
        self.kinds: dict[str, set[str]] = {name: set() for name in function.buffers}
        self.others = others
        self.rows: tuple[int, ...] = ()
        self._walk(function.body, numbers or {name: (NUMBERS[name],) * 2 for name in function.numbers})

    def _walk(self, statements, ranges) -> None:
        for statement in statements:
            match statement:
                case Loop(counter, start, stop, body):
                    first, last = self._range(start, ranges)[0], self._range(stop, ranges)[1] - 1
                    if first <= last:
                        self._walk(body, ranges | {counter: (first, last)})
                case Call(function, buffers, numbers):
                    called = self.others[function]
                    given = zip(called.numbers, numbers, strict=True)
                    inner = Touched(called, self.others, {name: self._range(at, ranges) for name, at in given})
                    for access, name in zip(buffers, called.buffers, strict=True):
                        low, high = (4 * at for at in self._range(access.at, ranges))
                        first, last = inner.bytes.get(name, (0, 0))
                        self._add(access.buffer, low + first, high + last, "f32")
                case Let() | Store():
                    for access, type_ in accesses(statement):
                        unit = access.unit or type_
                        size = SIZES[unit.kind] * unit.lanes
                        low, high = (size * at for at in self._range(access.at, ranges))
                        self._add(access.buffer, low, high + SIZES[type_.kind] * type_.lanes, type_.kind)

                case ShapeTiles(rows):
                    self.rows = rows
                case LoadTile(tile, access, step) | StoreTile(tile, access, step):
                    size = SIZES[access.unit.kind] * access.unit.lanes
                    low, high = (size * at for at in self._range(access.at, ranges))
                    kind = "f32" if access.unit.kind == "f32" else "pair"
                    self._add(access.buffer, low, high + (self.rows[tile] - 1) * step * size + 64, kind)

    def _add(self, buffer: str, low: int, high: int, kind: str) -> None:
        before = self.bytes.get(buffer, (low, high))
        self.bytes[buffer] = min(before[0], low), max(before[1], high)
        self.kinds[buffer].add(kind)

    def _range(self, index: Index | Bound, ranges) -> tuple[int, int]:
        if isinstance(index, Bound):
            which = {"min": min, "max": max}[index.which]
            lows, highs = zip(*(self._range(part, ranges) for part in index.of), strict=True)
            return which(lows), which(highs)
        parts = [sorted(factor * end for end in ranges[name]) for name, factor in index.terms]
        return index.constant + sum(low for low, _ in parts), index.constant + sum(high for _, high in parts)


def accesses(statement: Let | Store) -> Iterator[tuple[Access, Type]]:
    if isinstance(statement, Store):
        yield statement.to, statement.value.type
    waiting = [statement.value]
    while waiting:
        value = waiting.pop()
        if isinstance(value.detail, Access):
            yield value.detail, value.type
        waiting.extend(value.args)


class Buffer:
    """Bytes for a buffer that begin at a multiple of 64, and how many lie before the place that it points to."""

    def __init__(self, rng, low: int, high: int, kinds: set[str]) -> None:
        self.before = -(low // 64) * 64
        size = self.before + high
        memory = np.zeros(size + 64, np.uint8)
        start = -memory.ctypes.data % 64
        self.content = memory[start : start + size]
        if kinds == {"pair"}:  # of bfloat16: those halves of single precision
            self.kind = np.int32
            halves = rng.standard_normal(size // 2).astype(np.float32).view(np.uint32) >> 16
            self.content[:] = halves.astype(np.uint16).view(np.uint8)
            return
        self.kind = np.int8 if kinds == {"i8"} else np.int32 if kinds == {"i32"} else np.float32
        numbers = size // np.dtype(self.kind).itemsize
        drawn = rng.standard_normal(numbers) if self.kind is np.float32 else rng.integers(-1, 4, numbers)
        self.content[:] = drawn.astype(self.kind).view(np.uint8)

    @property
    def pointer(self) -> ctypes.c_void_p:
        return ctypes.c_void_p(self.content.ctypes.data + self.before)

    def given(self) -> bytes:
        return np.array([self.before, len(self.content)], np.int64).tobytes() + self.content.tobytes()


MAIN = """
#include <stdio.h>

static char *memory[16];
static int64_t before[16], bytes[16];

static void *take(int k) {
    int64_t head[2];
    if (fread(head, 8, 2, stdin) != 2 || posix_memalign((void **)&memory[k], 64, head[1]))
        abort();
    before[k] = head[0];
    bytes[k] = head[1];
    if (fread(memory[k], 1, bytes[k], stdin) != (size_t)bytes[k])
        abort();
    return memory[k] + before[k];
}

static void give(int k) {
    fwrite(memory[k], 1, bytes[k], stdout);
    free(memory[k]);
}
"""


def main_for(functions: dict[str, Function]) -> str:
    """Runs every function on buffers of exactly the size that it may touch, and prints what they hold then."""
    lines = []
    for name, function in functions.items():
        buffers = range(len(function.buffers))
        lines += [f"    void *{name}_{k} = take({k});" for k in buffers]
        arguments = [f"{name}_{k}" for k in buffers] + [str(NUMBERS[number]) for number in function.numbers]
        lines += [f"    {name}({', '.join(arguments)});", *(f"    give({k});" for k in buffers)]
    return "\n".join([MAIN, "int main(void) {", *lines, "}\n"])


def assert_same(folder, functions: dict[str, Function], halves: frozenset[str] = frozenset()) -> None:
    """Every function gives the same numbers as C and as machine code. `halves` are buffers of pairs of bfloat16."""
    rng = np.random.default_rng(1)
    buffers = {}
    for name, function in functions.items():
        touched = Touched(function, functions)
        kinds = {b: {"pair"} if b in halves else touched.kinds[b] for b in function.buffers}
        buffers[name] = [Buffer(rng, *touched.bytes.get(b, (0, 4)), kinds[b]) for b in function.buffers]
    text = "#define _POSIX_C_SOURCE 200809L\n" + c_functions(functions.values()) + main_for(functions)
    printed = run(folder, text, b"".join(buffer.given() for own in buffers.values() for buffer in own))
    compiled, at = Compiled(functions.values()), 0
    for name, function in functions.items():
        numbers = [ctypes.c_int64(NUMBERS[number]) for number in function.numbers]
        compiled.call(name, [*(buffer.pointer for buffer in buffers[name]), *numbers])
        for buffer, label in zip(buffers[name], function.buffers, strict=True):
            found = np.frombuffer(printed, np.uint8, len(buffer.content), at).view(buffer.kind)
            at += len(buffer.content)
            expected = buffer.content.view(buffer.kind)
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6, err_msg=f"{name} {label}")
    assert at == len(printed)
