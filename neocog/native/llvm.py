"""Kernels -> LLVM IR, as text.

Variables become SSA values: a loop gets a phi for each variable that its body sets. Addresses are printed as a pointer
for what varies and a constant step from it, once in each scope, so that a body of hundreds of loads stays short.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence

from .expressions import Access, Bound, Index, Type, Value
from .kernel import (
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

KINDS = {"f32": "float", "i32": "i32", "i8": "i8", "i1": "i1"}
ARITHMETIC = {"add": "add", "sub": "sub", "mul": "mul", "div": "div"}
BITWISE = ("and", "xor", "lshr")
COMPARISONS = {"gt": ("ogt", "sgt"), "eq": ("oeq", "eq")}


def written(type_: Type) -> str:
    """`float`, or `<8 x float>`."""
    return _vector(KINDS[type_.kind], type_.lanes)


def _vector(kind: str, lanes: int) -> str:
    return kind if lanes == 1 else f"<{lanes} x {kind}>"


def module(functions: Iterable[Function], dots: bool = False) -> str:
    """The IR of functions that may call each other, each after those it calls.

    `dots` says that the processor multiplies pairs of bfloat16 (AVX512_BF16).
    """
    declared: set[str] = set()
    bodies: list[str] = []
    for function in functions:
        printer = _Printer(function, dots)  # one at a time, as each holds its lines
        bodies.append(printer.text())
        declared |= printer.declared
    return "\n".join([*sorted(declared), *bodies, ""])


class _Printer:
    def __init__(self, function: Function, dots: bool) -> None:
        self.function, self.dots = function, dots
        self.lines: list[str] = []
        self.last: list[str] = []  # what is to be done before the function returns
        self.declared: set[str] = set()
        self.names: dict[str, str] = {}  # variables and lets -> what holds them now
        self.types: dict[str, Type] = {}
        self.pointers: list[dict[tuple[object, ...], str]] = [{}]
        self.count = 0
        self.block = "entry"

    def text(self) -> str:
        self._all(self.function.body)
        pointers = [f"ptr noalias nocapture %{name}" for name in self.function.buffers]
        numbers = [f"i64 %{name}" for name in self.function.numbers]
        head = f"define void @{self.function.name}({', '.join(pointers + numbers)}) #0 {{\nentry:"
        return "\n".join([head, *self.lines, *self.last, " ret void", "}"])

    # -- statements --------------------------------------------------------------------------------------------

    def _all(self, statements: Sequence[Statement]) -> None:
        for statement in statements:
            match statement:
                case Let(name, value):
                    self.names[name], self.types[name] = self._value(value), value.type
                case Store(to, value):
                    held = self._value(value)
                    place, align = self._address(to, value.type)
                    self.lines.append(f" store {written(value.type)} {held}, ptr {place}, align {align}")
                case Prefetch(at):
                    assert at.unit  # noqa: S101
                    self.declared.add("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
                    place = self._address(at, at.unit)[0]
                    self.lines.append(f" call void @llvm.prefetch.p0(ptr {place}, i32 0, i32 3, i32 1)")
                case Loop():
                    self._loop(statement)
                case Call():
                    self._call(statement)
                case ShapeTiles(rows):
                    self._shape(rows)
                case ClearTile(tile):
                    self._on_tiles("tilezero", [tile])
                case LoadTile(tile, access, step):
                    self._on_tiles("tileloadd64", [tile], access, step)
                case StoreTile(tile, access, step):
                    self._on_tiles("tilestored64", [tile], access, step)
                case MultiplyTiles(sums, a, b):
                    self._on_tiles("tdpbf16ps", [sums, a, b])

    def _loop(self, loop: Loop) -> None:
        """A loop with the test at its end, behind one more test where it may not run at all."""
        start, stop = self._end(loop.start), self._end(loop.stop)
        label, before = self._new("L"), self.block
        head, exit_ = label, f"{label}.end"
        if loop.always:
            self.lines.append(f" br label %{head}")
        else:
            test = self._line(f"icmp slt i64 {start}, {stop}")
            self.lines.append(f" br i1 {test}, label %{head}, label %{exit_}")
        changed = [name for name in _assigned(loop.body) if name in self.names]
        entering = {name: self.names[name] for name in changed}
        counter = f"%{loop.counter}"
        self.lines.append(f"{head}:")
        at = len(self.lines)  # where the phis go, once what arrives from the end is known
        phis = {name: f"%{self._new('p')}" for name in changed}
        self.names.update(phis)
        self.block = head
        self.pointers.append({})
        self._all(loop.body)
        self.pointers.pop()
        leaving = {name: self.names[name] for name in changed}
        following = self._line(f"add nsw i64 {counter}, 1")
        test = self._line(f"icmp slt i64 {following}, {stop}")
        self.lines.append(f" br i1 {test}, label %{head}, label %{exit_}")
        types = {name: written(self.types[name]) for name in changed}
        heads = [f" {counter} = phi i64 [{start}, %{before}], [{following}, %{self.block}]"]
        heads += [
            f" {phis[n]} = phi {types[n]} [{entering[n]}, %{before}], [{leaving[n]}, %{self.block}]" for n in changed
        ]
        self.lines[at:at] = heads
        self.lines.append(f"{exit_}:")
        if loop.always:
            self.names.update(leaving)
        else:
            for name in changed:
                ways = f"[{entering[name]}, %{before}], [{leaving[name]}, %{self.block}]"
                self.names[name] = self._line(f"phi {types[name]} {ways}")
        self.block = exit_

    def _call(self, call: Call) -> None:
        pointers = [f"ptr {self._address(access, Type('f32'))[0]}" for access in call.buffers]
        numbers = [f"i64 {self._index(number)}" for number in call.numbers]
        self.lines.append(f" call void @{call.function}({', '.join(pointers + numbers)})")

    # -- tiles -------------------------------------------------------------------------------------------------

    def _shape(self, rows: tuple[int, ...]) -> None:
        """The processor reads it as 64 bytes: palette 1, then from 16 on bytes in a row, from 48 on rows."""
        data = [1, *[0] * 15, *(b for k in range(16) for b in (64 * (k < len(rows) and rows[k] > 0), 0)), *rows]
        text = ", ".join(f"i8 {byte}" for byte in data + [0] * (64 - len(data)))
        name = f"@shape.{'.'.join(map(str, rows))}"
        self.declared |= {f"{name} = private constant [64 x i8] [{text}], align 64"}
        self.declared |= {"declare void @llvm.x86.ldtilecfg(ptr)", "declare void @llvm.x86.tilerelease()"}
        self.lines.append(f" call void @llvm.x86.ldtilecfg(ptr {name})")
        self.last = [" call void @llvm.x86.tilerelease()"]

    def _on_tiles(self, name: str, tiles: list[int], access: Access | None = None, step: int = 0) -> None:
        arguments, types = [f"i8 {tile}" for tile in tiles], ["i8 immarg"] * len(tiles)
        if access:
            assert access.unit  # noqa: S101
            stride = step * access.unit.bytes
            arguments += [f"ptr {self._address(access, access.unit)[0]}", f"i64 {stride}"]
            types += ["ptr", "i64"]
        self.declared.add(f"declare void @llvm.x86.{name}({', '.join(types)})")
        self.lines.append(f" call void @llvm.x86.{name}({', '.join(arguments)})")

    # -- whole numbers and addresses ---------------------------------------------------------------------------

    def _end(self, end: Index | Bound) -> str:
        if isinstance(end, Index):
            return self._index(end)
        first, *rest = (self._index(index) for index in end.of)
        for other in rest:
            test = self._line(f"icmp {'sgt' if end.which == 'max' else 'slt'} i64 {first}, {other}")
            first = self._line(f"select i1 {test}, i64 {first}, i64 {other}")
        return first

    def _index(self, index: Index) -> str:
        parts = [f"%{n}" if f == 1 else self._line(f"mul nsw i64 %{n}, {f}") for n, f in index.terms]
        if index.constant or not parts:
            parts.append(str(index.constant))
        sum_, *rest = parts
        for part in rest:
            sum_ = self._line(f"add nsw i64 {sum_}, {part}")
        return sum_

    def _address(self, access: Access, type_: Type) -> tuple[str, int]:
        """A pointer, and how it is aligned."""
        unit = access.unit or type_
        element = written(unit)
        base = self._pointer(access.buffer, access.at.terms, element)
        if access.at.constant:
            base = self._line(f"getelementptr inbounds {element}, ptr {base}, i64 {access.at.constant}")
        return base, unit.bytes

    def _pointer(self, buffer: str, terms: tuple[tuple[str, int], ...], element: str) -> str:
        if not terms:
            return f"%{buffer}"
        key = (buffer, terms, element)
        for scope in reversed(self.pointers):
            if key in scope:
                return scope[key]
        made = self._line(f"getelementptr inbounds {element}, ptr %{buffer}, i64 {self._index(Index(0, terms))}")
        self.pointers[-1][key] = made
        return made

    # -- values ------------------------------------------------------------------------------------------------

    def _value(self, value: Value) -> str:
        match value.op:
            case "get":
                return self.names[str(value.detail)]
            case "constant":
                return _constant(value)
            case "load":
                assert isinstance(value.detail, Access)  # noqa: S101
                place, align = self._address(value.detail, value.type)
                return self._line(f"load {written(value.type)}, ptr {place}, align {align}")
            case "number":
                assert isinstance(value.detail, Index)  # noqa: S101
                return self._line(f"trunc i64 {self._index(value.detail)} to i32")
        args = [self._value(arg) for arg in value.args]
        return self._line(self._operation(value, args))

    def _operation(self, value: Value, args: list[str]) -> str:
        op, type_ = value.op, value.type
        source = value.args[0].type
        real = source.kind == "f32"
        if op in ARITHMETIC:
            letter = "f" if real else ("s" if op == "div" else "")
            return f"{letter}{op} {written(type_)} {args[0]}, {args[1]}"
        if op in COMPARISONS:
            return f"{'f' if real else 'i'}cmp {COMPARISONS[op][not real]} {written(source)} {args[0]}, {args[1]}"
        if op == "max":
            test = self._line(f"fcmp ogt {written(type_)} {args[0]}, {args[1]}")
            return f"select {_mask(type_)} {test}, {written(type_)} {args[0]}, {written(type_)} {args[1]}"
        if op == "select":
            return f"select {_mask(type_)} {args[0]}, {written(type_)} {args[1]}, {written(type_)} {args[2]}"
        if op in BITWISE:
            return f"{op} {written(type_)} {args[0]}, {args[1]}"
        if op == "fma":
            return self._intrinsic("fma", type_, args)
        if op == "splat":
            return self._splat(value, args[0])
        if op == "shuffle":
            return self._shuffle(value, args)
        if op == "gather":
            return self._gather(value, args[0])
        if op in ("pair", "neighbours"):
            return self._pair(args, source.lanes)
        if op == "dot":
            return self._dot(type_, args)
        if op == "bits":
            return f"bitcast {written(source)} {args[0]} to {written(type_)}"
        if op == "convert":
            return f"{_conversion(source.kind, type_.kind)} {written(source)} {args[0]} to {written(type_)}"
        return self._intrinsic(op, type_, args)

    def _intrinsic(self, name: str, type_: Type, args: list[str]) -> str:
        suffix = "f32" if type_.lanes == 1 else f"v{type_.lanes}f32"
        types = ", ".join([written(type_)] * len(args))
        self.declared.add(f"declare {written(type_)} @llvm.{name}.{suffix}({types})")
        typed = ", ".join(f"{written(type_)} {arg}" for arg in args)
        return f"call {written(type_)} @llvm.{name}.{suffix}({typed})"

    def _pair(self, args: list[str], lanes: int) -> str:
        """Rounded to nearest, ties to even; of two vectors the lanes take turns."""
        halves = [self._line(f"fptrunc {_vector('float', lanes)} {arg} to {_vector('bfloat', lanes)}") for arg in args]
        if len(halves) == 1:
            return f"bitcast {_vector('bfloat', lanes)} {halves[0]} to {_vector('i32', lanes // 2)}"
        if lanes == 1:
            low = self._line(f"insertelement <2 x bfloat> poison, bfloat {halves[0]}, i32 0")
            both = self._line(f"insertelement <2 x bfloat> {low}, bfloat {halves[1]}, i32 1")
            return f"bitcast <2 x bfloat> {both} to i32"
        order = ", ".join(f"i32 {lane + half}" for lane in range(lanes) for half in (0, lanes))
        halved = _vector("bfloat", lanes)
        both = self._line(f"shufflevector {halved} {halves[0]}, {halved} {halves[1]}, <{2 * lanes} x i32> <{order}>")
        return f"bitcast {_vector('bfloat', 2 * lanes)} {both} to {_vector('i32', lanes)}"

    def _dot(self, type_: Type, args: list[str]) -> str:
        """The processor's own instruction where it has one, else two multiply-adds in the same order."""
        a, b, c = args
        if self.dots:
            name, pairs = f"llvm.x86.avx512bf16.dpbf16ps.{32 * type_.lanes}", _vector("bfloat", 2 * type_.lanes)
            self.declared.add(f"declare {written(type_)} @{name}({written(type_)}, {pairs}, {pairs})")
            a, b = (self._line(f"bitcast {written(type_.of('i32'))} {arg} to {pairs}") for arg in (a, b))
            return f"call {written(type_)} @{name}({written(type_)} {c}, {pairs} {a}, {pairs} {b})"
        high = self._line(self._intrinsic("fma", type_, [self._half(type_, a, "and"), self._half(type_, b, "and"), c]))
        return self._intrinsic("fma", type_, [self._half(type_, a, "shl"), self._half(type_, b, "shl"), high])

    def _half(self, type_: Type, pairs: str, op: str) -> str:
        """The high half of each pair as a number of single precision (`and`), or the low one (`shl`)."""
        whole = type_.of("i32")
        by = _constant(Value(whole, "constant", (), -(1 << 16) if op == "and" else 16))
        kept = self._line(f"{op} {written(whole)} {pairs}, {by}")
        return self._line(f"bitcast {written(whole)} {kept} to {written(type_)}")

    def _splat(self, value: Value, arg: str) -> str:
        vector = written(value.type)
        first = self._line(f"insertelement {vector} poison, {written(value.args[0].type)} {arg}, i32 0")
        return f"shufflevector {vector} {first}, {vector} poison, <{value.type.lanes} x i32> zeroinitializer"

    def _shuffle(self, value: Value, args: list[str]) -> str:
        assert isinstance(value.detail, tuple)  # noqa: S101
        source = written(value.args[0].type)
        if value.type.lanes == 1:
            return f"extractelement {source} {args[0]}, i32 {value.detail[0]}"
        mask = ", ".join(f"i32 {lane}" for lane in value.detail)
        return f"shufflevector {source} {args[0]}, {source} {args[1]}, <{value.type.lanes} x i32> <{mask}>"

    def _gather(self, value: Value, places: str) -> str:
        assert isinstance(value.detail, Access)  # noqa: S101
        vector, lanes = written(value.type), value.type.lanes
        start = self._address(value.detail, value.type)[0]
        at = self._line(f"getelementptr i8, ptr {start}, {vector} {places}")
        name, pointers, mask = f"llvm.masked.gather.v{lanes}i32.v{lanes}p0", f"<{lanes} x ptr>", _mask(value.type)
        self.declared.add(f"declare {vector} @{name}({pointers}, i32, {mask}, {vector})")
        all_ = _constant(Value(value.type.of("i1"), "constant", (), 1))
        return f"call {vector} @{name}({pointers} {at}, i32 1, {mask} {all_}, {vector} poison)"

    def _line(self, instruction: str) -> str:
        name = f"%{self._new('t')}"
        self.lines.append(f" {name} = {instruction}")
        return name

    def _new(self, letter: str) -> str:
        self.count += 1
        return f"{letter}.{self.count}"


def _mask(type_: Type) -> str:
    return written(type_.of("i1"))


def _conversion(source: str, target: str) -> str:
    return {
        ("f32", "i32"): "fptosi",
        ("i32", "f32"): "sitofp",
        ("i8", "i32"): "sext",
        ("i32", "i8"): "trunc",
        ("i1", "i32"): "sext",
    }[source, target]


def _constant(value: Value) -> str:
    kind, lanes = value.type
    number = value.detail
    assert isinstance(number, int | float)  # noqa: S101
    if kind == "f32":  # LLVM writes a float as the double of the same value
        (rounded,) = struct.unpack("<f", struct.pack("<f", number))
        one = f"0x{struct.unpack('<Q', struct.pack('<d', rounded))[0]:016X}"
    else:
        one = str(int(number))
    if lanes == 1:
        return one
    return "<" + ", ".join([f"{KINDS[kind]} {one}"] * lanes) + ">"


def _assigned(statements: Sequence[Statement]) -> list[str]:
    """The variables that statements set, in order."""
    found: dict[str, None] = {}
    for statement in statements:
        if isinstance(statement, Let) and statement.mutable:
            found[statement.name] = None
        elif isinstance(statement, Loop):
            found.update(dict.fromkeys(_assigned(statement.body)))
    return list(found)
