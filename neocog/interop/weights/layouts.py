"""Every layout there is, and which of them suit a network or a state dict. A new one is one file and one line here.

Our own names are a layout too, the only one that every network has. Keras counts layers by their kind, so networks of
layers that it has need not be the zoo's.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from ...errors import ModelFileError, NeocogError
from ...network import Network
from ...zoo import zoo
from . import caffe, keras, timm, torchvision
from .namemap import NameMap, Place

LAYOUTS: dict[str, tuple[NameMap, ...]] = {
    "torchvision": torchvision.MAPS,
    "timm": timm.MAPS,
    "caffe": caffe.MAPS,
    "keras": keras.MAPS,
}
"""Other libraries' names, for networks of the zoo."""
OWN = "neocog"


def maps_for(network: Network) -> tuple[NameMap, ...]:
    """Other libraries' maps that fit a network; none where it is no network of theirs."""
    return tuple(one for maps in LAYOUTS.values() for one in maps if one.fits(network))


def own_names(network: Network) -> NameMap:
    """The names in our model files, and in the module that `network.build()` makes."""
    owners = [node.name for node in network.nodes if node.layer.parameters(*network.input_shapes(node))]
    return NameMap("the network", OWN, tuple(owners), photographs=None)


def candidates(network: Network) -> tuple[NameMap, ...]:
    """All maps that a network has."""
    return (*maps_for(network), own_names(network), *keras.default_names(network))


def map_in(network: Network, layout: str) -> NameMap:
    """The map of a network in a layout. Raises NeocogError where there is none."""
    if layout not in (*LAYOUTS, OWN):
        raise NeocogError("there is no such layout", received=layout[:40], hint=", ".join((*LAYOUTS, OWN)))
    maps = candidates(network)
    for one in maps:
        if one.layout == layout:
            return one
    if not maps_for(network):
        raise NeocogError(
            "no other library's names are known for this network: it has to be one of the zoo's below, "
            "but for the size of its images and its number of classes",
            hint=", ".join(dict.fromkeys(one.network for maps in LAYOUTS.values() for one in maps)),
        )
    raise NeocogError(f"{layout} has no names for {maps[0].network}", hint=", ".join(one.layout for one in maps))


def largest_with(holds: Callable[[Place], bool]) -> tuple[list[str], int]:
    """The zoo's networks with most arrays among those of which all are held under one map, and how many that are.

    `holds` says of a place whether it is held. Without any it is an empty list and 0.
    """
    sizes: dict[str, int] = {}
    for maps in LAYOUTS.values():
        for one in maps:
            places = one.places(zoo(one.network)).values()
            if all(map(holds, places)):
                sizes[one.network] = len(places)
    most = max(sizes.values(), default=0)
    return [name for name, size in sizes.items() if size == most], most


def prefix_of(network: Network, names: Collection[str]) -> str:
    """What stands before the names of a network's arrays, where no map finds any without: `backbone.`; else empty."""
    known = set(names)
    counts: dict[str, int] = {}
    for one in candidates(network):
        wanted = [place.name for place in one.places(network).values()]
        if not known.isdisjoint(wanted):
            return ""
        for name in known:
            prefix = name.removesuffix(wanted[0]) if wanted else ""
            if prefix != name and prefix.endswith((".", "/")):
                counts[prefix] = max(counts.get(prefix, 0), sum(prefix + each in known for each in wanted))
    return max(counts, key=lambda prefix: counts[prefix], default="")


def recognise(network: Network, names: Collection[str]) -> NameMap:
    """The map under whose names most of a network's arrays are found; the first of equals.

    Raises ModelFileError where none is found under any.
    """
    known = set(names)

    def found(one: NameMap) -> int:
        return sum(place.name in known for place in one.places(network).values())

    best = max(candidates(network), key=found)
    if not found(best):
        raise ModelFileError(
            f"none of these names is one of {best.network}'s in any layout",
            received=", ".join(name[:40] for name in sorted(known)[:3]) or "no arrays",
        )
    return best
