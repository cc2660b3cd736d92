"""What the grammar finds in a text, before words have meaning: words, groups, repeats, branches, definitions."""

from __future__ import annotations

from dataclasses import dataclass

from ..network import Span


@dataclass(frozen=True)
class Text:
    """A piece of the source with its place."""

    text: str
    at: Span


@dataclass(frozen=True)
class Option:
    """A value in parentheses, with its letter if it has one: `S=2` or `0.5`."""

    key: Text | None
    value: Text


@dataclass(frozen=True)
class Word:
    """A layer or a call of a definition: `CONV3-64(S=2)`, `basic(64)`."""

    word: Text
    options: tuple[Option, ...]


@dataclass(frozen=True)
class Input:
    """`INPUT[28x28x1]`."""

    word: Text
    size: Text


@dataclass(frozen=True)
class Split:
    """Branches from one volume: `ADD[ a | b ]`, `AUX(0.3)[ a ]`."""

    word: Text
    options: tuple[Option, ...]
    arms: tuple[Chain, ...]


@dataclass(frozen=True)
class Repeat:
    """`[ ... ]*N`; a plain group has no count."""

    body: Chain
    count: Text | None


@dataclass(frozen=True)
class Maybe:
    """`item?p`: present when variable p is 1, absent when it is 0."""

    item: Expression
    variable: Text


Expression = Word | Input | Split | Repeat | Maybe
Chain = tuple[Expression, ...]


@dataclass(frozen=True)
class Definition:
    """`def basic(k) = ...`."""

    name: Text
    parameters: tuple[Text, ...]
    body: Chain


@dataclass(frozen=True)
class Setting:
    """`fit=floor`, or a variable's default: `N=2`."""

    name: Text
    value: Text


@dataclass(frozen=True)
class Source:
    """A whole text."""

    settings: tuple[Setting, ...]
    definitions: tuple[Definition, ...]
    chain: Chain
