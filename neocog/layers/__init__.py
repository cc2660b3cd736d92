"""Every layer there is, one file each. A new layer is one new file and one new line here."""

from __future__ import annotations

from ..layer import Layer
from .add import Add
from .auxiliary import Auxiliary as Auxiliary
from .avgpool import AvgPool
from .batchnorm import BatchNorm
from .concat import Concat
from .conv import Conv as Conv
from .deconv import Deconv
from .dropout import Dropout
from .fc import FullyConnected
from .filter import Filter
from .flatten import Flatten
from .gap import GlobalAvgPool
from .gelu import GELU
from .groupnorm import GroupNorm
from .identity import Identity
from .input import Input as Input
from .l2pool import L2Pool
from .lcn import LocalContrastNorm
from .local import LocallyConnected
from .lrelu import LeakyReLU
from .lrn import LocalResponseNorm
from .pool import MaxPool
from .prelu import PReLU
from .rbf import RBF
from .relu import ReLU
from .scaledtanh import ScaledTanh
from .shortcut import Shortcut
from .sigmoid import Sigmoid
from .silu import SiLU
from .softmax import Softmax
from .spp import SpatialPyramid
from .stopool import StochasticPool
from .subsample import Subsample
from .tanh import Tanh
from .upsample import Upsample

LAYERS: tuple[type[Layer], ...] = (
    Input,
    Conv,
    LocallyConnected,
    MaxPool,
    AvgPool,
    L2Pool,
    StochasticPool,
    GlobalAvgPool,
    Subsample,
    SpatialPyramid,
    Filter,
    Deconv,
    Upsample,
    FullyConnected,
    RBF,
    Flatten,
    ReLU,
    LeakyReLU,
    PReLU,
    Sigmoid,
    Tanh,
    ScaledTanh,
    Softmax,
    GELU,
    SiLU,
    BatchNorm,
    GroupNorm,
    LocalResponseNorm,
    LocalContrastNorm,
    Dropout,
    Add,
    Concat,
    Auxiliary,
    Identity,
    Shortcut,
)

BY_OP: dict[str, type[Layer]] = {layer.op: layer for layer in LAYERS}
