"""What a method is: its name and source, what it needs, and what it gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ..errors import NeocogError
from ..wording import Text, Words
from .subject import Subject, Target

if TYPE_CHECKING:
    from .question import Question, Shown


@dataclass(frozen=True, eq=False)
class Attributed:
    """How much each input value or place counts: `values` (N, C, *size), with one channel where places count.

    `gap` (N,) is by what part of the score's difference the values miss their sum, for methods that promise it; `notes`
    says how each image's map came about.
    """

    values: Tensor
    gap: NDArray[np.float64] | None = None
    notes: Sequence[Words] = field(default_factory=tuple)

    def maps(self, *, signed: bool) -> NDArray[np.float32]:
        """One number for each place (N, *size): the channels' sum, or, unsigned, the largest absolute value."""
        summed = self.values.sum(1) if signed else self.values.abs().amax(1)
        found: NDArray[np.float32] = summed.detach().float().cpu().numpy()
        return found


@dataclass(frozen=True)
class Asked:
    """What a map is asked for: the images' targets, the layer whose maps are read (a position), and a seed."""

    target: Target
    layer: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class Attribution:
    """A method that gives each image x (N, C, *size) a map over its pixels.

    - `signed`: places may count against the target; the map is the sum over channels, else the largest magnitude.
    - `layer`: whether it reads the maps of a layer: "reads", "may", or "unit" where a layer only names a unit.
    - `edges`: it follows what stands out in the image whatever the weights are, as is known of it (Adebayo et al.,
      2018) or seen from its formula: its sanity score is high by construction, and every picture says so.
    """

    name: str
    says: Text
    source: str
    attribute: Callable[[Subject, Tensor, Asked], Attributed]
    signed: bool = True
    layer: Literal["reads", "may", "unit"] = "unit"
    edges: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """What a question must hold."""
        return ("image",)

    @property
    def takes(self) -> tuple[str, ...]:
        """What else it listens to."""
        return ("target", "layers", "unit") if self.layer == "unit" else ("target", "layers")


@dataclass(frozen=True)
class View:
    """A method whose answer is a picture of its own: of weights, of images that it makes, or of a data set.

    `needs` are what a question must hold: "image", "data"; `takes` what else it listens to: "target", "unit", "count",
    "layer", or "layers" if it may be several. `extra` is the optional package that it uses.
    """

    name: str
    says: Text
    source: str
    needs: tuple[str, ...]
    takes: tuple[str, ...]
    show: Callable[[Question], Shown]
    extra: str | None = None


Method = Attribution | View


def refuse_unheard(question: Question, method: Method) -> None:
    """Raises NeocogError for the first thing that is asked and the method would not listen to."""
    heard = (*method.needs, *method.takes)
    given = {
        "image": len(question.images) > 0,
        "data": question.data is not None,
        "layer": len(question.layers) > 0,
        "target": question.target is not None,
        "unit": question.unit is not None,
        "count": question.count is not None,
    }
    for what, is_given in given.items():
        if is_given and what not in heard and f"{what}s" not in heard:
            raise NeocogError(f"{method.name} takes no {what}", hint=f"it takes {', '.join(heard)}")
    if len(question.layers) > 1 and "layers" not in heard:
        raise NeocogError(f"{method.name} looks at one layer", received=", ".join(question.layers))
    if given["unit"] and given["target"]:
        raise NeocogError("either a class is explained or a unit", received="target and unit")
    if given["unit"] and isinstance(method, Attribution) and not given["layer"]:
        raise NeocogError("a unit is one of a layer", received=f"unit {question.unit} of no layer", hint="--layer NAME")
