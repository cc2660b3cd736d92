"""Weights of other libraries into a model, and a model's weights out of it under other libraries' names."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...data import Dataset
from ...errors import ModelFileError
from ...files import write_atomically
from ...initialise import initialise
from ...model import Model
from ...network import Network
from ...zoo import zoo
from ..prepared import model_of
from .layouts import LAYOUTS, OWN, largest_with, map_in, own_names, prefix_of, recognise
from .namemap import Place
from .report import Report, compare, fits
from .state import State, opened

NAMED = 3
"""Arrays that an error names; its report has all."""
Source = str | os.PathLike[str] | Mapping[str, Any]
Values = NDArray[np.float32]


class WeightsError(ModelFileError):
    """A state dict lacks arrays that the network needs, or is another network's; `report` has the details."""

    report: Report


def import_weights(
    network: Network | str,
    weights: Source,
    layout: str | None = None,
    *,
    data: Dataset | None = None,
    classes: Sequence[str] | None = None,
    partial: bool = False,
) -> tuple[Model, Report]:
    """A model with the weights that another library's state dict holds, and a report on each array.

    `network` is a zoo name or any network. `weights` is a file (see `opened`) or a dict of arrays. The layout is
    recognised by the names unless it is given: other libraries' names are known for the zoo's networks, also with
    images of another size and another number of classes, and every network has its own names. `data` is the training
    set, whose mean, deviation and classes the model takes; without it they are those of the layout. `classes` are the
    classes' names. With `partial`, arrays without a value keep those that training would start from.

    Raises ModelFileError for a file that cannot be used, WeightsError where arrays are missing, and NeocogError for
    a layout without names for the network, for own names without `data`, and for data with other classes.
    """
    net = zoo(network) if isinstance(network, str) else network
    where = "" if isinstance(weights, Mapping) else os.fspath(weights)
    with opened(weights) as state:
        state = state.below(prefix_of(net, state.arrays))
        try:
            chosen = map_in(net, layout) if layout else recognise(net, state.arrays)
        except ModelFileError as error:
            raise _foreign(error, net, where, state) from None
        report = compare(chosen, net, state)
        if not report.matched or (report.unmatched and not partial):
            raise _incomplete(report, net, state, where, _differences(report, chosen.places(net), state))
        if "" in report.unused_by_reason() and not partial:
            _check_owner(report, state, where)
        places = chosen.places(net)
        values = initialise(net) if report.unmatched else {}
        values |= {name: _from_place(places[name], state) for name in report.matched}
    record = {"imported": {"layout": report.layout, "file": Path(where).name, "initialised": list(report.unmatched)}}
    known = chosen.preprocessing(net)
    return model_of(net, values, record, data=data, classes=classes, known=known), report


def export_weights(model: Model, layout: str) -> dict[str, Values]:
    """A model's weights under another library's names, in its shapes and order of colours.

    Raises NeocogError where that library has no such network.
    """
    places = map_in(model.network, layout).places(model.network)
    return {place.name: _to_place(place, model.weights[name]) for name, place in places.items()}


class Exported(NamedTuple):
    """What was written: how many arrays, and what whoever uses them must know."""

    arrays: int
    notes: tuple[str, ...]


def _write(layout: str, model: Model, path: Path) -> Exported:
    from safetensors.numpy import save

    arrays = export_weights(model, layout)
    chosen = map_in(model.network, layout)
    expects = chosen.expects(model.preprocessing)
    write_atomically(path, save(arrays, {"format": "pt", "input": expects}))
    return Exported(len(arrays), (f"the network's input is {expects}",))


FORMATS: dict[str, Callable[[Model, Path], Exported]] = {
    layout: functools.partial(_write, layout) for layout in LAYOUTS
}
"""Everything that a model can be written as, by the name that `neocog export --to` takes.

Each raises NeocogError for a model that it has no way to write, and RunError where the file cannot be written.
"""


def _from_place(place: Place, state: State) -> Values:
    values = state.arrays[place.name].read()
    if place.last:
        values = np.ascontiguousarray(np.moveaxis(values.reshape(place.last), (-1, -2), (0, 1)))
    return _turned(place, values).reshape(place.own_shape)


def _to_place(place: Place, values: Values) -> Values:
    if not place.last:
        return _turned(place, values.reshape(place.shape))
    *size, inputs, outputs = place.last
    first = _turned(place, values.reshape(outputs, inputs, *size))
    return np.ascontiguousarray(np.moveaxis(first, (0, 1), (-1, -2))).reshape(place.shape)


def _turned(place: Place, values: Values) -> Values:
    return np.ascontiguousarray(values[:, ::-1]) if place.reversed_channels else values


def _owners(state: State) -> tuple[list[str], int]:
    """The zoo's networks whose weights these seem to be, and how many arrays such a network has."""
    return largest_with(lambda place: place.name in state.arrays and fits(state.arrays[place.name], place))


def _foreign(error: ModelFileError, network: Network, where: str, state: State) -> ModelFileError:
    """The same error with the file, and the networks whose weights these are, or what names would do."""
    own = next(iter(own_names(network).places(network).values()), None)
    ours = f"names as in the network's plan, from {own.name} on; " if own else ""
    hint = ", ".join(_owners(state)[0]) or f"{ours}in Python neocog.interop.from_torch reads a module with any names"
    return ModelFileError(error.rule, where=where, received=error.received, hint=hint)


def _differences(report: Report, places: Mapping[str, Place], state: State) -> str:
    """The first arrays that did not come, with a name in the file that would have their size."""
    unknown = report.unused_by_reason().get("", [])
    found = [f"{one.foreign_name} of {one.foreign} for {one.shape}" for one in report.mismatched]
    for one in report.missing[: max(0, NAMED - len(found))]:
        like = next((name for name in unknown if fits(state.arrays[name], places[one.name])), "")
        found.append(f"no {one.foreign_name[:60]}" + (f" ({like[:60]} has its size)" if like else ""))
        unknown = [name for name in unknown if name != like]
    return ", ".join(found[:NAMED])


def _incomplete(report: Report, network: Network, state: State, where: str, received: str) -> WeightsError:
    """Why the weights do not do, with what would."""
    total = len(report.matched) + len(report.unmatched)
    rule = f"{len(report.unmatched)} of the {total} arrays of {report.network} have no value in these weights"
    hint = "--partial, which keeps freshly initialised values for them"
    if kinds := _other_classes(report, network, state):
        rule = f"the weights tell {kinds:,} classes apart, the network {network.shapes[-1].channels:,}"
        start = "" if report.layout == OWN else f" (neocog zoo {report.network} > my.net)"
        hint = (
            f"the network's text with FC{kinds} at its end{start}, or --partial for an output layer that starts afresh"
        )
    elif owners := _owners(state)[0]:
        hint = f"{', '.join(owners)}, whose weights these are"
    error = WeightsError(rule, where=where, received=received, hint=hint)
    error.report = report
    return error


def _check_owner(report: Report, state: State, where: str) -> None:
    """Whether arrays that nobody expected make these the weights of a larger network: ResNet-34's fill a ResNet-18."""
    owners, size = _owners(state)
    if size <= len(report.matched):
        return
    error = WeightsError(
        f"these weights fill {report.network}, but they are those of {' or '.join(owners)}",
        where=where,
        received=f"{size} arrays, where {report.network} has {len(report.matched)}",
        hint=", ".join(owners),
    )
    error.report = report
    raise error


def _other_classes(report: Report, network: Network, state: State) -> int:
    """How many classes the weights are for, when the output layer is all that does not fit; else 0."""
    last = network.nodes[-1].name
    if report.missing or not report.mismatched or any(one.name.split(".")[0] != last for one in report.mismatched):
        return 0
    return state.arrays[report.mismatched[0].foreign_name].shape[0]
