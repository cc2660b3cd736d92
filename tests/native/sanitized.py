"""C that neocog prints, compiled by the system's compiler with sanitizers and run as a process of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

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
