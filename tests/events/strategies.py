"""Hypothesis strategies for BSON documents: every type, the awkward keys, the values that compare oddly."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Speed is measured in tests/benchmarks, never asserted: a loaded machine must not fail a property.
UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
