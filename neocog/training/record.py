"""What a run writes down of itself before its first step: all that is needed to do it again."""

from __future__ import annotations

import platform
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import llvmlite
import numpy as np
import torch

from .. import __version__
from ..data import Preprocessing, Splits
from ..data.reading import in_words
from ..network import Network
from .engine import Engine
from .keeper import Keeping
from .settings import Settings


def configuration(
    network: Network,
    data: Splits,
    preprocessing: Preprocessing,
    settings: Settings,
    engine: Engine,
    reason: str,
    keeping: Keeping,
) -> dict[str, Any]:
    """What `config.yaml`, each checkpoint and the model's record hold, as plain values.

    `reason` is in words why the run has this engine.
    """
    return {
        "network": str(network),
        "data": _described(data),
        "preprocessing": preprocessing.as_json(),
        "settings": settings.as_dict(),
        "engine": engine.name,
        "device": engine.device,
        "reason": reason,
        "threads": engine.threads,
        "processor": _processor(engine.device),
        "checkpoints": asdict(keeping),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {
            "neocog": __version__,
            "python": platform.python_version(),
            "numpy": np.__version__,
            "llvmlite": llvmlite.__version__,
            "torch": str(torch.__version__),
        },
    }


def _described(data: Splits) -> dict[str, Any]:
    """Where the data are from, how many they are and their fingerprints; of image files also how they were read."""
    named = data.named()
    found: dict[str, Any] = {"name": data.train.name, "source": data.source, "streamed": data.train.streamed}
    found |= {f"{name}_images": len(split.labels) for name, split in named.items()}
    found |= {f"{name}_fingerprint": split.fingerprint() for name, split in named.items()}
    if data.train.reading:
        found["files"] = [line for split in named.values() for line in in_words(split)]
    return found


def _processor(device: str) -> str:
    """What does the arithmetic, as far as it decides in which order numbers are added."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}"
