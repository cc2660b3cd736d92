"""Text -> syntax: the lark grammar, and messages for texts that do not follow it, chosen by example."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from lark import Lark, Token, Transformer, UnexpectedCharacters, UnexpectedInput, UnexpectedToken

from ..network import Span
from . import syntax
from .limits import check_limits, located

MISTAKES: dict[tuple[str, str], tuple[str, ...]] = {
    ("a layer is missing after `->`", "a layer such as RELU, or no `->` at the end"): (
        "INPUT[8x8x1] ->",
        "INPUT[8x8x1] -> -> RELU",
        "INPUT[8x8x1] -> [RELU -> ]",
        "INPUT[8x8x1] -> ADD[RELU -> | ID]",
        "def a = RELU -> INPUT[8x8x1] -> )",
    ),
    ("layers are joined by `->`", "`->` between the two"): (
        "INPUT[8x8x1] RELU",
        "INPUT[8x8x1] => RELU",
        "INPUT[8x8x1] -> RELU => RELU",
        "INPUT[8x8x1] > RELU",
        "INPUT[8x8x1] -> RELU - RELU",
        "INPUT[8x8x1] -> CONV3-4 RELU",
        "INPUT[8x8x1] -> CONV3-4(S=1) RELU",
        "INPUT[8x8x1] -> [RELU]*2 RELU",
        "INPUT[8x8x1] -> [RELU] [RELU]",
        "INPUT[8x8x1] -> [RELU RELU]",
        "INPUT[8x8x1] -> ADD[RELU RELU | ID]",
        "INPUT[8x8x1] -> RELU, RELU",
        "INPUT[8x8x1] -> RELU = 2",
        "INPUT[8x8x1] -> CONV3-4(S=1) 3",
        "INPUT[8x8x1] -> [CONV3-4(S=1) 3]",
        "INPUT[8x8x1] -> CONV3-4(S=1), RELU",
        'INPUT[8x8x1] -> [CONV3-4 "RELU"]',
        "def a = [RELU]*2 -2",
    ),
    ("a text needs a network", "INPUT[28x28x1] -> ... -> FC10"): ("", "# only a comment", "fit=floor", "def a = RELU"),
    ("a text begins with INPUT, a setting or a definition", "INPUT[28x28x1] -> ... -> FC10"): (
        "-> RELU",
        "( RELU )",
        "28x28x1 -> RELU",
        "*2",
        "INPUT 28x28x1 -> RELU",
        "INPUT CONV3-4",
        "INPUT, RELU",
        "INPUT | RELU",
        "INPUT * 2",
        'INPUT "28x28x1"',
        "INPUT ]",
        "INPUT - RELU",
    ),
    ("a `[` is not closed", "`]` where the group or branch ends"): (
        "INPUT[8x8x1] -> [RELU",
        "INPUT[8x8x1] -> [RELU -> TANH",
        "INPUT[8x8x1] -> ADD[RELU | ID",
        "INPUT[8x8x1] -> [CONV3-4(S=1)",
        "INPUT[",
        "[",
        "INPUT[8x8x1] -> [",
        "INPUT[8x8x1] -> ADD[",
        "INPUT[8x8x1] -> ADD[ID |",
        "INPUT[8x8x1",
    ),
    ("this `]` closes nothing", "without it, or a `[` before"): (
        "INPUT[8x8x1] -> RELU]",
        "INPUT[8x8x1] -> [RELU]]",
        "INPUT[8x8x1] -> CONV3-4(S=1)]",
        "INPUT[8x8x1]]",
    ),
    ("a group or branch is empty", "a layer in it; ID is the branch that changes nothing"): (
        "INPUT[8x8x1] -> []",
        "INPUT[8x8x1] -> []*2",
        "INPUT[8x8x1] -> ADD[]",
        "INPUT[8x8x1] -> ADD[| ID]",
        "INPUT[8x8x1] -> ADD[RELU |]",
        "INPUT[8x8x1] -> ADD[RELU | | ID]",
        "INPUT[]",
    ),
    ("`|` stands between the branches of ADD or CONCAT", "ADD[ a | b ]"): (
        "INPUT[8x8x1] -> RELU | TANH",
        "INPUT[8x8x1] -> [RELU | TANH]",
        "INPUT[8x8x1] | RELU",
    ),
    ("a repeat needs its count", "[ ... ]*3"): (
        "INPUT[8x8x1] -> [RELU]*",
        "INPUT[8x8x1] -> [RELU]* -> RELU",
        "INPUT[8x8x1] -> [[RELU]*]",
        "INPUT[8x8x1] -> [RELU]*S=2",
    ),
    ("only a group in brackets is repeated", "[CONV3-64 -> RELU]*3"): (
        "INPUT[8x8x1] -> RELU*3",
        "INPUT[8x8x1] -> CONV3-4(S=1)*3",
        "INPUT[8x8x1]*2",
        "INPUT[8x8x1] -> [CONV3-4*2]",
        "INPUT[8x8x1] -> ADD[RELU | ID]*2",
        "INPUT[8x8x1] -> [RELU]*2*2",
        "INPUT[8x8x1] -> RELU?p*2",
        "INPUT[8x8x1] -> [ADD[RELU(1)]*2 | ID]",
    ),
    ("options are written NAME=value, separated by commas", "CONV3-64(S=2, P=1)"): (
        "INPUT[8x8x1] -> CONV3-4(S=)",
        "INPUT[8x8x1] -> CONV3-4(S=1 P=1)",
        "INPUT[8x8x1] -> CONV3-4(1 P=1)",
        "INPUT[8x8x1] -> CONV3-4(,)",
        "INPUT[8x8x1] -> CONV3-4(S=1,)",
        "INPUT[8x8x1] -> CONV3-4(=1)",
        "INPUT[8x8x1] -> CONV3-4([1])",
        "INPUT[8x8x1] -> CONV3-4(S=[1])",
        "INPUT[8x8x1] -> CONV3-4(S=1=2)",
        "INPUT[8x8x1] -> CONV3-4(1, -> RELU",
        "INPUT[8x8x1] -> CONV3-4(1, *2)",
        "INPUT[8x8x1] -> CONV3-4(1, | 2)",
    ),
    ("a `(` is not closed", "`)` after the last option"): (
        "INPUT[8x8x1] -> CONV3-4(",
        "INPUT[8x8x1] -> CONV3-4(S=1",
        "INPUT[8x8x1] -> CONV3-4(S=1,",
        "INPUT[8x8x1] -> CONV3-4(S=1 -> RELU",
        "INPUT[8x8x1] -> CONV3-4(S=",
    ),
    ("this `)` closes nothing", "without it"): (
        "INPUT[8x8x1] -> RELU)",
        "INPUT[8x8x1] -> CONV3-4(S=1))",
        "INPUT[8x8x1])",
        "INPUT[8x8x1] -> [RELU)",
        "RELU )",
    ),
    ("round brackets hold a layer's options; layers are grouped by square ones", "[CONV3-64 -> RELU]*2"): (
        "INPUT[8x8x1] -> (RELU -> TANH)*2",
        "INPUT[8x8x1] -> [RELU](S=2)",
        "INPUT[8x8x1] -> [(RELU)]",
        "INPUT[8x8x1](fit=floor)",
        "INPUT(28, 28, 1) -> RELU(1)(2)",
    ),
    ("a layer's name begins with a letter", "the layer first, then its numbers, as in CONV3-64"): (
        "INPUT[8x8x1] -> 3CONV",
        "INPUT[8x8x1] -> [3x3]",
        "INPUT[8x8x1] -> *3",
        "INPUT[8x8x1] -> ?p",
        'INPUT[8x8x1] -> "RELU"',
        "INPUT[8x8x1] -> = 3",
    ),
    ("`?` names the variable that switches the part on (1) or off (0)", "POOL2?p"): (
        "INPUT[8x8x1] -> POOL2?",
        "INPUT[8x8x1] -> POOL2?1",
        "INPUT[8x8x1] -> POOL2??p",
        "INPUT[8x8x1] -> POOL2?(p)",
        "INPUT[8x8x1] -> DROPOUT?p(0.5)",
    ),
    ("a definition is `def name(parameters) = layers`", "def block(k) = CONV3-k -> RELU"): (
        "def",
        "def = RELU",
        "def a RELU",
        "def a() = RELU",
        "def a(1) = RELU",
        "def a(k = RELU",
        "def a(k,) = RELU",
        "def a(k l) = RELU",
        "def a(k, l(S=2)) = RELU",
        "def a =",
        "def a = = RELU",
        "def 3 = RELU",
        "def a ? RELU",
        "def a(k) ? RELU",
        "def a(k) RELU",
        "def a(k) 0.5 RELU",
        "def a(k) -> RELU",
        "a(1) = RELU",
    ),
    ("definitions and settings stand before the network", "them first, the line that begins with INPUT last"): (
        "INPUT[8x8x1] -> RELU def a = RELU",
        "INPUT[8x8x1] def a = RELU",
        "INPUT[8x8x1] -> [RELU] def a = RELU",
        "INPUT[8x8x1] -> RELU(1) def a = RELU",
        "INPUT def a = RELU",
    ),
    ("a setting is `name=value`", "fit=floor, or a variable's default such as N=2"): (
        "fit=",
        "fit= -> INPUT[8x8x1]",
        "fit=[floor] INPUT[8x8x1]",
        "fit=(floor) INPUT[8x8x1]",
        "fit==floor INPUT[8x8x1]",
    ),
    (
        "INPUT's size is whole numbers joined by x",
        "INPUT[28x28x1], height x width x channels, or INPUT[100x8] for sequences",
    ): (
        "INPUT[8x8x1 x2]",
        "INPUT[8, 8, 1]",
        "INPUT[8 8 1]",
        "INPUT[8x8x1|2]",
        "INPUT[*]",
        "INPUT[=8]",
        "INPUT[-8x8x1]",
    ),
}
"""Errors by example: a text that fails where one of these snippets fails gets that message and hint."""

Situation = tuple[Any, ...]


@cache
def _lark() -> Lark:
    grammar = files(__package__).joinpath("grammar.lark").read_text()
    return Lark(grammar, start="text", parser="lalr", propagate_positions=True, maybe_placeholders=False)


def parse_source(text: str) -> syntax.Source:
    """The syntax of a text. Raises NotationError with a caret and the likeliest mistake."""
    check_limits(text)
    try:
        tree = _lark().parse(text)
    except UnexpectedInput as error:
        raise _explained(text, error) from None
    source: syntax.Source = _Builder().transform(tree)
    return source


def _explained(text: str, error: UnexpectedInput) -> Exception:
    known = _mistakes()
    situation = _situation(error)
    nearest = next((known[s] for s in situation if s in known), None)
    rule, hint = nearest or ("this is not understood here", "docs/notation.md shows the notation on one page")
    if isinstance(error, UnexpectedToken) and error.token.type != "$END":
        at, received = _span(error.token), str(error.token)
    elif isinstance(error, UnexpectedCharacters):
        at, received = Span(error.line, error.column, 1), repr(error.char)
    else:
        at, received = _end(text), "the end of the text"
    return located(text, at, rule, received, hint)


@cache
def _mistakes() -> dict[Situation, tuple[str, str]]:
    """The message for each situation in which an example fails; the exact situation comes before a similar one."""
    found: list[tuple[int, Situation, tuple[str, str]]] = []
    for message, snippets in MISTAKES.items():
        for snippet in snippets:
            try:
                _lark().parse(snippet)
            except UnexpectedInput as error:
                found += [(k, situation, message) for k, situation in enumerate(_situation(error))]
    known: dict[Situation, tuple[str, str]] = {}
    for _, situation, message in sorted(found, key=lambda entry: entry[0]):
        known.setdefault(situation, message)
    return known


def _situation(error: UnexpectedInput) -> tuple[Situation, ...]:
    """Where the parser stood and what it met, from the most exact description to the loosest."""
    state = getattr(error.state, "position", error.state)
    if isinstance(error, UnexpectedToken):
        kind, expected = error.token.type, frozenset(error.accepts)
    else:
        kind, expected = "character", frozenset(getattr(error, "allowed", None) or ())
    return (state, expected, kind), (expected, kind), (state, kind), (state, expected)


def _end(text: str) -> Span:
    """Just behind the last character that is not blank."""
    shown = text.rstrip()
    return Span(shown.count("\n") + 1, len(shown) - (shown.rfind("\n") + 1) + 1, 1)


def _span(token: Token) -> Span:
    return Span(token.line or 1, token.column or 1, len(token))


class _Builder(Transformer[Token, Any]):
    """Lark's tree -> our syntax, one method per rule of the grammar."""

    def text(self, parts: list[Any]) -> syntax.Source:
        settings = tuple(p for p in parts if isinstance(p, syntax.Setting))
        definitions = tuple(p for p in parts if isinstance(p, syntax.Definition))
        return syntax.Source(settings, definitions, parts[-1])

    def setting(self, parts: list[syntax.Text]) -> syntax.Setting:
        return syntax.Setting(*parts)

    def definition(self, parts: list[Any]) -> syntax.Definition:
        name, *parameters, body = parts
        return syntax.Definition(name, tuple(parameters), body)

    def chain(self, parts: list[Any]) -> syntax.Chain:
        return tuple(parts)

    def optional(self, parts: list[Any]) -> syntax.Maybe:
        return syntax.Maybe(*parts)

    def word(self, parts: list[Any]) -> syntax.Word:
        return syntax.Word(parts[0], parts[1] if len(parts) > 1 else ())

    def input(self, parts: list[syntax.Text]) -> syntax.Input:
        return syntax.Input(*parts)

    def branch(self, parts: list[Any]) -> syntax.Split:
        word, *arms = parts
        options = arms.pop(0) if isinstance(arms[0][0], syntax.Option) else ()
        return syntax.Split(word, options, tuple(arms))

    def group(self, parts: list[syntax.Chain]) -> syntax.Repeat:
        return syntax.Repeat(parts[0], None)

    def repeat(self, parts: list[Any]) -> syntax.Repeat:
        return syntax.Repeat(*parts)

    def options(self, parts: list[syntax.Option]) -> tuple[syntax.Option, ...]:
        return tuple(parts)

    def argument(self, parts: list[syntax.Text]) -> syntax.Option:
        return syntax.Option(None, parts[0])

    def keyed(self, parts: list[syntax.Text]) -> syntax.Option:
        return syntax.Option(*parts)

    def _piece(self, token: Token) -> syntax.Text:
        return syntax.Text(str(token), _span(token))

    WORD = KEY = VALUE = SIZE = _piece
