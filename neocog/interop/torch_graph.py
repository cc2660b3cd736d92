"""A torch module as the operations that one forward pass performs, each linked to those whose results it reads.

The pass is recorded by `torch.export`: it runs the module's own code once, on tensors that have a size but no values.
So functional code, custom forwards and modules used twice are read alike, loops and conditions on sizes are already
decided, and nothing is computed. (`torch.fx` records the modules that are called instead, stops at each condition on
a size, and does not tell sizes at all.)
"""

from __future__ import annotations

import logging
import operator
import os
import re
import traceback
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.export.graph_signature import InputKind, OutputKind

from ..errors import NeocogError
from ..layer import Shape
from ..wording import count_of

BATCH = 2  # images in the recorded pass: shapes of layers start after this number
_FRAME = re.compile(r'File "(.+)", line (\d+), in ')
_TORCH, _HERE, _LIBRARY = (os.path.dirname(file) for file in (torch.__file__, __file__, os.__file__))


@dataclass(frozen=True, eq=False)
class Stored:
    """A tensor that the module owns, under the name it has in `state_dict`."""

    name: str
    tensor: Tensor
    learned: bool


@dataclass(frozen=True, eq=False)
class Operation:
    """One operation of the recorded pass.

    `name` is ATen's, without what tells in-place forms apart: `relu` for `aten.relu_.default`. `arguments` holds all
    arguments by the names of ATen's schema, except that the first is always `input`; tensors among them are
    operations or stored. `shape` is that of the result, with the batch; `where` a place in the user's code, and
    `owner` the innermost module that was running.
    """

    name: str
    arguments: Mapping[str, Any] = field(repr=False)  # they lead back to the input
    shape: tuple[int, ...]
    where: str
    position: int
    owner: nn.Module | None = field(default=None, repr=False)

    def __getitem__(self, argument: str) -> Any:
        if argument not in self.arguments:
            raise NeocogError(f"{self.name} is no layer of the notation in a form without {argument}")
        return self.arguments[argument]


def record(module: nn.Module, shape: Shape) -> Operation:
    """The operation whose result the module returns for images of a shape, linked to all that lead to it.

    The module runs in evaluation mode and is left as it was. Raises NeocogError where torch cannot run or record it,
    or where it does not turn one tensor into one.
    """
    with _as_at_prediction(module), _silent():
        try:
            program = torch.export.export(module, (_images(module, shape),), strict=False)
        except Exception as error:  # whatever the user's forward raises
            raise _explained(error, shape) from None
    return _Linking(module, program).result()


@contextmanager
def _as_at_prediction(module: nn.Module) -> Iterator[None]:
    """Evaluation mode, without calling `eval`, which may be the user's own and do more than that."""
    modes = {part: part.training for part in module.modules()}
    try:
        for part in modes:
            part.training = False
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


@contextmanager
def _silent() -> Iterator[None]:
    """Neither warnings nor log lines: what goes wrong is an error of ours, and the rest concerns exporting."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)


def _images(module: nn.Module, shape: Shape) -> Tensor:
    """A batch of zeros where the module's weights are, of their type."""
    stored = (*module.parameters(), *module.buffers())
    weight = next((tensor for tensor in stored if tensor.is_floating_point()), torch.empty(0))
    return torch.zeros(BATCH, shape.channels, *shape.spatial, dtype=weight.dtype, device=weight.device)


def _explained(error: Exception, shape: Shape) -> NeocogError:
    """What went wrong in the pass, with the last line of the user's own code."""
    frames = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    theirs = [place for place in frames if _is_theirs(place[0])]
    where = _line(*theirs[-1]) if theirs else ""
    said = (str(error) or type(error).__name__).strip().splitlines()[0]
    if type(error).__name__ == "GuardOnDataDependentSymNode":
        return NeocogError(
            "the forward pass looks at values of a tensor, so it is not one network but several",
            where=where,
            received=said,
            hint="a forward pass that depends on sizes alone",
        )
    return NeocogError(
        f"torch cannot run this module on images of {shape}, height x width x channels"
        if shape.rank == 2
        else f"torch cannot run this module on sequences of {shape}, length x channels",
        where=where,
        received=f"{type(error).__name__}: {said}",
        hint="the size of the images it was made for",
    )


def _is_theirs(file: str) -> bool:
    return not file.startswith((_TORCH, _HERE, "<")) and os.path.dirname(file) != _LIBRARY


def _line(file: str, line: int | str | None) -> str:
    """`model.py, line 12`, with the path as it is seen from the working directory where it lies below."""
    relative = os.path.relpath(file)
    return f"{file if relative.startswith('..') else relative}, line {line}"


class _Linking:
    """Turns the nodes of an exported program into operations."""

    def __init__(self, module: nn.Module, program: torch.export.ExportedProgram) -> None:
        self.module, self.program = module, program
        self.values: dict[fx.Node, Any] = {}
        self.changed: dict[int, fx.Node] = {}  # by storage, the last operation that wrote into it
        self.storages: dict[fx.Node, int] = {}

    def result(self) -> Operation:
        """The operation that gives the module's one output."""
        specs = {spec.arg.name: spec for spec in self.program.graph_signature.input_specs}
        for position, node in enumerate(self.program.graph.nodes):
            if node.op == "placeholder":
                self.values[node] = self._given(specs[node.target], node, position)
            elif node.op == "call_function":
                self.values[node] = self._operation(node, position)
            elif node.op == "get_attr":
                self.values[node] = node.target  # a part of the pass that a control-flow operation calls
            if isinstance(value := node.meta.get("val"), Tensor):
                self.storages[node] = self._storage(node, value)
        return self._output()

    def _given(self, spec: Any, node: fx.Node, position: int) -> Stored | Operation:
        if spec.kind == InputKind.USER_INPUT:
            return Operation("input", {}, tuple(node.meta["val"].shape), "input", position)
        tensors = {**self.program.constants, **self.program.state_dict}
        return Stored(spec.target, tensors[spec.target], spec.kind == InputKind.PARAMETER)

    def _output(self) -> Operation:
        outputs = [s for s in self.program.graph_signature.output_specs if s.kind == OutputKind.USER_OUTPUT]
        (returned,) = next(node for node in self.program.graph.nodes if node.op == "output").args
        node = returned[-1] if returned else None
        if len(outputs) != 1 or not isinstance(node, fx.Node) or not isinstance(self.values[node], Operation):
            raise NeocogError(
                "a network turns one volume into one",
                received=f"a module that returns {count_of(len(outputs), 'tensor')}",
                hint="a module around it that returns the one that matters",
            )
        self._unchanged(node, "output")
        result: Operation = self.values[node]
        return result

    def _operation(self, node: fx.Node, position: int) -> Any:
        if node.target is operator.getitem and node.args[1] == 0:
            return self.values[node.all_input_nodes[0]]  # what an operation gives besides is not read
        schema = getattr(node.target, "_schema", None)
        name = getattr(node.target, "__name__", str(node.target))
        name = name if schema is None else schema.name.removeprefix("aten::")
        where = self._where(node)
        arguments = self._arguments(node, schema, where)
        value = node.meta.get("val")
        shape = tuple(getattr(value[0] if isinstance(value, tuple | list) else value, "shape", ()))
        if schema is not None and schema.is_mutable and isinstance(first := node.args[0], fx.Node):
            name = name.removesuffix("_")
            self.changed[self.storages[first]] = node
        return Operation(name, arguments, shape, where, position, self._owner(node))

    def _arguments(self, node: fx.Node, schema: Any, where: str) -> dict[str, Any]:
        for source in node.all_input_nodes:
            self._unchanged(source, where)
        args, kwargs = fx.map_arg((node.args, dict(node.kwargs)), lambda source: self.values[source])
        if schema is None:
            return {"input": args[0] if args else None, "others": args[1:]}
        found = dict(kwargs)
        for k, argument in enumerate(schema.arguments):
            if argument.name not in found:
                found[argument.name] = args[k] if k < len(args) else argument.default_value
        return {("input" if k == 0 else name): found[name] for k, name in enumerate(a.name for a in schema.arguments)}

    def _storage(self, node: fx.Node, value: Tensor) -> int:
        """What memory a result lies in. Dropout hands its input on at prediction; the recorded pass copies it."""
        if node.op == "call_function" and node.target is torch.ops.aten.dropout.default:
            return self.storages[node.all_input_nodes[0]]
        return int(value.untyped_storage()._cdata)

    def _unchanged(self, source: fx.Node, where: str) -> None:
        """Refuse to read a tensor that an in-place operation has changed through another view of its memory."""
        writer = self.changed.get(self.storages.get(source, -1))
        if writer is not None and self.values[writer].position > self._position(source):
            raise NeocogError(
                "this reads a tensor that an in-place operation has changed through another view of it",
                where=where,
                received=f"{self.values[writer].name} in place, at {self.values[writer].where}",
                hint="inplace=False there",
            )

    def _position(self, node: fx.Node) -> int:
        value = self.values[node]
        return value.position if isinstance(value, Operation) else -1

    def _where(self, node: fx.Node) -> str:
        """`features.3 (model.py, line 12)`: the module that was running and the user's innermost `forward`."""
        stack = list(node.meta.get("nn_module_stack", {}).values())
        path = stack[-1][0] if stack else ""
        places = [place for place in _FRAME.findall(node.meta.get("stack_trace") or "") if _is_theirs(place[0])]
        line = _line(*places[-1]) if places else ""
        return f"{path} ({line})" if path and line else path or line or "the module"

    def _owner(self, node: fx.Node) -> nn.Module | None:
        stack = list(node.meta.get("nn_module_stack", {}).values())
        try:
            return self.module.get_submodule(stack[-1][0]) if stack else None
        except AttributeError:  # a name that torch made for a module called in a way of its own
            return None
