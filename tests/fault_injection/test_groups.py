"""Faults while several members of a group are resident and stopped."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from evenbench.harness.results.interleaving import sweeps_of
from tests.fault_injection.conftest import QUICK, Measure, Register, cells, pids
from tests.fault_injection.test_processes import _gone

CASE = """
from harness import BATCH, Case, Model, TensorSpec
from tests.fault_injection.six_cells import TINY

pair = Case(models=(TINY,), backends=("steady", "steadier"))
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_killed_parent_leaves_no_stopped_process(how: signal.Signals, tmp_path: Path) -> None:
    bench = tmp_path / "bench_pair.py"
    bench.write_text(CASE)
    (tmp_path / "notes").touch()
    broken = "tests.fault_injection.broken"
    variables = {
        **os.environ,
        "EVENBENCH_BACKENDS": f"steady={broken}:Steady,steadier={broken}:Steadier",
    }
    command = [
        sys.executable,
        "-m",
        "evenbench.harness.cli",
        "run",
        str(bench),
        "--plan",
        "thorough",
    ]
    process = subprocess.Popen([*command, "--results", str(tmp_path / "results")], env=variables)
    until = time.monotonic() + 40
    while len(pids(tmp_path)) < 2 and time.monotonic() < until:
        time.sleep(0.05)
    time.sleep(1.0)  # well into the rounds: one of the two is stopped
    states = [_state(child) for child in pids(tmp_path)]
    assert "T" in states, f"nobody was stopped: {states}"
    process.send_signal(how)
    process.wait(timeout=20)
    assert len(pids(tmp_path)) == 2
    for child in pids(tmp_path):
        assert _gone(child), f"process {child} is still there"


def _state(child: int) -> str:
    return Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()[0]


def test_a_member_that_crashes_in_its_rounds_leaves_the_others_valid(
    tmp_path: Path, register: Register, measure: Measure
) -> None:
    register("Steady", "Steadier", "DiesInThirdTurn")
    # Ten rounds at least, however long a lap takes on a busy machine.
    rounds = replace(QUICK, min_samples=40, max_seconds=5.0)
    lines = measure(cells("steady", "steadier", "diesinthirdturn"), rounds)
    by_name = {line["cell"]["backend"]: line for line in lines}
    failed = by_name["diesinthirdturn"]
    assert (failed["outcome"], failed["phase"], failed["signal"]) == ("failed", "sample", "SIGSEGV")
    first, second = (sweeps_of(by_name[name], "compute") for name in ("steady", "steadier"))
    assert by_name["steady"]["outcome"] == by_name["steadier"]["outcome"] == "ok"
    common = set(first["0"]) & set(second["0"])
    assert len(common) > 3, "the rounds after the crash are missing"
    for child in pids(tmp_path):
        assert _gone(child)


def test_a_member_that_hangs_in_its_rounds_ends_at_the_timeout(
    tmp_path: Path, register: Register, measure: Measure
) -> None:
    register("Steady", "HangsInSecondTurn")
    lines = measure(cells("steady", "hangsinsecondturn"), replace(QUICK, timeout_seconds=4.0))
    outcomes = {line["cell"]["backend"]: (line["outcome"], line["phase"]) for line in lines}
    assert outcomes == {"steady": ("ok", ""), "hangsinsecondturn": ("failed", "sample")}
    assert all(_gone(child) for child in pids(tmp_path))
