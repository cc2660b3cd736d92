"""What does it cost to refuse a hostile image? Prints milliseconds and MiB, each file in a process of its own.

The files are those of tests/image_bombs.py; the limits are 100 ms and 64 MiB beyond what reading a small image takes.
Linux only: the peak is the kernel's.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path
from time import perf_counter

from neocog import DataError
from neocog.data.decode import decode

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

MILLISECONDS, MIB = 100, 64


def peak() -> float:
    """The process's largest resident size so far, in MiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def one(small: Path, hostile: Path) -> None:
    """Read a small image, then the hostile one; print what that took."""
    decode(small)
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before, start = peak(), perf_counter()
    try:
        outcome = "decoded, " + "x".join(map(str, decode(hostile).shape))
    except DataError as error:
        outcome = f"refused: {error.rule}"
    print(f"{1e3 * (perf_counter() - start):.1f}\t{peak() - before:.1f}\t{outcome}")


def main() -> None:
    from golden_images import GOLDEN
    from image_bombs import HARMLESS, REFUSED

    worst = [0.0, 0.0]
    with tempfile.TemporaryDirectory() as folder:
        for name, (content, _) in {**REFUSED, **HARMLESS}.items():
            small, hostile = Path(folder, "small"), Path(folder, "hostile")
            kind = name.split()[0]
            small.write_bytes(next((g.content for n, g in GOLDEN.items() if n.startswith(kind)), GOLDEN["PPM"].content))
            hostile.write_bytes(content)
            done = subprocess.run(
                [sys.executable, __file__, small, hostile], capture_output=True, text=True, check=True
            )
            milliseconds, mib, outcome = done.stdout.strip().split("\t")
            worst = [max(worst[0], float(milliseconds)), max(worst[1], float(mib))]
            print(f"{milliseconds:>7} ms {mib:>6} MiB {len(content):>10,} bytes  {name}: {outcome}")
    sys.exit(f"more than {MILLISECONDS} ms or {MIB} MiB" if worst[0] >= MILLISECONDS or worst[1] >= MIB else 0)


if __name__ == "__main__":
    one(*map(Path, sys.argv[1:])) if len(sys.argv) > 1 else main()
