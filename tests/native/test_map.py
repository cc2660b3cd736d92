"""The room's own map, which says in what order to read it."""

from __future__ import annotations

import re
from pathlib import Path

from neocog import native


def test_the_map_of_the_room_names_every_module_and_no_other():
    assert native.__doc__
    named = re.findall(r"`(\w+)`", native.__doc__)
    there = {file.stem for file in Path(native.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(named) == there
    assert len(named) == len(set(named)), "each is named once"
