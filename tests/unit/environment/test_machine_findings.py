"""Findings on a machine: a disturbance is named with advice, anything fine without."""

from __future__ import annotations

import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from evenbench.harness.core import thresholds
from evenbench.harness.environment import machine_findings


@pytest.mark.parametrize(
    ("finding", "severity"),
    [
        (machine_findings._governor("performance"), "fine"),
        (machine_findings._governor("powersave"), "warning"),
        (machine_findings._governor(""), "fine"),
        (machine_findings._turbo("0", ""), "note"),
        (machine_findings._turbo("1", ""), "fine"),
        (machine_findings._turbo("", "1"), "note"),
        (machine_findings._turbo("", "0"), "fine"),
        (machine_findings._smt("1"), "note"),
        (machine_findings._smt("0"), "fine"),
        (machine_findings._steal(0.02, cores=2), "warning"),
        (machine_findings._steal(0.0, cores=2), "fine"),
        (machine_findings._steal(None, cores=2), "fine"),
        (machine_findings._quota(1.5), "warning"),
        (machine_findings._quota(0.0), "fine"),
    ],
)
def test_a_finding_has_advice_exactly_where_something_disturbs(
    finding: machine_findings.Finding, severity: str
) -> None:
    assert finding.severity == severity
    assert bool(finding.advice) == (severity != "fine")


def test_load_and_pressure() -> None:
    busy = list(
        machine_findings._pressure({"load_average": 3.0, "cpu_pressure_percent": 12.0}, cores=2)
    )
    idle = list(
        machine_findings._pressure({"load_average": 0.1, "cpu_pressure_percent": None}, cores=2)
    )
    assert [finding.severity for finding in busy] == ["warning", "warning"]
    assert [finding.severity for finding in idle] == ["fine"]


@pytest.mark.parametrize("cores", [1, 4, 64])
def test_steal_is_judged_in_cores_as_a_run_is(cores: int) -> None:
    """The mean over all cores hides a core's loss on a large machine."""
    limit = thresholds.STEAL_CORES / cores
    assert machine_findings._steal(0.9 * limit, cores).severity == "fine"
    assert machine_findings._steal(1.1 * limit, cores).severity == "warning"


def test_pressure_has_the_limit_of_a_run() -> None:
    def severity(percent: float) -> str:
        load = {"load_average": 0.0, "cpu_pressure_percent": percent}
        return list(machine_findings._pressure(load, cores=2))[1].severity

    assert severity(thresholds.PRESSURE_PERCENT) == "fine"
    assert severity(thresholds.PRESSURE_PERCENT + 0.1) == "warning"


def test_memory_and_swap(monkeypatch: pytest.MonkeyPatch) -> None:
    gib = 2**30
    total = SimpleNamespace(total=8 * gib, available=gib)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: total)
    monkeypatch.setattr(psutil, "swap_memory", lambda: SimpleNamespace(used=gib))
    assert [finding.severity for finding in machine_findings._memory()] == ["warning", "note"]


def test_a_busy_process_is_named() -> None:
    burning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        assert f"pid {burning.pid}" in machine_findings._busy().seen
    finally:
        burning.kill()
        burning.wait()
