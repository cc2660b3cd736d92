"""Network -> a plain `torch.nn.Module`, for any device and anyone's training loop."""

from __future__ import annotations

from .inference import InferenceModule
from .module import NetworkModule, build, read_weights, write_weights

__all__ = ["InferenceModule", "NetworkModule", "build", "read_weights", "write_weights"]
