"""A model as plain C: one .c and one .h, for wherever there is a C11 compiler and no room for more.

The kernels are the native engine's own, made for a processor with one lane (`native/c.py` prints them), and the calls
are those of one image's scores in the engine's order. Weights stand in the file as constants, in the order in which
they are read; volumes share memory by the engine's lifetimes. Nothing is allocated, and nothing but C's library used.
"""

from __future__ import annotations

import ctypes
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from textwrap import wrap
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..data import Preprocessing
from ..errors import NeocogError, RunError
from ..files import write_atomically
from ..losses import LOSSES, default_loss
from ..model import Model
from ..native.c import accesses, c_function
from ..native.c_calls import purpose
from ..native.c_helpers import PlainHelpers
from ..native.jit import Compiled, Machine
from ..native.kernel import Function, Loop, Statement, Store
from ..native.layout import aligned
from ..native.parameters import as_rows
from ..native.places import Places, kind_of
from ..native.program import Call, Program
from ..native.stages import uncovered
from ..native.straight import alive, straightened
from ..reference import Weights
from ..spelling import write_dims
from .c_text import DECLARATIONS, DEFINITIONS, LARGEST, OF_BYTES, OF_BYTES_DECLARED, TABLES, YES_OR_NO

MOST = 20_000_000
"""Numbers of weights: a file of C with more takes a compiler minutes and gigabytes."""
ONE_LANE = Machine(lanes=1, registers=12)
"""Few enough sums at once for any processor's registers, and for code that is short and can be read."""
WINNERS = ("where", "which")
SAID = {"load": "An image into a volume, with room for zeros around it", "scores": "Scores without gaps"}
"""What kernels are for that several lanes have another purpose for."""
LINE = 110
KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        "auto break case char const continue default do double else enum extern float for goto if inline int long main "
        "register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while",
    )
)
Floats = NDArray[np.float32]


class Constant(NamedTuple):
    """Numbers that stand in the file, and where they lie in the engine's memory."""

    name: str
    buffer: str
    start: int
    values: Floats

    def holds(self, buffer: str, at: int) -> bool:
        """Whether that place is among them."""
        return buffer == self.buffer and self.start <= at < self.start + max(1, len(self.values))


def write_c(model: Model, source: Path, header: Path, *, inside: bool = True) -> tuple[str, ...]:
    """Write both files; what whoever uses them must know.

    Raises NeocogError for a network that the native engine has no kernels for, naming the layer, for one that is too
    large, and for names that are none in C; RunError where a file cannot be written.
    """
    name = identifier(source.stem)
    if model.weights and sum(array.size for array in model.weights.values()) > MOST:
        raise NeocogError(f"a file of C holds at most {MOST:,} weights", hint="--to onnx")
    if inside and any(n < m for n, m in zip(model.preprocessing.fitting.size, model.preprocessing.source, strict=True)):
        raise NeocogError(
            "in C, images are not made smaller",
            received=f"{write_dims(model.preprocessing.source)} for {write_dims(model.preprocessing.size)}",
            hint="--preprocessing beside",
        )
    code, declarations = c_files(model, name, inside=inside)
    write_atomically(source, code.encode())
    try:
        write_atomically(header, declarations.encode())
    except RunError:  # one without the other is of no use
        source.unlink(missing_ok=True)
        raise
    takes = f"{name}_scores_of_bytes takes pixels (H, W, C), " if inside else ""
    return (
        f"{takes}{name}_scores takes numbers (C, H, W): bytes / 255, less the mean, over the deviation",
        f"cc -std=c11 -O2 -c {source.name}",
    )


def identifier(stem: str) -> str:
    """The file's name as a name in C. Raises NeocogError where it is none."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]{0,40}", stem, re.ASCII) or stem in KEYWORDS:
        raise NeocogError(
            "the file's name becomes a name in C", received=stem[:60], hint="letters, digits and _: lenet5.c"
        )
    return stem


def c_files(model: Model, name: str, *, inside: bool) -> tuple[str, str]:
    """The text of the .c and of the .h file."""
    network = model.network
    if reason := uncovered(network):
        raise NeocogError("the native engine has no kernels for this network", received=reason, hint="--to onnx")
    program = Program(ONE_LANE, network, default_loss(network).name)
    calls = [_predicting(call) for call in program.predictions]
    places = Places(program)
    constants = list(_constants(program, places, _memory(program, model.weights), calls))
    functions = {call.function.name: call for call in calls}
    names = _function_names(places, functions)
    helpers = PlainHelpers()
    kernels = [
        f"{_commented(about)}\nstatic {c_function(call.function, helpers)}"
        for call in functions.values()
        if (about := _about(call))
    ]
    scratch = max(1, program.predicting_layout.arena + program.scratch)
    told = {
        "name": name,
        "upper": name.upper(),
        "network": "\n".join(f" *   {line}" for line in wrap(_plain(str(network)), LINE - 4)),
        "input": network.input_shape.elements,
        "outputs": network.shapes[-1].channels,
        "scratch": scratch,
        "shape": "x".join(map(str, (network.input_shape.channels, *network.input_shape.spatial))),
        "classes": len(model.classes),
        "less": "<" if LOSSES[model.loss].name == "map" else ">",
        "best": "smallest" if LOSSES[model.loss].name == "map" else "largest",
    }
    answer = LARGEST.substitute(told) if len(model.classes) == told["outputs"] else YES_OR_NO
    tables = TABLES.substitute(told, answer=answer, names=_rows((_string(one) for one in model.classes), 4))
    body = "\n".join(_call(call, program, places, constants) for call in calls)
    code = DEFINITIONS.substitute(
        told,
        helpers=helpers.text(),
        constants="\n\n".join(map(_array, constants)),
        kernels="\n\n".join(kernels),
        calls=body,
        tables=tables,
    )
    declarations = DECLARATIONS.substitute(told, of_bytes=OF_BYTES_DECLARED.substitute(told) if inside else "")
    if inside:
        code += OF_BYTES.substitute(told | _of_bytes(model.preprocessing))
    for before, after in names.items():
        code = code.replace(before, after)
    return code, declarations


def _of_bytes(preprocessing: Preprocessing) -> dict[str, Any]:
    """How images become numbers."""
    scale, shift = preprocessing.coding
    repeats, (height, width), (top, left), ground = preprocessing.fitting
    each = f" / {repeats}" if repeats > 1 else ""
    around = np.array(ground, np.float32) * scale + shift
    numbers = {"scale": scale, "shift": shift, "ground": around}
    return {name: ", ".join(map(_real, values)) for name, values in numbers.items()} | {
        "channels": len(scale),
        "positions": math.prod(preprocessing.size),
        "height": height,
        "width": width,
        "row": preprocessing.size[1],
        "first": f"{first} + " if (first := top * preprocessing.size[1] + left) else "",
        "at": f"y{each} * {preprocessing.source[1]} + x{each}",
    }


def _predicting(call: Call) -> Call:
    """A call without what only the way back reads: which value of a window was the largest."""
    function = call.function
    body = straightened(alive(_stored(function.body)))
    touched = {access.buffer for access, _, _ in accesses(body)}
    kept = Function(function.name, [name for name in function.buffers if name in touched], function.numbers)
    kept.form, kept.tile, kept.body = function.form, function.tile, body
    return replace(call, function=kept)


def _stored(body: Sequence[Statement]) -> list[Statement]:
    statements = [one for one in body if not (isinstance(one, Store) and one.to.buffer in WINNERS)]
    return [replace(one, body=_stored(one.body)) if isinstance(one, Loop) else one for one in statements]


def _memory(program: Program, weights: Weights) -> dict[str, Floats]:
    """Parameters, and what prediction makes of them once, computed by the engine's own kernels."""
    found = {
        "weights": aligned(program.parameters + 1),
        "packed": aligned(max(1, program.packed)),
        "coefficients": aligned(max(1, program.coefficients)),
    }
    for region in program.regions:
        rows = found["weights"][region.start : region.start + region.size].reshape(region.rows, region.padded)
        rows[:, : region.count] = as_rows(program.network, region, weights[region.name])
    calls = [*program.packs, *program.prepared]
    if calls:
        code = Compiled({call.function.name: call.function for call in calls}.values())
        for call in calls:
            places = [found[place.buffer].ctypes.data + 4 * place.at.constant for place in call.places]
            code.call(call.function.name, [ctypes.c_void_p(place) for place in places])
    return found


def _constants(
    program: Program, places: Places, memory: Mapping[str, Floats], calls: Iterable[Call]
) -> Iterator[Constant]:
    """What the calls read of weights, packed weights and coefficients, each under its layer's name."""
    used: dict[str, set[int]] = {"weights": set(), "packed": set(), "coefficients": set()}
    for call in calls:
        for place in call.places:
            if place.buffer in used:
                used[place.buffer].add(place.at.constant)
    for region in program.regions:
        if any(region.start <= at < region.start + region.size for at in used["weights"]):
            own = f"{region.name.replace('.', '_')}{f'_group{region.group + 1}' if region.group else ''}"
            yield Constant(own, "weights", region.start, memory["weights"][region.start : region.start + region.size])
    packs = {pack.buffers["packed"].at.constant: pack for pack in program.packs}  # of empty ones the one behind them
    for start, end in pairwise([*sorted(packs), program.packed]):
        if start in used["packed"]:
            own = places.name(packs[start].buffers["w"]).split(" ")[0].replace(".", "_")
            yield Constant(f"{own}_packed{start}", "packed", start, memory["packed"][start:end])
    if used["coefficients"]:
        yield Constant("coefficients", "coefficients", 0, memory["coefficients"][: program.coefficients])


def _function_names(places: Places, functions: Mapping[str, Call]) -> dict[str, str]:
    """Kernels are named by what they do and the layer that they do it for first."""
    names: dict[str, str] = {}
    for made, call in functions.items():
        wanted = "_".join(filter(None, [kind_of(call), places.layer(call)]))
        same = sum(name == wanted or name.startswith(f"{wanted}_v") for name in names.values())
        names[made] = f"{wanted}_v{same + 1}" if same else wanted
    return names


def _call(call: Call, program: Program, places: Places, constants: Iterable[Constant]) -> str:
    """One line: a kernel and what it works on."""
    arguments = []
    for place in map(program.predicting_layout.placed, call.places):
        at = place.at.constant
        match place.buffer:
            case "arena":
                arguments.append(f"scratch + {at}")
            case "scratch":
                arguments.append(f"scratch + {program.predicting_layout.arena + at}")
            case "images":
                arguments.append(f"input + {at}" if at else "input")
            case "scores":
                arguments.append("output")
            case buffer:
                constant = next(one for one in constants if one.holds(buffer, at))
                offset = at - constant.start
                arguments.append(f"{constant.name} + {offset}" if offset else constant.name)
    layer = places.layer(call)
    text = f"    {call.function.name}({', '.join(arguments)});"
    return f"{text}{f'  // {layer}' if layer else ''}"


def _about(call: Call) -> str:
    tile = " x ".join(map(str, call.function.tile.values()))
    at_once = f"{tile} at once ({', '.join(call.function.tile)})" if tile else ""
    return "; ".join(filter(None, [SAID.get(kind_of(call)) or purpose(call.function), at_once])) or "A step"


def _commented(text: str) -> str:
    return "\n".join(f"// {line}" for line in wrap(text, LINE))


def _array(constant: Constant) -> str:
    values = constant.values
    return f"static const float {constant.name}[{len(values)}] = {{\n{_rows(map(_real, values), 8)}\n}};"


def _rows(cells: Iterable[str], columns: int) -> str:
    listed = list(cells)
    return "\n".join(f"    {', '.join(listed[k : k + columns])}," for k in range(0, len(listed), columns))


def _real(number: np.float32) -> str:
    """The shortest text that C reads as exactly that number in single precision."""
    return f"{np.float32(number)!s}f"


def _string(text: str) -> str:
    """A string of C, in UTF-8; whatever is no plain letter by its number."""
    parts = [
        chr(b) if 32 <= b < 127 and chr(b) not in '"\\?' else f"\\{b:03o}" for b in text.encode("utf-8", "replace")
    ]
    return f'"{"".join(parts)}"'


def _plain(text: str) -> str:
    """What can stand in a comment."""
    return re.sub(r"[^ -~]|[\\?]|\*/|/\*", "_", text)
