"""Advice in warnings about a measurement: the flag or setting that resolves an observation."""

from __future__ import annotations

from evenbench.harness.core.plans import PLANS, PRECISE_PROCESSES
from evenbench.harness.core.records.outcome import OutcomeRecord

THOROUGH = PLANS["thorough"]
"""The largest plan."""


def _plan(line: OutcomeRecord) -> str:
    run = line.get("run")
    return run["plan"] if run else ""


def larger(line: OutcomeRecord, gain: str, otherwise: str) -> str:
    """The advice to use the largest plan for its `gain`, or `otherwise` after that plan."""
    return otherwise if _plan(line) == THOROUGH.name else f"use --plan {THOROUGH.name}: {gain}"


def more_processes(line: OutcomeRecord, otherwise: str) -> str:
    """The advice to take more processes, or `otherwise` after the largest plan."""
    if len(line.get("process_seconds") or ()) >= PRECISE_PROCESSES or _plan(line) == THOROUGH.name:
        return larger(line, f"up to {THOROUGH.process_limit} processes", otherwise)
    half_width = PLANS["default"].half_width
    return f"use --half-width {half_width:.0%}: up to {PRECISE_PROCESSES} processes"


def steadier(line: OutcomeRecord) -> str:
    """Advice for steady clocks, unless the kernel reports that the remedy is in use."""
    cell, environment = line.get("cell"), line.get("environment")
    if cell and cell.get("device", "").startswith("cuda"):
        return "lock the GPU's clocks to a speed without throttling (nvidia-smi -lgc)"
    if environment and environment.get("governor") not in (None, "", "performance"):
        governor = environment["governor"]
        return f"the governor is {governor}: sudo cpupower frequency-set -g performance"
    if environment and environment.get("turbo_off") == "0":
        return "turbo is on: echo 1 | sudo tee /sys/devices/system/cpu/intel_pstate/no_turbo"
    return "run `evenbench doctor` for a quieter machine"
