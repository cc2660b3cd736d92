"""Rooms look only left: each imports itself and rooms before it, and planning never loads torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PACKAGE = Path(__file__).parents[1] / "neocog"
FILES = sorted(PACKAGE.rglob("*.py"))

ROOMS = (
    *("errors", "wording", "finding", "signal", "spelling"),
    *("layer", "chance", "layers", "network", "notation", "zoo"),
    *("lettering", "plan"),
    *("initialise", "losses", "statistics", "average", "changes", "feed", "views", "reference", "files", "resources"),
    *("native", "torch_engine", "measure", "check"),
    *("data", "model", "interop", "rewrite", "export", "runtimes"),
    *("report", "training", "predict", "explain", "retrieval", "dense", "lessons", "studio", "cli"),
)
OUTSIDE = ("__init__", "__main__")  # the public names and `python -m neocog` look at every room
HEAVY_FROM = ROOMS.index("native")  # rooms before it load at once: torch and its like only where they run
HEAVY = {"torch", "matplotlib", "PIL", "rich", "safetensors", "yaml", "platformdirs", "llvmlite"}

LATE = {
    "network.py": {"notation", "plan", "torch_engine", "interop"},  # Network's methods are how people reach these rooms
    "model.py": {"predict"},  # likewise Model's
    "__init__.py": {"data", "model", "training"},  # the public names, some loaded when first used
}
"""Rooms to the right that a file may import inside a function or for type checking only."""

TORCH_MODULES = {PACKAGE / "layers" / name for name in ("_modules.py", "_tiles.py", "_tile_kernels.py")}
"""What a layer's `module` returns, imported only inside it, and what that computes by."""


class Import(NamedTuple):
    """`target` is a dotted name, with `neocog` spelled out; `late` means inside a function or for types only."""

    target: str
    late: bool
    in_function: bool

    @property
    def room(self) -> str | None:
        parts = self.target.split(".")
        return parts[1] if parts[0] == "neocog" and len(parts) > 1 else None


def imports(source: str, path: Path) -> list[Import]:
    """Every import of a file, at any depth."""
    return list(_imports(ast.parse(source), path, late=False, in_function=False))


def _imports(tree: ast.AST, path: Path, late: bool, in_function: bool) -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, late, in_function) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (Import(target, late, in_function) for target in _targets(node, path))
        else:
            function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            types_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
            yield from _imports(node, path, late or function or types_only, in_function or function)


def _targets(node: ast.ImportFrom, path: Path) -> list[str]:
    if not node.level:
        return [node.module or ""]
    package = ["neocog", *path.relative_to(PACKAGE).parent.parts]
    base = [*package[: len(package) - node.level + 1], *(node.module or "").split(".")]
    base = [part for part in base if part]
    if base == ["neocog"]:  # `from . import x`: x is a room, or a name of the package itself
        return [f"neocog.{alias.name}" if alias.name in ROOMS else "neocog" for alias in node.names]
    return [".".join(base)]


def room_of(path: Path) -> str:
    first = path.relative_to(PACKAGE).parts[0]
    return first.removesuffix(".py")


def name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def offences(source: str, path: Path) -> list[str]:
    """What a file imports that it may not."""
    room = room_of(path)
    place = len(ROOMS) if room in OUTSIDE else ROOMS.index(room)
    must_start_fast = place < HEAVY_FROM and path not in TORCH_MODULES
    to_the_right = LATE.get(name(path), set())
    found = []
    for used in imports(source, path):
        if used.room is not None:
            if ROOMS.index(used.room) > place and not (used.late and used.room in to_the_right):
                found.append(f"{room} imports {used.room}, which is to its right")
            if used.in_function and must_start_fast and used.room not in {room, *to_the_right}:
                found.append(f"{room} imports {used.room} inside a function")
        elif used.target.split(".")[0] in HEAVY and not used.late and must_start_fast:
            found.append(f"{room} loads {used.target}, which planning must not wait for")
    return found


def test_every_file_is_in_a_known_room():
    assert {room_of(path) for path in FILES} <= {*ROOMS, *OUTSIDE}


@pytest.mark.parametrize("path", FILES, ids=name)
def test_imports_go_only_left(path):
    assert offences(path.read_text(encoding="utf-8"), path) == []


@pytest.mark.parametrize(
    ("file", "source", "says"),
    [
        ("layer.py", "from .network import Network", "layer imports network, which is to its right"),
        ("layers/conv.py", "from ..plan import plan", "layers imports plan, which is to its right"),
        ("layers/conv.py", "from ..plan.memory import memory", "layers imports plan, which is to its right"),
        ("layers/conv.py", "from .. import plan", "layers imports plan, which is to its right"),
        ("layers/conv.py", "import neocog.training", "layers imports training, which is to its right"),
        ("layers/conv.py", "def f():\n    from ..plan import plan", "layers imports plan, which is to its right"),
        ("layers/conv.py", "def f():\n    from ..errors import ShapeError", "layers imports errors inside a function"),
        ("network.py", "from .plan import plan", "network imports plan, which is to its right"),
        ("network.py", "def f():\n    from .training import train", "network imports training, which is to its right"),
        ("plan/tables.py", "from rich.table import Table", "plan loads rich.table, which planning must not wait for"),
        ("layers/conv.py", "if x:\n    import torch", "layers loads torch, which planning must not wait for"),
    ],
)
def test_the_rule_finds_an_arrow_that_points_right(file, source, says):
    assert says in offences(source, PACKAGE / file)


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("layers/conv.py", "from ..errors import ShapeError\nfrom ._slide import slide"),
        ("layers/conv.py", "def module():\n    from torch import nn\n    from . import _modules"),
        ("network.py", "if TYPE_CHECKING:\n    from .plan import Plan"),
        ("network.py", "def plan():\n    from .plan import plan"),
        ("cli/eval_verb.py", "def run():\n    from ..model import load"),
        ("training/loop.py", "import torch\nfrom ..losses import LOSSES\nfrom .. import __version__"),
    ],
)
def test_the_rule_lets_arrows_pass_that_point_left(file, source):
    assert offences(source, PACKAGE / file) == []


WORKS = (
    "neocog.Network.parse('INPUT[28x28x1] -> CONV5-6 -> RELU -> POOL2 -> FC10').plan().as_dict()",
    "neocog.zoo('vgg16').plan(batch=32, optimizer='adam')",
    "main(['plan', 'vgg16'])",
    "main(['plan', 'lenet5', '--json'])",
    "main(['plan', 'INPUT[7x7x1] -> CONV3-4(S=3, P=0)'])",
    "main(['zoo'])",
    "main(['native', 'lenet5-relu', '--show'])",
)


def test_planning_loads_neither_torch_nor_what_draws_or_decodes():
    """One process does one after the other, and says after each what has been loaded."""
    slow = "{'torch', 'matplotlib', 'PIL', 'safetensors', 'yaml'} & sys.modules.keys()"
    lines = [f"{work}\nprint({f'loaded by {work}:'!r}, *sorted({slow}), file=sys.stderr)" for work in WORKS]
    code = "\n".join(["import sys, neocog", "from neocog.cli import main", *lines])
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said = [line for line in done.stderr.splitlines() if line.startswith("loaded by ")]
    assert said == [f"loaded by {work}:" for work in WORKS]
    assert "138,357,544 parameters" in done.stdout
