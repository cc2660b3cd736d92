"""What the server says can be read in Chinese: each message of the studio has its phrase, and each phrase is said."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from neocog.notation.parser import MISTAKES

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "neocog"
PAGE = SOURCE / "studio/page"
TOLD = re.compile(r"Error$|^(Gone|Refusal|HTTPException)$")
NOT_ON_THE_PAGE = {
    "the studio cannot listen here",  # said by the terminal
    "no {}",
    "what can be changed is {}",  # the page offers nothing else
}
NO_WORDS = re.compile(r"[^A-Za-z]*|neocog .*|--port 0|runs/.*|(\{\}|[:x, -])+")
"""Numbers, names and commands, which are the same in every language."""


def template(node: ast.AST) -> str | None:
    """A text as the source writes it, with `{}` for what differs; None for what is no text."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)
    return None


def counted(node: ast.AST) -> str | None:
    """The noun of what is counted with `wording.count_of`."""
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "count_of":
        return template(node.args[1])
    return None


def phrases() -> dict[str, str]:
    source = (PAGE / "phrases.js").read_text("utf-8")
    found = re.findall(r'^  ("(?:[^"\\]|\\.)*"):\s*("(?:[^"\\]|\\.)*"),$', source, re.MULTILINE)
    return {json.loads(english): json.loads(chinese) for english, chinese in found}


def told(path: Path) -> Iterator[str]:
    """What a module tells in errors: rules, what was received, hints."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and TOLD.search(getattr(node.func, "id", getattr(node.func, "attr", ""))):
            parts = [*node.args, *(word.value for word in node.keywords if word.arg in ("received", "hint"))]
            yield from (text for text in map(template, parts) if text is not None)


BOOK = phrases()
OWN = sorted({text for path in SOURCE.glob("studio/**/*.py") for text in told(path)} - NOT_ON_THE_PAGE)


def test_the_book_was_read():
    assert len(BOOK) > 100
    assert len(OWN) > 40
    assert (PAGE / "phrases.js").read_text("utf-8").count('":') == len(BOOK)


@pytest.mark.parametrize("text", [text for text in OWN if not NO_WORDS.fullmatch(text)])
def test_every_message_of_the_studio_has_its_phrase(text):
    assert text in BOOK


@pytest.mark.parametrize("message", MISTAKES, ids=[rule for rule, _ in MISTAKES])
def test_what_the_grammar_says_has_its_phrase(message):
    rule, hint = message
    assert rule in BOOK
    assert hint in BOOK or not re.search(r"[a-z]{2,} [a-z]{2,}", hint.removeprefix("def "))  # or what to type


def test_gaps_are_filled():
    for english, chinese in BOOK.items():
        used = {int(k) for k in re.findall(r"\{(\d)\}", chinese)}
        assert used == set(range(english.count("{}"))), english


def test_every_phrase_is_said_somewhere():
    """So that a message that changes does not lose its translation unseen."""
    said = set(
        re.findall(r'rule: ["`]([^"`]+)["`]', (PAGE / "api.js").read_text("utf-8").replace("${response.status}", "{}"))
    )
    for path in SOURCE.rglob("*.py"):
        if path.parent.name not in ("native", "torch_engine"):
            nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
            said |= {text for node in nodes if (text := template(node))}
            said |= {f"{{}} {noun}{ending}" for noun in map(counted, nodes) if noun for ending in ("", "s")}
    left = [one for one in BOOK if one not in said and one.removeprefix("{} is ") not in said]
    open_ended = [gaps(one) for one in said if "{}" in one and len(re.findall("[a-z]", one)) > 5]
    unsaid = [one for one in left if not any(source.fullmatch(one.replace("{}", "7x7x7")) for source in open_ended)]
    # what is left leaves more open than the source does
    assert [one for one in unsaid if not any(map(gaps(one).fullmatch, said))] == []


def gaps(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("{}"))), re.DOTALL)
