"""What the page sends: each kind of request as a value with limits. What does not fit is answered with 422."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

TEXT = 100_000
"""Characters of a network's text."""

Text = Annotated[str, Field(max_length=TEXT)]
Word = Annotated[str, Field(max_length=64)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Body(BaseModel):
    """No request has more than its fields."""

    model_config = ConfigDict(extra="forbid")


class Draft(Body):
    """A text to be planned, and what memory is computed for."""

    text: Text
    batch: int = Field(default=1, ge=1, le=10**6)
    dtype: Word = "float32"
    optimizer: Word = "momentum"


class Chosen(Body):
    """Settings of a new run."""

    optimizer: Word = "nesterov"
    lr: Number | None = None
    momentum: Number = 0.9
    batch_size: int = Field(default=64, ge=1, le=10_000)
    weight_decay: Number = 5e-4
    augment: Word = "none"
    seed: Seed = 0


class Begin(Body):
    """A new run."""

    text: Text
    data: Word = "mnist"
    engine: Word = "auto"
    settings: Chosen = Chosen()


class Compare(Body):
    """A run with each optimizer, of so many steps."""

    text: Text
    data: Word = "mnist"
    settings: Chosen = Chosen()
    steps: int = Field(default=300, ge=1, le=10**6)


class Edit(Body):
    """Settings to change from the next step on; those left out stay."""

    lr: Number | None = None
    momentum: Number | None = None
    batch_size: int | None = Field(default=None, ge=1, le=10_000)
    weight_decay: Number | None = None

    def changes(self) -> dict[str, Any]:
        """Those that were given."""
        return {key: value for key, value in self.model_dump().items() if value is not None}


class Source(Body):
    """An image: one that was brought, or a test image by its number."""

    upload: Word | None = None
    number: int | None = Field(default=None, ge=0)


class Ask(Body):
    """What a network says of an image."""

    image: Source = Source()


class Look(Ask):
    """Some of a network's layers, for an image; `have` is the look that the page shows, which is not told again."""

    first: int = Field(default=0, ge=0)
    count: int = Field(default=8, ge=1, le=16)
    have: int | None = Field(default=None, ge=0)


class Follow(Ask):
    """A scene: an image in a run, the CS231n demo, or a text with random numbers."""

    run: Word | None = None
    label: int | None = Field(default=None, ge=0)
    text: Text | None = None
    seed: Seed = 0


class Why(Ask):
    """A question about a network: by which method, of which image, class and layer, in which language."""

    method: Word
    target: int | None = Field(default=None, ge=0)
    layer: Word | None = None
    evidence: bool = True
    language: Literal["en", "zh"] = "en"


class Slide(Body):
    """A network slid over an image that was brought."""

    upload: Word
    target: int | None = Field(default=None, ge=0)
    stride: int | None = Field(default=None, ge=1, le=1024)


class Cell(Body):
    """One output value of a layer."""

    layer: Word
    channel: int = Field(default=0, ge=0)
    place: list[int] = Field(default=[], max_length=2)
    first: int = Field(default=0, ge=0)


class Fitting(Body):
    """Numbers of a window, for the widget that shows which strides tile."""

    size: int = Field(ge=1, le=32)
    kernel: int = Field(ge=1, le=32)
    padding: int = Field(ge=0, le=32)
    dilation: int = Field(default=1, ge=1, le=16)
    most_stride: int = Field(default=8, ge=1, le=16)
