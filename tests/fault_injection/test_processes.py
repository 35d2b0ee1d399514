"""Whatever a backend's process does, its cell gets one outcome, and no other cell notices."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from evenbench.harness.core.import_path import shared_path
from evenbench.harness.environment import system_info
from evenbench.harness.runner import job as runner_job
from evenbench.harness.runner import launcher
from tests.fault_injection.conftest import QUICK, TINY, Measure, Register, cells, pids

SHORT = replace(QUICK, timeout_seconds=2.0)

FAULTS = [
    # class, phase, signal, in the reason, in the traceback
    ("Segfault", "first_step", "SIGSEGV", "ended by SIGSEGV", "Segmentation fault"),
    ("SegfaultInPrepare", "prepare", "SIGSEGV", "ended by SIGSEGV", "Segmentation fault"),
    ("Abort", "first_step", "SIGABRT", "ended by SIGABRT", "Aborted"),
    (
        "OutOfMemory",
        "first_step",
        "SIGKILL",
        "the kernel kills processes in this way when memory runs out",
        "",
    ),
    ("ExitSilently", "first_step", "", "exited with code 0 without a reply", ""),
    ("SystemExits", "first_step", "", "sys.exit(3) was called in measure", "SystemExit"),
    ("RaiseInPrepare", "prepare", "", "RuntimeError: prepare went wrong", "broken.py"),
    ("RaiseInLoad", "load", "", "RuntimeError: load went wrong", "broken.py"),
    ("RaiseInFirstStep", "first_step", "", "RuntimeError: first_step went wrong", "broken.py"),
    ("RaiseInWarmUp", "warm_up", "", "RuntimeError: warm_up went wrong", "broken.py"),
    ("RaiseInSample", "sample", "", "RuntimeError: sample went wrong", "broken.py"),
    ("FloodThenSegfault", "first_step", "SIGSEGV", "ended by SIGSEGV", "Segmentation fault"),
    ("ForkThenSegfault", "first_step", "SIGSEGV", "ended by SIGSEGV", "Segmentation fault"),
    ("RealTimeSignal", "first_step", "signal 40", "ended by signal 40", ""),
    ("WritesOnPipes", "first_step", "", "wrote b'no message' into the pipe for replies", ""),
    ("WritesNumbers", "first_step", "", "wrote b'5' into the pipe", ""),
    ("WritesAnswers", "first_step", "", "which is no message of evenbench", ""),
    ("RaisesCommands", "first_step", "", "]0;owned\ufffd\ufffd[31mred\n: :error::", "\n# #[error]"),
    ("UnprintableError", "first_step", "", "no UTF-8", "x" * 2000),
]


@pytest.mark.parametrize(
    ("name", "phase", "signal", "reason", "traceback"), FAULTS, ids=[fault[0] for fault in FAULTS]
)
def test_a_fault_is_one_failed_outcome_and_the_others_go_on(
    name: str,
    phase: str,
    signal: str,
    reason: str,
    traceback: str,
    register: Register,
    measure: Measure,
) -> None:
    register("Fine", name)
    begin = time.monotonic()
    lines = measure(cells("fine", name.lower(), "fine"))
    assert time.monotonic() - begin < QUICK.timeout_seconds, (
        "a dead process was waited for until the timeout"
    )
    assert sorted(line["cell"]["backend"] for line in lines) == sorted(
        ["fine", "fine", name.lower()]
    )
    assert [line["outcome"] for line in lines if line["cell"]["backend"] == "fine"] == ["ok", "ok"]
    (failed,) = [line for line in lines if line["cell"]["backend"] == name.lower()]
    assert (failed["outcome"], failed["phase"], failed["signal"]) == ("failed", phase, signal)
    assert reason in failed["reason"]
    assert traceback in failed["traceback"]
    assert failed["samples_ns"] == {}


def test_parity_phase_failure_is_booked_there(register: Register, measure: Measure) -> None:
    register("RaiseInParity")
    model = replace(TINY, evaluation="tests.fault_injection.test_processes:held_out")
    (line,) = measure(cells("raiseinparity", model=model))
    assert (line["outcome"], line["phase"]) == ("failed", "parity")
    assert "parity went wrong" in line["reason"]


def held_out():
    import numpy as np

    return np.zeros((3, 4), np.float32), np.zeros(3, np.int64)


@pytest.mark.parametrize(("name", "phase"), [("Hang", "first_step"), ("HangInPrepare", "prepare")])
def test_a_hang_ends_at_the_timeout(
    name: str, phase: str, register: Register, measure: Measure
) -> None:
    register(name, "Fine")
    begin = time.monotonic()
    hung, fine = sorted(
        measure(cells(name.lower(), "fine"), plan=SHORT), key=lambda line: line["outcome"]
    )
    assert time.monotonic() - begin < 12
    assert (hung["outcome"], hung["phase"], hung["signal"]) == ("failed", phase, "SIGKILL")
    assert "within 2 s" in hung["reason"]
    assert "--timeout" in hung["reason"]
    assert fine["outcome"] == "ok"


def test_a_flood_of_output_neither_blocks_nor_counts_as_a_failure(
    register: Register, measure: Measure
) -> None:
    register("Flood")
    (line,) = measure(cells("flood"))
    assert line["outcome"] == "ok"


@pytest.mark.parametrize("name", ["ChildLeftBehind", "ForkThenSegfault"])
def test_no_child_outlives_its_cell(
    name: str, tmp_path: Path, register: Register, measure: Measure
) -> None:
    register(name)
    measure(cells(name.lower()))
    (child,) = pids(tmp_path)
    assert _gone(child), f"process {child} is still there"


def _gone(pid: int) -> bool:
    """Whether the process ended; one that only waits to be reaped has."""
    for _ in range(50):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.1)
    return False


def test_a_failed_prepare_leaves_no_cache_entry(
    tmp_path: Path, register: Register, measure: Measure
) -> None:
    register("SegfaultInPrepare")
    measure(cells("segfaultinprepare"))
    assert list((tmp_path / "cache" / "artifacts").iterdir()) == []


def test_the_parent_sleeps_while_a_child_is_timed(register: Register) -> None:
    register("Polite")
    (entry,) = cells("polite")
    folder = os.environ["EVENBENCH_TEST_NOTES"] + ".folder"
    job = runner_job.Job(
        "prepare", entry.cell, folder=folder, folders={"inputs": folder}, sys_path=shared_path()
    )
    before, begin = time.process_time(), time.monotonic()
    reply = launcher.run(job, system_info.for_worker(1, {}), 30)
    used, wall = time.process_time() - before, time.monotonic() - begin
    assert reply.outcome == "ok", reply
    assert wall > 3
    assert used < 0.01 * wall, f"the parent used {used / wall:.1%} of a core"
