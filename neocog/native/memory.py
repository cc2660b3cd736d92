"""The memory of a compiled network, and where its threads find it.

What lies in it is known before anything runs. Threads look up where each buffer begins in a list of words that they
share (`runtime.py` says which word is which), so that a buffer may be replaced between two calls.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .layout import aligned
from .runtime import CONTEXT_WORDS, slot

Floats = NDArray[np.float32]


class Memory:
    """Buffers by name: `kept` are those that threads find, `rooms` those that grow with the batch, by their use."""

    def __init__(self) -> None:
        self.shared = np.zeros(CONTEXT_WORDS, np.int64)
        self.kept: dict[str, NDArray[Any]] = {}
        self.rooms: dict[str, Floats] = {}

    def keep(self, name: str, floats: int) -> Floats:
        """A buffer that starts as zeros."""
        array = aligned(floats)
        self.point(name, array)
        return array

    def point(self, name: str, array: NDArray[Any]) -> None:
        """Let a buffer be this array."""
        self.kept[name] = array
        self.set(name, array.ctypes.data)

    def set(self, name: str, value: int) -> None:
        """Change a word."""
        self.shared[slot(name)] = value

    def lacks(self, use: str, size: int) -> bool:
        """Whether the room for a use holds fewer bytes than that; then it is let go, to be asked for anew."""
        if use in self.rooms and size <= self.rooms[use].nbytes:
            return False
        self.rooms.pop(use, None)
        return True

    def grow(self, use: str, size: int) -> None:
        """Room for a use, of so many bytes, all zero."""
        self.rooms[use] = aligned(size // 4)

    def use(self, buffer: str, use: str) -> None:
        """Let a buffer be the room for a use."""
        self.set(buffer, self.rooms[use].ctypes.data)
