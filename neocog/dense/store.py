"""A score map as a NumPy file that is written tile by tile, and can be gone on with when the process was killed.

    NAME.part       the file as it will be, of its full size from the start
    NAME.journal    a line for the work, then one for each tile that stands in the file, with its checksum

A tile's line is written when its numbers are on the disk. Who does the same work again finds both, checks the tiles
that are there and makes the others; other work begins anew. When all are there the file gets its name, and the journal
goes. So NAME is always a whole map. Nothing of it is kept in memory.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import zlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import RunError
from ..training.lock import held
from .tiles import Block

Volume = NDArray[np.float32]
CLOSED = -1


class Store:
    """A file for a map (K, *cells) of float32. `work` says in plain values what it is the result of.

    Raises RunError where it cannot be written.
    """

    def __init__(self, path: Path, shape: Sequence[int], work: Mapping[str, Any]) -> None:
        self.path, self.shape = path, tuple(shape)
        self.part = path.with_name(f".{path.name}.part")
        self.journal = path.with_name(f".{path.name}.journal")
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": self.shape})
        self._header = header.getvalue()
        text = json.dumps({**work, "shape": list(self.shape)}, sort_keys=True)
        self._key = json.dumps({"work": hashlib.sha256(text.encode()).hexdigest()})
        self.done: set[int] = set()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self.part, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o644)
            if not held(self._file):
                self.close()
                raise RunError("another process is writing this file", where=str(path), hint="another name, or wait")
            claims = self._claims()
            if claims is None:
                self._begin()
            self._claimed = claims or []
        except OSError as error:
            raise self._failed(error) from None

    def _claims(self) -> list[tuple[int, int]] | None:
        """The tiles with their checksums that the journal says are there; None if it is of other work, or of none."""
        try:
            first, *lines = self.journal.read_text(encoding="utf-8").splitlines()
        except (OSError, ValueError):
            return None
        if first != self._key or self.part.stat().st_size != self._length:
            return None
        found = []
        for line in lines:
            with suppress(ValueError, TypeError):  # the last may have been cut off
                tile, checksum = json.loads(line)
                found.append((int(tile), int(checksum)))
        return found

    @property
    def _length(self) -> int:
        return len(self._header) + 4 * int(np.prod(self.shape, dtype=np.int64))

    def _begin(self) -> None:
        """The file first: what a journal speaks of must be there."""
        self.journal.unlink(missing_ok=True)
        os.ftruncate(self._file, 0)
        os.ftruncate(self._file, self._length)
        self._put(0, self._header)
        os.fsync(self._file)
        self.journal.write_text(f"{self._key}\n", encoding="utf-8")  # half of it would be the key of nothing

    def resume(self, blocks: Sequence[Block]) -> None:
        """Find out which of the blocks are there as the journal says."""
        for tile, checksum in self._claimed:
            if 0 <= tile < len(blocks) and zlib.crc32(self.read(blocks[tile]).tobytes()) == checksum:
                self.done.add(tile)

    def read(self, block: Block) -> Volume:
        """What stands in a block (K, *block)."""
        found = np.empty((self.shape[0], *(side.stop - side.start for side in block)), np.float32)
        for run, place in self._runs(found, block):
            os.lseek(self._file, place, os.SEEK_SET)
            run[:] = np.frombuffer(os.read(self._file, run.nbytes), "<f4")
        return found

    def write(self, tile: int, block: Block, scores: Volume) -> None:
        """Put a tile's scores (K, *block) into the file, then into the journal. Raises RunError."""
        scores = np.ascontiguousarray(scores, "<f4")
        try:
            for run, place in self._runs(scores, block):
                self._put(place, run.tobytes())
            os.fsync(self._file)
            with self.journal.open("a", encoding="utf-8") as journal:
                journal.write(f"{json.dumps([tile, zlib.crc32(scores.tobytes())])}\n")
                journal.flush()
                os.fsync(journal.fileno())
        except OSError as error:
            raise self._failed(error) from None
        self.done.add(tile)

    def _put(self, place: int, content: bytes) -> None:
        """Write all of it: the last free bytes of a disk take a part without an error."""
        os.lseek(self._file, place, os.SEEK_SET)
        left = memoryview(content)
        while left:
            left = left[os.write(self._file, left) :]

    def _runs(self, scores: Volume, block: Block) -> list[tuple[NDArray[np.float32], int]]:
        """The rows of a block, one after another, and where in the file each begins."""
        *outer, last = block
        steps = np.cumprod([1, *self.shape[:0:-1]], dtype=np.int64)[::-1]  # numbers from one to the next on each axis
        found = []
        for place in np.ndindex(scores.shape[:-1]):
            channel, *rows = place
            at = channel * int(steps[0]) + last.start
            at += sum((side.start + row) * int(step) for side, row, step in zip(outer, rows, steps[1:-1], strict=True))
            found.append((scores[place], len(self._header) + 4 * at))
        return found

    def finish(self) -> Path:
        """Give the file its name, and do away with the journal. Raises RunError."""
        try:
            os.fsync(self._file)
            self.close()
            os.replace(self.part, self.path)
            self.journal.unlink(missing_ok=True)
        except OSError as error:
            raise self._failed(error) from None
        return self.path

    def close(self) -> None:
        """Leave the file as it is, to be gone on with."""
        if self._file != CLOSED:
            os.close(self._file)
            self._file = CLOSED

    def _failed(self, error: OSError) -> RunError:
        reason = error.strerror or str(error)
        return RunError("this file cannot be written", where=str(self.path), received=reason)
