"""The Layer contract: what one file in `layers/` must say about a layer, and the small values it says it with."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .errors import ShapeError
from .spelling import Dims, Token, read_settings, write_settings

if TYPE_CHECKING:
    from torch import nn

Array = NDArray[np.float64]
Arrays = Mapping[str, Array]


@dataclass(frozen=True)
class Shape:
    """The size of a volume for one image: spatial extents (H, W) or (L,), and channels C.

    In memory a volume is (N, C, H, W) or (N, C, L); in text it is `HxWxC` or `LxC`, as in the notes.
    """

    spatial: Dims
    channels: int

    @classmethod
    def of(cls, text: str) -> Shape:
        """`Shape.of("28x28x1")`."""
        *spatial, channels = (int(part) for part in text.split("x"))
        return cls(tuple(spatial), channels)

    @property
    def rank(self) -> int:
        """How many spatial axes: 2 for images, 1 for sequences."""
        return len(self.spatial)

    @property
    def positions(self) -> int:
        """How many places a filter is applied at: H * W."""
        return math.prod(self.spatial)

    @property
    def elements(self) -> int:
        """How many values one image's volume holds: H * W * C."""
        return self.positions * self.channels

    def vector(self, channels: int) -> Shape:
        """A volume of the same rank with one position: the `1x1xK` that FC layers give."""
        return Shape((1,) * self.rank, channels)

    def as_list(self) -> list[int]:
        """`[H, W, C]`, or `[L, C]`."""
        return [*self.spatial, self.channels]

    def __str__(self) -> str:
        return "x".join(map(str, self.as_list()))


@dataclass(frozen=True)
class Cost:
    """What a layer costs for one image, counted by these rules.

    - `parameters`: numbers that training changes.
    - `connections`: for each output value, the inputs it is computed from, plus one for a bias (LeCun et al.,
      1998, count LeNet-5 so). An activation function belongs to the neuron before it and adds none.
    - `macs`: multiplications of an input with a weight, each with its addition. `flops = 2 * macs`.
      Taps that fall on padding are counted, as a plain loop would execute them.
    - `kept`: values the forward pass must remember for the backward pass, besides parameters.
    """

    parameters: int = 0
    connections: int = 0
    macs: int = 0
    kept: int = 0


RECTIFIER = math.sqrt(2.0)
"""The `gain` of an activation function that drops about half of a signal (He et al., arXiv 1502.01852, equation 10)."""
MASTER = 4
"""Bytes of a parameter: float32, whatever the type of the volumes, unless that is larger."""


@dataclass(frozen=True)
class Pass:
    """A batch on its way through the torch module, as far as memory is concerned.

    `value_bytes` is the size of a value of a volume. Below 4 the parameters stay float32, and torch's autocast makes
    copies of them in the type of the volumes.
    """

    images: int
    value_bytes: int = MASTER
    training: bool = True

    def volume(self, shape: Shape) -> int:
        """The bytes of a volume of this shape."""
        return self.images * self.value_bytes * shape.elements

    def cast(self, parameters: int) -> int:
        """The bytes of the copies that autocast makes of so many parameters; 0 without it."""
        return self.value_bytes * parameters if self.value_bytes < MASTER else 0

    def interleaved(self, shape: Shape) -> bool:
        """Whether rows of values must be copied from a volume: the engine stores images channels last."""
        return shape.rank == 2 and shape.channels > 1 and shape.positions > 1


@dataclass(frozen=True)
class Footprint:
    """The bytes that a layer's torch module takes in a pass, beside its inputs, its output and its parameters.

    - `keeps_input`, `keeps_output`: whether the backward pass reads them, so that they must stay until then.
    - `extra`: what the forward pass makes besides; the backward pass needs it. Predicting drops it at once.
    - `forward`, `backward`: workspace at the fullest moment of each, gone when the layer is done.
    - `kernels`: machine code and tables that oneDNN prepares and keeps, once for all layers that do the same.
    - `ready`: copies of parameters as prediction multiplies with them, which it keeps beside the parameters.
    - `view`: the output is the input's own memory.
    - `shares_gradient`: the gradients of the inputs are that of the output, or parts of it; a view's always is.
    - `channels_first`: the gradient of its input is stored channels first, unlike the volume.
    - `relaid`: workspace for a gradient that arrives so; activation functions pass it on as it is.
    """

    keeps_input: bool = False
    keeps_output: bool = False
    extra: int = 0
    forward: int = 0
    backward: int = 0
    kernels: int = 0
    ready: int = 0
    view: bool = False
    shares_gradient: bool = False
    channels_first: bool = False
    relaid: int = 0


@dataclass(frozen=True)
class Parameter:
    """One array that a layer owns.

    `fan` = (inputs of one output, outputs of one input) marks a weight that an initialiser draws at random;
    without it the array starts as `value` everywhere, or as a copy of `value` when that is an array.
    `trainable=False` is for what is stored with the weights but not learned by gradient (running statistics,
    fixed codes).
    """

    shape: tuple[int, ...]
    fan: tuple[int, int] | None = None
    value: float | Array = 0.0
    trainable: bool = True

    @property
    def size(self) -> int:
        """How many numbers the array holds."""
        return math.prod(self.shape)


@dataclass(frozen=True)
class Window:
    """The part of the input that one output position sees, one number for each spatial axis.

    With `upsampling` U the window lies over the input spread out, U - 1 gaps after each value: it sees only the
    values, and U output positions lie to one of the input.
    """

    kernel: Dims
    stride: Dims
    padding: Dims
    dilation: Dims
    upsampling: Dims = ()

    @classmethod
    def over(cls, shape: Shape) -> Window:
        """The window that is the whole volume, as FC sees it."""
        ones = (1,) * shape.rank
        return cls(shape.spatial, ones, (0,) * shape.rank, ones)

    @property
    def extent(self) -> Dims:
        """Kernel size once dilated: D * (F - 1) + 1 (fact C9)."""
        return tuple(d * (f - 1) + 1 for f, d in zip(self.kernel, self.dilation, strict=True))


class Example:
    """A token with input shapes it accepts: `Example("CONV3-8(S=2)", "7x9x3")`. Tests, checks and docs use it."""

    def __init__(self, token: str, *inputs: str) -> None:
        self.token, self.inputs = token, inputs


class BadExample(Example):
    """A token or input shape that must be refused, with words that the message must contain."""

    def __init__(self, token: str, *inputs: str, says: str) -> None:
        super().__init__(token, *inputs)
        self.says = says


class Layer(ABC):
    """A layer's hyper-parameters, and every rule that follows from them. Subclasses are frozen dataclasses.

    Arrays are float64; `x` is (N, C, H, W) or (N, C, L). Weights are never stored here: a layer is a value.
    """

    op: ClassVar[str]
    """The word in the notation, upper case."""
    joins: ClassVar[bool] = False
    """True if it takes several inputs: the branches of `ADD[ a | b ]`."""
    couples_batch: ClassVar[bool] = False
    """True if one image's output depends on the other images of the batch while training."""
    in_place: ClassVar[bool] = False
    """True for activation functions, whose output may replace the input: the notes count no volume for them."""
    gain: ClassVar[float | None] = None
    """What weights before this activation function are drawn larger by, so that a signal keeps its size: sqrt(2) where
    half of it is dropped. None for layers that only hand values on."""
    examples: ClassVar[tuple[Example, ...]]
    bad_examples: ClassVar[tuple[BadExample, ...]] = ()

    @classmethod
    def from_token(cls, token: Token) -> Layer:
        """The layer that a token spells. Raises SpellingError."""
        return cls(**read_settings(cls, token))

    @cached_property
    def token(self) -> str:
        """The canonical text of this layer."""
        return write_settings(self.op, self)

    def __str__(self) -> str:
        return self.token

    def default_of(self, name: str, declared: Any) -> Any:
        """What the setting is when the text leaves it out; layers override it where it depends on others."""
        return declared

    def output_shape(self, *inputs: Shape) -> Shape:
        """The output volume for given input volumes. Raises ShapeError with the rule and the nearest fixes."""
        (x,) = inputs
        return x

    @abstractmethod
    def cost(self, *inputs: Shape) -> Cost:
        """What the layer costs for one image: `Cost` states the counting rules."""

    def parameters(self, *inputs: Shape) -> dict[str, Parameter]:
        """The arrays the layer owns, by the name they have in the torch module."""
        return {}

    def window(self, *inputs: Shape) -> Window | None:
        """What one output position sees, for the receptive field; None if only its own position."""
        return None

    def unrolled(self, *inputs: Shape) -> int:
        """How many values the matrix of all unrolled windows (im2col) holds; 0 where nobody would build it."""
        return 0

    @abstractmethod
    def forward(self, params: Arrays, *xs: Array, rng: np.random.Generator | None = None) -> tuple[Array, Any]:
        """Output and what `backward` needs. `rng` is None at inference; in training it draws what is random."""

    @abstractmethod
    def backward(self, params: Arrays, cache: Any, dy: Array) -> tuple[tuple[Array, ...], dict[str, Array]]:
        """Gradients of the loss for each input and each trainable parameter, from its gradient for the output."""

    def updated(self, params: Arrays, cache: Any) -> dict[str, Array]:
        """The not-trainable arrays that a training forward pass changes (running statistics), with new values."""
        return {}

    @abstractmethod
    def footprint(self, run: Pass, *inputs: Shape) -> Footprint:
        """What the torch module keeps in memory, and the workspace that it takes: `Footprint` states the rules."""

    @abstractmethod
    def module(self, *inputs: Shape) -> nn.Module:
        """The torch module for these inputs, of volumes shaped as in `forward`."""


class Activation(Layer):
    """A function of each value alone: same shape, no connections of its own, its output kept for backward."""

    in_place = True

    def cost(self, *inputs: Shape) -> Cost:
        """Nothing but the one value per element that the derivative needs."""
        return Cost(kept=inputs[0].elements)


def per_axis(dims: Dims, rank: int, owner: object) -> Dims:
    """`(3,)` -> `(3, 3)`: a hyper-parameter with one number for each of `rank` spatial axes.

    Raises ShapeError when it was written for another number of axes.
    """
    if len(dims) == 1:
        return dims * rank
    if len(dims) != rank:
        shown = "x".join(map(str, dims))
        raise ShapeError(
            f"{owner} has {len(dims)} numbers in {shown}, but its input has {rank} spatial "
            + ("axis" if rank == 1 else "axes"),
            hint=f"one number, or {rank} joined by x",
        )
    return dims


def same_rank(inputs: Sequence[Shape]) -> bool:
    """Whether all volumes have equally many spatial axes."""
    return len({x.rank for x in inputs}) == 1
