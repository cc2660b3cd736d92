"""What the studio tells, as JSON that every browser reads, whatever names and numbers are in it."""

from __future__ import annotations

import inspect
import json
import math
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response


def encoded(told: Any) -> bytes:
    """Plain values as JSON in ASCII, in which any letter of a name can be written; what is no finite number is null."""
    try:
        text = json.dumps(told, separators=(",", ":"), allow_nan=False)
    except ValueError:  # weights may grow until their products overflow
        text = json.dumps(_finite(told), separators=(",", ":"), allow_nan=False)
    return text.encode("ascii")


def _finite(told: Any) -> Any:
    if isinstance(told, float):
        return told if math.isfinite(told) else None
    if isinstance(told, dict):
        return {key: _finite(value) for key, value in told.items()}
    return [_finite(value) for value in told] if isinstance(told, list | tuple) else told


class Told(Response):
    """An answer in JSON."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """Plain values, or bytes that are JSON already."""
        return content if isinstance(content, bytes) else encoded(content)


def offer(app: FastAPI, path: str, answer: Callable[..., Any], method: str = "GET") -> None:
    """Have a path answered by what a function returns; it is made into JSON in the thread that the function has."""

    def told(**asked: Any) -> Response:
        return Told(answer(**asked))

    told.__signature__ = inspect.signature(answer, eval_str=True)  # type: ignore[attr-defined]  # FastAPI asks for it
    app.add_api_route(path, told, methods=[method], response_model=None)
