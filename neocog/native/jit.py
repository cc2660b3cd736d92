"""LLVM IR -> machine code in this process, through llvmlite: no compiler is needed on the machine."""

from __future__ import annotations

import ctypes
import hashlib
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import llvmlite
import llvmlite.binding as llvm

from ..resources import give_back_freed
from .cache import cached
from .kernel import Function
from .llvm import module

NARROWEST = 4
"""Lanes of the smallest vectors that processors have."""


@dataclass(frozen=True)
class Machine:
    """What the code generator must know of a processor: numbers in a vector, and vector registers.

    `dots` says that it has an instruction for products of pairs of bfloat16, `tiles` that it has one for matrices
    of them (AMX), and that this process may use it. Its vectors are so many times as `wide` as those that are used.
    """

    lanes: int
    registers: int
    dots: bool = False
    tiles: bool = False
    wide: int = 1

    @property
    def whole(self) -> Machine:
        """The same with vectors as wide as they are."""
        return replace(self, lanes=self.lanes * self.wide, wide=1)

    def for_images(self, count: int, *, pairs: bool) -> Machine:
        """The same with vectors no wider than so many images need, one in each lane, but for products by tiles.

        Half full, a vector takes twice the memory, and on processors that halve it themselves twice the time.
        """
        wide = 1
        while self.lanes // wide > NARROWEST and self.lanes // wide >= 2 * count and not (pairs and self.tiles):
            wide *= 2
        return self if wide == 1 else replace(self, lanes=self.lanes // wide, tiles=False, wide=self.wide * wide)


@cache
def machine() -> Machine:
    """Of the processor that this runs on."""
    features = llvm.get_host_cpu_features()
    if features.get("avx512f"):
        tiles = bool(features.get("amx-bf16")) and _may_use_tiles()
        return Machine(lanes=16, registers=32, dots=bool(features.get("avx512bf16")), tiles=tiles)
    if features.get("avx2") and features.get("fma"):
        return Machine(lanes=8, registers=16)
    return Machine(lanes=4, registers=32 if llvm.get_default_triple().startswith("aarch64") else 16)


ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA = 158, 0x1023, 18


def _may_use_tiles() -> bool:
    """Ask Linux for the use of tiles, which it gives to a process that asks: they make threads' saved state larger.

    See Documentation/arch/x86/xstate.rst of the kernel; the numbers are those of x86-64.
    """
    if platform.system() != "Linux":
        return False
    return int(ctypes.CDLL(None).syscall(ARCH_PRCTL, REQUEST_PERMISSION, TILE_DATA)) == 0


def _target() -> Any:
    """A code generator for this processor; the engine that gets it owns it."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    name, features = _processor()
    return llvm.Target.from_default_triple().create_target_machine(opt=3, cpu=name, features=features, jit=True)


@cache
def _processor() -> tuple[str, str]:
    """Name and features of the processor that this runs on, as LLVM writes them."""
    features = llvm.get_host_cpu_features().flatten()
    return llvm.get_host_cpu_name(), features + (",-prefer-256-bit" if machine().lanes == 16 else "")


class Compiled:
    """Functions as machine code; it lives as long as this object. `texts` are further ones, in LLVM IR.

    What was compiled once is kept in the user's cache folder and not compiled again.
    """

    def __init__(self, functions: Iterable[Function], texts: Iterable[str] = ()) -> None:
        ir = "\n".join([module(functions, machine().dots), *texts, "attributes #0 = { nounwind }"])
        target = _target()
        key = hashlib.sha256("\n".join([llvmlite.__version__, target.triple, *_processor(), ir]).encode())
        code = cached(key.hexdigest(), lambda: _assembled(ir))
        self._engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)
        self._engine.add_object_file(llvm.ObjectFileRef.from_data(code))
        self._engine.finalize_object()

    def call(self, name: str, arguments: Sequence[Any]) -> None:
        """Run a function on ctypes values. Other Python threads go on meanwhile."""
        self.function(name, [type(argument) for argument in arguments])(*arguments)

    def function(self, name: str, kinds: Sequence[Any]) -> Callable[..., None]:
        """A function to run many times, by the ctypes of its arguments. It must not outlive this object."""
        return ctypes.CFUNCTYPE(None, *kinds)(self.address(name))

    def address(self, name: str) -> int:
        """Where a function's code is; it stays there as long as this object."""
        place: int = self._engine.get_function_address(name)
        return place


def _assembled(ir: str) -> bytes:
    """The object code of a text.

    Kernels are vectors already, unrolled as far as registers allow, and share what addresses have in common: LLVM's
    passes over the text would take as long as its making of machine code, and gain nothing that was measurable. LLVM
    never forgets what a context has seen of types and constants, nor a target what it was used for, so each text has
    its own of both. The megabytes that this took go back to the system.
    """
    with llvm.create_context() as own, llvm.parse_assembly(ir, own) as parsed, _target() as target:
        parsed.verify()
        code: bytes = target.emit_object(parsed)
    give_back_freed()
    return code
