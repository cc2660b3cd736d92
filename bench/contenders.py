"""Who takes part, and the parent's side of the conversation with them: `peers/serve.py` has the other side."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

HERE = Path(__file__).parent
OURS, PEERS = Path(sys.executable), HERE.parent / ".bench-venv" / "bin" / "python"


@dataclass(frozen=True)
class Contender:
    """A library in one setting: the file in `peers/` that runs it, the Python that has it, and what it is told."""

    name: str
    peer: Path
    python: Path = PEERS
    settings: Mapping[str, Any] = field(default_factory=dict)
    trains: bool = True
    slow: bool = False
    """Takes so long to be made ready that it takes part with the largest batch of each network only."""

    @property
    def ours(self) -> bool:
        return "neocog" in self.peer.name

    @property
    def single(self) -> bool:
        """Whether it is one of our engines, or torch in one of its own settings, in float32."""
        return ("torch" in self.name or self.ours) and "bfloat16" not in self.name


def _contender(name: str, peer: str, python: Path = PEERS, *, trains: bool = True, **settings: Any) -> Contender:
    slow = bool(settings.get("compiled"))
    return Contender(name, HERE / "peers" / f"{peer}.py", python, settings, trains=trains, slow=slow)


CONTENDERS = (
    _contender("native", "with_neocog", OURS, engine="native", dtype="float32"),
    _contender("native bfloat16", "with_neocog", OURS, engine="native", dtype="bfloat16"),
    _contender("our torch", "with_neocog", OURS, engine="torch", dtype="float32"),
    _contender("our torch bfloat16", "with_neocog", OURS, engine="torch", dtype="bfloat16"),
    _contender("torch", "with_torch", OURS),
    _contender("torch channels last", "with_torch", OURS, channels_last=True),
    _contender("torch bfloat16", "with_torch", OURS, channels_last=True, bfloat16=True),
    _contender("torch compiled", "with_torch", OURS, channels_last=True, compiled=True),
    _contender("torch compiled bfloat16", "with_torch", OURS, channels_last=True, bfloat16=True, compiled=True),
    _contender("Keras", "with_keras"),
    _contender("Keras bfloat16", "with_keras", bfloat16=True),
    _contender("JAX", "with_flax"),
    _contender("ONNX Runtime", "with_onnx", trains=False, runtime="onnxruntime"),
    _contender("OpenVINO", "with_onnx", trains=False, runtime="openvino"),
    _contender("OpenVINO float32", "with_onnx", trains=False, runtime="openvino", precision="f32"),
)


class PeerError(Exception):
    """A contender has no answer; the words say why."""


class Process:
    """A contender as a process that waits for commands. `cores` None is all; its libraries count what it may use.

    Raises PeerError where it does not come up.
    """

    def __init__(self, contender: Contender, cores: int | None = None) -> None:
        self.contender, self.note = contender, ""
        if not contender.python.exists():
            raise PeerError("not installed: make bench-env")
        # what it prints besides, read only if it ends by itself
        self.errors = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        self._process = subprocess.Popen(
            [contender.python, contender.peer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            preexec_fn=(lambda: _stay_on(cores)) if cores else None,
        )
        try:
            self.versions: dict[str, str] = self._answer()["versions"]
        except PeerError:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def ended(self) -> bool:
        return self._process.poll() is not None

    def make(self, **work: Any) -> int:
        """Get a network ready; the number of its parameters. `note` is what it says of it."""
        answer = self._ask(do="make", **work, **self.contender.settings)
        self.note = answer.get("note", "")
        return answer["parameters"]

    def run(self, seconds: float) -> float:
        """Images a second of what was made."""
        return self._ask(do="run", seconds=seconds)["rate"]

    def drop(self) -> None:
        """Give its memory back."""
        self._ask(do="drop")

    def close(self) -> None:
        """End it, also in the middle of something."""
        self._process.kill()
        self._process.communicate()
        self.errors.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _ask(self, **command: Any) -> Any:
        try:
            print(json.dumps(command), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise self._ended() from None
        return self._answer()

    def _answer(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            raise self._ended()
        answer = json.loads(line)
        for reason in ("cannot", "failed"):
            if reason in answer:
                raise PeerError(answer[reason])
        return answer

    def _ended(self) -> PeerError:
        """Why it is gone, by the last line that it wrote."""
        code = self._process.wait()
        self.errors.seek(0)
        lines = [line for line in self.errors.read().splitlines() if line.strip()]
        return PeerError(f"ended with {code}: {lines[-1][:160] if lines else 'no word'}")


def _stay_on(cores: int) -> None:
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
