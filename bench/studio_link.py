"""A studio that runs meanwhile, for those who open its page."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

STUDIO = [sys.executable, "-m", "neocog", "studio", "--port", "0", "--no-browser", "--json"]


@contextmanager
def studio() -> Iterator[str]:
    """Its link, which is good once."""
    process = subprocess.Popen(STUDIO, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None  # noqa: S101  # it was asked for
    told = ""
    while not told.rstrip().endswith("}"):
        told += process.stdout.readline()
    try:
        yield json.loads(told)["url"]
    finally:
        process.terminate()
        process.wait()


def chromium() -> str | None:
    """Where the browser is; None leaves that to Playwright."""
    return shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
