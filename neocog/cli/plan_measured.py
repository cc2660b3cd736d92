"""What this machine says beside a plan: `--time`, `--measure`, `--max-latency` and `--effective-field FILE.png`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ..plan import Plan
from ..plan.tables import duration
from .arguments import figure_file
from .output import console, print_table, print_wrapped

if TYPE_CHECKING:
    from ..measure.field import EffectiveField
    from ..measure.memory import Measured
    from ..measure.time import Comparison
    from ..native.pace import Pace
    from ..plan.calibration import Calibration
    from ..plan.time import StepTime

MODES = ("training", "inference")


def add_measured(parser: argparse.ArgumentParser) -> None:
    """The options that look at this machine."""
    group = parser.add_argument_group("on this machine (which is calibrated once, for some minutes)")
    group.add_argument("--time", action="store_true", help="predict how long steps take, with an interval")
    group.add_argument("--measure", action="store_true", help="run steps too, and print predicted beside measured")
    group.add_argument(
        "--effective-field",
        type=figure_file(".png"),
        metavar="FILE",
        help="how much of what a layer sees really matters, measured by gradients; pictures to FILE.png",
    )


def needs_calibration(args: argparse.Namespace) -> bool:
    """Whether one of the options predicts times."""
    return bool(args.time or args.measure or args.max_latency)


class Known(NamedTuple):
    """What is known of this machine: how fast torch is, and the native engine where it has kernels for the network."""

    torch: Calibration
    native: Pace | None

    def times(self, made: Plan, mode: str) -> list[StepTime]:
        """What a step is expected to take each engine."""
        from ..native.pace import step_time as native_time
        from ..plan.time import step_time

        return [step_time(made, self.torch, mode), *([native_time(made, self.native, mode)] if self.native else [])]

    def fastest(self, made: Plan) -> StepTime:
        """Inference by the engine that is expected to take the least time."""
        return min(self.times(made, "inference"), key=lambda step: step.seconds)

    def comparisons(self, made: Plan, mode: str) -> list[Comparison]:
        """The same beside what it took."""
        from ..measure.native_time import compare as native_compare
        from ..measure.time import compare

        found = [compare(made, self.torch, mode)]
        return [*found, native_compare(made, self.native, mode)] if self.native else found


def calibrated(made: Plan) -> Known:
    """What is known of this machine for a plan; a terminal is shown what is measured, if it has to be.

    The native engine is measured too if it does not cover this network: `train` goes by it for others.
    """
    from ..losses import default_loss
    from ..measure.pace import pace_for
    from ..measure.time import calibration_for
    from ..native.trainer import not_covered, not_here

    watched = sys.stderr.isatty()

    def tell(line: str) -> None:
        print(f"\r{line:<78.78}", end="", file=sys.stderr, flush=True)

    report = tell if watched else None
    covered = not not_covered(made.network, default_loss(made.network).name, made.optimizer)
    torch, native = calibration_for(made, report=report), None if not_here() else pace_for(made, report=report)
    found = Known(torch, native if covered else None)
    if watched:
        print(f"\r{'':<78}\r", end="", file=sys.stderr, flush=True)
    return found


class Findings:
    """What the options asked for, measured once, to be printed or put into the JSON document."""

    def __init__(self, made: Plan, args: argparse.Namespace, known: Known | None) -> None:
        self.made = made
        self.steps: list[StepTime] = []
        self.comparisons: list[Comparison] = []
        self.memory: dict[str, Measured] = {}
        self.fields: tuple[EffectiveField, ...] = ()
        if args.measure and known:
            self._measure(known)
        elif args.time and known:
            self.steps = [step for mode in _modes(made) for step in known.times(made, mode)]
        if args.effective_field:
            self._look(args.effective_field, args.net)

    def _measure(self, known: Known) -> None:
        from ..measure.memory import measure

        plan = self.made
        for mode in _modes(plan):
            self.comparisons += known.comparisons(plan, mode)
            self.memory[mode] = measure(
                plan.network, batch=plan.batch, dtype=plan.dtype, optimizer=plan.optimizer, training=mode == "training"
            )

    def _look(self, file: Path, title: str) -> None:
        from ..files import write_atomically
        from ..measure.field import effective_fields
        from ..measure.field_picture import draw_fields

        self.fields = tuple(effective_fields(self.made.network))
        write_atomically(file, draw_fields(self.fields, title))

    def as_dict(self) -> dict[str, Any]:
        """`time`, `measured` and `effective_fields`, as far as they were asked for."""
        found = {
            "time": [step.as_dict() for step in self.steps],
            "measured": [comparison.as_dict() for comparison in self.comparisons],
            "measured_memory": {mode: one.as_dict() for mode, one in self.memory.items()},
            "effective_fields": [field.as_dict() for field in self.fields],
        }
        return {name: values for name, values in found.items() if values}

    def show(self, *, stderr: bool) -> None:
        """Tables and words below the plan."""
        out = console(stderr=stderr)
        for step in self.steps:
            low, high = step.interval
            what = f"{step.mode} by {step.engine}, batch {step.batch}, {self.made.dtype}"
            print_wrapped(
                out,
                f"{what}: {duration(step.seconds)} a step expected "
                f"({duration(low)} to {duration(high)} in four of five), {step.images_per_second:,.1f} images/s",
            )
        for comparison in self.comparisons:
            out.print()
            rows = [
                (row.name, row.token, duration(row.predicted), duration(row.measured), f"{row.share:.0%}")
                for row in comparison.rows
            ]
            header = ("layer", "written", "predicted", "measured", "of roofline")
            print_table(out, header, rows, text=("layer", "written"), optional=("written",))
            for line in comparison.summary():
                print_wrapped(out, line)
            if comparison.predicted.engine == "torch":
                print_wrapped(out, f"memory: {self.memory[comparison.predicted.mode]}")
        if self.fields:
            from ..measure.field import HEADER, field_cells, summary

            out.print()
            print_table(out, HEADER, [field_cells(field) for field in self.fields], text=HEADER[:2])
            for line in summary(self.made):
                print_wrapped(out, line)


def _modes(made: Plan) -> tuple[str, ...]:
    """Training only of what ends in scores."""
    return MODES if made.rows[-1].output.positions == 1 else MODES[1:]
