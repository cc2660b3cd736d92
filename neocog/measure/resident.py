"""The program of the measuring process: a job on standard input, what it took on standard output, both JSON.

1. Tell malloc to give freed memory back, so that what is resident is what is alive (`returning`).
2. Train and predict with a tiny network, so that libraries are loaded and their buffers exist.
3. Note the resident memory; build the engine and the batch; read and reset the kernel's record of the most that was
   resident.
4. Run three steps: from the second on the optimizer's state exists. Read that record; the difference is the answer.
5. With torch run one more under its profiler, which sees each array come and go, to say how much of it was arrays.

Source of the record: VmHWM of /proc/self/status, reset through /proc/self/clear_refs (proc(5)). Elsewhere getrusage's
maximum stands in, which cannot be reset.
"""

from __future__ import annotations

import gc
import json
import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..initialise import initialise
from ..losses import default_loss
from ..native.footprint import known
from ..native.trainer import NativeTrainer
from ..network import Network
from ..resources import give_back_freed
from ..torch_engine.allocator import return_freed_memory
from ..torch_engine.trainer import TorchTrainer

TINY = "INPUT[64x64x3] -> CONV3-32 -> BN -> RELU -> POOL2 -> CONV3-32 -> RELU -> FC512 -> RELU -> FC10"
STEPS = 3
Step = Callable[[], Any]


def main() -> None:
    """Do the job on standard input."""
    job = json.load(sys.stdin)
    if job.pop("returning"):
        return_freed_memory()
    network = Network.parse(job.pop("network"))
    training = job.pop("training")
    step, owned = _work(Network.parse(TINY), training, **job | {"batch": 16})

    def made() -> Step:
        nonlocal step, owned
        step, owned = _work(network, training, **job)
        return step

    peak, building = taken(step, made)
    allocated = owned() + _most_allocated(step) if job["engine"] == "torch" else 0
    json.dump({"peak": peak, "allocated": allocated, "building": building}, sys.stdout)


def taken(tiny: Step, made: Callable[[], Step]) -> tuple[int, int]:
    """The most bytes that are resident on top of what another step has left: while one is run, and while it is made."""
    _repeat(tiny)
    _settle()
    before = _resident("VmRSS")
    _forget_the_most()
    step = made()
    building = _resident("VmHWM") - before
    _settle()
    _forget_the_most()
    _repeat(step)
    return _resident("VmHWM") - before, building


def _work(
    network: Network,
    training: bool,
    batch: int,
    dtype: str,
    optimizer: str,
    engine: str = "torch",
    cuts: Sequence[int] = (),
) -> tuple[Step, Callable[[], int]]:
    """What to run over and over, and how many bytes of arrays outlast it, where torch runs it."""
    weights = initialise(network)
    loss = default_loss(network).name
    given: dict[str, Any] = {"loss": loss, "optimizer": known(optimizer), "batch_size": batch, "device": "cpu"}
    trainer: TorchTrainer | NativeTrainer = (
        NativeTrainer(network, weights, dtype=dtype, **given)
        if engine == "native"
        else TorchTrainer(network, weights, dtype=dtype, cuts=cuts, **given)
    )
    rng, source = np.random.default_rng(0), network.input_shape
    x = rng.standard_normal((batch, source.channels, *source.spatial), np.float32)
    labels = rng.integers(0, network.shapes[-1].channels, batch)

    def owned() -> int:
        assert isinstance(trainer, TorchTrainer)  # noqa: S101
        arrays = sum(tensor.numel() * tensor.element_size() for tensor in _tensors(trainer, training))
        return arrays + x.nbytes + (labels.nbytes if training else 0)

    return (lambda: trainer.step(x, labels, 1e-6)) if training else (lambda: trainer.scores(x)), owned


def _tensors(trainer: TorchTrainer, training: bool) -> Iterator[Tensor]:
    own = [*trainer.module.parameters(), *trainer.module.buffers()]
    yield from own
    places = {tensor.data_ptr() for tensor in own}
    ready = [] if training else trainer.predicting.buffers()
    yield from (made for made in ready if made.is_mkldnn or made.data_ptr() not in places)
    for state in trainer.optimizer.state.values():
        yield from (value for value in state.values() if isinstance(value, Tensor))


def _repeat(step: Step) -> None:
    for _ in range(STEPS):
        step()


def _most_allocated(step: Step) -> int:
    """The most bytes that torch's allocator had given out at once during a step, beyond those before it."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        step()
    events = profile.profiler.kineto_results.events()
    changes = sorted((event.start_ns(), event.nbytes()) for event in events if event.name() == "[memory]")
    return int(max(np.cumsum([size for _, size in changes]), default=0))


def _settle() -> None:
    gc.collect()
    give_back_freed()


def _resident(record: str) -> int:
    """Bytes from the kernel: VmRSS is what is resident now, VmHWM the most that was."""
    status = Path("/proc/self/status")
    if status.exists():
        lines = dict(line.split(":", 1) for line in status.read_text(encoding="ascii").splitlines())
        return 1024 * int(lines[record].split()[0])
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _forget_the_most() -> None:
    record = Path("/proc/self/clear_refs")
    if record.exists():
        record.write_text("5", encoding="ascii")


if __name__ == "__main__":
    main()
