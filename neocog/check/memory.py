"""How much memory a check of a network needs, said before it starts: all of it is float64, several times over."""

from __future__ import annotations

from ..plan import Plan

PARAMETERS, VOLUMES, WINDOWS = 7.0, 7.0, 2.5
"""How often the fullest moment holds every weight, every layer's output and the largest layer's unrolled windows.

Measured as the peak of the process on one machine: 6.4 times the weights of a large FC, 3.7 (ReLU) to 7.1 (batch
normalization) times the volumes of a stack of 20 layers, 2.1 times the windows of a 7x7 convolution.
"""
LIBRARIES = 3 * 2**27
"""What NumPy, torch and LLVM take before the first number."""


def needed_bytes(plan: Plan) -> int:
    """An estimate, rather too large than too small, of what checking the plan's network on its batch takes."""
    volumes, windows = (plan.totals[kind] * plan.batch for kind in ("volumes", "im2col"))
    weights = plan.totals["parameters"] + plan.totals["fixed"]
    return LIBRARIES + int(8 * (PARAMETERS * weights + VOLUMES * volumes + WINDOWS * windows))
