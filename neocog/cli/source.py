"""NET on the command line: a text in the notation, a file that holds one, a model file, or a name from the zoo."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn, TypeVar

from ..errors import NeocogError, NotationError
from ..files import near_name
from ..network import Network
from ..notation import Family
from ..notation.limits import TEXT_BYTES
from ..zoo import names, text

MODEL_SUFFIX = ".safetensors"
LISTED = "neocog zoo lists the networks that come along"
NAME, NUMBER = r"[A-Za-z_]\w*", "[0-9]{1,9}"
Value = TypeVar("Value")


def add_network(parser: argparse.ArgumentParser, *, needed: bool = True) -> None:
    """Add NET and -D to a verb's arguments."""
    parser.add_argument(
        "net",
        metavar="NET",
        nargs=None if needed else "?",
        help="a text 'INPUT[28x28x1] -> CONV3-8 -> ...', a file of one, a zoo name, or a model",
    )
    parser.add_argument(
        "-D",
        dest="defines",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="the value of a pattern variable; may be given several times",
    )


def read_network(args: argparse.Namespace) -> Network:
    """The network that NET and -D name. Raises NotationError and other NeocogErrors."""
    variables = _variables(args.defines)
    if not args.net.endswith(MODEL_SUFFIX):
        return _parse(args.net, variables)
    if variables:
        _no_variables(args.defines[0])
    from ..model import load

    return load(args.net).network


def read_family(args: argparse.Namespace) -> Family | None:
    """The family that NET and -D name; None where -D names one network. Raises NeocogErrors as `read_network`."""
    if not any(mark in define for define in args.defines for mark in ("..", ",")):
        return None
    if args.net.endswith(MODEL_SUFFIX):
        _no_variables(args.defines[0])
    values = _once(args.defines, map(_values, args.defines))
    text = read_text(args.net)
    with placed(args.net, text):
        return Family.parse(text, **values)


def _values(define: str) -> tuple[str, Sequence[int]]:
    """`N=1..3` -> `("N", range(1, 4))`, `w=16,32` -> `("w", (16, 32))`."""
    match = re.fullmatch(rf"({NAME})=(?:({NUMBER})\.\.({NUMBER})|({NUMBER}(?:,{NUMBER})*))", define, re.ASCII)
    if not match:
        hint = "-D N=2, -D N=1..3 or -D N=16,32,64"
        raise NeocogError("-D gives a variable whole numbers", received=f"-D {define[:60]}", hint=hint)
    name, first, last, listed = match.groups()
    if listed:
        return name, tuple(map(int, listed.split(",")))
    if int(first) > int(last):
        hint = f"-D {name}={last}..{first}"
        raise NeocogError("a range begins with its smaller number", received=f"-D {define}", hint=hint)
    return name, range(int(first), int(last) + 1)


def _no_variables(define: str) -> NoReturn:
    raise NeocogError("a model file has no pattern variables left to set", received=f"-D {define[:60]}")


def _parse(source: str, variables: dict[str, int]) -> Network:
    text = read_text(source)
    with placed(source, text):
        return Network.parse(text, **variables)


@contextmanager
def placed(source: str, text: str) -> Iterator[None]:
    """Mistakes found inside in the text behind NET say so, if it stands in a file or the zoo."""
    try:
        yield
    except NotationError as error:
        if text == source:
            raise
        raise error.at(f"{source}, {error.where}" if error.where else source) from None


def safetensors_file(text: str) -> Path:
    """The type of an argument that is a safetensors file to write."""
    if not text.endswith(MODEL_SUFFIX) or "\0" in text:
        raise argparse.ArgumentTypeError(f"a name ending in {MODEL_SUFFIX} is needed, not {text[:40]!r}")
    return Path(text)


def read_text(source: str) -> str:
    """The text behind NET. Raises NeocogError when it is neither text, file nor zoo name."""
    if source in names():
        return text(source)
    path = Path(source)
    if not source.strip():
        raise NeocogError("NET is empty", hint="a text 'INPUT[28x28x1] -> ...', a file, or a zoo name")
    if _is(path.is_dir):
        raise NeocogError("this is a folder, not a network", where=source, hint=f"a file in it; {LISTED}")
    if _is(path.is_file):
        return read_file(path, source, "a network's text")
    if any(mark in source for mark in ("->", "[", "\n")):
        return source
    if path.suffix or "/" in source:
        rule = "this is no plain file" if _is(path.exists) else "there is no such file"
        raise NeocogError(rule, where=source[:80], hint=near_name(path) or LISTED)
    return source if " " in source or source[:5].upper() == "INPUT" else text(source)


def _is(what: Callable[[], bool]) -> bool:
    try:
        return what()
    except (OSError, ValueError):  # a name too long for the file system, or with a zero byte
        return False


def read_file(path: Path, where: str, what: str) -> str:
    """The text in a small file. Raises NeocogError saying `what` it should be."""
    try:
        with path.open("rb") as file:
            content = file.read(TEXT_BYTES + 1)
    except OSError as error:
        raise NeocogError("this file cannot be read", where=where, received=error.strerror or "") from None
    if len(content) > TEXT_BYTES:
        raise NeocogError(f"{what} has at most {TEXT_BYTES:,} bytes, this file has more", where=where)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise NeocogError("this file is not text in UTF-8", where=where, received=f"byte {error.start}") from None


def _variables(defines: list[str]) -> dict[str, int]:
    return _once(defines, map(_variable, defines))


def _variable(define: str) -> tuple[str, int]:
    match = re.fullmatch(rf"({NAME})=({NUMBER})", define, re.ASCII)
    if not match:
        raise NeocogError("-D gives a variable a whole number", received=f"-D {define[:60]}", hint="-D N=2")
    return match[1], int(match[2])


def _once(defines: Sequence[str], pairs: Iterable[tuple[str, Value]]) -> dict[str, Value]:
    """The values by variable. Raises NeocogError where one is given twice, for it is not said which counts."""
    values: dict[str, Value] = {}
    for define, (name, value) in zip(defines, pairs, strict=True):
        if name in values:
            hint = f"-D {name}=1..3 or -D {name}=1,3 for several"
            raise NeocogError(f"variable {name} is given twice", received=f"-D {define[:60]}", hint=hint)
        values[name] = value
    return values
