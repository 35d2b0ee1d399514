"""However a tuner ends, its cell has an outcome in words, its trials stay, and the same command
goes on.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from evenbench.harness import UsageError
from evenbench.harness.core import registry
from evenbench.harness.environment import measurement_lock
from evenbench.harness.runner import tuning
from tests.fault_injection.conftest import Register, cells, pids

ALL = ("Tuner", "Aborts", "Hangs", "Raises", "Interrupts", "Refuses")
ROWS = ",".join(f"{name.lower()}=tests.fault_injection.tuners:{name}" for name in ALL)


def tuned(
    name: str, register: Register, per_task: int = 2, timeout: float = 20.0
) -> dict[str, Any]:
    register(rows=ROWS)
    (result,) = tuning.run(
        tuning.cells_of(cells(name)), per_task, timeout, Console(file=io.StringIO())
    )
    return result


def test_trials_are_counted_and_recorded_ones_count(register: Register) -> None:
    first = tuned("tuner", register)
    assert (first["outcome"], first["before"], first["trials"]) == ("ok", 0, 6)
    assert tuning.summary(first).endswith(
        "6 trials, 6 of them new, 1 s of tuning in all, estimated 9 µs at 3 trials and 5 µs now"
    )
    again, more = tuned("tuner", register), tuned("tuner", register, per_task=3)
    assert [(each["before"], each["trials"]) for each in (again, more)] == [(6, 6), (6, 9)]


@pytest.mark.parametrize(
    ("name", "signal", "reason"),
    [
        ("aborts", "SIGABRT", "tune was ended by SIGABRT"),
        ("raises", "", "RuntimeError: no schedule was found"),
    ],
)
def test_a_crash_is_an_outcome_and_what_is_recorded_stays(
    name: str, signal: str, reason: str, register: Register
) -> None:
    result = tuned(name, register)
    assert (result["outcome"], result["phase"], result["signal"], result["trials"]) == (
        "failed",
        "prepare",
        signal,
        4,
    )
    assert result["reason"] == reason
    assert f"failed in prepare: {reason}; recorded trials are kept" in tuning.summary(result)
    assert tuned(name, register)["before"] == 4


def test_a_hang_is_killed_with_all_that_it_started(register: Register, tmp_path: Path) -> None:
    begin = time.monotonic()
    result = tuned("hangs", register, timeout=3.0)
    assert time.monotonic() - begin < 15
    assert (result["outcome"], result["signal"], result["trials"]) == ("failed", "SIGKILL", 4)
    assert "did not reply within 3 s and was killed" in result["reason"]
    (child,) = pids(tmp_path)
    deadline = time.monotonic() + 10  # killed is not gone yet on a busy machine
    while (
        Path(f"/proc/{child}").exists()
        and "Z" not in Path(f"/proc/{child}/stat").read_text().split()[2]
    ):
        assert time.monotonic() < deadline, f"{child} outlived its tuner"
        time.sleep(0.05)


def test_what_cannot_run_says_why_and_is_no_failure(register: Register) -> None:
    result = tuned("refuses", register)
    assert (result["outcome"], result["reason"]) == ("unsupported", "refuses everything")
    assert "resumes" not in tuning.summary(result)


def test_more_trials_are_another_artifact(register: Register) -> None:
    register(rows=ROWS)
    (cell,) = tuning.cells_of(cells("tuner"))
    before = registry.find("tuner").artifact_key(cell)
    tuned("tuner", register)
    assert registry.find("tuner").artifact_key(cell) != before


def test_what_has_nothing_to_tune_is_told_with_what_has(register: Register) -> None:
    register("Fine", rows=ROWS)
    with pytest.raises(
        UsageError, match=r"nothing to tune among cells of fine; name cells of .*tuner"
    ):
        tuning.cells_of(cells("fine"))


def test_no_trial_at_all_is_refused(register: Register) -> None:
    with pytest.raises(UsageError, match="--trials 0: expected one or more"):
        tuned("tuner", register, per_task=0)


def test_nothing_is_tuned_beside_a_measurement(register: Register) -> None:
    with measurement_lock.alone(), pytest.raises(UsageError, match="is measuring on this machine"):
        tuned("tuner", register)


BENCH = """
from harness import Case
from tests.fault_injection.conftest import TINY
tuned = Case((TINY,), backends=({backends}))
"""


def command(tmp_path: Path, register: Register, *backends: str) -> subprocess.CompletedProcess[str]:
    """`evenbench tune` in a process of its own."""
    register(rows=ROWS)
    file = tmp_path / "bench_tuned.py"
    file.write_text(BENCH.format(backends=", ".join(map(repr, backends)) + ","))
    asked = [
        sys.executable,
        "-m",
        "evenbench.harness.cli",
        "tune",
        str(file),
        "--trials",
        "2",
        "--json",
    ]
    return subprocess.run(asked, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_tells_failures_by_its_exit_code(tmp_path: Path, register: Register) -> None:
    good = command(tmp_path, register, "tuner", "refuses")
    assert (good.returncode, [each["outcome"] for each in json.loads(good.stdout)]) == (
        0,
        ["ok", "unsupported"],
    ), good.stderr
    bad = command(tmp_path, register, "aborts", "tuner")
    assert (bad.returncode, [each["outcome"] for each in json.loads(bad.stdout)]) == (
        1,
        ["failed", "ok"],
    ), bad.stderr


def test_an_interrupted_command_says_so_and_keeps_the_trials(
    tmp_path: Path, register: Register
) -> None:
    stopped = command(tmp_path, register, "interrupts")
    assert stopped.returncode == 130
    assert "interrupted" in stopped.stderr
    (kept,) = (tmp_path / "cache" / "tuning" / "interrupts").iterdir()
    assert len(kept.read_text().splitlines()) == 4
