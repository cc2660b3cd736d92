"""Pattern families: one text with several values for its variables is many networks."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product

from ..errors import NotationError
from ..network import Network
from . import syntax
from .expand import expand
from .limits import MEMBERS
from .parser import parse_source


@dataclass(frozen=True)
class Member:
    """One choice of values for a family's variables."""

    family: Family = field(repr=False)
    variables: dict[str, int]

    @property
    def network(self) -> Network:
        """The network of these values, written out now. Raises NotationError where the text does not allow them."""
        return expand(self.family.text, self.family.source, self.variables)


@dataclass(frozen=True)
class Family:
    """A text and the values that its variables may take; iterating gives every `Member`, the last variable fastest.

    The text is parsed once. No network exists before its member is asked for it.
    """

    text: str
    values: Mapping[str, Sequence[int]]
    source: syntax.Source = field(repr=False, compare=False)

    @classmethod
    def parse(cls, text: str, /, **values: int | Sequence[int]) -> Family:
        """`Family.parse("... [CONV3-w -> RELU]*N ...", N=range(1, 4), w=(16, 32))`.

        Values that are given twice count once. Raises NotationError for a text that is not in the notation, a
        variable without a value, or more than 10,000 members, which are counted before anything is written out.
        """
        several = {name: (one,) if isinstance(one, int) else one for name, one in values.items()}
        for name, choices in several.items():
            if not choices:
                raise NotationError(f"variable {name} needs at least one value", hint=f"{name}=1..3")
        if (members := math.prod(map(len, several.values()))) > MEMBERS:
            each = " x ".join(f"{len(choices):,} of {name}" for name, choices in several.items())
            raise NotationError(
                f"a family has at most {MEMBERS:,} members",
                received=f"{members:,}: {each}" if len(several) > 1 else f"{members:,}",
                hint="fewer values of some variable",
            )
        distinct = {name: tuple(dict.fromkeys(choices)) for name, choices in several.items()}
        return cls(text, distinct, parse_source(text))

    def __len__(self) -> int:
        return math.prod(map(len, self.values.values()))

    def __iter__(self) -> Iterator[Member]:
        for chosen in product(*self.values.values()):
            yield Member(self, dict(zip(self.values, chosen, strict=True)))
