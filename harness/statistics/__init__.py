"""Estimates, tests and change points over plain numbers. Knows nothing of benchmarks."""

from harness.statistics.estimates import Estimate, level, process_values

__all__ = ["Estimate", "level", "process_values"]
