"""The documentation says what the program does: pages are current, examples run, what is printed is printed."""

from __future__ import annotations

import doctest
import importlib.util
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from neocog import Network
from neocog.cli import main
from neocog.layers import LAYERS
from neocog.training.augment import Augment
from neocog.training.settings import Settings

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
BLOCK = re.compile(r"^```(\w+)[^\n]*\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def blocks(path: Path, kind: str) -> list[str]:
    return [body for found, body in BLOCK.findall(path.read_text(encoding="utf-8")) if found == kind]


def cases(kind: str, *names: str) -> list[object]:
    return [
        pytest.param(body, id=f"{name}-{k}")
        for name in names
        for k, body in enumerate(blocks(ROOT / name, kind), start=1)
    ]


def lessons() -> list[object]:
    """What the pages show of each lesson. The Chinese page trains the same networks again, so that is slow."""
    trains = re.compile(r"demo (initialisation|batch-size|sharing|fc-as-conv) --lang zh")
    return [
        pytest.param(body, id=f"{name}-{k}", marks=pytest.mark.slow if trains.search(body) else ())
        for name in ("docs/lessons.md", "docs/lessons.zh-CN.md")
        for k, body in enumerate(blocks(ROOT / name, "console"), start=1)
    ]


def builder() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_build", ROOT / "docs" / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_layer_pages_are_what_the_layers_say_now():
    committed = {p.name: p.read_text(encoding="utf-8") for p in (ROOT / "docs" / "layers").glob("*.md")}
    made = builder().pages()
    stale = [name for name in made.keys() | committed.keys() if made.get(name) != committed.get(name)]
    assert not stale, f"run `make docs`: {sorted(stale)}"


def test_every_layer_has_a_page_and_the_notation_names_it():
    notation = (ROOT / "docs" / "notation.md").read_text(encoding="utf-8")
    for layer in LAYERS:
        assert builder().file_name(layer) in builder().pages()
        assert re.search(rf"\b{layer.op}(?![A-Z])", notation), f"docs/notation.md does not mention {layer.op}"


@pytest.mark.parametrize(
    "text", cases("net", "docs/notation.md", "docs/notation.zh-CN.md", "README.md", "README.zh-CN.md")
)
def test_networks_in_the_documentation_can_be_planned(text):
    net = Network.parse(text)
    assert net.plan().totals["layers"] == len(net.nodes) - 1
    assert Network.parse(str(net)) == net


@pytest.mark.parametrize(
    "name",
    [
        "docs/notation.md",
        "docs/notation.zh-CN.md",
        "docs/from-torch.md",
        "docs/weights.md",
        "docs/export.md",
        "docs/performance.md",
        "docs/rewriting.md",
        "docs/retrieval.md",
        "docs/dense.md",
        "docs/lessons.md",
        "docs/lessons.zh-CN.md",
    ],
)
def test_python_in_a_page_prints_what_it_shows(name, tmp_path, monkeypatch):
    """The blocks of a page are one session, read from the top; what it writes is no part of this folder."""
    for folder in ("docs", "recipes"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    monkeypatch.chdir(tmp_path)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks(ROOT / name, "python")), {}, name, name, 0)
    assert test.examples
    assert doctest.DocTestRunner(verbose=False).run(test).failed == 0


@pytest.mark.parametrize("text", cases("console", "docs/notation.md", "docs/notation.zh-CN.md", "docs/rewriting.md"))
def test_commands_in_the_notation_page_print_what_they_show(text, capsys, monkeypatch):
    """`$ neocog ...` and the whole of what it prints, or its first lines when the last line shown is `...`."""
    monkeypatch.delenv("COLUMNS", raising=False)
    prints_what_it_shows(text, capsys)


def plans_shown(*names: str) -> list[object]:
    """What the pages show of plans: an indented command, and below it what that prints."""
    shown = re.compile(r"^ {4}(neocog plan [^\n]*\n)\n```text\n(.*?)^```$", re.DOTALL | re.MULTILINE)
    return [
        pytest.param("$ " + command + printed, id=f"{name}-{k}")
        for name in names
        for k, (command, printed) in enumerate(shown.findall((ROOT / name).read_text(encoding="utf-8")), start=1)
    ]


@pytest.mark.parametrize("text", plans_shown("README.md", "README.zh-CN.md"))
def test_plans_in_the_readme_are_what_is_printed_at_their_width(text, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(max(map(len, text.splitlines()[1:]))))
    prints_what_it_shows(text, capsys)


@pytest.mark.parametrize("name", ["README.md", "README.zh-CN.md"])
def test_the_torch_module_in_the_readme_becomes_the_text_beside_it(name, capsys):
    (source,) = [body for body in blocks(ROOT / name, "python") if "from_torch" in body]
    exec(source, {"Network": Network})
    assert capsys.readouterr().out == source.rpartition("# ")[2]


def prints_what_it_shows(text, capsys):
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, _, shown = part.partition("\n")
        program, *arguments = shlex.split(command)
        assert program == "neocog"
        main(arguments)
        printed = capsys.readouterr()
        lines = [line.rstrip() for line in (printed.out + printed.err).splitlines()]
        expected = [line.rstrip() for line in shown.rstrip().splitlines()]
        if expected[-1:] == ["..."]:
            expected, lines = expected[:-1], lines[: len(expected) - 1]
        assert lines == expected


@pytest.mark.parametrize("text", lessons())
def test_every_lesson_prints_what_its_page_shows_in_both_languages(text, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    prints_what_it_shows(text, capsys)


@pytest.mark.parametrize("path", PAGES, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_between_pages_lead_somewhere(path):
    text = BLOCK.sub("", path.read_text(encoding="utf-8"))
    for target in re.findall(r"\]\(([^)\s]+)\)|<img[^>]*src=\"([^\"]+)\"", text):
        link = "".join(target).partition("#")[0]
        if link and "://" not in link:
            assert (path.parent / link).exists(), f"{path.name} links to {link}"


def test_every_setting_and_every_change_of_images_is_on_the_page_about_training():
    page = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    for name in Settings.__dataclass_fields__:
        assert re.search(rf"`[^`\n]*\b{name}\b", page), name
    for name in Augment.__dataclass_fields__:
        assert f"| `{name}" in page, name
