"""Layers that a rewrite passes by, since they do the same to every value."""

from __future__ import annotations

EACH_VALUE = frozenset({"RELU", "LRELU", "SIGMOID", "TANH", "SCALEDTANH", "GELU", "SILU", "DROPOUT", "ID"})
"""One function of each value alone, at prediction: whatever the volume's shape, and whichever map a value is in."""
