"""Whether the witnesses agree: what a layer's rules say, what NumPy computes, what torch computes, what differs.

Every layer states its mathematics several times over, and no two statements share arithmetic:

- the rule: integers worked out from the notation (`output_shape`, `cost`, `parameters`, `window`);
- the reference: NumPy in float64 (`forward`, `backward`), written from the formula;
- torch: the module that really trains, with gradients from autograd;
- finite differences: (f(x + h v) - f(x - h v)) / 2h, which know nothing but the forward pass.

Each check below compares two or more of them and reports how far apart they are. Layers are checked in
float64, where a wrong formula is off by far more than rounding; nothing here depends on training well.
"""

from __future__ import annotations

from .case import Comparison, Finding
from .layer_checks import Check, layer_checks
from .memory import needed_bytes
from .network_check import Row, Watch, check_network

__all__ = [
    "Check",
    "Comparison",
    "Finding",
    "Row",
    "Watch",
    "check_network",
    "layer_checks",
    "needed_bytes",
]
