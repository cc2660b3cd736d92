"""What holds for the repository as a whole: documented names, kept promises, commands that exist."""

from __future__ import annotations

import inspect
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import neocog
from neocog.cli import VERBS
from neocog.explain import METHODS, Attribution
from neocog.zoo import names

ROOT = Path(__file__).parents[1]
READMES = [ROOT / "README.md", ROOT / "README.zh-CN.md"]
PUBLIC = re.findall(
    r"^\s*from \.\w+ import \w+ as (\w+)$", (ROOT / "neocog/__init__.py").read_text("utf-8"), re.MULTILINE
)
MODULES = sorted((ROOT / "neocog").rglob("*.py"))


def read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", read(ROOT / "Makefile"), re.MULTILINE))


@pytest.mark.parametrize("name", PUBLIC)
def test_public_names_are_documented(name):
    assert len(inspect.getdoc(getattr(neocog, name)) or "") > 20


def test_the_list_of_public_names_was_found():
    assert {"Network", "zoo", "train", "load", "Model", "NeocogError"} <= set(PUBLIC)


def test_no_module_is_for_odds_and_ends():
    banned = {"utils", "util", "helpers", "common", "misc", "manager"}
    assert [relative(path) for path in MODULES if banned & set(path.relative_to(ROOT).with_suffix("").parts)] == []


def test_promises_name_tests_that_exist():
    rows = [line for line in read(ROOT / "docs/promises.md").splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 5
    for row in rows:
        *_, shown_by, _ = row.split("|")
        places = re.findall(r"`([^`]+)`", shown_by)
        assert places, f"nothing shows: {row}"
        for place in places:
            file, _, test = place.partition("::")
            assert (ROOT / file).exists(), f"{file} does not exist"
            assert f"def {test}" in read(ROOT / file) if test else True


@pytest.mark.parametrize("path", [*READMES, ROOT / "CONTRIBUTING.md"], ids=relative)
def test_make_commands_in_the_documentation_exist(path):
    commands = re.findall(r"(?:^ {4}|`)make ([a-z-]+)", read(path), re.MULTILINE)
    assert commands
    assert set(commands) <= make_targets()


@pytest.mark.parametrize("path", READMES, ids=relative)
def test_verbs_and_networks_in_the_readme_exist(path):
    commands = re.findall(r"^ {4}(?:\S*/)?neocog ([\w-]+)(?: (\w[\w-]*))?", read(path), re.MULTILINE)
    assert {verb for verb, _ in commands} <= set(VERBS)
    named = {net for verb, net in commands if verb in ("plan", "train", "check", "zoo") and net}
    assert {"lenet5", "lenet5-relu"} <= named <= set(names())


def test_both_readmes_show_the_same_commands_and_networks():
    """Translations may differ in prose only."""
    shown = [
        [
            re.sub(r"#.*", "", line).rstrip()
            for line in read(path).splitlines()
            if re.match(r" {4}\S|INPUT|->|def |N=", line)
        ]
        for path in READMES
    ]
    assert shown[0] == shown[1]


def test_the_readme_counts_the_ways_to_explain():
    maps = sum(isinstance(method, Attribution) for method in METHODS)
    english, chinese = (" ".join(read(path).split()) for path in READMES)
    assert f"one of {maps} kinds of maps" in english
    assert f"in {len(METHODS) - maps} other ways" in english
    assert f"{maps} 种热图" in chinese
    assert f"另有 {len(METHODS) - maps} 种方法" in chinese


def test_make_offers_what_it_should():
    assert {"demo", "test", "test-all", "lint", "docs", "bench-env", "bench", "clean"} <= make_targets()
    listed = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {line.split()[1] for line in listed.splitlines()} >= make_targets() - {"help", "bench-env"}


def test_every_dependency_has_its_reason():
    project = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"]["dev"]]
    reasons = read(ROOT / "docs/dependencies.md").lower()
    for requirement in wanted:
        package = re.match(r"[A-Za-z0-9-]+", requirement)[0].lower()
        assert re.search(rf"(\| |\*\*){package}( \||\*\*)", reasons), f"docs/dependencies.md says nothing of {package}"


def test_an_old_python_is_refused_in_words(tmp_path):
    old = tmp_path / "python3.9"
    old.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "Python 3.9.2" && exit 0\nexit 1\n')
    old.chmod(0o755)
    (tmp_path / "Makefile").write_text(read(ROOT / "Makefile"))
    (tmp_path / "pyproject.toml").touch()
    (tmp_path / "constraints.txt").touch()
    done = subprocess.run(["make", "test", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stdout
    assert "Python 3.9.2" in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_the_command_is_installed_under_its_name():
    scripts = tomllib.loads(read(ROOT / "pyproject.toml"))["project"]["scripts"]
    module, _, function = scripts["neocog"].partition(":")
    code = f"import sys; from {module} import {function}; sys.exit({function}(['--version']))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"neocog {neocog.__version__}\n"
