"""Network -> Plan: every size and cost, from arithmetic on whole numbers alone."""

from __future__ import annotations

from .difference import Difference, difference
from .family import FamilyPlan, plan_family
from .plan import Plan, PlanError, Row, plan

__all__ = ["Difference", "FamilyPlan", "Plan", "PlanError", "Row", "difference", "plan", "plan_family"]
