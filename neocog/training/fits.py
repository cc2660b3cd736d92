"""Whether a data set and a loss fit a network: said before training, with what to type instead."""

from __future__ import annotations

from ..data import Dataset
from ..errors import DataError, NeocogError
from ..network import Network, Node

WITHOUT_OWN_OUTPUTS = ("FLATTEN", "DROPOUT", "SOFTMAX")
"""Layers at the end of a network that have as many outputs as inputs, besides activation functions."""


def check_fits(network: Network, dataset: Dataset, loss: str) -> None:
    """Raise DataError when images or classes do not fit the network, NeocogError when the loss does not."""
    _check_images(network, dataset)
    _check_classes(network, dataset, loss)
    _check_sides(network)
    if network.nodes[-1].layer.op == "RBF" and loss != "map":
        raise NeocogError(
            "RBF gives penalties, the smallest of which wins, and only the loss map reads them so",
            received=f"loss={loss}",
            hint="loss=map, or FC in place of RBF",
        )


def _check_images(network: Network, dataset: Dataset) -> None:
    shape = network.input_shape
    height, width, channels = dataset.images.shape[1:]
    where = f"{dataset.name} for INPUT[{shape}]"
    if shape.rank != 2:
        raise DataError(
            "images need an input of two axes and channels",
            where=where,
            received=f"images of {height}x{width}x{channels}",
            hint=f"INPUT[{height}x{width}x{channels}]",
        )
    if channels != shape.channels:
        kinds = {1: "grey", 3: "colour"}
        size = "x".join(map(str, shape.spatial))
        raise DataError(
            f"the channels are not as many: the network takes {shape.channels}, the images have {channels}",
            where=where,
            received=f"{kinds.get(channels, f'{channels}-channel')} images of {height}x{width}x{channels}",
            hint=f"INPUT[{size}x{channels}]",
        )


def _check_classes(network: Network, dataset: Dataset, loss: str) -> None:
    last, shape = network.nodes[-1], network.shapes[-1]
    classes = len(dataset.classes)
    if shape.positions != 1:
        raise DataError(
            "the network ends in a volume, not in one score for each class",
            where=last.name,
            received=f"{shape} for {classes} classes",
            hint=f"-> FC{classes}, or -> CONV1-{classes} -> GAP, at the end",
        )
    outputs = {classes} if loss != "sigmoid" or classes != 2 else {1, 2}
    if shape.channels not in outputs:
        source = outputs_from(network)
        op = source.layer.op
        hint = (
            f"{op}{classes} in place of {source.layer.token}" if op in ("FC", "RBF") else f"-> FC{classes} at the end"
        )
        raise DataError(
            f"outputs and classes are not as many: the network has {shape.channels}, the data {classes}",
            where=source.name,
            received=f"{source.layer.token} for {dataset.name}",
            hint=hint,
        )


def _check_sides(network: Network) -> None:
    """Side outputs (AUX) are learned from with the same labels."""
    for node, shape in zip(network.nodes, network.shapes, strict=True):
        if node.name in network.side_outputs and shape != network.shapes[-1]:
            raise NeocogError(
                "a side output is as many scores as the network's own",
                where=node.name,
                received=f"{shape} beside {network.shapes[-1]}",
                hint=f"-> FC{network.shapes[-1].channels} at the end of its branch",
            )


def check_batches(network: Network, images: int, batch_size: int, accumulate: int = 1) -> None:
    """Raise NeocogError when a mini-batch would give a normalisation a single value to take the deviation of.

    With `accumulate` it is so many parts of the mini-batch that normalisations see.
    """
    images = max(1, images)
    smallest = images // -(-images // batch_size) // accumulate
    for node, shape in zip(network.nodes, network.shapes, strict=True):
        if node.layer.couples_batch and smallest * shape.positions < 2:
            raise NeocogError(
                f"{node.layer.op} needs two values of each channel in every mini-batch",
                where=node.name,
                received=f"{'part of ' * (accumulate > 1)}a mini-batch of one image, {shape} there",
                hint="batch_size=2 or more, and at least two training images",
            )


def outputs_from(network: Network) -> Node:
    """The last layer that decides how many outputs there are."""
    node = network.nodes[-1]
    while node.inputs and (node.layer.in_place or node.layer.op in WITHOUT_OWN_OUTPUTS):
        node = network.nodes[node.inputs[0]]
    return node
