"""A machine made up, so that predicted times are numbers that a person can work out."""

from __future__ import annotations

from neocog.native.effort import Effort
from neocog.native.pace import KINDS, Pace
from neocog.plan.calibration import Calibration, Sample

# A machine that computes 1e9 operations and moves 1e9 bytes a second, and whose convolutions take twice as long.
SLOW = Sample("CONV", (6.0, 1.0, 4.0, 2.0, 3.0, 0.0, 0.0), {"inference": 2.0, "forward": 2.0, "parameters": 2.0})
MACHINE = Calibration(
    machine="one made up",
    threads=1,
    dtype="float32",
    flops=1e9,
    bandwidth=((1e3, 1e9), (1e9, 1e9)),
    overhead={},
    page=0.0,
    step={"inference": 1e-6, "training": 3e-6},
    update={"momentum": 1e-8, "sgd": 5e-9},
    update_array=1e-7,
    together={},
    spread={},
    samples=(SLOW,),
)

# A native engine that begins one instruction in a nanosecond, of whatever kind, and waits for no memory.
PACE = Pace(
    machine="one made up",
    threads=1,
    dtype="float32",
    rate=1e9,
    costs=dict.fromkeys(Effort._fields, 1e-9) | {"bytes": 0.0},
    narrow={"2": 1.0, "4": 1.0},
    together=dict.fromkeys(KINDS, (1.0, 0.0, 0.0)),
    spread=dict.fromkeys(KINDS, 0.0),
)
