"""Network -> a plain `torch.nn.Module`, for any device and anyone's training loop."""

from __future__ import annotations

from .module import NetworkModule, build, read_weights, write_weights

__all__ = ["NetworkModule", "build", "read_weights", "write_weights"]
