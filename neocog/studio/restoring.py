"""Files that are brought to go on from: the studio's own snapshots, and models, which give their weights.

Both are read with the same distrust: nothing but what the studio writes is taken from a snapshot.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import ModelFileError, NeocogError
from ..files import read_document, read_header
from ..model import Model, load
from ..network import Network
from ..training.checkpoint import FORMAT, KEY, read_checkpoint
from .running import EDITABLE, MOST_EDITS


class Restored(NamedTuple):
    """What a run is to begin with: network, data set, settings, and `more` of what `Live` takes."""

    network: Network
    data: str
    settings: Mapping[str, Any]
    more: Mapping[str, Any]


def restored(content: bytes) -> Restored:
    """What a file of these bytes holds. Raises NeocogErrors, which name no path of this machine."""
    try:
        with tempfile.TemporaryDirectory(prefix="neocog-studio-") as folder:
            path = Path(folder) / "brought.safetensors"
            path.write_bytes(content)
            header, _ = read_header(path)
            return _from_snapshot(path, header) if KEY in header.get("__metadata__", {}) else _from_model(load(path))
    except NeocogError as error:
        raise type(error)(error.rule, received=error.received, hint=error.hint) from None
    except OSError as error:  # a disk without room, say
        raise ModelFileError("this file cannot be read", received=error.strerror or "") from None


def _from_model(model: Model) -> Restored:
    told = model.record.get("data")
    data = str(told.get("name", "mnist")) if isinstance(told, Mapping) else "mnist"
    more = {"weights": dict(model.weights), "paused": True}
    return Restored(model.network, data, {"loss": model.loss}, more)


def _from_snapshot(path: Path, header: dict[str, Any]) -> Restored:
    document = read_document(header, KEY, FORMAT, ModelFileError("this is no snapshot"))
    config = document.get("config")
    text = config.get("network") if isinstance(config, dict) else None
    network = Network.parse(text if isinstance(text, str) else "")
    checkpoint = read_checkpoint(path, network)
    kept = checkpoint.config.get("studio")
    if kept is None or not _is_ours(kept):
        raise ModelFileError("this is no snapshot of the studio", hint="neocog train --resume FOLDER")
    more = {"start": checkpoint, "engine": str(kept.get("engine")), "paused": True}
    return Restored(network, str(checkpoint.config["data"].get("name")), checkpoint.config["settings"], more)


def _is_ours(kept: Any) -> bool:
    """Whether this is what the studio writes beside a run's settings: its edits, each with its step."""
    if not isinstance(kept, dict) or not isinstance(kept.get("seen"), int):
        return False
    events = kept.get("events")
    return isinstance(events, list) and len(events) <= MOST_EDITS and all(map(_is_edit, events))


def _is_edit(event: Any) -> bool:
    if not isinstance(event, dict) or event.keys() != {"step", "changes"} or not isinstance(event["step"], int):
        return False
    changes = event["changes"]
    return isinstance(changes, dict) and all(
        key in EDITABLE and isinstance(value, int | float) for key, value in changes.items()
    )
