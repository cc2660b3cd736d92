"""Where in memory things lie: what is not needed at the same time shares room.

A program names places in an arena in which every thing has a room of its own. Once all calls are known, so is when each
room is first written and last read, and memory is given to it for so long. What is used in one go, between two places
where threads meet, lies in the memory of the thread that has the block in hand; what outlasts a meeting, or is met
over, in memory of the block's own.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right, insort
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from .expressions import Access
from .layout import Arena, Room

FEW = 1000
"""Rooms that are placed in a second way too, which often leaves fewer gaps; its time grows with their square."""
Placed = tuple[list[tuple[int, int]], int]


class Use(NamedTuple):
    """The places that a call reads or writes; how often threads have met before, and whether it is a meeting."""

    places: tuple[Access, ...]
    segment: int
    met: bool = False


class Life(NamedTuple):
    """The numbers of the first and the last use of a room, and whether it outlasts a meeting or is met over."""

    first: int
    last: int
    segment: int
    lasts: bool


class Layout:
    """Where rooms lie: `arena` and `kept` vectors are needed for a thread and for a block."""

    def __init__(self, arena: Arena, lanes: int, uses: Sequence[Use]) -> None:
        self._starts, self._lanes = [room.start for room in arena.rooms], lanes
        self._moved: dict[int, tuple[str, int]] = {}
        lives = [(life, arena.rooms[k]) for k, life in self._lives(uses).items()]
        self.arena = self._place("arena", [one for one in lives if not one[0].lasts])
        self.kept = self._place("kept", [one for one in lives if one[0].lasts])

    def _place(self, buffer: str, lives: Sequence[tuple[Life, Room]]) -> int:
        """Put rooms into a buffer, kind by kind; the vectors that it needs."""
        size = 0
        for kind in sorted({room.kind for _, room in lives}):
            alike = [(life, room) for life, room in lives if room.kind == kind]
            places, more = _in_turn(alike)
            if len(alike) <= FEW:
                places, more = min((places, more), _largest_first(alike), key=lambda made: made[1])
            self._moved |= {start: (buffer, (size + place - start) * self._lanes) for start, place in places}
            size += more
        return size

    def _lives(self, uses: Sequence[Use]) -> dict[int, Life]:
        """Of each room that is used, by its number."""
        lives: dict[int, Life] = {}
        for time, use in enumerate(uses):
            for place in use.places:
                if place.buffer == "arena":
                    k = self._room(place)
                    before = lives.get(k, Life(time, time, use.segment, lasts=False))
                    lasts = before.lasts or use.met or use.segment != before.segment
                    lives[k] = before._replace(last=time, lasts=lasts)
        return lives

    def _room(self, place: Access) -> int:
        return bisect_right(self._starts, place.at.constant // self._lanes) - 1

    def placed(self, place: Access) -> Access:
        """The same place in the memory of a thread, `arena`, or of a block, `kept`."""
        if place.buffer != "arena":
            return place
        buffer, further = self._moved[self._starts[self._room(place)]]
        return Access(buffer, place.at + further, place.unit)


def _largest_first(lives: Iterable[tuple[Life, Room]]) -> Placed:
    """Where each room lies, by its start, and the size of all: the lowest place that nothing larger needs meanwhile.

    Of equal ones those that are needed for longer go first.
    """
    placed, size = list[tuple[int, int, Life, int]](), 0
    for life, room in sorted(lives, key=lambda one: (-one[1].size, one[0].first - one[0].last, one[0])):
        place = 0
        for start, end, other, _ in placed:
            if start >= place + room.size:
                break
            if other.first <= life.last and life.first <= other.last:
                place = max(place, end)
        insort(placed, (place, place + room.size, life, room.start))
        size = max(size, place + room.size)
    return [(start, place) for place, _, _, start in placed], size


def _in_turn(lives: Iterable[tuple[Life, Room]]) -> Placed:
    """The same, but what is needed first is placed first, which takes no long time however many there are."""
    gaps, places, ending = Gaps(), list[tuple[int, int]](), list[tuple[int, int, Room]]()
    for life, room in sorted(lives):
        while ending and ending[0][0] < life.first:
            _, place, ended = heapq.heappop(ending)
            gaps.give_back(ended, place)
        place = gaps.take(room)
        places.append((room.start, place))
        heapq.heappush(ending, (life.last, place, room))
    return places, gaps.size


class Gaps:
    """Memory as a list of what is free, as [start, end), the last of them without end."""

    def __init__(self) -> None:
        self.size = 0
        self._gaps: list[tuple[int, float]] = [(0, math.inf)]

    def take(self, room: Room) -> int:
        """The start of the smallest gap that is large enough."""
        fitting = [(end - start, k) for k, (start, end) in enumerate(self._gaps) if end - start >= room.size]
        _, k = min(fitting)
        start, end = self._gaps[k]
        left = start + room.size
        self._gaps[k : k + 1] = [(left, end)] if left < end else []
        self.size = max(self.size, left)
        return start

    def give_back(self, room: Room, start: int) -> None:
        """The room is a gap, one with those before and behind it."""
        k = bisect_right(self._gaps, (start, 0.0))
        end: float = start + room.size
        if self._gaps[k][0] == end:
            end = self._gaps.pop(k)[1]
        if k and self._gaps[k - 1][1] == start:
            k -= 1
            start = self._gaps.pop(k)[0]
        self._gaps.insert(k, (start, end))
