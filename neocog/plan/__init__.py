"""Network -> Plan: every size and cost, from arithmetic on whole numbers alone."""

from __future__ import annotations

from .plan import Plan, PlanError, Row, plan

__all__ = ["Plan", "PlanError", "Row", "plan"]
