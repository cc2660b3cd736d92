"""Texts as they are typed, and what there is to start from."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

from ... import __version__
from ...data import load_data
from ...errors import NeocogError
from ...layer import Shape
from ...layers import Conv
from ...torch_engine.optimizers import OPTIMIZERS
from ...training.settings import LEARNING_RATES
from .. import bodies
from ..choosing import available
from ..drafting import draft, zoo
from ..pictures import samples
from ..telling import offer
from ..workshop import Gone


def add(app: FastAPI) -> None:
    """Routes that need no run."""

    def about() -> dict[str, Any]:
        return {
            "version": __version__,
            "data": available(),
            "zoo": zoo(),
            "optimizers": list(OPTIMIZERS),
            "rates": LEARNING_RATES,
        }

    def planned(body: bodies.Draft) -> dict[str, Any]:
        return draft(body.text, body.batch, body.dtype, body.optimizer)

    def fitting(body: bodies.Fitting) -> list[dict[str, Any]]:
        return [_fits(body, stride) for stride in range(1, body.most_stride + 1)]

    def images(name: str) -> dict[str, Any]:
        if name not in available():
            raise Gone("these images are not there")
        return samples(load_data(name).test, 0)

    offer(app, "/api/about", about)
    offer(app, "/api/data/{name}/samples", images)
    offer(app, "/api/plan", planned, "POST")
    offer(app, "/api/window", fitting, "POST")


def _fits(body: bodies.Fitting, stride: int) -> dict[str, Any]:
    """The output size with a stride, or why there is none."""
    layer = Conv((body.kernel,), 1, (stride,), (body.padding,), (body.dilation,))
    try:
        return {"stride": stride, "output": layer.output_shape(Shape((body.size, body.size), 1)).spatial[0]}
    except NeocogError as error:
        return {"stride": stride, "output": None, "why": error.rule, "hint": error.hint}
