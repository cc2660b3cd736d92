"""Who trains LeNet fastest on this CPU? Prints medians and ratios; `make bench` runs it.

Every contender is a process of its own and they take turns, so what else the machine does hits all of them. Only the
ratios of one run mean anything.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
OURS, PEERS = HERE.parent / ".venv/bin/python", HERE.parent / ".bench-venv/bin/python"
PYTHONS = {"neocog": OURS, "torch": OURS, "keras": PEERS}
BATCHES, ROUNDS, SECONDS = (64, 512), 5, 3


def measure(name: str, batch: int) -> float:
    command = [PYTHONS[name], HERE / "contenders.py", name, batch, SECONDS]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stderr}")
    return float(done.stdout.split()[-1])


def main() -> None:
    print(f"training lenet5-relu, images a second: median of {ROUNDS} rounds (slowest to fastest), each {SECONDS} s")
    for batch in BATCHES:
        rounds = [{name: measure(name, batch) for name in PYTHONS} for _ in range(ROUNDS)]
        print(f"\nbatch {batch}")
        for name in PYTHONS:
            found = [seen[name] for seen in rounds]
            ratio = median(seen["neocog"] / seen[name] for seen in rounds)
            spread = f"({min(found):,.0f} to {max(found):,.0f})"
            print(f"  {name:<8}{median(found):>9,.0f} {spread:<22}  neocog / {name} = {ratio:.2f}")


if __name__ == "__main__":
    main()
