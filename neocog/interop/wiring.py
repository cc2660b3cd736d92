"""Layers that read one another, in any order -> a chain of layers and branches, as the notation has them.

A network that branches and joins so that it can be written as a chain is a two-terminal series-parallel graph
(Valdes, Tarjan and Lawler, SIAM J. Comput. 11, 1982). Two steps, repeated, make any such graph a single edge from input
to output: volumes with one reader are taken into the edge that passes them (series), and edges from one volume into
one join become one edge that branches (parallel). What cannot be made smaller cannot be written.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ..errors import NeocogError
from ..layer import Activation, Layer
from ..layers.add import Add
from ..layers.concat import Concat
from ..layers.fc import FullyConnected
from ..layers.flatten import Flatten
from ..layers.identity import Identity
from ..layers.prelu import PReLU
from ..layers.softmax import Softmax
from ..network import Branch, Chain, Item, Step


@dataclass(frozen=True, eq=False)
class Vertex:
    """A layer, the numbers of those it reads, and where it stands in the user's code; `arrays` are its weights."""

    layer: Layer
    inputs: tuple[int, ...]
    where: str
    arrays: Mapping[str, Any] = field(default_factory=dict)


Graph = dict[int, Vertex]
"""Vertices by number, each after those it reads."""


def as_chain(graph: Graph) -> tuple[Chain, list[Vertex | None]]:
    """The chain that computes the last vertex from the first, and the vertex behind each of its layers.

    They are in the order of `Network.nodes`, with None for joins and ID, which own nothing. All vertices must
    lead to the last. Raises NeocogError naming the volumes whose branches cross.
    """
    tidy = _sums_as_one(_concatenations_shared(_settled(_without_needless_flattens(graph))))
    reduction = _Reduction(tidy)
    chain = reduction.chain()
    return chain, [reduction.behind.get(id(item)) for item in _in_running_order(chain)]


def _in_running_order(chain: Chain) -> Iterator[Item]:
    """All steps and branches, each branch after its arms."""
    for item in chain:
        if isinstance(item, Branch):
            for arm in item.arms:
                yield from _in_running_order(arm)
        yield item


# -- the same network, written as people write it --------------------------------------------------------------------


def _without_needless_flattens(graph: Graph) -> Graph:
    """Without each FLATTEN whose values only FC reads, perhaps after layers that treat every value alike."""
    readers = _readers(graph)
    needless = {k for k, v in graph.items() if isinstance(v.layer, Flatten) and _only_fc_reads(graph, readers, k)}
    instead = {k: k for k in graph}
    for k in needless:
        instead[k] = instead[graph[k].inputs[0]]
    return {k: replace(v, inputs=tuple(instead[i] for i in v.inputs)) for k, v in graph.items() if k not in needless}


def _only_fc_reads(graph: Graph, readers: Mapping[int, Sequence[int]], start: int) -> bool:
    waiting = [start]
    while waiting:
        k = waiting.pop()
        if not readers[k]:
            return False  # the network's output
        for reader in readers[k]:
            layer = graph[reader].layer
            if isinstance(layer, Activation) and not isinstance(layer, Softmax | PReLU):  # those two know channels
                waiting.append(reader)
            elif not isinstance(layer, FullyConnected):
                return False
    return True


def _settled(graph: Graph) -> Graph:
    """Where windows tile, `fit` is open; it takes the value that most others need, so that a text says it once."""
    needed = Counter(fit for v in graph.values() if (fit := getattr(v.layer, "fit", "exact")) != "exact")
    if not needed:
        return graph
    ((common, _),) = needed.most_common(1)
    return {
        k: replace(v, layer=replace(v.layer, fit=common)) if getattr(v.layer, "fit", "") == "exact" else v  # type: ignore[type-var]
        for k, v in graph.items()
    }


def _concatenations_shared(graph: Graph) -> Graph:
    """Each concatenation reads an earlier one in place of what that put together: x, f, g -> (x, f), g.

    DenseNet lists all volumes so far each time; as one branch beside what was there, it is a chain.
    """
    known: dict[tuple[int, ...], int] = {}
    shared: Graph = {}
    for k, v in graph.items():
        if isinstance(v.layer, Concat):
            inputs = v.inputs
            for length in range(len(inputs) - 1, 1, -1):
                starts = (i for i in range(len(inputs) - length + 1) if inputs[i : i + length] in known)
                if (i := next(starts, None)) is not None:
                    v = replace(v, inputs=(*inputs[:i], known[inputs[i : i + length]], *inputs[i + length :]))
                    break
            if len(set(inputs)) > 1:  # x beside x may be written as often as one likes
                known.setdefault(inputs, k)
        shared[k] = v
    return shared


def _sums_as_one(graph: Graph) -> Graph:
    """(a + b) + c as one sum of three, where nothing else reads a + b."""
    readers = _readers(graph)
    sums: Graph = {}
    for k, v in graph.items():
        if isinstance(v.layer, Add):
            terms: list[int] = []
            for i in v.inputs:
                inner = i in sums and isinstance(sums[i].layer, Add) and len(readers[i]) == 1
                terms += sums.pop(i).inputs if inner else (i,)
            v = replace(v, inputs=tuple(terms))
        sums[k] = v
    return sums


def _readers(graph: Graph) -> dict[int, list[int]]:
    """Who reads each vertex, once for each time."""
    found: dict[int, list[int]] = {k: [] for k in graph}
    for k, v in graph.items():
        for i in v.inputs:
            found[i].append(k)
    return found


# -- series and parallel ---------------------------------------------------------------------------------------------


@dataclass(eq=False)
class _Edge:
    """The items between two volumes."""

    source: int
    target: int
    items: list[Item]


class _Reduction:
    """The graph with volumes as vertices and items on edges, made smaller until one edge is left."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.first, self.last = min(graph), max(graph)
        self.into: dict[int, list[_Edge]] = defaultdict(list)
        self.out: dict[int, list[_Edge]] = defaultdict(list)
        self.waiting = deque(graph)  # what may have become smaller
        steps = {k: Step(v.layer) for k, v in graph.items() if not v.layer.joins}
        self.start = steps[self.first]
        self.behind = {
            id(step): graph[k] for k, step in steps.items()
        }  # edges keep every step, so no identity is reused
        for k, v in graph.items():
            for i in v.inputs:
                edge = _Edge(i, k, [steps[k]] if k in steps else [])
                self.into[k].append(edge)
                self.out[i].append(edge)

    def chain(self) -> Chain:
        """INPUT and all that follows. Raises NeocogError where branches cross."""
        while self.waiting:
            k = self.waiting.popleft()
            if len(self.into[k]) > 1:
                self._parallel(k)
            if k not in (self.first, self.last) and len(self.into[k]) == len(self.out[k]) == 1:
                self._series(k)
        if any(len(edges) > 1 for edges in self.into.values()):
            raise self._crossing()
        rest = self.into[self.last][0].items if self.last != self.first else []
        return (self.start, *rest)

    def _series(self, k: int) -> None:
        """Take a volume with one reader into the edge to that reader."""
        (before,), (after,) = self.into.pop(k), self.out.pop(k)
        before.items += after.items
        before.target = after.target
        edges = self.into[after.target]
        edges[edges.index(after)] = before
        self.waiting.append(after.target)

    def _parallel(self, k: int) -> None:
        """Make one edge of those that a join reads from one volume: of neighbours where their order matters.

        The volume is the last among the sources: what starts further up waits until all that begins later is joined.
        """
        source = max(edge.source for edge in self.into[k])
        groups: list[list[_Edge]] = []
        together: list[_Edge] = []
        for edge in self.into[k]:
            if edge.source == source and together:
                together.append(edge)
                continue
            groups.append([edge])
            if edge.source == source:
                together = groups[-1]
            elif not isinstance(self.graph[k].layer, Add):
                together = []
        if len(groups) < len(self.into[k]):
            self.into[k] = [self._joined(k, group) if len(group) > 1 else group[0] for group in groups]
            self.out[source] = [edge for edge in self.out[source] if edge.target != k]
            self.out[source] += [edge for edge in self.into[k] if edge.source == source]
            self.waiting.append(source)

    def _joined(self, k: int, group: Sequence[_Edge]) -> _Edge:
        arms = tuple(tuple(edge.items) or (Step(Identity()),) for edge in group)
        return _Edge(group[0].source, k, [Branch(self.graph[k].layer, arms)])

    def _crossing(self) -> NeocogError:
        """The first join left over, and the volumes it joins, none of which is where the others begin."""
        k = next(k for k in sorted(self.into) if len(self.into[k]) > 1)
        sources = sorted({edge.source for edge in self.into[k]})
        shown = [f"{self.graph[i].layer.op} at {self.graph[i].where}" for i in sources]
        return NeocogError(
            f"the branches that {self.graph[k].layer.op} joins here cross others, which no chain with branches does",
            where=self.graph[k].where,
            received=f"branches from {' and from '.join(shown)}",
            hint="branches that start from one volume and are joined before any of them is read elsewhere",
        )
