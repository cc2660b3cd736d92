"""A whole network as one file of C: every kernel, and a plain driver for one thread in place of `steps.py`'s.

The driver does what a step does in the same order, with as many groups of blocks, so weights become the same. It is to
be read, and to be run under sanitizers, which machine code in memory cannot be.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from textwrap import wrap
from typing import NamedTuple

import numpy as np

from ..layers import Conv
from .c import LINE, c_function
from .c_calls import purpose
from .c_driver import MEMORY, RATES, STEP
from .c_helpers import Helpers
from .groups import GROUPS
from .kernel import Function
from .lifetimes import Layout
from .places import Places, kind_of
from .program import Call, Program, Region
from .runtime import LOSS, NOT_DECAYING
from .sizes import Sizes
from .step_calls import Shared, StepCalls, Stretch, step_calls


def c_program(program: Program, optimizer: str = "nesterov") -> str:
    """The file. Its `train` makes one step, its `score` gives the scores of images."""
    calls, helpers = step_calls(program, optimizer), Helpers()
    functions = [c_function(function, helpers, _about(function)) for function in program.functions.values()]
    parts = [
        _about_network(program),
        helpers.text(),
        *functions,
        _sizes(program),
        MEMORY.substitute(masks=_masks(program)),
        *_parts(program, calls),
        STEP.substitute(
            rates=RATES[optimizer],
            not_decaying=NOT_DECAYING,
            loss=LOSS,
            hits=LOSS + 1,
            segments="\n".join(_segment_lines(calls.segments)),
        ),
    ]
    return "\n\n".join(parts)


def _about(function: Function) -> str:
    tile = " x ".join(map(str, function.tile.values()))
    at_once = f"{tile} at once ({', '.join(function.tile)})" if tile else ""
    return "; ".join(filter(None, [purpose(function), function.form, at_once]))


def _about_network(program: Program) -> str:
    text = re.sub(r"[^ -~]|[\\?]", "_", str(program.network))  # what could end or prolong a comment
    lines = [
        *wrap(text, LINE),
        "",
        *wrap(
            f"A step of training, and prediction, for exactly this network, with {program.machine.lanes} images side "
            "by side in the lanes of a vector. It computes what the native engine does.",
            LINE,
        ),
        "",
        "    cc -std=c11 -O2 -march=native -ffp-contract=off -Wno-psabi -c net.c",
    ]
    return "\n".join(f"// {line}".rstrip() for line in lines)


def _sizes(program: Program) -> str:
    """How much memory there is, and where parameters lie in it."""
    sizes, network = Sizes.of(program), program.network
    masked = any(region.masked for region in program.regions)
    counts = {
        "LANES": (program.machine.lanes, "images side by side: a block"),
        "IMAGE": (network.input_shape.elements, "numbers of an image"),
        "CLASSES": (program.last.stage.output.channels, "scores of an image"),
        "DRAWING": (len(program.drawing), "layers that draw random numbers"),
        "PARAMETERS": (program.parameters, "with what pads rows to whole vectors"),
        "MASKS": (program.parameters if masked else 0, "numbers that say which parameters are there"),
        "PACKED": (program.packed, "numbers of weights in the order of reading"),
        "COEFFICIENTS": (program.coefficients, "numbers that all blocks share"),
        "ARENA": (sizes.arena // 4, "numbers of volumes of the block in hand"),
        "PREDICTING": (sizes.predicting // 4, "the same in prediction"),
        "KEPT": (sizes.kept // 4, "numbers that a block keeps while others are in hand"),
        "SCRATCH": (sizes.scratch // 4, "numbers of gradients, transposed"),
        "HALVED": (sizes.halved // 4, "numbers for pairs of bfloat16"),
        "GROUP": (sizes.group // 4, "numbers of a group: 2 LANES of losses and hits, PARAMETERS, sums of lanes"),
        "FEW": (program.grouping.few, "blocks that make a group worth its memory"),
        "MANY": (program.grouping.many, "blocks beside which it costs next to nothing"),
        "GROUPS": (GROUPS, "the most groups of few blocks"),
        "MOST_GROUPS": (program.grouping.most, "the most groups that the blocks of a step are in"),
    }
    entries = [f"    {name} = {count},  // {what}" for name, (count, what) in counts.items()]
    regions = [f"//   {region.name} from {region.start}: {_rows(region)}" for region in program.regions]
    layout = "// Parameters, one row of outputs for each input and tap:"
    return "\n".join(["enum {", *entries, "};", "", layout, *regions])


def _rows(region: Region) -> str:
    group = f", group {region.group}" if region.group else ""
    return f"{region.rows} x {region.count}, rows of {region.padded}{group}"


def _masks(program: Program) -> str:
    """Statements that say which weights are there, by tables of inputs and outputs."""
    lines = []
    for region in program.regions:
        node = program.network.node(region.name.partition(".")[0])
        if region.masked and isinstance(node.layer, Conv):
            (shape,) = program.network.input_shapes(node)
            taps = math.prod(node.layer.window(shape).kernel)
            weights = node.layer.parameters(shape)["weight"].shape
            there = node.layer.dense(np.ones(weights), shape.channels).reshape(region.count, -1, taps)[..., 0].T
            lines += [f"    static const char {node.name}[][{region.count} + 1] = {{"]
            lines += [f'        "{"".join("01"[int(one)] for one in row)}",' for row in there]
            lines += [
                "    };",
                f"    put_mask(n, {node.name}[0], {region.start}, {len(there)}, {taps}, {region.count},",
                f"             {region.padded});",
            ]
    return "\n".join(lines)


# -- calls -----------------------------------------------------------------------------------------------------


class Names(NamedTuple):
    """What lies in memory, and where."""

    places: Places
    layout: Layout


def _parts(program: Program, calls: StepCalls) -> Iterator[str]:
    """The functions of the driver that call kernels, one after the other."""
    names = Names(Places(program), program.training_layout)
    yield _calls("pack_weights", "Weights in the order of reading, made anew for each step.", calls.pack, names)
    yield _calls("clear", "A group's results, gradients and sums of lanes become zero.", [calls.clear], names)
    for k, segment in enumerate(calls.segments, start=1):
        about = (
            "A block of images forwards, and back from its loss" if len(calls.segments) == 1 else "A block of images"
        )
        yield _calls(f"part_{k}", f"{about}.", segment.calls, names)
        if segment.meetings:
            yield _calls(f"meet_{k}", "What needs all blocks.", segment.meetings, names, "blocks")
        if segment.packs:
            yield _calls(f"pack_{k}", "Weights that are read next, where others lay.", segment.packs, names)
    yield _calls("add_up", "What groups and lanes hold apart.", calls.sums, names, "groups")
    yield _calls("add_losses", "Likewise.", [calls.losses], names, "groups")
    updates = list(chain.from_iterable(calls.updates))
    yield _calls("update", "All parameters, once the first group holds the sums.", updates, names, "groups")
    yield _calls("prepare", "What prediction needs once.", calls.prepare, names)
    yield _calls("predict", "The scores of a block.", calls.predict, names._replace(layout=program.predicting_layout))


def _segment_lines(segments: Sequence[Stretch]) -> Iterator[str]:
    for k, segment in enumerate(segments, start=1):
        yield f"    each_block(n, blocks, groups, part_{k});"
        if segment.meetings:
            yield f"    meet_{k}(n, blocks);"
        if segment.packs:
            yield f"    pack_{k}(n);"


def _calls(name: str, about: str, calls: Iterable[Call | Shared], names: Names, count: str = "") -> str:
    """A function that calls kernels; `count` is what it must be told how many there are of."""
    lines = [line for call in calls for line in _one_call(call, names)]
    unused = [] if lines else [f"    (void){name};" for name in ("n", count) if name]
    number = f", int64_t {count}" if count else ""
    return "\n".join([f"// {about}", f"static void {name}(struct net *n{number}) {{", *lines, *unused, "}"])


def _one_call(one: Call | Shared, names: Names) -> Iterator[str]:
    """One argument a line, each with what lies there."""
    call = one.call if isinstance(one, Shared) else one
    numbers = f"0, {one.rows}, {one.of}" if isinstance(one, Shared) else ", ".join(call.function.numbers)
    layer = names.places.layer(call)
    yield f"    // {kind_of(call)}{f' of {layer}' if layer else ''}"
    yield f"    {call.function.name}("
    arguments = [(name, call.buffers[name]) for name in call.function.buffers]
    for k, (name, access) in enumerate(arguments):
        comma = "," if numbers or k + 1 < len(arguments) else ""
        what, (buffer, at, _) = names.places.name(access), names.layout.placed(access)
        yield f"        at(n->{buffer}, {at.constant}){comma}  // {name}{f': {what}' if what else ''}"
    if numbers:
        yield f"        {numbers}"
    yield "    );"
