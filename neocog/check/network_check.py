"""A whole network: every layer on its real volumes, then all of them together in NumPy, torch and differences."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from .. import reference
from ..layer import Array, Shape
from ..network import Network
from .case import Comparison, Finding, difference, drawn, gradient_of, mode_name, spaced, torch_seeded
from .layer_checks import layer_checks
from .native_check import native_check

DEEP = 1e-8
"""Relative error allowed between two float64 passes through many layers, each of which adds its rounding."""
TINY_STEP = 1e-9
"""Step of the network's finite difference: small, for the more ReLUs there are, the nearer some is to its kink."""
COARSE = 1e-5
"""Relative error allowed for it: what rounding leaves of a difference over so small a step."""


class Row(NamedTuple):
    """One line of the table: a check of one node, or of the whole network (node `network`)."""

    node: str
    token: str
    check: str
    error: float
    tolerance: float
    ok: bool
    detail: str


class _Run(NamedTuple):
    """One way to run the network: its weights and input, in training (with the numbers to draw) or not."""

    network: Network
    weights: dict[str, Array]
    x: Array
    training: bool
    stream: int = 0

    def forward(self, at: float = 0.0, direction: dict[str, Array] | None = None) -> reference.Trace:
        """The reference's pass, after a step of length `at` along a direction of the weights and the input `x`."""
        step = direction or {}
        weights = {name: w + at * step[name] if name in step else w for name, w in self.weights.items()}
        x = self.x + at * step["x"] if "x" in step else self.x
        return reference.forward(
            self.network, weights, x, np.random.default_rng(self.stream) if self.training else None
        )

    def is_torch_comparable(self, trace: reference.Trace) -> bool:
        """Whether nothing in this pass was drawn at random: the engines draw different numbers."""
        return not self.training or _equal(trace, self._replace(stream=1).forward())


Watch = Callable[[str, int, int], None]
"""Told what is checked next, how many parts are done, and of how many."""


def check_network(network: Network, batch: int = 4, seed: int = 0, watch: Watch | None = None) -> list[Row]:
    """All checks of every node, and of the network as a whole on `batch` images, as rows in running order.

    A layer that occurs again with the same input volumes has the same findings; they are not computed twice.
    Four images are enough to normalise over; with two, a normalised vector is all +1 and -1. `watch` is called before
    each part: the whole network first, then every such layer.
    Raises ShapeError when the network does not fit its input.
    """
    found: dict[tuple[str, tuple[Shape, ...]], list[Finding]] = {}
    rows = []
    tell = watch or (lambda what, done, of: None)
    parts = 1 + len({(node.layer.token, network.input_shapes(node)) for node in network.nodes})
    tell("the whole network", 0, parts)
    with torch_seeded(seed):
        together = _together(network, batch, seed)
    for node in network.nodes:
        inputs = network.input_shapes(node)
        case = (node.layer.token, inputs)
        if case not in found:
            tell(node.name, 1 + len(found), parts)
            found[case] = [check(node.layer, inputs, seed) for check in layer_checks]
        findings = found[case] + together.pop(node.name)
        rows += [_row(node.name, node.layer.token, finding) for finding in findings]
    return rows + [_row("network", "", finding) for finding in together["network"]]


def _row(node: str, token: str, finding: Finding) -> Row:
    return Row(node, token, finding.check, finding.error, finding.tolerance, finding.ok, finding.detail)


def _together(network: Network, batch: int, seed: int) -> dict[str, list[Finding]]:
    """What each node gives and gets inside the network, and the network's own finite difference, by node name."""
    rng = np.random.default_rng(seed)
    weights = {
        f"{node.name}.{name}": drawn(parameter, rng)
        for node in network.nodes
        for name, parameter in node.layer.parameters(*network.input_shapes(node)).items()
    }
    x = spaced((batch, network.input_shape.channels, *network.input_shape.spatial), rng)
    outputs: dict[str, list[Comparison]] = defaultdict(list)
    gradients: dict[str, list[Comparison]] = defaultdict(list)
    directional: list[Comparison] = []
    for run, trace in _runs(_Run(network, weights, x, training=False)):
        dy = rng.standard_normal(trace.output.shape)
        dsides = {name: rng.standard_normal(y.shape) for name, y in trace.side_outputs.items()}
        dx, dweights = reference.backward(trace, dy, dsides)
        mine = {"x": dx} | dweights
        dys = {network.nodes[-1].name: dy} | dsides
        directional.append(_directional(run, dys, mine, rng))
        if run.is_torch_comparable(trace):
            for node, comparison in _against_torch(run, trace, dys, mine):
                (gradients if comparison.what.startswith("d") else outputs)[node].append(comparison)
    findings = {
        node.name: [
            Finding.worst("network-values", iter(outputs[node.name])),
            Finding.worst("network-gradients", iter(gradients[node.name])),
        ]
        for node in network.nodes
    }
    whole = [Finding.worst("network-finite", iter(directional)), native_check(network, weights, x, rng)]
    return findings | {"network": [finding for finding in whole if finding]}


def _runs(inference: _Run) -> Iterator[tuple[_Run, reference.Trace]]:
    """Inference, and training where it gives other outputs."""
    trace = inference.forward()
    yield inference, trace
    training = inference._replace(training=True)
    in_training = training.forward()
    if not _equal(trace, in_training):
        yield training, in_training


def _equal(a: reference.Trace, b: reference.Trace) -> bool:
    return all(np.array_equal(y, z) for y, z in zip(a.outputs, b.outputs, strict=True))


def _scores(trace: reference.Trace) -> dict[str, Array]:
    """The network's output and its side outputs, by node name."""
    return {trace.network.nodes[-1].name: trace.output} | trace.side_outputs


def _against_torch(
    run: _Run, trace: reference.Trace, dys: dict[str, Array], mine: dict[str, Array]
) -> Iterator[tuple[str, Comparison]]:
    """Each node's output and parameter gradients, and the input's gradient, against torch: (node name, comparison).

    `dys` are the gradients of the network's outputs by node name, `mine` those that the reference derives from them.
    """
    import torch

    from ..torch_engine import NetworkModule, write_weights

    module = NetworkModule(run.network).double().train(run.training)
    write_weights(module, run.weights)
    x = torch.from_numpy(run.x.copy()).requires_grad_()
    volumes = module.run(x)
    ends = [(y, dys[node.name]) for node, y in zip(run.network.nodes, volumes, strict=True) if node.name in dys]
    torch.autograd.backward([y for y, _ in ends], [torch.from_numpy(dy.reshape(y.shape)) for y, dy in ends])
    mode = mode_name(run.training)
    for node, y, volume in zip(run.network.nodes, trace.outputs, volumes, strict=True):
        yield node.name, Comparison(f"output, {mode}", difference(y, volume.detach().numpy()), DEEP)
    leaves = {"input.x": x} | dict(module.named_parameters())
    # A gradient that is zero by mathematics (a bias before BN) is rounding in both, so no relative error of its own.
    floor = 1e-6 * max(float(np.abs(g).max(initial=0.0)) for g in mine.values())
    for name, gradient in mine.items():
        node_name, _, own = (name if "." in name else f"input.{name}").partition(".")
        error = difference(gradient, gradient_of(leaves[f"{node_name}.{own}"]), floor)
        yield node_name, Comparison(f"d{own}, {mode}", error, DEEP)


def _directional(run: _Run, dys: dict[str, Array], gradients: dict[str, Array], rng: np.random.Generator) -> Comparison:
    """<dy, J v> against <J' dy, v>, for a step v of the input and all weights at once, each in its own size.

    When a ReLU or a maximum changes sides within the step, the difference is no derivative. That is rare and
    depends on v, while a wrong gradient is wrong for nearly every v: so the best of three directions counts.
    """
    sizes = {"x": run.x} | run.weights
    error = np.inf
    for _ in range(3):
        v = {name: rng.standard_normal(g.shape) * np.sqrt(np.mean(sizes[name] ** 2)) for name, g in gradients.items()}
        ahead, behind = (_scores(run.forward(step, v)) for step in (TINY_STEP, -TINY_STEP))
        moved = {name: (ahead[name] - behind[name]) / (2.0 * TINY_STEP) for name in dys}
        rise = sum(float(np.vdot(dy, moved[name])) for name, dy in dys.items())
        slope = sum(float(np.vdot(gradients[name], v[name])) for name in v)
        size = max(*(float(np.linalg.norm(m)) for m in moved.values()), abs(slope), np.finfo(float).tiny)
        error = min(error, abs(rise - slope) / size)
        if error <= COARSE:
            break
    return Comparison(f"along one direction of input and weights, {mode_name(run.training)}", error, COARSE)
