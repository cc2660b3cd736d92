from __future__ import annotations

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from idx_files import write_digits

from neocog.cli import main
from neocog.data import Dataset, load_data

NET = "INPUT[28x28x1] -> POOL2 -> CONV3-4 -> RELU -> POOL2 -> FC10"
"""Learns a few hundred digits in a second."""


class Answer(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _no_terminal_settings(monkeypatch):
    for name in ("COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)


def call(*arguments: object, encoding: str = "utf-8") -> Answer:
    """The command line in this process, where what is shown has an encoding as in a terminal."""
    out, err = io.TextIOWrapper(io.BytesIO(), encoding), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as stop:  # how argparse ends --help and --version
            code = int(stop.code or 0)
    out.flush()
    return Answer(code, out.buffer.getvalue().decode(encoding), err.getvalue())


@pytest.fixture(scope="session")
def neocog() -> Callable[..., Answer]:
    return call


@pytest.fixture(scope="session")
def shell() -> Callable[..., subprocess.CompletedProcess[str]]:
    """A command line for bash, where `neocog` is a process of its own."""

    def run(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = f'set -o pipefail; neocog() {{ "{sys.executable}" -m neocog "$@"; }}; {command}'
        return subprocess.run(
            ["bash", "-c", command], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
        )

    return run


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    """A data folder of 384 training and 200 test digits, as IDX files."""
    return write_digits(tmp_path_factory.mktemp("data") / "some digits", 384, 200)


@pytest.fixture(scope="session")
def test_digits() -> Dataset:
    return load_data("mnist").test


@pytest.fixture(scope="session")
def trained(folder, tmp_path_factory) -> tuple[Answer, Path]:
    """What `train --json` answers, and its run folder."""
    out = tmp_path_factory.mktemp("runs") / "my run"
    answer = call(
        *("train", NET, folder, "--out", out, "--epochs", 6, "--batch-size", 32),
        *("--lr", 0.05, "--device", "cpu", "--json"),
    )
    return answer, out
