"""A trained network as one value and one file: text, weights, preprocessing, class names, and how it was trained.

The file is a `.safetensors` file: a JSON header and plain arrays, no code. Its metadata key `neocog` holds one JSON
document; beside the weights stand a few training images and the outputs the network gave for them (`golden/...`), so
that any copy of the model, on any engine, can show that it still gives the same answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .data import Dataset, Preprocessing
from .errors import ModelFileError, NeocogError
from .files import (
    Described,
    check_finite,
    check_size,
    checksum,
    read_document,
    read_header,
    read_sealed,
    said_of,
    seal,
    write_atomically,
)
from .losses import LOSSES
from .network import Network
from .wording import count_of

if TYPE_CHECKING:
    from torch import nn

    from .predict import Prediction
    from .torch_engine import InferenceModule

FORMAT = 1
GOLDEN = 4
_KEY = "neocog"
MADE_BY = "the model.safetensors of a training run"
_IMAGES, _OUTPUT = "golden/input", "golden/output"

Weights = Mapping[str, NDArray[np.float32]]


class Runtime(Protocol):
    """What computes a model's outputs in place of the torch module: see `runtimes/`."""

    reads_bytes: bool
    """Whether it takes images (N, h, w, C) as they are in the training set, preprocessing being its own."""

    def scores(self, x: NDArray[Any]) -> NDArray[np.float32]:
        """The network's outputs (N, K) for preprocessed images x (N, C, H, W), or for images."""


@dataclass(frozen=True, eq=False)
class Model:
    """A network with its weights, ready to predict.

    `weights` are float32 arrays by `<node>.<parameter>`; `loss` is the one it was trained with, which says how its
    outputs become probabilities; `record` tells how it was trained, in plain JSON values; `golden` holds a few
    images (n, h, w, C) with the outputs (n, K) the network gave for them. A `runtime` computes outputs where one was
    chosen; a model that was read from an export has no weights but in its runtime.
    """

    network: Network
    weights: Weights
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    loss: str
    record: Mapping[str, Any] = field(default_factory=dict)
    golden: tuple[NDArray[np.uint8], NDArray[np.float32]] | None = None
    runtime: Runtime | None = None

    @cached_property
    def _module(self) -> nn.Module:
        from .torch_engine import build

        return build(self.network, weights=self.weights).eval()

    @cached_property
    def _predicting(self) -> InferenceModule:
        from .torch_engine import InferenceModule

        return InferenceModule.of(self.network, self.weights)

    @cached_property
    def fingerprint(self) -> str:
        """A SHA-256 over all that decides the outputs for an image: network, weights and preprocessing."""
        made = {"network": str(self.network), "preprocessing": self.preprocessing.as_json()}
        return checksum(made, self.weights)

    @property
    def is_export(self) -> bool:
        """Whether the weights are its runtime's alone."""
        return not self.weights and bool(weight_shapes(self.network))

    def module(self) -> nn.Module:
        """The network as a torch module in evaluation mode, with these weights.

        Raises NeocogError for an export, which has none.
        """
        if self.is_export:
            raise NeocogError("an export has no weights of its own: they are its runtime's", hint="the model file")
        return self._module

    def scores(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's outputs (N, K) for preprocessed images x (N, C, H, W); (N, K, H', W') if they are a map.

        Raises NeocogError for an export with its preprocessing inside.
        """
        if self.runtime is not None:
            if self.runtime.reads_bytes:
                hint = "neocog export --preprocessing beside"
                raise NeocogError("this export takes images as they are, its preprocessing being inside", hint=hint)
            return self.runtime.scores(x)
        import torch

        with torch.inference_mode():
            y: NDArray[np.float32] = self._predicting(torch.from_numpy(x)).numpy()
        return y

    def answers(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """The network's outputs (N, K) for images (N, h, w, C) of the training set's size."""
        if self.runtime is not None and self.runtime.reads_bytes:
            return self.runtime.scores(images)
        return self.scores(self.preprocessing(images))

    def predict(self, sources: Any, top: int = 5) -> list[Prediction]:
        """Classify image files or arrays: see `neocog.predict.predict`."""
        from .predict import predict

        return predict(self, sources, top)

    def with_golden(self, dataset: Dataset) -> Model:
        """The same model with the first images of a data set and its own answers to them."""
        images = np.ascontiguousarray(dataset.images[:GOLDEN])
        return replace(self, golden=(images, self.answers(images)))

    def golden_error(self) -> float:
        """The largest difference between the stored answers and those given now; 0 without stored ones."""
        if self.golden is None:
            return 0.0
        images, stored = self.golden
        return float(np.abs(self.answers(images) - stored).max())

    def document(self) -> dict[str, Any]:
        """Everything but the arrays, as plain values: what `described` reads."""
        return {
            "format": FORMAT,
            "network": str(self.network),
            "classes": list(self.classes),
            "preprocessing": self.preprocessing.as_json(),
            "loss": self.loss,
            "record": dict(self.record),
        }

    def save(self, path: str | Path) -> Path:
        """Write the model to one file, whole or not at all.

        Raises RunError where it cannot be written, and ModelFileError when its parts do not belong together, so
        that what was saved can be loaded.
        """
        target = Path(path)
        write_atomically(target, self.sealed())
        return target

    def sealed(self) -> bytes:
        """The content of the model's file. Raises ModelFileError when its parts do not belong together."""
        _check_parts(self.network, self.preprocessing, self.classes, self.loss)
        _check_arrays(_described(self.weights), weight_shapes(self.network))
        tensors: dict[str, NDArray[Any]] = dict(self.weights)
        if self.golden is not None:
            tensors[_IMAGES], tensors[_OUTPUT] = self.golden
        check_finite(tensors)
        return seal(_KEY, self.document(), tensors)


def load(path: str | Path) -> Model:
    """The model in a file. Nothing in the file is executed, and nothing large is read before it is known to fit.

    Raises ModelFileError for a damaged or foreign file.
    """
    with said_of(path, MADE_BY):
        return _load(Path(path))


def _load(path: Path) -> Model:
    header, stored = read_header(path)
    foreign = ModelFileError("this safetensors file was not written by neocog as a model", hint=MADE_BY)
    document = read_document(header, _KEY, FORMAT, foreign)
    model = described(document)
    network, preprocessing = model.network, model.preprocessing
    _check_arrays(header, weight_shapes(network) | _golden_shapes(header, network, preprocessing))
    check_size(header, stored)
    tensors = read_sealed(path, document)
    check_finite(tensors)
    golden = (tensors.pop(_IMAGES), tensors.pop(_OUTPUT)) if _IMAGES in tensors else None
    return replace(model, weights=tensors, golden=golden)


def described(document: Mapping[str, Any]) -> Model:
    """The model that a document tells of, without its arrays. Raises ModelFileError for one that makes no sense."""
    network = _read_network(document)
    preprocessing = Preprocessing.from_json(document.get("preprocessing"))
    classes, loss, record = document.get("classes"), str(document.get("loss")), document.get("record")
    if not isinstance(classes, list) or not all(isinstance(name, str) for name in classes):
        raise ModelFileError("the class names are damaged")
    if not isinstance(record, dict):
        raise ModelFileError("the training record is damaged")
    _check_parts(network, preprocessing, classes, loss)
    return Model(network, {}, preprocessing, tuple(classes), loss, record)


def _read_network(document: Mapping[str, Any]) -> Network:
    text = document.get("network")
    try:
        network = Network.parse(text if isinstance(text, str) else "")
        _ = network.shapes
    except NeocogError as error:
        raise ModelFileError("the network in the file cannot be used", received=error.rule[:120]) from None
    return network


def _check_parts(network: Network, preprocessing: Preprocessing, classes: Sequence[str], loss: str) -> None:
    """Whether preprocessing leads to the network's input, and the classes and loss suit its output."""
    if (*preprocessing.size, preprocessing.channels) != tuple(network.input_shape.as_list()):
        raise ModelFileError(
            "the preprocessing does not lead to the network's input",
            received=f"{'x'.join(map(str, (*preprocessing.size, preprocessing.channels)))} for {network.input_shape}",
        )
    outputs = network.shapes[-1].channels
    if len(classes) != outputs and (outputs, len(classes)) != (1, 2):
        received = f"{count_of(len(classes), 'class name')} for {count_of(outputs, 'output')}"
        raise ModelFileError("there is a class name for each output", received=received)
    if loss not in LOSSES:
        raise ModelFileError("the loss is not known", received=loss[:40], hint=f"one of {', '.join(LOSSES)}")


def _described(weights: Weights) -> Described:
    kinds = {"float32": "F32"}
    return {
        name: {"dtype": kinds.get(str(a.dtype), str(a.dtype)), "shape": list(a.shape)} for name, a in weights.items()
    }


def weight_shapes(network: Network) -> Described:
    """The arrays that the network's layers own."""
    return {
        f"{node.name}.{name}": {"dtype": "F32", "shape": list(parameter.shape)}
        for node in network.nodes
        for name, parameter in node.layer.parameters(*network.input_shapes(node)).items()
    }


def _golden_shapes(header: Described, network: Network, preprocessing: Preprocessing) -> Described:
    """What the stored examples must be, if there are any: as many outputs as images, and not many."""
    if _IMAGES not in header and _OUTPUT not in header:
        return {}
    shape = header.get(_IMAGES, {}).get("shape")
    count = shape[0] if isinstance(shape, list) and shape and shape[0] in range(1, GOLDEN + 1) else GOLDEN
    size = [spatial for spatial in network.shapes[-1].spatial if network.shapes[-1].positions > 1]
    return {
        _IMAGES: {"dtype": "U8", "shape": [count, *preprocessing.source, preprocessing.channels]},
        _OUTPUT: {"dtype": "F32", "shape": [count, network.shapes[-1].channels, *size]},
    }


def _check_arrays(found: Described, expected: Described) -> None:
    """Whether arrays are exactly the expected ones."""
    if missing := sorted(expected.keys() - found.keys()):
        raise ModelFileError("arrays that the network needs are missing", received=_some(missing))
    if unknown := sorted(found.keys() - expected.keys()):
        raise ModelFileError("there are arrays that the network does not have", received=_some(unknown))
    for name, wanted in expected.items():
        if (found[name].get("dtype"), found[name].get("shape")) != (wanted["dtype"], wanted["shape"]):
            received = f"{found[name].get('dtype')} {found[name].get('shape')}"
            raise ModelFileError(f"{name} is {wanted['dtype']} {wanted['shape']}", received=received[:80])


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(name[:40] for name in names[:3])
    return f"{shown} and {len(names) - 3} more" if len(names) > 3 else shown
