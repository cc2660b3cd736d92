"""Kernels -> C, as text to read: C11 with the vector extensions that gcc (from 12 on) and clang share.

It computes what `llvm.py`'s text for the same kernel does, to the last bit where the compiler keeps products and sums
apart (`-ffp-contract=off`). A buffer whose accesses are all of one type is a pointer to it, so that they are written
`x[i1 * 32 + i2]`; other buffers are pointers to float, and an access says what it finds there.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from textwrap import wrap

import numpy as np

from .c_helpers import Helpers, c_type, vector_from
from .expressions import F32, Access, Bound, Index, Type, Value
from .kernel import (
    TILES,
    Call,
    ClearTile,
    Function,
    Let,
    LoadTile,
    Loop,
    MultiplyTiles,
    Prefetch,
    ShapeTiles,
    Statement,
    Store,
    StoreTile,
)
from .straight import alive, parts

SIGNS = {"add": "+", "sub": "-", "mul": "*", "div": "/", "gt": ">", "eq": "==", "and": "&", "xor": "^"}
LINE = 110
NO_BREAK = "\u00a0"  # a space where a line is not broken
LONGEST_PART = 48
"""Parts of an expression that are longer get a name of their own."""


def c_functions(functions: Iterable[Function]) -> str:
    """A file of functions that may call each other, each after those it calls."""
    helpers = Helpers()
    texts = [c_function(function, helpers) for function in functions]
    return "\n\n".join([helpers.text(), *texts]) + "\n"


def c_function(function: Function, helpers: Helpers, about: str = "") -> str:
    """One function with a comment in front; what it needs is added to the helpers."""
    return _Printer(function, helpers).text(about)


class _Printer:
    def __init__(self, function: Function, helpers: Helpers) -> None:
        self.function, self.helpers, self._body = function, helpers, alive(function.body)
        self._units: dict[str, set[Type]] = {name: set() for name in function.buffers}
        self._written: set[str] = set()
        for access, type_, writes in accesses(self._body):
            self._units[access.buffer].add(access.unit or type_)
            self._written |= {access.buffer} if writes else set()
        for call in _calls(self._body):
            self._written |= {access.buffer for access in call.buffers}
        self._lines: list[str] = []
        self._depth = 1
        self._declared: set[str] = set()
        self._temporaries = 0

    def text(self, about: str) -> str:
        self._all(self._body)
        comment = [f"// {line}" for line in wrap(about, LINE)]
        return "\n".join([*comment, *self._head(), *self._lines, "}"])

    def _head(self) -> list[str]:
        parts = [f"{self._const(b)}{self._typed(self._pointed(b))} *restrict {b}" for b in self.function.buffers]
        parts += [f"{self.helpers.whole} {name}" for name in self.function.numbers]
        together = [part.replace(" ", NO_BREAK) for part in parts]
        lines = wrap(f"void {self.function.name}({', '.join(together)})", LINE, subsequent_indent=" " * 8)
        return [line.replace(NO_BREAK, " ") for line in [*lines[:-1], f"{lines[-1]} {{"]]

    def _const(self, buffer: str) -> str:
        return "" if buffer in self._written else "const "

    def _pointed(self, buffer: str) -> Type:
        """What a buffer is declared to point to."""
        units = self._units[buffer]
        return next(iter(units)) if len(units) == 1 else F32

    def _typed(self, type_: Type) -> str:
        self.helpers.type(type_)
        return c_type(type_)

    # -- statements --------------------------------------------------------------------------------------------

    def _all(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            match statement:
                case Let(name, value):
                    self._let(name, value)
                case Store(to, value):
                    held = self._whole(value)
                    self._line(f"{self._place(to, value.type)} = {held};")
                case Prefetch(at):
                    assert at.unit  # noqa: S101
                    if self.helpers.prefetches:
                        self._line(f"__builtin_prefetch(&{self._place(at, at.unit)});")
                case Loop():
                    self._loop(statement)
                case Call():
                    self._call(statement)
                case _:
                    self._tile(statement)

    def _tile(self, statement: Statement) -> None:
        """What a processor does with tiles, by functions that do the same on arrays."""
        self.helpers.tiles()
        if "tiles" not in self._declared:
            self._declared.add("tiles")
            self._lines.insert(0, f"    struct tile tiles[{TILES}];")
        match statement:
            case ShapeTiles(rows):
                self._line(f"tiles_shape(tiles, (const int[]){{{', '.join(map(str, rows))}}});")
            case ClearTile(tile):
                self._line(f"tile_clear(&tiles[{tile}]);")
            case LoadTile(tile, access, step):
                self._line(f"tile_load(&tiles[{tile}], {self._rows(access, step)});")
            case StoreTile(tile, access, step):
                self._line(f"tile_store(&tiles[{tile}], {self._rows(access, step)});")
            case MultiplyTiles(sums, a, b):
                self._line(f"tile_multiply(&tiles[{sums}], &tiles[{a}], &tiles[{b}]);")

    def _rows(self, access: Access, step: int) -> str:
        """Where a tile's rows begin, and the bytes from one to the next."""
        assert access.unit  # noqa: S101
        return f"&{self._place(access, access.unit)}, {step} * sizeof({self._typed(access.unit)})"

    def _line(self, text: str) -> None:
        self._lines.append("    " * self._depth + text)

    def _let(self, name: str, value: Value) -> None:
        held = self._whole(value)
        if name in self._declared and held.startswith(start := f"{name} + "):
            self._line(f"{name} += {held.removeprefix(start)};")
            return
        type_ = "" if name in self._declared else f"{self._typed(value.type)} "
        self._declared.add(name)
        self._line(f"{type_}{name} = {held};")

    def _loop(self, loop: Loop) -> None:
        i = loop.counter
        self._line(f"for ({self.helpers.whole} {i} = {self._end(loop.start)}; {i} < {self._end(loop.stop)}; {i}++) {{")
        self._depth += 1
        self._all(loop.body)
        self._depth -= 1
        self._line("}")

    def _call(self, call: Call) -> None:
        places = [self._address(access) for access in call.buffers]
        self._line(f"{call.function}({', '.join([*places, *map(affine, call.numbers)])});")

    def _address(self, access: Access) -> str:
        """A pointer so many floats into a buffer, for whatever the function that gets it takes it for."""
        start = access.buffer if self._pointed(access.buffer) == F32 else f"(float *){access.buffer}"
        return f"(void *)({start} + {affine(access.at)})"

    # -- whole numbers and addresses ---------------------------------------------------------------------------

    def _end(self, end: Index | Bound) -> str:
        if isinstance(end, Index):
            return affine(end)
        name = self.helpers.bound(end.which)
        text, *rest = map(affine, end.of)
        for other in rest:
            text = f"{name}({text}, {other})"
        return text

    def _place(self, access: Access, type_: Type) -> str:
        """What stands at a place, as something to read or to assign to."""
        unit, start, const = access.unit or type_, access.buffer, self._const(access.buffer)
        if unit != self._pointed(access.buffer):
            start = f"(({const}{self._typed(unit)} *){start})"
        place = f"{start}[{affine(access.at)}]"
        if unit == type_:
            return place
        self.helpers.unaligned(type_)
        return f"*({const}{vector_from(type_)} *)&{place}"

    # -- values ------------------------------------------------------------------------------------------------

    def _whole(self, value: Value) -> str:
        """The right side of an assignment; what it names on the way is assigned before it."""
        uses = Counter(id(arg) for part in parts(value) for arg in part.args)
        return self._text(value, uses, {})

    def _part(self, value: Value, uses: Counter[int], named: dict[int, str]) -> str:
        """A part of an expression: named where it is long or needed again."""
        if id(value) not in named:
            text = self._text(value, uses, named)
            if value.op in ("get", "constant") or (uses[id(value)] == 1 and len(text) <= LONGEST_PART):
                return text
            self._temporaries += 1
            named[id(value)] = f"t{self._temporaries}"
            self._line(f"{self._typed(value.type)} {named[id(value)]} = {text};")
        return named[id(value)]

    def _text(self, value: Value, uses: Counter[int], named: dict[int, str]) -> str:
        match value.op:
            case "get":
                return str(value.detail)
            case "constant":
                return self._constant(value)
            case "number":
                assert isinstance(value.detail, Index)  # noqa: S101
                return f"(int32_t)({affine(value.detail)})"
            case "load":
                assert isinstance(value.detail, Access)  # noqa: S101
                return self._place(value.detail, value.type)
        args = [self._part(arg, uses, named) for arg in value.args]
        if value.op == "gather":
            assert isinstance(value.detail, Access)  # noqa: S101
            return f"{self.helpers.operation('gather', value.type)}({value.detail.buffer}, {args[0]})"
        return self._operation(value, args)

    def _operation(self, value: Value, args: list[str]) -> str:
        op, type_, source = value.op, value.type, value.args[0].type
        wraps = op in ("add", "sub", "mul") and type_.kind != "f32"
        if op == "fma" and not self.helpers.fuses:
            a, b, c = map(self._operand, value.args, args)
            return f"{c} + {a} * {b}"
        if op in SIGNS and not wraps:
            a, b = map(self._operand, value.args, args)
            text = f"{a} {SIGNS[op]} {b}"
            compares_bytes = type_.kind == "i1" and source.kind == "i8" and type_.lanes > 1
            return f"__builtin_convertvector({text}, {self._typed(type_)})" if compares_bytes else text
        if op == "shuffle":
            return self._shuffle(value, args)
        if op == "convert":
            return self._convert(source, type_, args[0])
        if op == "bits" and type_.lanes > 1:
            return f"({self._typed(type_)}){args[0] if args[0].isidentifier() else f'({args[0]})'}"
        name = self.helpers.operation(op, source if op == "bits" else type_, len(args))
        return f"{name}({', '.join(args)})"

    def _operand(self, arg: Value, text: str) -> str:
        """A part of an expression of signs, in brackets where it is one itself."""
        signs = arg.op in SIGNS or (arg.op == "fma" and not self.helpers.fuses)
        return f"({text})" if signs and " " in text else text

    def _convert(self, source: Type, type_: Type, arg: str) -> str:
        if source.kind == "i1":  # a mask holds -1 already; a single truth is 1
            return arg if type_.lanes > 1 else f"-(int32_t)({arg})"
        if type_.lanes == 1:
            return f"({c_type(type_)})({arg})"
        return f"__builtin_convertvector({arg}, {self._typed(type_)})"

    def _shuffle(self, value: Value, args: list[str]) -> str:
        assert isinstance(value.detail, tuple)  # noqa: S101
        if value.type.lanes == 1:
            return f"{args[0] if args[0].isidentifier() else f'({args[0]})'}[{value.detail[0]}]"
        return f"{self.helpers.shuffle(value.args[0].type, value.detail)}({', '.join(args)})"

    def _constant(self, value: Value) -> str:
        assert isinstance(value.detail, int | float)  # noqa: S101
        number = _real(value.detail) if value.type.kind == "f32" else str(int(value.detail))
        return number if value.type.lanes == 1 else f"{self.helpers.operation('splat', value.type)}({number})"


def affine(index: Index) -> str:
    """`i1 * 32 + i2 - 3`."""
    text = ""
    for name, factor in (*index.terms, ("", index.constant)):
        part = str(abs(factor)) if not name else name if abs(factor) == 1 else f"{name} * {abs(factor)}"
        if text and (name or factor):
            text += f" {'-' if factor < 0 else '+'} {part}"
        elif not text:
            text = f"-{part}" if factor < 0 else part
    return text


def _real(number: float) -> str:
    """The shortest text that C reads as that number in single precision."""
    if math.isinf(number):
        return f"{'-' if number < 0 else ''}INFINITY"
    return f"{np.float32(number)!s}f"


def _calls(statements: Sequence[Statement]) -> Iterator[Call]:
    for statement in statements:
        if isinstance(statement, Call):
            yield statement
        elif isinstance(statement, Loop):
            yield from _calls(statement.body)


def accesses(statements: Sequence[Statement]) -> Iterator[tuple[Access, Type, bool]]:
    """Every place that is accessed, as what, and whether it is written."""
    for statement in statements:
        if isinstance(statement, Loop):
            yield from accesses(statement.body)
        elif isinstance(statement, LoadTile):
            yield statement.at, F32, False
        elif isinstance(statement, StoreTile):
            yield statement.to, F32, True
        elif isinstance(statement, Let | Store):
            if isinstance(statement, Store):
                yield statement.to, statement.value.type, True
            for part in parts(statement.value):
                if isinstance(part.detail, Access):
                    yield part.detail, part.type, False
