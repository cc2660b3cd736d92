"""Networks by name: each is a text in the notation with its source and published figures in a header.

A `.net` file begins with comment lines `# key: value` (`title`, `source`, `input`, `published`, `notes`), which
`about` returns; the rest is the network.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import cache
from importlib.resources import files

from ..errors import NeocogError
from ..network import Network

__all__ = ["about", "names", "text", "zoo"]


@cache
def names() -> tuple[str, ...]:
    """The names of all networks, small ones first within each family as people count them."""
    found = [entry.name.removesuffix(".net") for entry in files(__package__).iterdir() if entry.name.endswith(".net")]
    return tuple(sorted(found, key=lambda name: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)]))


def text(name: str) -> str:
    """The text of a network with its header. Raises NeocogError for a name that is not in the zoo."""
    if name not in names():
        near = ", ".join(get_close_matches(name.lower(), names(), n=3, cutoff=0.4))
        every = "neocog zoo lists them all"
        raise NeocogError(f"the zoo has no network {name!r}", hint=f"{near} ({every})" if near else every)
    return files(__package__).joinpath(f"{name}.net").read_text(encoding="utf-8")


def about(name: str) -> dict[str, str]:
    """The header of a network: title, source, published figures, notes."""
    header: dict[str, str] = {}
    for line in text(name).splitlines():
        if not line.startswith("#"):
            break
        key, _, value = line.lstrip("# ").partition(": ")
        header[key] = value.strip()
    return header


def zoo(name: str, /, **variables: int) -> Network:
    """A network of the zoo: `zoo("vgg16")`. Raises NeocogError for an unknown name."""
    return Network.parse(text(name), **variables)
