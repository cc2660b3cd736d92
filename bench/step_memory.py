"""The memory of a training step: neocog's engines beside a plain torch module, network by network.

    .venv/bin/python bench/step_memory.py [resnet20 "small VGG" ...] [--write]

Every figure is the most that was resident in a process of its own, on top of one that had trained a tiny network, with
freed memory given back at once (`neocog/measure/resident.py`). Networks, batches and the optimizer, SGD with momentum,
are those of bench/speed.py. `--write` puts the table into docs/memory.md. It takes some half an hour.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from networks import NETWORKS, nodes_of
from page import DOCS, row, write

from neocog import Network
from neocog.measure import resident
from neocog.measure.memory import measure
from neocog.native.trainer import not_covered
from neocog.torch_engine.allocator import return_freed_memory
from neocog.torch_engine.device import DTYPES

HEADER = ("network", "batch", *(f"{who}, {dtype}" for dtype in DTYPES for who in ("native", "our torch", "torch")))
CHILD = "--child"


def rows(names: list[str]) -> Iterator[list[str]]:
    """A network and a batch at a time, in MiB."""
    for name in names:
        network = NETWORKS[name].network()
        for batch in NETWORKS[name].training:
            cells = [name, str(batch)]
            for dtype in DTYPES:
                sizes = [ours(network, batch, dtype, engine) for engine in ("native", "torch")]
                sizes.append(plain(network, batch, dtype))
                cells += [f"{size / 2**20:,.1f}" if size else "-" for size in sizes]
            yield cells


def ours(network: Network, batch: int, dtype: str, engine: str) -> int:
    """Bytes that one of our engines takes; 0 where it does not run the network."""
    if engine == "native" and not_covered(network, "cross-entropy", "momentum"):
        return 0
    return measure(network, batch=batch, dtype=dtype, engine=engine).peak_bytes


def plain(network: Network, batch: int, dtype: str) -> int:
    """Bytes that a plain torch module takes; 0 for a network that is not written in one."""
    settings = {"batch": batch, "bfloat16": dtype == "bfloat16"}
    jobs = [{"nodes": nodes_of(one), **settings} for one in (Network.parse(resident.TINY), network)]
    done = subprocess.run(
        [sys.executable, __file__, CHILD], input=json.dumps(jobs), capture_output=True, text=True, check=False
    )
    return int(done.stdout) if done.returncode == 0 else 0


def child(jobs: list[dict[str, Any]]) -> int:
    """In a process of its own: what the second of two networks takes."""
    sys.path.append(str(Path(__file__).parent / "peers"))
    from with_torch import make

    return_freed_memory()
    tiny, job = ({**one, "training": True} for one in jobs)
    return resident.taken(make(**tiny).step, lambda: make(**job).step)[0]


def main() -> None:
    names = [name for name in sys.argv[1:] if not name.startswith("--")] or list(NETWORKS)
    lines = [row(HEADER), row(["---", *["---:"] * (len(HEADER) - 1)])]
    print("\n".join(lines), flush=True)
    for cells in rows(names):
        lines.append(row(cells))
        print(lines[-1], flush=True)
    if "--write" in sys.argv:
        write("bench/step_memory.py", lines, DOCS / "memory.md")


if __name__ == "__main__":
    if CHILD in sys.argv:
        print(child(json.load(sys.stdin)))
    else:
        main()
