"""The page that a training run leaves behind: one HTML file that needs nothing else."""

from __future__ import annotations

from .page import write_report as write_report

__all__ = ["write_report"]
