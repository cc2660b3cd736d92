"""How hyper-parameters are written: `CONV3-64(S=2)` <-> `Conv(kernel_size=(3,), out_channels=64, stride=(2,))`.

A layer declares each hyper-parameter once, as a dataclass field made by `setting(...)`: its letter in the
notes, its kind, and where it stands in the token. Reading and writing both follow that declaration, so a
token always prints the way it parses.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, dataclass, field
from dataclasses import fields as dataclass_fields
from typing import Any, NamedTuple

from .errors import SpellingError

Dims = tuple[int, ...]
"""One whole number for each spatial axis, or a single one that holds for all of them."""

MOST_AXES = 2
"""Images have two, sequences one."""
LARGEST = 10**9 - 1  # nine digits: more is a typing mistake or an attack, never a network


class Kind(NamedTuple):
    """A sort of value: how its text is read, how it is written, and what to call it in a message."""

    name: str
    read: Callable[[str], Any]
    write: Callable[[Any], str]


def whole(text: str) -> int:
    """`64` -> 64, from 0 and of at most nine digits. Raises ValueError."""
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError
    return int(text)


def _counting(text: str) -> int:
    value = whole(text)
    if value < 1:
        raise ValueError
    return value


def _dims(part: Callable[[str], int]) -> Callable[[str], Dims]:
    def read(text: str) -> Dims:
        parts = re.split("[xX]", text)
        if len(parts) > MOST_AXES:
            raise ValueError
        return uniform(tuple(map(part, parts)))

    return read


def _decimal(text: str) -> float:
    if not re.fullmatch(r"-?[0-9]{1,9}(\.[0-9]{1,30})?([eE][-+]?[0-9]{1,3})?", text):
        raise ValueError
    value = float(text)
    if not math.isfinite(value):
        raise ValueError
    return value


def _flag(text: str) -> bool:
    return {"yes": True, "no": False}[text.lower()]


def uniform(dims: Dims) -> Dims:
    """`(3, 3)` -> `(3,)`: equal numbers on every axis are written, and compared, as one."""
    return dims[:1] if len(set(dims)) == 1 else dims


def choice(*words: str) -> Kind:
    """A kind that takes one of the given words."""

    def read(text: str) -> str:
        if text.lower() not in words:
            raise ValueError
        return text.lower()

    return Kind(f"one of {', '.join(words)}", read, str)


def write_dims(dims: Dims) -> str:
    """`(1, 7)` -> `1x7`."""
    return "x".join(map(str, dims))


def write_number(value: float) -> str:
    """The shortest text that reads back as the same number: `0.5`, `1e-4`, `2`, `1e10`."""
    if float(value).is_integer() and abs(value) <= LARGEST:
        return str(int(value))
    shortest = next(text for p in range(18) if float(text := f"{value:.{p}e}") == value)
    digits, exponent = shortest.split("e")
    plain = repr(value)
    return plain if "e" not in plain and abs(value) <= LARGEST else f"{digits}e{int(exponent)}"


COUNT = Kind("a whole number from 1", _counting, str)
COUNTS = Kind(
    "whole numbers from 1, as in 4, 2, 1",
    lambda text: tuple(_counting(part.strip()) for part in text.split(",")),
    lambda counts: ", ".join(map(str, counts)),
)
SIZE = Kind("a whole number from 1, or one for each axis as in 3x5", _dims(_counting), write_dims)
SIZE0 = Kind("a whole number from 0, or one for each axis as in 0x1", _dims(whole), write_dims)
NUMBER = Kind("a number", _decimal, write_number)
FLAG = Kind("yes or no", _flag, lambda value: "yes" if value else "no")


@dataclass(frozen=True)
class Token:
    """A layer as it stands in the text, before its words mean anything: `NAME head - dash ( args, K=v )`."""

    op: str
    head: str | None = None
    dash: str | None = None
    args: tuple[str, ...] = ()
    options: Mapping[str, str] = field(default_factory=dict)


class Place(NamedTuple):
    """Where a hyper-parameter stands: its option letter, its kind, and `head`, `dash`, `arg` or `option`."""

    letter: str
    kind: Kind
    position: str


def setting(letter: str, kind: Kind, *, position: str = "option", default: Any = MISSING) -> Any:
    """A dataclass field that is a hyper-parameter with a letter of the notation."""
    metadata = {"place": Place(letter, kind, position)}
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


def places(layer_class: type) -> dict[str, tuple[Place, Field[Any]]]:
    """The hyper-parameters of a layer class by attribute name, in order."""
    return {f.name: (f.metadata["place"], f) for f in dataclass_fields(layer_class) if "place" in f.metadata}


def read_settings(layer_class: type, token: Token) -> dict[str, Any]:
    """The constructor arguments that a token spells.

    Raises SpellingError naming the part, the rule, what was received and the pattern to type.
    """
    table = places(layer_class)
    texts = _texts_by_letter(table, token)
    arguments: dict[str, Any] = {}
    for name, (place, declared) in table.items():
        if place.letter.upper() in texts:
            known = pattern(token.op, table) if place.position in ("head", "dash") else ""
            arguments[name] = _read(place, texts.pop(place.letter.upper()), token.op, known)
        elif declared.default is MISSING:
            raise SpellingError(
                f"{token.op} needs {place.letter} ({name.replace('_', ' ')})", hint=pattern(token.op, table)
            )
    if texts:
        letter = next(iter(texts))
        known = ", ".join(_letter_and_meaning(place, name) for name, (place, _) in table.items())
        raise SpellingError(
            f"{token.op} has no option {letter}",
            hint=f"one of its own: {known}" if known else f"{token.op} takes no options",
        )
    return arguments


def _letter_and_meaning(place: Place, name: str) -> str:
    """`S (stride)`, or the letter alone where it is the name."""
    return place.letter if place.letter.lower() == name else f"{place.letter} ({name.replace('_', ' ')})"


def _texts_by_letter(table: dict[str, tuple[Place, Field[Any]]], token: Token) -> dict[str, str]:
    """The token's texts keyed by option letter, whatever position each was written in."""
    given = {"head": token.head, "dash": token.dash, "arg": ",".join(token.args) or None}
    texts = {letter.upper(): text for letter, text in token.options.items()}
    letters = {place.position: place.letter for place, _ in table.values() if place.position != "option"}
    for position, text in given.items():
        if text is None:
            continue
        if position not in letters:
            shown = {"head": text, "dash": f"-{text}", "arg": f"({text})"}[position]
            raise SpellingError(f"{token.op} takes no {shown!r} there", hint=pattern(token.op, table))
        letter = letters[position].upper()
        if letter in texts:
            raise SpellingError(f"{token.op} has {letter} twice", received=f"{text} and {letter}={texts[letter]}")
        texts[letter] = text
    return texts


def _read(place: Place, text: str, op: str, hint: str) -> Any:
    try:
        return place.kind.read(text)
    except (ValueError, KeyError):
        shown = text if len(text) <= 40 else f"{text[:40]}... ({len(text)} characters)"
        if re.fullmatch(r"-?[0-9]{10,}", text):
            hint = f"nothing larger than {LARGEST}"
        raise SpellingError(
            f"{op}'s {place.letter} is {place.kind.name}", received=f"{place.letter}={shown}", hint=hint
        ) from None


def write_settings(op: str, layer: Any) -> str:
    """The canonical token of a layer: head, dash and arguments always, options only where not the default."""
    head = dash = ""
    arguments: list[str] = []
    options: list[str] = []
    for name, (place, declared) in places(type(layer)).items():
        value = getattr(layer, name)
        if place.position == "head":
            head = place.kind.write(value)
        elif place.position == "dash":
            dash = f"-{place.kind.write(value)}"
        elif place.position == "arg":
            arguments.append(place.kind.write(value))
        elif value != layer.default_of(name, declared.default):
            options.append(f"{place.letter}={place.kind.write(value)}")
    inside = ", ".join(arguments + options)
    return f"{op}{head}{dash}({inside})" if inside else f"{op}{head}{dash}"


def pattern(op: str, table: Mapping[str, tuple[Place, Field[Any]]]) -> str:
    """How the layer is written, with letters for the numbers: `CONV<F>-<K>(S=, P=)`."""
    by_position = {place.position: place.letter for place, _ in table.values()}
    head = f"<{by_position['head']}>" if "head" in by_position else ""
    dash = f"-<{by_position['dash']}>" if "dash" in by_position else ""
    options = [f"<{by_position['arg']}>"] if "arg" in by_position else []
    options += [f"{place.letter}=" for place, _ in table.values() if place.position == "option"]
    return f"{op}{head}{dash}" + (f"({', '.join(options)})" if options else "")
