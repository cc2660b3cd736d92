"""Keras's names, as `variable.path` has them: `block1_conv1/kernel`. Kernels lie with channels last.

Layers that nobody named are counted by their kind, in running order: `conv2d`, `conv2d_1`, `dense`. So every network of
layers that Keras has too can take its weights from there.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ...network import Network
from .caffe import minus
from .namemap import NameMap
from .torchvision import VGG

KINDS = {
    ("CONV", 1): "conv1d",
    ("CONV", 2): "conv2d",
    ("DECONV", 1): "conv1d_transpose",
    ("DECONV", 2): "conv2d_transpose",
    **{("FC", rank): "dense" for rank in (1, 2)},
    **{("BN", rank): "batch_normalization" for rank in (1, 2)},
    **{("GROUPNORM", rank): "group_normalization" for rank in (1, 2)},
}
"""By a layer's word and its volume's axes."""


def _vgg(depth: int) -> NameMap:
    counted = [f"block{stage}_conv{k}" for stage, n in enumerate(VGG[depth], start=1) for k in range(1, n + 1)]
    names = (*counted, "fc1", "fc2", "predictions")
    return NameMap(f"vgg{depth}", "keras", names, minus(123.68, 116.779, 103.939), bgr=True, channels_last=True)


MAPS = (_vgg(16), _vgg(19))


def default_names(network: Network) -> tuple[NameMap, ...]:
    """The names that Keras gives a network's layers by itself; none where it has no such layer."""
    counts: Counter[str] = Counter()
    names: list[str] = []
    for node in network.nodes:
        layer: Any = node.layer
        if not layer.parameters(*network.input_shapes(node)):
            continue
        kind = KINDS.get((layer.op, network.input_shapes(node)[0].rank))
        if kind is None or getattr(layer, "flip", False) or getattr(layer, "table", None):
            return ()
        names.append(f"{kind}_{counts[kind]}" if counts[kind] else kind)
        counts[kind] += 1
    return (NameMap("the network", "keras", tuple(names), photographs=None, channels_last=True),)
