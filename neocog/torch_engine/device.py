"""What torch computes on and with: device, precision, threads, and the random state it draws from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from ..errors import NeocogError
from ..network import Network

DTYPES = ("float32", "bfloat16")
SMALL_STEP_MACS = 100_000_000
"""Multiplications of a step below which it gets one thread."""


def pick_device(name: str) -> torch.device:
    """`auto` is the first CUDA GPU if torch can use one, else the CPU. Raises NeocogError."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = None
    if device is None or device.type not in ("cpu", "cuda"):
        raise NeocogError("this device is unknown", received=f"device={name}", hint="auto, cpu, cuda or cuda:1")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        found = f"torch finds {torch.cuda.device_count()} CUDA devices"
        raise NeocogError("this device is not there", received=f"device={name}; {found}", hint="device=cpu")
    return device


def check_dtype(dtype: str) -> None:
    """Raise NeocogError for one that the engine does not compute in."""
    if dtype not in DTYPES:
        raise NeocogError(f"dtype is one of {', '.join(DTYPES)}", received=f"dtype={dtype}")


def precision(dtype: str, device: torch.device) -> torch.autocast:
    """The context in which layers run in that precision; float32 changes nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=dtype == "bfloat16")


def pick_threads(network: Network, batch_size: int) -> int:
    """One thread for a step of little work, else as many as torch was given.

    Threads that share a small step spend it waiting for each other. Measured on LeNet-5 with mini-batches of 64 and
    two cores: a second thread makes an idle machine 1.5 times as fast, and one that runs other programs 10 times
    as slow.
    """
    small = network.plan().totals["macs"] * batch_size < SMALL_STEP_MACS
    return 1 if small else torch.get_num_threads()


@contextmanager
def threads(count: int) -> Iterator[None]:
    """Let torch use so many threads, and afterwards as many as before."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def seeded(device: torch.device, seed: int) -> Iterator[None]:
    """Let a device draw from a seed, then give it back the state it had.

    `torch.manual_seed` would seed every kind of device, and remembers each call for those not yet started.
    """
    on_gpu = device.type == "cuda"
    generator = torch.cuda.default_generators[device.index or 0] if on_gpu else torch.default_generator
    before = generator.get_state()
    generator.manual_seed(seed)
    try:
        yield
    finally:
        generator.set_state(before)
