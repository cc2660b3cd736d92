"""Network -> its canonical text: the same for every way the network may have been written.

Consecutive equal parts become `[ ... ]*N`, found from the layers themselves, so a network that was written
without repeats, or built by a program, prints as compactly as one that was written with them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..network import Chain, Network, Step, layers_of
from .limits import DEPTH

LONGEST_PERIOD = 64  # no network in print repeats a longer part; branches count as one


def write(network: Network) -> str:
    """One line of text, such that `parse(write(network)) == network`."""
    fits = Counter(fit for layer in layers_of(network.chain) if (fit := _fit_of(layer)))
    fit = max(fits, key=lambda fit: (fits[fit], fit == "exact", fit), default="exact")
    header = "" if fit == "exact" else f"fit={fit} "
    return header + _chain(network.chain, fit, depth=1)


def _chain(chain: Chain, fit: str, depth: int) -> str:
    atoms, passive = [], set()
    for item in chain:
        if isinstance(item, Step):
            atoms.append(_written(item.layer, fit))
            if not hasattr(item.layer, "out_channels"):  # it follows others, and begins no part
                passive.add(atoms[-1])
        else:
            arms = " | ".join(_chain(arm, fit, depth + 1) for arm in item.arms)
            atoms.append(f"{item.join.token}[{arms}]")
    return " -> ".join(_repeats(atoms, passive, depth))


def _written(layer: Any, fit: str) -> str:
    """The layer's token, with its fit only where that is not what holds for the whole text."""
    if not (own := _fit_of(layer)):
        return str(layer.token)
    token: str = replace(layer, fit="exact").token
    option = f"fit={own}"
    if own == fit:
        return token
    return f"{token[:-1]}, {option})" if token.endswith(")") else f"{token}({option})"


def _fit_of(layer: Any) -> str:
    """What the layer does where its windows do not tile its input; nothing where they always do."""
    return layer.fit if hasattr(layer, "fit") and set(layer.stride) != {1} else ""


def _repeats(atoms: Sequence[str], passive: set[str], depth: int) -> list[str]:
    """The atoms with runs of equal parts written as repeats, the one that saves most at each position."""
    if len(atoms) < 2 or depth >= DEPTH:
        return list(atoms)
    runs = _run_lengths(atoms)
    found, i = [], 0
    while i < len(atoms):
        gain, period = _best(runs, i)
        # `CONV -> RELU` is the unit rather than `RELU -> CONV`, where both would repeat as often
        later = atoms[i] in passive and i + 1 < len(atoms) and _best(runs, i + 1)[0] == gain
        if gain and not later:
            part = " -> ".join(_repeats(atoms[i : i + period], passive, depth + 1))
            found.append(f"[{part}]*{gain // period + 1}")
            i += gain + period
        else:
            found.append(atoms[i])
            i += 1
    return found


def _best(runs: dict[int, NDArray[np.int64]], i: int) -> tuple[int, int]:
    """How many atoms the best repeat from position i saves, and its period, the shortest if several save as much."""
    gain, negative = max(((int(run[i]) // p) * p, -p) for p, run in runs.items())
    return gain, -negative


def _run_lengths(atoms: Sequence[str]) -> dict[int, NDArray[np.int64]]:
    """For each period p and position i, how many atoms from i on equal the ones p further."""
    names = {atom: k for k, atom in enumerate(dict.fromkeys(atoms))}
    ids = np.array([names[atom] for atom in atoms])
    runs: dict[int, NDArray[np.int64]] = {}
    for p in range(1, min(LONGEST_PERIOD, len(ids) // 2) + 1):
        differs = np.flatnonzero(ids[p:] != ids[:-p])
        ends = np.append(differs, len(ids) - p)
        positions = np.arange(len(ids))
        run = ends[np.minimum(np.searchsorted(ends, positions), len(ends) - 1)] - positions
        runs[p] = np.maximum(run, 0)
    return runs
