"""Estimates, tests and change points over plain numbers, independent of benchmarks."""

from evenbench.harness.statistics.estimates import Estimate, level, process_values

__all__ = ["Estimate", "level", "process_values"]
