"""What printed kernels need in front of them: types of vectors, and functions for what C has no sign for."""

from __future__ import annotations

from collections.abc import Iterator

from .expressions import Type

SCALARS = {"f32": "float", "i32": "int32_t", "i8": "int8_t", "i1": "bool"}
UNSIGNED = {"i32": "uint32_t", "i8": "uint8_t"}
BYTES = {"f32": 4, "i32": 4, "i8": 1, "i1": 4}
KINDS = {"i1": "i32"}
"""Masks are vectors of i32: 0, or -1 where something holds."""

HEAD = """#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#ifndef INLINE  // -DINLINE=static makes less code, which sanitizers and debuggers need
#define INLINE static inline __attribute__((always_inline))
#endif"""

PLAIN_HEAD = """#include <math.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>"""

BOUNDS = {
    "max": "INLINE {whole} {name}({whole} a, {whole} b) {{ return a > b ? a : b; }}",
    "min": "INLINE {whole} {name}({whole} a, {whole} b) {{ return a < b ? a : b; }}",
}
TILE = """// A register for a matrix (AMX): up to 16 rows of 16 numbers or pairs; products are added as TDPBF16PS does.
struct tile {
    int rows;
    union { int32_t pair[16][16]; float sum[16][16]; };
};
INLINE void tile_clear(struct tile *t) { memset(t->pair, 0, sizeof t->pair); }
INLINE void tiles_shape(struct tile *t, const int *rows) {
    for (int k = 0; k < 8; k++) {
        t[k].rows = rows[k];
        tile_clear(&t[k]);
    }
}
INLINE void tile_load(struct tile *t, const void *from, int64_t step) {
    for (int m = 0; m < t->rows; m++)
        memcpy(t->pair[m], (const char *)from + m * step, 64);
}
INLINE void tile_store(const struct tile *t, void *to, int64_t step) {
    for (int m = 0; m < t->rows; m++)
        memcpy((char *)to + m * step, t->pair[m], 64);
}
INLINE void tile_multiply(struct tile *c, const struct tile *a, const struct tile *b) {
    for (int m = 0; m < c->rows; m++)
        for (int n = 0; n < 16; n++) {
            float low = 0, high = 0;
            for (int k = 0; k < b->rows; k++) {
                low = __builtin_fmaf(low_of(a->pair[m][k]), low_of(b->pair[k][n]), low);
                high = __builtin_fmaf(high_of(a->pair[m][k]), high_of(b->pair[k][n]), high);
            }
            c->sum[m][n] += low + high;
        }
}"""
WRAPPING = {"add": "+", "sub": "-", "mul": "*", "lshr": ">>"}
PAIRS = ("pair", "neighbours", "dot")
HALVES = {
    "halves": """// An int32_t may hold two numbers rounded to bfloat16, the first one in its low half.
INLINE int32_t pair_of(float low, float high) {
    union { float number; uint32_t bits; } in[2] = {{low}, {high}};
    uint32_t half[2];
    for (int k = 0; k < 2; k++)  // to nearest, ties to even; what is no number stays none
        half[k] = in[k].number == in[k].number ? (in[k].bits + 0x7fff + (in[k].bits >> 16 & 1)) >> 16
                                               : in[k].bits >> 16 | 0x40;
    return (int32_t)(half[1] << 16 | half[0]);
}
INLINE float low_of(int32_t pair) {
    return ((union { uint32_t bits; float number; }){(uint32_t)pair << 16}).number;
}
INLINE float high_of(int32_t pair) {
    return ((union { uint32_t bits; float number; }){(uint32_t)pair & 0xffff0000}).number;
}"""
}
"""Numbers of 16 bits, for what works on pairs of them."""


def c_type(type_: Type) -> str:
    """`float`, or `f32x16`."""
    return SCALARS[type_.kind] if type_.lanes == 1 else f"{KINDS.get(type_.kind, type_.kind)}x{type_.lanes}"


def vector_from(type_: Type) -> str:
    """The name of a vector that begins at any number."""
    return f"{c_type(type_)}_anywhere"


def _short(type_: Type) -> str:
    """For the names of functions."""
    return type_.kind if type_.lanes == 1 else c_type(type_)


class Helpers:
    """The types and functions that some text uses. `whole` is the type of counters and of places in memory.

    `prefetches` and `fuses` say whether memory is asked for ahead, and products and sums are rounded once for certain.
    """

    head, whole, prefetches, fuses = HEAD, "int64_t", True, True

    def __init__(self) -> None:
        self._types: dict[str, str] = {}
        self._functions: dict[str, str] = {}
        self._shuffles: dict[tuple[Type, tuple[int, ...]], str] = {}

    def type(self, type_: Type) -> None:
        """Declare a type, if it is a vector."""
        if type_.lanes > 1:
            self._typedef(c_type(type_), SCALARS[KINDS.get(type_.kind, type_.kind)], type_)

    def unaligned(self, type_: Type) -> None:
        """Declare the vector that begins at any number."""
        self._typedef(vector_from(type_), SCALARS[type_.kind], type_, f", aligned({BYTES[type_.kind]})")

    def _typedef(self, name: str, element: str, type_: Type, more: str = "") -> None:
        size = BYTES[type_.kind] * type_.lanes
        self._types[name] = f"typedef {element} {name} __attribute__((vector_size({size}), may_alias{more}));"

    def bound(self, which: str) -> str:
        """The name of the function that gives the larger (`max`) or smaller (`min`) of two counters."""
        name = f"{which}_{'i64' if self.whole == 'int64_t' else self.whole}"
        self._functions[name] = BOUNDS[which].format(name=name, whole=self.whole)
        return name

    def tiles(self) -> None:
        """The functions on tiles."""
        self._functions |= HALVES | {"tile": TILE}

    def shuffle(self, source: Type, lanes: tuple[int, ...]) -> str:
        """The name of the function that picks those lanes of two vectors."""
        if (source, lanes) not in self._shuffles:
            t, given, name = c_type(Type(source.kind, len(lanes))), c_type(source), f"pick{len(self._shuffles) + 1}"
            self.type(source)
            self.type(Type(source.kind, len(lanes)))
            picked = f"__builtin_shufflevector(a, b, {', '.join(map(str, lanes))})"
            self._functions[name] = f"INLINE {t} {name}({given} a, {given} b) {{\n    return {picked};\n}}"
            self._shuffles[source, lanes] = name
        return self._shuffles[source, lanes]

    def operation(self, op: str, type_: Type, arguments: int = 1) -> str:
        """The name of the function for an operation that gives that type (for `bits`, that takes it)."""
        name = f"{op}_{_short(type_)}"
        if name not in self._functions:
            for needed in (type_, type_.of("i1"), type_.of("f32")):
                self.type(needed)
            if op == "max":
                self.operation("select", type_)
            if op in PAIRS:
                self.type(Type("f32", 2 * type_.lanes if op == "neighbours" else type_.lanes))
                self._functions |= HALVES
            self._functions[name] = "\n".join(self._lines(op, name, type_, arguments))
        return name

    def _lines(self, op: str, name: str, type_: Type, arguments: int) -> Iterator[str]:
        t, one = c_type(type_), SCALARS[type_.kind]
        if op == "splat":
            yield f"INLINE {t} {name}({one} x) {{ return ({t}){{{', '.join(['x'] * type_.lanes)}}}; }}"
        elif op == "max":
            yield f"INLINE {t} {name}({t} a, {t} b) {{ return select_{_short(type_)}(a > b, a, b); }}"
        elif op == "select":
            yield from self._select(name, type_)
        elif op == "bits":
            other = {"f32": "int32_t", "i32": "float"}[type_.kind]
            yield f"INLINE {other} {name}({t} x) {{ return ((union {{ {t} from; {other} to; }}){{x}}).to; }}"
        elif op == "gather":
            yield f"INLINE {t} {name}(const void *from, {t} at) {{"
            yield f"    for (int k = 0; k < {type_.lanes}; k++) {{"
            yield "        int32_t read;"
            yield "        memcpy(&read, (const char *)from + at[k], sizeof read);"
            yield "        at[k] = read;"
            yield "    }"
            yield "    return at;"
            yield "}"
        elif op in PAIRS:
            yield from _on_pairs(op, name, type_)
        elif op in WRAPPING:
            yield from self._wrapping(op, name, type_)
        else:
            yield from self._each_lane(op, name, type_, arguments)

    def _select(self, name: str, type_: Type) -> Iterator[str]:
        """The first where the mask holds, else the second."""
        t, mask = c_type(type_), c_type(type_.of("i1"))
        yield f"INLINE {t} {name}({mask} m, {t} a, {t} b) {{"
        if type_.lanes == 1:
            yield "    return m ? a : b;"
        else:
            whole = type_.of("i8" if type_.kind == "i8" else "i32")
            self.type(whole)
            w = c_type(whole)
            yield f"    {w} k = __builtin_convertvector(m, {w});"
            yield f"    return ({t})((({w})a & k) | (({w})b & ~k));"
        yield "}"

    def _wrapping(self, op: str, name: str, type_: Type) -> Iterator[str]:
        """Whole numbers go round where they overflow, and zeros are shifted in: signed ones of C do neither."""
        t, sign = c_type(type_), WRAPPING[op]
        u = UNSIGNED[type_.kind] if type_.lanes == 1 else f"u{t[1:]}"
        if type_.lanes > 1:
            self._typedef(u, UNSIGNED[type_.kind], type_)
        yield f"INLINE {t} {name}({t} a, {t} b) {{ return ({t})(({u})a {sign} ({u})b); }}"

    def text(self) -> str:
        """All of it."""
        parts = ["\n".join(sorted(self._types.values())), "\n".join(self._functions.values())]
        return "\n\n".join([self.head, *filter(None, parts)])

    def _each_lane(self, op: str, name: str, type_: Type, arguments: int) -> Iterator[str]:
        """A function of C's library lane by lane, which a compiler makes one instruction of where there is one."""
        t, args = c_type(type_), ("a", "b", "c")[:arguments]
        yield f"INLINE {t} {name}({', '.join(f'{t} {arg}' for arg in args)}) {{"
        if type_.lanes == 1:
            yield f"    return __builtin_{op}f({', '.join(args)});"
        else:
            yield f"    {t} y = {args[-1]};"
            yield f"    for (int k = 0; k < {type_.lanes}; k++)"
            yield f"        y[k] = __builtin_{op}f({', '.join(f'{arg}[k]' for arg in args)});"
            yield "    return y;"
        yield "}"


class PlainHelpers(Helpers):
    """For kernels of single numbers (one lane), in C11 as every compiler takes it, also where int is all there is."""

    head, whole, prefetches, fuses = PLAIN_HEAD, "int", False, False

    def text(self) -> str:
        """All of it, without an attribute."""
        return super().text().replace("INLINE ", "static inline ")

    def _each_lane(self, op: str, name: str, type_: Type, arguments: int) -> Iterator[str]:
        """By C's library."""
        t, args = c_type(type_), ("a", "b", "c")[:arguments]
        yield f"INLINE {t} {name}({', '.join(f'{t} {arg}' for arg in args)}) {{ return {op}f({', '.join(args)}); }}"


def _on_pairs(op: str, name: str, type_: Type) -> Iterator[str]:
    """Numbers become pairs, or the products of two pairs are added to a third number, the high halves first."""
    t, one = c_type(type_), "y[k]" if type_.lanes > 1 else "y"
    pair_, number = c_type(type_.of("i32")), c_type(type_.of("f32"))
    k = "[k]" if type_.lanes > 1 else ""
    if op == "pair":
        arguments, made = f"{number} a, {number} b", f"pair_of(a{k}, b{k})"
    elif op == "neighbours":
        arguments, made = f"{c_type(Type('f32', 2 * type_.lanes))} a", "pair_of(a[2 * k], a[2 * k + 1])"
    else:
        high = f"__builtin_fmaf(high_of(a{k}), high_of(b{k}), c{k})"
        arguments, made = f"{pair_} a, {pair_} b, {number} c", f"__builtin_fmaf(low_of(a{k}), low_of(b{k}), {high})"
    yield f"INLINE {t} {name}({arguments}) {{"
    yield f"    {t} y = {{0}};" if type_.lanes > 1 else f"    {t} y;"
    if type_.lanes > 1:
        yield f"    for (int k = 0; k < {type_.lanes}; k++)"
    yield f"    {'    ' if type_.lanes > 1 else ''}{one} = {made};"
    yield "    return y;"
    yield "}"
