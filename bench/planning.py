"""How long does planning take? Prints seconds of processor time: every text of the zoo, a family, a comparison.

The product promises less than a second for any network of the zoo.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from time import process_time

from neocog import zoo
from neocog.notation import Family
from neocog.plan import difference, plan_family
from neocog.zoo import names, text

PROMISED = 1.0
SLOWEST = 8


def seconds(work: Callable[[], object]) -> float:
    start = process_time()
    work()
    return process_time() - start


def main() -> None:
    zoo("lenet5").plan()  # makes the grammar, once for a process
    times = {name: seconds(lambda name=name: zoo(name).plan().as_dict()) for name in names()}
    for name in sorted(times, key=times.__getitem__, reverse=True)[:SLOWEST]:
        print(f"{times[name]:6.3f} s  {name}")
    print(f"{sum(times.values()):6.3f} s  all {len(times)} networks of the zoo")
    family = Family.parse(text("pattern"), N=range(1, 6), M=range(1, 6), K=range(4), width=range(4, 44, 4))
    print(f"{seconds(lambda: plan_family(family)):6.3f} s  the {len(family):,} members of a family")
    deep, other = zoo("resnet1202").plan(), zoo("preact-resnet1001").plan()
    print(f"{seconds(lambda: difference(deep, other)):6.3f} s  resnet1202 compared with preact-resnet1001")
    sys.exit(f"slower than {PROMISED:g} s" if max(times.values()) >= PROMISED else 0)


if __name__ == "__main__":
    main()
