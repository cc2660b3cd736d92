"""A stage of a network in its program: the volume that it gives, and the way back for that volume's gradient."""

from __future__ import annotations

from abc import ABC, abstractmethod

from . import passes
from .endings import Plain, Sink
from .expressions import Access
from .layout import Margins, Volume
from .program import Call, Program
from .stages import Stage


class Part(ABC):
    """A stage in a program: the volume it gives, and how a gradient for that comes back."""

    clears = False
    """Whether its own kernels clear the margins of y, where that is to be done."""

    def __init__(self, program: Program, stage: Stage, margins: Margins, readers: int) -> None:
        self.program, self.stage, self.readers = program, stage, readers
        self.machine, self.lanes = program.machine, program.machine.lanes
        self.margins, self.y = margins, program.arena.volume(stage.output, margins)
        self.d: Volume | None = None
        self.lasts = False  # whether normalization reads y on its way back
        self.reread = False  # whether a layer with weights does
        self.held = False  # whether its own way back does
        self.light = False  # whether y is made anew on the way back rather than kept
        self.again: Volume | None = None  # where it is then
        self.written = False  # whether some reader has stored its gradient in d already
        self.puts = 0  # readers that are done
        sources = [program.parts[k] for k in stage.sources]
        self.wants: bool = any(source.wants for source in sources)  # whether a parameter lies at or before it

    @abstractmethod
    def forwards(self) -> None:
        """Add the calls that compute y."""

    @abstractmethod
    def backwards(self) -> None:
        """Add the calls that hand the gradient for y on to the stages read, and compute that of parameters."""

    def direct(self, channel: int, *, alone: bool) -> tuple[Sink, dict[str, Access]] | None:
        """What the last reader may put the gradient through, instead of into d: the sink, and its buffers' places.

        `alone` is as for `sink`.
        """
        del channel, alone
        return None

    def sink(self, channel: int = 0, *, alone: bool = False) -> tuple[Sink, dict[str, Access]]:
        """Where a reader puts the gradient for the channels from `channel` on. It calls `done` afterwards.

        `alone` says that the kernel which puts reads nothing of y, nor does any behind it: y may give way to it.
        """
        if self.puts + 1 == self.readers and (found := self.direct(channel, alone=alone)):
            return found
        d = self.gradient()
        return Plain(d, self.lanes, self.written), {"d": self.program.at(d, channel)}

    def flat_sink(self) -> tuple[Sink, dict[str, Access]]:
        """The same for a reader that takes every value for a channel of one position."""
        d = self.gradient()
        flat = Volume(d.channels * d.positions, 1, 1, d.offset, 1, 1)
        return Plain(flat, self.lanes, self.written), {"d": self.program.at(d)}

    @property
    def y_late(self) -> Volume:
        """y as it is on the way back."""
        return self.again or self.y

    def y_back(self) -> Volume:
        """y for a reader on its way back: once more where it is light, in a volume that its readers share."""
        self.reread = True
        if self.light and self.again is None:
            self.again = self.program.arena.volume(self.stage.output, self.margins)
            self.program.backward += self.remade(self.again)
        return self.y_late

    def remade(self, y: Volume) -> list[Call]:
        """The calls that make y once more, for stages that may be light."""
        raise NotImplementedError

    def done(self) -> None:
        """A reader has put its gradient: the next one adds to it."""
        self.written = True
        self.puts += 1

    def adopt(self, d: Volume) -> bool:
        """Take a volume of gradients that a reader needs no more for its own, if it can; whether it did."""
        if self.d is not None or (self.puts + 1 == self.readers and self.direct(0, alone=False)):
            return False
        self.d = d
        return True

    def zeroed(self) -> Volume:
        """The volume of gradients for a reader that only adds to it."""
        d = self.gradient()
        if not self.written:
            function = self.program.add("clear", lambda name: passes.clear(name, self.machine, d.channels * d.plane))
            self.program.backward.append(Call(function, {"y": self.program.at(d)}))
        self.written = True
        return d

    def gradient(self) -> Volume:
        """The volume of gradients, made when it is asked for first."""
        if self.d is None:
            self.d = self.program.arena.dense(self.stage.output)
        return self.d
