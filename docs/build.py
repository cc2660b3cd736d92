"""Write docs/layers/: one page for each layer, from the layer's own file. `make docs` runs it.

A page is the file's docstring (formula, gradient, sources), how the layer is written, and its examples with the
sizes and costs that its rules give. To change a page, change the layer.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import MISSING
from inspect import cleandoc
from pathlib import Path

from neocog.errors import NeocogError
from neocog.layer import Example, Layer, Shape
from neocog.layers import LAYERS, Auxiliary
from neocog.network import Network
from neocog.spelling import pattern, places

FOLDER = Path(__file__).parent / "layers"
NOTICE = "<!-- Written by `make docs` from {}: change that, not this. -->"


def pages() -> dict[str, str]:
    """The text of every page by file name."""
    return {"README.md": index(), **{file_name(layer): page(layer) for layer in LAYERS}}


def file_name(layer: type[Layer]) -> str:
    """The page of a layer is called as its file: no system forbids that name, as one does `aux`."""
    return f"{layer.__module__.rpartition('.')[2]}.md"


def index() -> str:
    """The list of all layers."""
    rows = [(f"[{layer.op}]({file_name(layer)})", code(spelled(layer)), cell(summary(layer))) for layer in LAYERS]
    intro = "One page for each layer of the [notation](../notation.md): formula, gradient, costs, examples."
    return joined(NOTICE.format("neocog/layers/"), "# Layers", intro, table(("layer", "written", "what it is"), rows))


def page(layer: type[Layer]) -> str:
    """Everything that one layer's file says."""
    source = f"neocog/layers/{layer.__module__.rpartition('.')[2]}.py"
    written = table(("letter", "in Python", "is", "default"), settings(layer)) if places(layer) else ""
    good = table(
        ("written", "input", "output", "parameters", "connections", "MACs"),
        (costed(layer, example) for example in layer.examples),
    )
    bad = table(
        ("written", "input", "the rule it breaks"),
        ((code(bad.token), " and ".join(bad.inputs), rule_broken(layer, bad)) for bad in layer.bad_examples),
    )
    return joined(
        NOTICE.format(source),
        f"# {layer.op}",
        docstring(layer),
        f"## Written\n\n{code(spelled(layer))}",
        written,
        f"## Examples\n\nSizes and costs are for one image.\n\n{good}",
        f"## Refused\n\n{bad}" if layer.bad_examples else "",
        f"Code: [{source}](../../{source})",
    )


def docstring(layer: type[Layer]) -> str:
    """The docstring of the layer's file."""
    return cleandoc(sys.modules[layer.__module__].__doc__ or "")


def summary(layer: type[Layer]) -> str:
    """The first line of the file."""
    return docstring(layer).partition("\n")[0]


def spelled(layer: type[Layer]) -> str:
    """How the layer is written, with letters for the numbers."""
    if layer.op == "INPUT":
        return "INPUT[<H>x<W>x<C>]"
    if layer.joins:
        return f"{layer.op}[ a | b ]"
    return pattern(layer.op, places(layer)) + ("[ a ]" if layer is Auxiliary else "")


def settings(layer: type[Layer]) -> Iterable[Sequence[str]]:
    """One row for each hyper-parameter. A default that depends on others is in the page's own table of letters."""
    for name, (place, declared) in places(layer).items():
        if declared.default is MISSING:
            default = "required"
        else:
            default = "as above" if declared.default is None else code(place.kind.write(declared.default))
        yield code(place.letter), code(name), place.kind.name, default


def costed(layer: type[Layer], example: Example) -> Sequence[str]:
    """One example, with what follows from it."""
    inputs = [Shape.of(text) for text in example.inputs]
    made = read(layer, example)
    cost = made.cost(*inputs)
    counts = [f"{count:,}" for count in (cost.parameters, cost.connections, cost.macs)]
    return code(example.token), " and ".join(example.inputs), str(made.output_shape(*inputs)), *counts


def rule_broken(layer: type[Layer], example: Example) -> str:
    """What the user is told about a bad example. Raises RuntimeError if it is accepted."""
    try:
        read(layer, example).output_shape(*(Shape.of(text) for text in example.inputs))
    except NeocogError as error:
        return cell(error.rule)
    raise RuntimeError(f"{example.token} is a bad example that is accepted")


def read(layer: type[Layer], example: Example) -> Layer:
    """The layer of an example. What joins branches has no settings, so its class is all there is to read."""
    if layer.joins:
        return layer()
    before = "" if layer.op == "INPUT" else f"INPUT[{(*example.inputs, '1x1x1')[0]}] -> "
    branch = "[ID] -> ID" if layer is Auxiliary else ""
    network = Network.parse(before + example.token + branch)
    return next(node.layer for node in reversed(network.nodes) if type(node.layer) is layer)


def joined(*parts: str) -> str:
    """The parts that there are, as paragraphs."""
    return "\n\n".join(part for part in parts if part) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def code(text: str) -> str:
    """Text in code type, fit for a table's cell."""
    return f"`{cell(text)}`"


def cell(text: str) -> str:
    """Text without what would end a table's cell."""
    return text.replace("|", "\\|").replace("\n", " ")


def main() -> None:
    """Make the folder's pages exactly these."""
    made = pages()
    FOLDER.mkdir(exist_ok=True)
    for old in FOLDER.glob("*.md"):
        if old.name not in made:
            old.unlink()
    for name, text in made.items():
        (FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
