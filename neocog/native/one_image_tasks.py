"""Network -> tasks of one image: a stage, and all that follows it before its values are stored.

A stage goes on with what its only reader does to each value: normalization, activation functions, pooling that tiles,
and sums with volumes that are there already. So the second convolution of a residual block adds the shortcut itself.
What leads to no score, side outputs, is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ..layer import Shape
from ..network import Network, Node
from .elementary import ActivationCode
from .expressions import Value, constant, root
from .kernel import Function
from .layout import Margins, extent
from .one_image import Curve, Pooled, Scaled, Sloped, Step
from .pointwise import CURVES
from .stages import Blend, Input, Pool, Single, Stage, Term, Weighted, scored, stages_of

POOLINGS = ("POOL", "AVGPOOL", "GAP", "L2POOL", "SUBSAMPLE", "FILTER")
SINGLES = ("RBF", "SOFTMAX", "DROPOUT", "PRELU", *CURVES)
LARGEST = 9
"""Positions of a window that sums are pooled over before they are stored, if the stage did not take it in itself."""


class Follow(NamedTuple):
    """A step, and the layer whose parameters it reads; or the task whose volume is added."""

    step: Step | None = None
    node: Node | None = None
    added: int | None = None


@dataclass
class Task:
    """What one kernel does, or one for each term that it reads: `source` of a term is a task here.

    A blend or a function by itself is a copy of what it reads; where terms do not cover the output, the rest is 0.
    """

    stage: Stage
    terms: tuple[Term, ...]
    output: Shape
    follows: list[Follow] = field(default_factory=list)

    @property
    def by_channel(self) -> bool:
        """Whether it is a depthwise convolution: each channel by itself."""
        stage = self.stage
        if not isinstance(stage, Weighted) or stage.ending.pools:
            return False
        return stage.inputs.channels == stage.sums.channels == stage.groups > 1

    @property
    def multiplies(self) -> bool:
        """Whether its sums are of products over channels."""
        lone = isinstance(self.stage, Single) and self.stage.node.layer.op == "RBF"
        return lone or (isinstance(self.stage, Weighted) and not self.by_channel)

    @property
    def is_copy(self) -> bool:
        """Whether its stage only says what follows."""
        return isinstance(self.stage, Blend) or (
            isinstance(self.stage, Single) and self.stage.node.layer.op not in ("RBF", "SOFTMAX")
        )

    @property
    def is_whole(self) -> bool:
        """Whether it computes every channel of its output."""
        return not self.is_copy or sum(term.channels for term in self.terms) == self.output.channels

    @property
    def is_softmax(self) -> bool:
        """Whether it gives shares of a whole."""
        return isinstance(self.stage, Single) and self.stage.node.layer.op == "SOFTMAX"

    @property
    def groups(self) -> int:
        """Groups of channels whose products are summed apart."""
        return self.stage.groups if isinstance(self.stage, Weighted) and self.multiplies else 1

    @property
    def norm(self) -> Node | None:
        """The normalization of a weighted layer's sums, which is multiplied into the weights."""
        first = self.follows[0] if isinstance(self.stage, Weighted) and self.follows else Follow()
        return first.node if first.node and first.node.layer.op == "BN" else None

    @property
    def unfolded(self) -> list[Follow]:
        """What follows, without that."""
        return self.follows[1:] if self.norm else self.follows

    @property
    def biased(self) -> bool:
        """Whether a weighted layer's sums begin with a number."""
        return isinstance(self.stage, Weighted) and (self.stage.bias or self.norm is not None)

    @property
    def margins(self) -> Margins:
        """The zeros that it reads around a volume; only what multiplies reads padding as if it were there."""
        stage = self.stage
        if isinstance(stage, Weighted):
            return stage.frame.margins(extent(stage.inputs), extent(stage.sums))
        if isinstance(stage, Pool) and stage.node.layer.op == "FILTER":
            return stage.frame.margins(extent(stage.inputs), extent(stage.output))
        return Margins()

    def numbers(self, lanes: int) -> int:
        """How many a position of its volume has, if channels lie side by side.

        Parts of them are stored in whole vectors: what is too much of one before the next one is.
        """
        if isinstance(self.stage, Input):
            return self.output.channels
        count = self.output.channels // self.groups
        parts = [(self.output.channels - count, count)]
        if self.is_copy:
            parts = [(0, self.output.channels), *((term.first, term.channels) for term in self.terms)]
        return max(first + -(-count // lanes) * lanes for first, count in parts)

    @property
    def sources(self) -> list[int]:
        """All tasks that it reads."""
        return [term.source for term in self.terms] + [f.added for f in self.follows if f.added is not None]


def covers(network: Network) -> bool:
    """Whether there are tasks for all stages that lead to the scores."""
    stages, last = stages_of(network), scored(network)
    return last > 0 and stages[last].output.positions == 1 and all(map(_is_covered, _needed(stages, last).values()))


def _is_covered(stage: Stage) -> bool:
    if isinstance(stage, Pool):
        return stage.node.layer.op in POOLINGS
    return not isinstance(stage, Single) or stage.node.layer.op in SINGLES


def _needed(stages: Sequence[Stage], last: int) -> dict[int, Stage]:
    """The stages that the last one needs, in running order."""
    found = {last}
    for k in reversed(range(last + 1)):
        found.update(stages[k].sources if k in found else ())
    return {k: stages[k] for k in sorted(found)}


def tasks_of(network: Network) -> list[Task]:
    """The tasks of a network that is covered, in running order; the last one gives the scores."""
    reader = _Reader(stages_of(network), scored(network))
    return reader.tasks


class _Reader:
    """Goes through the stages of a network and makes its tasks."""

    def __init__(self, stages: Sequence[Stage], last: int) -> None:
        self.stages, self.tasks = _needed(stages, last), list[Task]()
        self.task_of: dict[int, int] = {}
        self.normed: set[Term] = set()  # whose source has gone through the normalization
        self.readers: dict[int, list[int]] = {k: [] for k in self.stages}
        for k, stage in self.stages.items():
            for source in stage.sources:
                self.readers[source].append(k)
        self.readers[last].append(len(stages))  # whoever wants scores
        for k, stage in self.stages.items():
            if k not in self.task_of:
                self._begin(k, stage)

    def _begin(self, k: int, stage: Stage) -> None:
        """Make the task that begins with a stage."""
        if isinstance(stage, Single) and stage.node.layer.op == "DROPOUT":
            self.task_of[k] = self.task_of[stage.source]
            return
        task = self._blend(stage) if isinstance(stage, Blend) else self._alone(stage)
        members = [k]
        if task.is_whole and not task.is_softmax and not isinstance(stage, Input):
            while len(self.readers[members[-1]]) == 1 and self._goes_on(task, members[-1]):
                members += self.readers[members[-1]]
                task.output = self.stages[members[-1]].output
        self.tasks.append(task)
        self.task_of |= dict.fromkeys(members, len(self.tasks) - 1)

    def _alone(self, stage: Stage) -> Task:
        terms = tuple(Term(self.task_of[k], self.stages[k].output.channels) for k in stage.sources)
        task = Task(stage, terms, stage.output, self._own(stage) or [])
        if isinstance(stage, Weighted):
            task.follows += [Follow(Pooled("max", stage.ending.pool))] * stage.ending.pools
            task.follows += _curve(stage.ending.activation)
        elif isinstance(stage, Pool) and stage.node.layer.op == "SUBSAMPLE":
            task.follows.append(Follow(Scaled(), stage.node))
        elif isinstance(stage, Pool) and stage.node.layer.op == "L2POOL":
            task.follows.append(Follow(Curve(lambda f, x: root(x))))
        elif isinstance(stage, Pool):
            task.follows += _curve(stage.activation)
        return task

    # -- what follows ------------------------------------------------------------------------------------------

    def _goes_on(self, task: Task, k: int) -> bool:
        """Let a task, so far up to stage k, do what the only reader of that does; whether it can."""
        (reader,) = self.readers[k]
        stage = self.stages.get(reader)
        if stage is None:
            return False
        if isinstance(stage, Pool):
            return self._pool(task, stage)
        own = self._own(stage)
        if own is None and isinstance(stage, Blend):
            own = self._added(task, stage, next(term for term in stage.terms if term.source == k))
        task.follows += own or []
        return own is not None

    def _own(self, stage: Stage) -> list[Follow] | None:
        """What a stage does with each value by itself, None if that is not all."""
        if isinstance(stage, Blend) and len(stage.terms) == 1 and _is_plain(stage.terms[0], stage):
            return [*self._norm(stage.terms[0]), *_curve(stage.activation)]
        if not isinstance(stage, Single) or stage.node.layer.op in ("RBF", "SOFTMAX"):
            return None
        op = stage.node.layer.op
        if op in CURVES:
            return [Follow(Curve(CURVES[op].value))]
        return [Follow(Sloped(), stage.node)] if op == "PRELU" else []

    def _norm(self, term: Term) -> list[Follow]:
        return [Follow(Scaled(), term.norm)] if term.norm and term not in self.normed else []

    def _added(self, task: Task, blend: Blend, mine: Term) -> list[Follow] | None:
        """A sum whose other terms are there; else at least the normalization that leads into it."""
        others = [term for term in blend.terms if term != mine]
        if _is_plain(mine, blend) and all(term.source in self.task_of for term in others):
            added = [Follow(added=self._moved(term, blend)) for term in others]
            return [*self._norm(mine), *added, *_curve(blend.activation)]
        task.follows += self._norm(mine)
        self.normed.add(mine)
        return None

    def _pool(self, task: Task, pool: Pool) -> bool:
        """Pooling of sums; the largest is taken before an activation function, which keeps the order."""
        op, window, follows = pool.node.layer.op, pool.frame.kernel, task.follows
        pools = any(follow.step.pool != (1, 1) for follow in follows if follow.step)
        if not task.multiplies or pools or not pool.tiles or math.prod(window) > LARGEST or op in ("L2POOL", "FILTER"):
            return False
        if op == "POOL":
            rising = bool(follows) and isinstance(follows[-1].step, Curve) and follows[-1].step.rises
            follows.insert(len(follows) - rising, Follow(Pooled("max", window)))
            follows += _curve(pool.activation)
        elif op == "SUBSAMPLE":
            follows += [Follow(Pooled("sum", window)), Follow(Scaled(), pool.node)]
        else:
            follows += [Follow(Pooled("sum", window)), Follow(Curve(_times(1 / math.prod(window))))]
        return True

    # -- blends ------------------------------------------------------------------------------------------------

    def _blend(self, blend: Blend) -> Task:
        """Of a sum the first term that is plain is copied, and the others are added."""
        curve = _curve(blend.activation)
        if blend.node.layer.op == "CONCAT" or (len(blend.terms) == 1 and not curve and not blend.terms[0].norm):
            terms = tuple(replace(term, source=self.task_of[term.source]) for term in blend.terms)
            return Task(blend, terms, blend.output, curve)
        first = next((term for term in blend.terms if _is_plain(term, blend)), blend.terms[0])
        rest = list(blend.terms)
        rest.remove(first)
        if _is_plain(first, blend):
            source, norm = self.task_of[first.source], self._norm(first)
        else:
            source, norm = self._moved(first, blend), []
        added = [Follow(added=self._moved(term, blend)) for term in rest]
        return Task(blend, (Term(source, blend.output.channels),), blend.output, [*norm, *added, *curve])

    def _moved(self, term: Term, blend: Blend) -> int:
        """The task that gives a term of a sum as a volume of the sum's size."""
        source, norm = self.task_of[term.source], self._norm(term)
        if _is_plain(term, blend) and not norm:
            return source
        self.tasks.append(Task(blend, (replace(term, source=source),), blend.output, norm))
        return len(self.tasks) - 1


def _is_plain(term: Term, blend: Blend) -> bool:
    """Whether it is as large as the sum."""
    return term.channels == blend.output.channels and term.stride == (1, 1)


def _curve(activation: ActivationCode | None) -> list[Follow]:
    return [Follow(Curve(activation.forward, rises=True))] if activation else []


def _times(factor: float) -> Callable[[Function, Value], Value]:
    return lambda f, x: x * constant(x.type, factor)
