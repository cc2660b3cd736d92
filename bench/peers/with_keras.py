"""Keras 3 on TensorFlow: a functional model in a step of its own.

`fit` and `train_on_batch` run the same step with more Python around it. TensorFlow's own kernels run it: on CPUs XLA,
which Keras takes by itself, was two to four times slower on most of these networks and took longer to compile.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from typing import Any

os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import keras
import tensorflow as tf
from keras import layers
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


def model_of(nodes: Nodes) -> keras.Model:
    refuse_rare_forms(nodes)
    channels, *sizes = nodes[0]["shape"]
    outputs = [keras.Input((*sizes, channels))]
    for node in nodes[1:]:
        y = layer(node, len(sizes))([outputs[i] for i in node["inputs"]])
        flat = y.shape[1:] if len(y.shape) == 2 else (y.shape[-1], *y.shape[1:-1])
        check_shape(node, tuple(flat))
        outputs.append(y)
    return keras.Model(outputs[0], layers.Activation("linear", dtype="float32")(outputs[-1]))


def layer(node: dict[str, Any], rank: int) -> Callable[[list[Any]], Any]:
    """The layer of a node, as a function of the volumes it reads."""
    match node["op"]:
        case "CONV":
            conv = (layers.Conv1D, layers.Conv2D)[rank - 1]
            names = {"groups": node["groups"], "use_bias": node["bias"], "dilation_rate": node["dilation"]}
            made = conv(node["out_channels"], node["kernel"], node["stride"], padding=mode(node), **names)
            return lambda xs: made(padded(node, xs[0], 0.0))
        case "POOL" | "AVGPOOL":
            pools = (layers.MaxPool1D, layers.MaxPool2D), (layers.AveragePooling1D, layers.AveragePooling2D)
            pool = pools[node["op"] == "AVGPOOL"][rank - 1](node["kernel"], node["stride"])
            return lambda xs: pool(padded(node, xs[0], -math.inf))
        case "BN":
            learned = {"center": node["affine"], "scale": node["affine"]}
            return single(layers.BatchNormalization(momentum=1 - node["momentum"], epsilon=node["eps"], **learned))
        case "FC":
            dense = layers.Dense(node["out_channels"], use_bias=node["bias"])
            return lambda xs: dense(layers.Flatten()(xs[0]))
        case "DROPOUT":
            return single(layers.Dropout(node["probability"]))
        case "ADD":
            return layers.Add()
        case "CONCAT":
            return layers.Concatenate()
        case "GAP":
            return single((layers.GlobalAveragePooling1D, layers.GlobalAveragePooling2D)[rank - 1]())
        case "LRN":
            names = {"depth_radius": node["size"] // 2, "bias": node["k"], "alpha": node["alpha"], "beta": node["beta"]}
            return single(layers.Lambda(lambda x: tf.nn.local_response_normalization(x, **names), dtype="float32"))
        case "SHORTCUT":
            picked = (slice(None), *(slice(None, None, s) for s in node["stride"]))
            widened = (*((0, 0) for _ in picked),)
            return single(
                layers.Lambda(lambda x: tf.pad(x[picked], (*widened, (0, node["out_channels"] - x.shape[-1]))))
            )
        case "RELU" | "TANH" | "SIGMOID":
            return single(layers.Activation(node["op"].lower()))
        case "FLATTEN":
            return single(layers.Flatten())
        case "ID":
            return lambda xs: xs[0]
    raise CannotError(f"no {node['op']}")


def single(made: Callable[[Any], Any]) -> Callable[[list[Any]], Any]:
    return lambda xs: made(xs[0])


def same(node: dict[str, Any]) -> bool:
    """Whether Keras's own padding `same` is what the node asks for."""
    whole = all(s == 1 for s in node["stride"])
    reach = [d * (f - 1) for f, d in zip(node["kernel"], node["dilation"], strict=True)]
    return whole and node["pads"] == [[r // 2, r - r // 2] for r in reach]


def mode(node: dict[str, Any]) -> str:
    return "same" if same(node) else "valid"


def padded(node: dict[str, Any], x: Any, value: float) -> Any:
    """The volume with what the layer does not pad itself."""
    if not any(any(pair) for pair in node["pads"]) or (node["op"] == "CONV" and same(node)):
        return x
    return keras.ops.pad(x, ((0, 0), *map(tuple, node["pads"]), (0, 0)), constant_values=value)


def make(nodes: Nodes, batch: int, training: bool, bfloat16: bool = False, **_: object) -> Work:
    keras.backend.clear_session()
    keras.mixed_precision.set_dtype_policy("mixed_bfloat16" if bfloat16 else "float32")
    model = model_of(nodes)
    x = tf.constant(channels_last(images(nodes, batch)))
    y = tf.constant(labels(nodes, batch))
    optimizer = keras.optimizers.SGD(LEARNING_RATE, momentum=MOMENTUM, nesterov=True)
    optimizer.build(model.trainable_variables)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)

    def step(x: Any, y: Any) -> Any:
        with tf.GradientTape() as tape:
            value = loss(y, model(x, training=True))
        gradients = tape.gradient(value, model.trainable_variables)
        optimizer.apply(gradients, model.trainable_variables)
        return value

    def predict(x: Any, _: Any) -> Any:
        return model(x, training=False)

    parameters = sum(math.prod(v.shape) for v in model.trainable_variables)
    run = tf.function(step if training else predict)
    return Work(parameters, lambda: run(x, y).numpy())


if __name__ == "__main__":
    serve(make, {"keras": keras.__version__, "tensorflow": tf.__version__})
