"""neocog against other libraries: training, predicting many images and predicting one, all in one run.

    .venv/bin/python bench/speed.py [--networks lenet5-relu,resnet20] [--contenders native,torch] [--write]

Every contender is a process of its own. For each network and batch they take turns, back to back, `ROUNDS` times, and
the median of the rounds counts; a ratio is the median of the rounds' ratios. All do the same work: random images that
are in memory in the order that the library likes best, softmax cross-entropy (LeNet-5 as published: its own loss), SGD
with Nesterov momentum 0.9, all cores, and the loss or the scores back in Python. `make bench-env` installs the peers.

The limit is what a kernel of nothing but multiply-adds on registers reaches on all cores, measured between the rounds.
`--write` puts the tables and the chart into docs/performance.md. That takes some 25 minutes on a machine that does
nothing else, and the first time longer: torch.compile keeps what it compiled.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from math import inf
from statistics import median, quantiles
from typing import Any, Self

import torch
from chart import draw
from contenders import CONTENDERS, Contender, PeerError, Process
from networks import NETWORKS, nodes_of, operations
from page import DOCS, row, write

from neocog import Network
from neocog.losses import default_loss
from neocog.measure.calibration import calibration_question
from neocog.measure.clock import BUSY, watched
from neocog.measure.kept import machine_name
from neocog.measure.pace import pace_question, peak
from neocog.native.jit import machine
from neocog.native.trainer import pick_threads as native_threads
from neocog.resources import cores
from neocog.torch_engine.device import DTYPES
from neocog.torch_engine.device import pick_threads as torch_threads
from neocog.training.engine import choose_engine

ROUNDS = 3
CHART = DOCS / "images" / "speed.svg"
BASELINE, NATIVE = "torch", "native"
WARM = 3
"""Steps before the first that counts: until then a network that was just made takes its memory."""
SHARE_OF_MEMORY = 0.5
"""How much of the machine's memory all networks may fill together; beyond it each is dropped after its turn."""


@dataclass(frozen=True)
class Job:
    """One network with one batch, to be trained or predicted with. `slow`: those slow to make take part too."""

    name: str
    network: Network
    batch: int
    training: bool
    slow: bool = True

    def work(self) -> dict[str, Any]:
        """What a peer is told; the text is for ours."""
        nodes = nodes_of(self.network)
        return {"text": str(self.network), "nodes": nodes, "batch": self.batch, "training": self.training}

    def takes(self, contender: Contender) -> bool:
        return (contender.trains or not self.training) and (self.slow or not contender.slow)

    def calibrate(self) -> None:
        """Have what `auto` goes by at hand, so that it chooses as on a machine that was calibrated."""
        for dtype in DTYPES:
            torchs, natives = torch_threads(self.network, self.batch), native_threads(self.network, self.batch)
            calibration_question(dtype, torchs, "cpu").answer(report=tell)
            pace_question(dtype, natives).answer(report=tell)

    def auto(self) -> str:
        """The contender that neocog itself would choose for a long training."""
        settings = {"loss": default_loss(self.network).name, "batch_size": self.batch}
        choice = choose_engine("auto", self.network, "cpu", dtype="auto", steps=inf, **settings)
        chosen = {"engine": choice.make.name, "dtype": choice.dtype}
        return next(c.name for c in CONTENDERS if c.ours and c.settings == chosen)


@dataclass
class Result:
    """Images a second by contender, for each round, and what the machine could do and did meanwhile."""

    job: Job
    rounds: list[dict[str, float]] = field(default_factory=list)
    limits: list[float] = field(default_factory=list)
    others: list[float] = field(default_factory=list)

    def rate(self, name: str) -> float | None:
        """The median of the rounds; None for a contender without one in each."""
        found = [seen[name] for seen in self.rounds if name in seen]
        return median(found) if found and len(found) == len(self.rounds) else None

    def ratio(self, above: Iterable[Contender], below: Iterable[Contender]) -> float | None:
        """How much faster the fastest of some are than the fastest of others."""
        pair = [[c.name for c in side if self.rate(c.name)] for side in (above, below)]
        if not all(pair):
            return None
        return median(max(seen[a] for a in pair[0]) / max(seen[b] for b in pair[1]) for seen in self.rounds)

    def share(self) -> float | None:
        """Of the limit, by the native engine in float32."""
        native = self.rate(NATIVE)
        count = operations(self.job.network.plan(), training=self.job.training)
        return native * count / median(self.limits) if native else None


class Arena:
    """The contenders' processes, from start to end, with what went wrong for whom."""

    def __init__(self, contenders: Iterable[Contender], cores: int | None = None) -> None:
        self.cores = cores
        self.processes: dict[str, Process] = {}
        self.versions: dict[str, str] = {}
        self.missing: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
        for contender in contenders:
            self._start(contender)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes.values():
            process.close()

    def _start(self, contender: Contender) -> None:
        tell(f"starting {contender.name}")
        try:
            process = Process(contender, self.cores)
        except PeerError as error:
            self.missing["all", str(error)].append(contender.name)
            return
        self.processes[contender.name] = process
        self.versions |= process.versions

    def measure(self, job: Job, seconds: float, rounds: int = ROUNDS) -> Result:
        """Everyone's pace, in turns."""
        result, work = Result(job), job.work()
        names = [name for name, process in self.processes.items() if job.takes(process.contender)]
        together = fit_together(job, len(names))
        if together:
            names = [name for name in names if self._make(name, job, work)]
        for _ in range(rounds):
            result.rounds.append({})
            result.limits.append(peak(self.cores or cores()))
            for name in list(names):
                if (together or self._make(name, job, work)) and self._turn(name, job, seconds, result):
                    if not together:
                        self.processes[name].drop()
                else:
                    names.remove(name)
        if together:
            for name in names:
                self.processes[name].drop()
        return result

    def _make(self, name: str, job: Job, work: dict[str, Any]) -> bool:
        """Whether the contender has the network ready, with as many parameters as the plan counts."""
        planned = job.network.plan().totals["parameters"]
        tell(f"{job.name} {job.batch}: {name}")
        try:
            made = self.processes[name].make(**work)
            if made != planned:
                raise PeerError(f"made {made:,} parameters instead of {planned:,}")
            for _ in range(WARM):
                self.processes[name].run(0.0)
        except PeerError as error:
            self._failed(name, job, error)
            return False
        return True

    def _turn(self, name: str, job: Job, seconds: float, result: Result) -> bool:
        process = self.processes[name]
        try:
            with watched(process.pid) as load:
                result.rounds[-1][name] = process.run(seconds)
        except PeerError as error:
            self._failed(name, job, error)
            return False
        if load.others is not None:
            result.others.append(load.others)
        return True

    def _failed(self, name: str, job: Job, error: PeerError) -> None:
        """Note it, and begin with a fresh process."""
        self.missing[job.name, str(error)].append(name)
        process = self.processes[name]
        contender = process.contender
        if process.ended:
            process.close()
            del self.processes[name]
            self._start(contender)


def notes(arenas: Iterable[Arena]) -> Iterator[str]:
    """Who did not take part, where and why."""
    missing: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for arena in arenas:
        for key, names in arena.missing.items():
            missing[key] += names
    for (network, reason), names in missing.items():
        yield f"- {network}: {', '.join(dict.fromkeys(names))}: {reason}"


def fit_together(job: Job, count: int) -> bool:
    """Whether so many networks lie in memory beside each other."""
    plan = job.network.plan(batch=job.batch, optimizer="nesterov")
    needed = plan.memory["training_bytes" if job.training else "inference_bytes"]
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return count * needed < SHARE_OF_MEMORY * memory


def tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def jobs(names: Iterable[str], batches: Iterable[int], *, training: bool, one: bool = False) -> Iterator[Job]:
    """The jobs of a table: of those batches only, if any are given."""
    wanted = set(batches)
    for name in names:
        entry = NETWORKS[name]
        own = (1,) if one else entry.training if training else entry.predicting
        for batch in own:
            if not wanted or batch in wanted:
                yield Job(name, entry.network(), batch, training, slow=batch == own[-1] and not one)


def table(results: list[Result], contenders: list[Contender], *, one: bool = False) -> Iterator[str]:
    """A table in Markdown; of one image microseconds, else images a second."""
    if not results:
        return
    training = results[0].job.training
    shown = [c for c in contenders if any(r.rate(c.name) for r in results)]
    heads = ["network", *(() if one else ("batch",)), *(c.name for c in shown)]
    heads += ["ours / torch, float32", "best of ours / of peers", "share of the limit"]
    heads += ["auto", "auto / best of ours"] * training + ["cores used by others"]
    yield row(heads)
    yield row(["---", *("---:" for _ in heads[1:])])
    for result in results:
        job = result.job
        cells = [job.name, *(() if one else (str(job.batch),))]
        cells += [speed(result.rate(c.name), one) for c in shown]
        ours = [c for c in contenders if c.ours]
        peers = [c for c in contenders if not c.ours]
        cells.append(number(result.ratio(*([c for c in side if c.single] for side in (ours, peers)))))
        cells.append(number(result.ratio(ours, peers)))
        cells.append(number(result.share(), "{:.0%}"))
        if training:
            auto = job.auto()
            cells += [auto, number(result.ratio([c for c in ours if c.name == auto], ours))]
        cells.append(number(median(result.others) if result.others else None, "{:.1f}"))
        yield row(cells)


def number(value: float | None, form: str = "{:.2f}") -> str:
    return "-" if value is None else form.format(value)


def speed(rate: float | None, one: bool) -> str:
    value = 1e6 / rate if rate and one else rate
    return number(value, "{:,.1f}" if value and value < 100 else "{:,.0f}")


def about(versions: dict[str, str], results: list[Result]) -> Iterator[str]:
    """The machine, the versions, the limit, and how quiet it was."""
    names = ", ".join(f"{name} {version}" for name, version in versions.items())
    yield f"{machine_name(torch.device('cpu'))}, {platform.system()}, Python {platform.python_version()}, {names}."
    limits = [limit for result in results if result.job.training for limit in result.limits]
    if limits:
        lanes = machine().lanes
        yield f"The limit was {median(limits) / 1e9:.0f} GFLOP/s on {cores()} cores, {lanes} numbers in a vector."
    others = [load for result in results for load in result.others]
    if len(others) > 1:
        middle, most = median(others), quantiles(others, n=10)[-1]
        warning = " These figures mean little." if middle > BUSY else ""
        yield f"Other programs used {middle:.1f} cores (median; {most:.1f} or more in every tenth turn).{warning}"


def chosen(text: str, known: Iterable[str], what: str) -> list[str]:
    """Names joined by commas, in the order in which they are known; all for an empty text."""
    wanted, known = [name for name in text.split(",") if name], list(known)
    if strange := [name for name in wanted if name not in known]:
        sys.exit(f"no such {what}: {', '.join(strange)}; there are {', '.join(known)}")
    return [name for name in known if name in wanted or not wanted]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--networks", default="", help="names, joined by commas (default: all)")
    parser.add_argument("--batches", default="", help="numbers, joined by commas, of those that a network has")
    parser.add_argument("--contenders", default="", help="names, joined by commas (default: all)")
    parser.add_argument("--seconds", type=float, default=0.25, help="how long each contender runs in each round")
    parser.add_argument("--write", action="store_true", help="put the tables and the chart into docs/performance.md")
    args = parser.parse_args()
    networks = chosen(args.networks, NETWORKS, "network")
    names = chosen(args.contenders, [c.name for c in CONTENDERS], "contender")
    contenders = [c for c in CONTENDERS if c.name in names]
    batches = [int(number) for number in args.batches.split(",") if number]

    lines: list[str] = []
    every: list[Result] = []

    def section(title: str, arena: Arena, **kind: bool) -> list[Result]:
        results = [arena.measure(job, args.seconds) for job in jobs(networks, batches, **kind)]
        made = ["", f"### {title}", "", *table(results, contenders, one=kind.get("one", False))]
        print("\n".join(made), flush=True)
        lines.extend(made)
        every.extend(results)
        return results

    for job in jobs(networks, batches, training=True):
        job.calibrate()
    with Arena(contenders) as arena:
        trained = section("Training, images a second", arena, training=True)
        section("Predicting, images a second", arena, training=False)
    with Arena([c for c in contenders if not c.slow], cores=1) as alone:
        section("Predicting one image on one core, microseconds", alone, training=False, one=True)

    head = [*about(arena.versions, every), "", f"![Training beside plain torch]({CHART.parent.name}/{CHART.name})"]
    tail = ["", "Not taking part:", "", *notes([arena, alone])]
    print("\n".join([*tail, "", *head]))
    if args.write:
        write("bench/speed.py", [*head, *lines, *tail])
        largest = {result.job.name: result for result in trained}
        CHART.write_text(draw(speedups(largest, names)), encoding="utf-8")


def speedups(results: dict[str, Result], names: Iterable[str]) -> dict[str, dict[str, float]]:
    """By network and contender: how much faster than plain torch."""
    found: dict[str, dict[str, float]] = {}
    for network, result in results.items():
        if base := result.rate(BASELINE):
            found[network] = {name: rate / base for name in names if (rate := result.rate(name))}
    return found


if __name__ == "__main__":
    main()
