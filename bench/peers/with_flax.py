"""JAX: a Flax module and optax in one jitted step."""

from __future__ import annotations

import math
from typing import Any

import flax
import jax
import optax
from flax import linen as nn
from jax import Array, lax
from jax import numpy as jnp
from serve import (
    LEARNING_RATE,
    MOMENTUM,
    CannotError,
    Nodes,
    Work,
    channels_last,
    check_shape,
    images,
    labels,
    refuse_rare_forms,
    serve,
)

ACTIVATIONS = {"RELU": nn.relu, "TANH": nn.tanh, "SIGMOID": nn.sigmoid}


class Net(nn.Module):
    nodes: Any

    @nn.compact
    def __call__(self, x: Array, training: bool) -> Array:
        outputs = [x]
        for node in self.nodes[1:]:
            y = apply(node, [outputs[i] for i in node["inputs"]], training)
            channels_first = (y.shape[-1], *y.shape[1:-1])
            check_shape(node, channels_first)
            outputs.append(y)
        return outputs[-1]


def apply(node: Any, xs: list[Array], training: bool) -> Array:
    """What a node makes of the volumes it reads, (N, H, W, C) or (N, C)."""
    x = xs[0]
    match node["op"]:
        case "CONV":
            return nn.Conv(
                node["out_channels"],
                node["kernel"],
                node["stride"],
                padding=node["pads"],
                kernel_dilation=node["dilation"],
                feature_group_count=node["groups"],
                use_bias=node["bias"],
            )(x)
        case "POOL":
            return nn.max_pool(x, node["kernel"], node["stride"], node["pads"])
        case "AVGPOOL":
            return nn.avg_pool(x, node["kernel"], node["stride"])
        case "GAP":
            return x.mean(axis=tuple(range(1, x.ndim - 1)))
        case "FC":
            return nn.Dense(node["out_channels"], use_bias=node["bias"])(x.reshape(len(x), -1))
        case "BN":
            learned = {"use_scale": node["affine"], "use_bias": node["affine"]}
            momentum, epsilon = 1 - node["momentum"], node["eps"]
            return nn.BatchNorm(not training, momentum=momentum, epsilon=epsilon, **learned)(x)
        case "LRN":
            window = (1,) * (x.ndim - 1) + (node["size"],)
            energy = lax.reduce_window(x * x, 0.0, lax.add, window, (1,) * x.ndim, "SAME")
            return x * (node["k"] + node["alpha"] * energy) ** -node["beta"]
        case "SHORTCUT":
            x = x[(slice(None), *(slice(None, None, s) for s in node["stride"]))]
            return jnp.pad(x, (*((0, 0),) * (x.ndim - 1), (0, node["out_channels"] - x.shape[-1])))
        case "DROPOUT":
            return nn.Dropout(node["probability"], deterministic=not training)(x)
        case "ADD":
            return sum(xs[1:], start=x)
        case "CONCAT":
            return jnp.concatenate(xs, axis=-1)
        case "FLATTEN":
            return x.reshape(len(x), -1)
        case "ID":
            return x
    if node["op"] not in ACTIVATIONS:
        raise CannotError(f"no {node['op']}")
    return ACTIVATIONS[node["op"]](x)


def make(nodes: Nodes, batch: int, training: bool, **_: object) -> Work:
    refuse_rare_forms(nodes)
    net = Net(nodes)
    x, y = jax.device_put(channels_last(images(nodes, batch))), jax.device_put(labels(nodes, batch))
    key = jax.random.key(0)
    variables = jax.jit(lambda: net.init(key, x[:1], False))()
    params, statistics = variables.pop("params"), variables
    parameters = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(params))
    if not training:
        predict = jax.jit(lambda params, statistics, x: net.apply({"params": params, **statistics}, x, False))
        return Work(parameters, lambda: jax.device_get(predict(params, statistics, x)))

    optimizer = optax.sgd(LEARNING_RATE, momentum=MOMENTUM, nesterov=True)

    def loss(params: Any, statistics: Any, key: Array, x: Array, y: Array) -> Any:
        scores, moved = net.apply(
            {"params": params, **statistics}, x, True, rngs={"dropout": key}, mutable=list(statistics)
        )
        return optax.softmax_cross_entropy_with_integer_labels(scores, y).mean(), moved

    @jax.jit(donate_argnums=0)
    def update(state: Any, x: Array, y: Array) -> Any:
        params, statistics, momenta, key = state
        key, now = jax.random.split(key)
        (value, moved), gradients = jax.value_and_grad(loss, has_aux=True)(params, statistics, now, x, y)
        changes, momenta = optimizer.update(gradients, momenta, params)
        return (optax.apply_updates(params, changes), moved, momenta, key), value

    state = params, statistics, optimizer.init(params), key

    def step() -> float:
        nonlocal state
        state, value = update(state, x, y)
        return float(value)

    return Work(parameters, step)


if __name__ == "__main__":
    serve(make, {"jax": jax.__version__, "flax": flax.__version__, "optax": optax.__version__})
