"""Text of one layer -> layer, written without the notation's parser so that layers are tested without it."""

from __future__ import annotations

import re

from neocog.layer import Layer, Shape
from neocog.layers import BY_OP, Input
from neocog.spelling import Token

NAMES = "|".join(sorted(BY_OP, key=len, reverse=True))
FORM = re.compile(rf"({NAMES})([0-9x]+)?(?:-([0-9a-z_]+))?(?:\((.*)\))?")


def token_of(text: str) -> Token:
    """`CONV3-4(S=2)` -> `Token("CONV", "3", "4", (), {"S": "2"})`."""
    match = FORM.fullmatch(text)
    assert match, f"{text} is no layer"
    op, head, dash, inside = match.groups()
    parts = [p.strip() for p in re.split(r',(?=(?:[^"]*"[^"]*")*[^"]*$)', inside)] if inside else []
    options = dict(p.split("=", 1) for p in parts if "=" in p)
    return Token(op, head, dash, tuple(p for p in parts if "=" not in p), options)


def layer_of(text: str) -> Layer:
    if text.startswith("INPUT["):
        return Input(Shape.of(text[6:-1]))  # its brackets are the notation's own
    token = token_of(text)
    return BY_OP[token.op].from_token(token)


def shapes_of(texts: tuple[str, ...]) -> tuple[Shape, ...]:
    return tuple(Shape.of(text) for text in texts)
