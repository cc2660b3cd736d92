"""A whole network as one file of C: every kernel, and a plain driver for one thread in place of `steps.py`'s.

The driver does what a step does in the same order, with as many groups of blocks, so weights become the same. It is to
be read, and to be run under sanitizers, which machine code in memory cannot be.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap
from typing import NamedTuple

from . import passes
from .c import LINE, c_function
from .c_helpers import Helpers
from .kernel import Access, Function, Index
from .places import Places, kind_of
from .program import GROUPS, Call, Program, Region
from .steps import DECAYING, LOSS, NOT_DECAYING, Sizes

PURPOSES = {
    "load": "Images, one after the other, into a volume where they stand side by side in the lanes",
    "sums": "A layer's weighted sums, with what follows them in the same pass",
    "loss": "The loss, how many scores are right, and the gradient for the sums of the last layer",
    "put": "A gradient for a volume, back through what follows the sums",
    "weights": "Adds to the gradient for weights",
    "inputs": "The gradient for what a layer reads, back through what made it",
    "pack": "Weights in the order in which a kernel reads them",
    "clear": "Zeros",
    "lanes": "Sums of lanes and groups, added up into gradients",
    "losses": "Losses and hits of all groups, added up",
    "update": "Weights moved against their gradients, unless the loss is not a number",
    "scores": "A block's scores without gaps",
}
"""What functions are for, by their kind."""


class StepCalls(NamedTuple):
    """What a step of training calls, part after part, and what prediction calls at the end of a block."""

    pack: Sequence[Call]
    forward: Sequence[Call]
    backward: Sequence[Call]
    clear: Sequence[Call]
    sums: Sequence[tuple[Call, int]]
    """With the number of rows."""
    updates: Sequence[tuple[Call, int]]
    """With the number of vectors."""
    losses: Sequence[Call]
    scores: Sequence[Call]


def step_calls(program: Program, nesterov: bool) -> StepCalls:
    """The calls of a program, to which functions are added: all that depends on the program's lists is here."""
    machine, lanes, here = program.machine, program.machine.lanes, Index()
    group = Sizes.of(program, program.network).group // (4 * lanes)

    def clear(name: str) -> Function:
        return passes.clear(name, machine, group)

    def losses(name: str) -> Function:
        return passes.sum_losses(name, machine, group)

    last = program.stages[-1].y
    scores = program.add("scores", lambda name: passes.store_scores(name, machine, last))
    at = Access("arena", Index(last.offset * lanes))
    result = Access("result", here)
    return StepCalls(
        pack=program.packs,
        forward=program.forward,
        backward=program.backward,
        clear=[Call(program.add("clear", clear), {"y": result})],
        sums=[_sum(program, region, region.sums, group) for region in program.regions if region.sums is not None],
        updates=[_update(program, region, group, nesterov) for region in program.regions],
        losses=[Call(program.add("losses", losses), {"result": result, "out": Access("settings", Index(LOSS))})],
        scores=[Call(scores, {"y": at, "scores": Access("scores", here)})],
    )


def _sum(program: Program, region: Region, sums: int, group: int) -> tuple[Call, int]:
    machine = program.machine
    function = program.add("lanes", lambda name: passes.sum_lanes(name, machine, region.count, region.padded, group))
    places = {"sums": Access("sums", Index(sums * machine.lanes)), "dw": Access("gradients", Index(region.start))}
    return Call(function, places), region.rows


def _update(program: Program, region: Region, group: int, nesterov: bool) -> tuple[Call, int]:
    machine, summed = program.machine, region.sums is not None
    function = program.add("update", lambda name: passes.update(name, machine, group, summed, nesterov))
    start = Index(region.start)
    places = {
        "w": Access("weights", start),
        "v": Access("velocity", start),
        "dw": Access("gradients", start),
        "settings": Access("settings", Index(DECAYING if region.decays else NOT_DECAYING)),
        "loss": Access("settings", Index(LOSS)),
    }
    return Call(function, places), region.size // machine.lanes


def c_program(program: Program, nesterov: bool = True) -> str:
    """The file. Its `train` makes one step, its `score` gives the scores of images."""
    steps, helpers, places = step_calls(program, nesterov), Helpers(), Places(program)
    functions = [c_function(function, helpers, _about(function)) for function in program.functions.values()]
    parts = [
        _about_network(program),
        helpers.text(),
        *functions,
        _memory(program, places),
        _calls("pack_weights", "Weights in the order of reading, made anew for each step.", steps.pack, places),
        _calls("forward", "A block of images forwards.", steps.forward, places),
        _calls("backward", "From its loss to what it adds to the gradients.", steps.backward, places),
        _calls("clear", "A group's results, gradients and sums of lanes become zero.", steps.clear, places),
        _calls("add_up", "What groups and lanes hold apart.", [*_ranged(steps.sums), *_grouped(steps.losses)], places),
        _calls("update", "All parameters, once the first group holds the sums.", _ranged(steps.updates), places),
        _calls("store_scores", "The scores of a block.", steps.scores, places),
        DRIVER.format(**{"decaying": DECAYING, "not_decaying": NOT_DECAYING, "loss": LOSS}),
    ]
    return "\n\n".join(parts)


def _about(function: Function) -> str:
    purpose = PURPOSES.get(function.name.rpartition("_")[0], "")
    tile = " x ".join(map(str, function.tile.values()))
    at_once = f"{tile} at once ({', '.join(function.tile)})" if tile else ""
    return "; ".join(filter(None, [purpose, function.form, at_once]))


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


def _memory(program: Program, places: Places) -> str:
    """How much memory there is, and what lies in it."""
    sizes, network = Sizes.of(program, program.network), program.network
    counts = {
        "LANES": (program.machine.lanes, "images side by side"),
        "IMAGE": (network.input_shape.elements, "numbers of an image"),
        "CLASSES": (network.shapes[-1].channels, ""),
        "PARAMETERS": (program.parameters, "with what pads rows to whole vectors"),
        "PACKED": (program.packed, "numbers of weights in the order of reading"),
        "ARENA": (sizes.arena // 4, "numbers of all volumes of a block of images"),
        "SCRATCH": (sizes.scratch // 4, "numbers of gradients, transposed"),
        "GROUP": (sizes.group // 4, "numbers of a group: 2 LANES of losses and hits, PARAMETERS, sums of lanes"),
        "GROUPS": (GROUPS, "the most groups that the blocks of a step are in"),
    }
    entries = [f"    {name} = {count},{f'  // {what}' if what else ''}" for name, (count, what) in counts.items()]
    regions = [f"//   {region.name} from {region.start}: {_rows(region)}" for region in program.regions]
    layout = "// Parameters, one row of outputs for each input and tap:"
    return "\n".join(["enum {", *entries, "};", "", layout, *regions, "", MEMORY])


def _rows(region: Region) -> str:
    group = f", group {region.group}" if region.group else ""
    return f"{region.rows} x {region.count}, rows of {region.padded}{group}"


class _Shared(NamedTuple):
    """A call with its numbers as C."""

    call: Call
    numbers: tuple[str, ...] = ()


def _ranged(calls: Iterable[tuple[Call, int]]) -> list[_Shared]:
    """Calls for all of so many rows or vectors."""
    return [_Shared(call, ("0", str(count), "groups")) for call, count in calls]


def _grouped(calls: Iterable[Call]) -> list[_Shared]:
    return [_Shared(call, ("groups",)) for call in calls]


def _calls(name: str, about: str, calls: Iterable[Call | _Shared], places: Places) -> str:
    """A function of the driver that calls kernels one after the other."""
    shared = [call if isinstance(call, _Shared) else _Shared(call) for call in calls]
    numbers = ", int64_t groups" if any(one.numbers for one in shared) else ""
    lines = [line for one in shared for line in _one_call(one, places)]
    return "\n".join([f"// {about}", f"static void {name}(struct net *n{numbers}) {{", *lines, "}"])


def _one_call(shared: _Shared, places: Places) -> Iterator[str]:
    """One argument a line, each with what lies there."""
    call, numbers = shared
    layer = places.layer(call)
    yield f"    // {kind_of(call)}{f' of {layer}' if layer else ''}"
    yield f"    {call.function.name}("
    arguments = [(name, call.buffers[name]) for name in call.function.buffers]
    for k, (name, access) in enumerate(arguments):
        comma = "," if numbers or k + 1 < len(arguments) else ""
        what = places.name(access)
        yield f"        at(n->{access.buffer}, {access.at.constant}){comma}  // {name}{f': {what}' if what else ''}"
    if numbers:
        yield f"        {', '.join(numbers)}"
    yield "    );"


MEMORY = """// A network's memory: all in numbers of 4 bytes, each part from a multiple of 64 bytes on.
struct net {
    float *weights, *velocity, *packed;
    float *images, *arena, *scratch, *scores;  // of one block of LANES images
    int32_t *labels;                           // likewise; -1 where there is no image
    float *groups;                             // GROUPS times GROUP
    float *result, *gradients, *sums;          // of the group in hand
    float *settings;                           // rates for weights and for biases, sum of losses, hits
    float *scale;                              // 1 / number of images
};

static void *at(void *start, int64_t numbers) { return (float *)start + numbers; }

static void *zeros(size_t numbers) {
    size_t bytes = (numbers + 15) / 16 * 64;
    void *memory = aligned_alloc(64, bytes ? bytes : 64);
    if (!memory)
        abort();
    return memset(memory, 0, bytes);
}

static void use_group(struct net *n, int64_t group) {
    n->result = n->groups + group * GROUP;
    n->gradients = n->result + 2 * LANES;
    n->sums = n->gradients + PARAMETERS;
}

void net_open(struct net *n) {
    n->weights = zeros(PARAMETERS);
    n->velocity = zeros(PARAMETERS);
    n->packed = zeros(PACKED);
    n->images = zeros(LANES * IMAGE);
    n->arena = zeros(ARENA);
    n->scratch = zeros(SCRATCH);
    n->scores = zeros(LANES * CLASSES);
    n->labels = zeros(LANES);
    n->groups = zeros((size_t)GROUPS * GROUP);
    n->settings = zeros(16);
    n->scale = zeros(1);
    use_group(n, 0);
}

void net_close(struct net *n) {
    void *all[] = {n->weights, n->velocity, n->packed, n->images, n->arena, n->scratch,
                   n->scores, n->labels, n->groups, n->settings, n->scale};
    for (size_t k = 0; k < sizeof all / sizeof *all; k++)
        free(all[k]);
}"""

DRIVER = """// Block b of some images, and their labels if there are any; zeros and -1 where it is not full.
static void take_block(struct net *n, const float *images, const int32_t *labels, int64_t count, int64_t b) {{
    int64_t first = b * LANES, there = count - first < LANES ? count - first : LANES;
    memset(n->images, 0, sizeof(float) * LANES * IMAGE);
    memcpy(n->images, images + first * IMAGE, sizeof(float) * there * IMAGE);
    for (int64_t k = 0; k < LANES; k++)
        n->labels[k] = labels && k < there ? labels[first + k] : -1;
}}

// One step of gradient descent on images [count][IMAGE]: the sum of their losses. Hits are in settings[{loss} + 1].
float train(struct net *n, const float *images, const int32_t *labels, int64_t count,
            float rate, float momentum, float decay) {{
    int64_t blocks = (count + LANES - 1) / LANES, groups = blocks < GROUPS ? blocks : GROUPS;
    const float rates[] = {{rate, momentum, decay, 0, rate, momentum, 0}};
    memcpy(n->settings, rates, sizeof rates);  // from {decaying} for weights, from {not_decaying} for biases
    n->scale[0] = (float)(1.0 / (double)count);
    pack_weights(n);
    for (int64_t g = 0; g < groups; g++) {{
        use_group(n, g);
        clear(n);
        for (int64_t b = g * blocks / groups; b < (g + 1) * blocks / groups; b++) {{
            take_block(n, images, labels, count, b);
            forward(n);
            backward(n);
        }}
    }}
    use_group(n, 0);
    add_up(n, groups);
    update(n, groups);
    return n->settings[{loss}];
}}

// Scores [count][CLASSES] of images [count][IMAGE].
void score(struct net *n, const float *images, int64_t count, float *scores) {{
    pack_weights(n);
    for (int64_t b = 0; b * LANES < count; b++) {{
        take_block(n, images, 0, count, b);
        forward(n);
        store_scores(n);
        for (int64_t k = b * LANES; k < count && k < (b + 1) * LANES; k++)
            for (int64_t c = 0; c < CLASSES; c++)
                scores[k * CLASSES + c] = n->scores[c * LANES + k % LANES];
    }}
}}
"""
