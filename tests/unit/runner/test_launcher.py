"""Real worker processes: a reply for every task, and a reason with a log tail for every failure."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from evenbench.harness import Cell, Session, Unavailable, Unsupported
from evenbench.harness.core import registry
from evenbench.harness.core.errors import StoreError, UsageError
from evenbench.harness.core.import_path import shared_path
from evenbench.harness.core.session import ProgramEnded
from evenbench.harness.environment import system_info
from evenbench.harness.runner import job as runner_job
from evenbench.harness.runner import launcher
from evenbench.harness.runner.job import Job, Measurement, Reply
from tests.unit.builders import ROWS, Product, cell, plan, product, register

HERE = "tests.unit.runner.test_launcher"
NOTE = "EVENBENCH_TEST_NOTE"


def run(task: Any, cell: Cell, timeout_seconds: float = 30.0, **more: Any) -> Reply:
    variables = system_info.for_worker(1, {})
    return launcher.run(Job(task, cell, sys_path=shared_path(), **more), variables, timeout_seconds)


class Troubled(Product):
    """A backend with trouble in `prepare`, chosen by the cell's flag."""

    name = "troubled"

    def prepare(self, source: Any, cell: Cell, folder: Path) -> Any:
        return TROUBLES[cell.option["flag"]]()


def _talk_and_abort() -> None:
    print("x" * 10_000)
    print("the last words", flush=True)
    os.abort()


def _leave_a_child() -> dict[str, int]:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    return {"child": child.pid}


def _hang_with_a_child() -> None:
    Path(os.environ[NOTE]).write_text(str(_leave_a_child()["child"]))
    print("waiting for nothing", flush=True)
    time.sleep(60)


def _litter_and_die() -> None:
    kept = tempfile.mkdtemp(prefix="litter-")
    (Path(kept) / "large").write_text("x" * 1000)
    Path(os.environ[NOTE]).write_text(kept)
    os.kill(os.getpid(), signal.SIGKILL)


def _refuse(error: Exception) -> Any:
    def refuse() -> None:
        raise error

    return refuse


def _import() -> None:
    import no_such_runtime  # noqa: F401


TROUBLES: dict[str, Any] = {
    "abort": _talk_and_abort,
    "hang": _hang_with_a_child,
    "child": _leave_a_child,
    "exit": lambda: os._exit(7),
    "litter": _litter_and_die,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "ended": _refuse(ProgramEnded("runner: the program was ended by SIGBUS", "SIGBUS")),
    "raise": _refuse(RuntimeError("the exporter gave up")),
    "usage": _refuse(UsageError("x: no such file; give another")),
    "store": _refuse(StoreError("disk: full")),
    "unsupported": _refuse(Unsupported("no such operator")),
    "unavailable": _refuse(Unavailable("plug a device in")),
    "import": _import,
    "large": lambda: {"text": "x" * 3_000_000},
}


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    register(monkeypatch, f"{ROWS},troubled={HERE}:Troubled,loads={HERE}:RaisesInLoad")


def trouble(flag: str, **more: Any) -> Reply:
    return run(
        "prepare",
        cell("troubled", options=(("flag", flag),)),
        folder="unused",
        folders={"inputs": "unused"},
        **more,
    )


@pytest.mark.parametrize(
    ("flag", "error", "message"),
    [
        ("usage", "UsageError", "x: no such file; give another"),
        ("store", "UsageError", "disk: full"),
        ("raise", "RuntimeError", "RuntimeError: the exporter gave up"),
        ("exit", "", "prepare exited with code 7 without a reply"),
    ],
)
def test_a_reply_carries_the_class_of_an_error(flag: str, error: str, message: str) -> None:
    reply = trouble(flag)
    assert (reply.error, reply.message) == (error, message)
    assert reply.reason.endswith(message)


def test_a_job_here_gets_the_import_path_of_this_process_and_the_variables(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    started: list[tuple[Any, ...]] = []
    monkeypatch.setattr(launcher, "run", lambda *given: started.append(given))
    launcher.run_here(Job("inputs", cell()), 5.0, {NOTE: "noted"})
    ((job, variables, timeout_seconds),) = started
    assert (job.sys_path, variables[NOTE], timeout_seconds) == (shared_path(), "noted", 5.0)


def gone(pid: int) -> bool:
    """Whether a process ends within two seconds; a zombie has ended."""
    for _ in range(100):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.02)
    return False


@pytest.mark.parametrize(
    ("flag", "outcome", "reason"),
    [
        ("raise", "failed", "RuntimeError: the exporter gave up"),
        ("unsupported", "unsupported", "no such operator"),
        ("unavailable", "unavailable", "plug a device in"),
        ("import", "unavailable", "No module named 'no_such_runtime'"),
    ],
)
def test_an_exception_becomes_its_outcome(flag: str, outcome: str, reason: str) -> None:
    reply = trouble(flag)
    assert (reply.value, reply.outcome, reply.phase, reply.reason, reply.signal) == (
        None,
        outcome,
        "prepare",
        reason,
        "",
    )
    assert ("test_launcher.py" in reply.traceback) is (outcome == "failed")
    assert reply.wall_seconds > 0


@pytest.mark.parametrize(
    ("flag", "signal_name", "reason"),
    [("abort", "SIGABRT", "ended by SIGABRT"), ("kill", "SIGKILL", "memory runs out")],
)
def test_a_crash_names_its_signal(flag: str, signal_name: str, reason: str) -> None:
    reply = trouble(flag)
    assert (reply.outcome, reply.phase, reply.signal) == ("failed", "prepare", signal_name)
    assert reason in reply.reason


def test_a_crash_of_the_sessions_own_program_names_its_signal_too() -> None:
    reply = trouble("ended")
    assert (reply.outcome, reply.signal, reply.reason) == (
        "failed",
        "SIGBUS",
        "ProgramEnded: runner: the program was ended by SIGBUS",
    )


def test_a_crash_keeps_the_tail_of_the_log() -> None:
    tail = trouble("abort").traceback
    assert "the last words" in tail
    assert "Fatal Python error: Aborted" in tail
    assert len(tail) <= runner_job.LOG_TAIL_BYTES


def test_an_exit_without_a_reply_reports_the_code() -> None:
    assert trouble("exit").reason == "prepare exited with code 7 without a reply"


def test_a_hang_is_killed_at_the_timeout_with_all_descendants(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NOTE, str(tmp_path / "child"))
    begin = time.monotonic()
    reply = trouble("hang", timeout_seconds=1.5)
    assert 1.5 <= time.monotonic() - begin < 6
    assert (reply.outcome, reply.signal) == ("failed", "SIGKILL")
    assert "did not reply within 1.5 s and was killed; raise --timeout" in reply.reason
    assert "waiting for nothing" in reply.traceback
    assert gone(int((tmp_path / "child").read_text()))


def test_the_temporary_files_of_a_killed_process_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NOTE, str(tmp_path / "folder"))
    assert trouble("litter").signal == "SIGKILL"
    left = Path((tmp_path / "folder").read_text())
    assert left.name.startswith("litter-")
    assert not left.exists()
    assert not left.parent.exists()


def test_a_child_left_behind_does_not_outlive_the_reply() -> None:
    begin = time.monotonic()
    reply = trouble("child")
    assert reply.outcome == "ok"
    assert time.monotonic() - begin < 20, "the child's end was waited for"
    assert reply.value is not None
    assert gone(reply.value["child"])


def test_a_reply_larger_than_a_pipe_arrives_whole() -> None:
    reply = trouble("large")
    assert reply.value is not None
    assert len(reply.value["text"]) == 3_000_000


class RaisesInLoad(Product):
    name = "loads"

    def load(self, folder: Path, cell: Cell) -> Session:
        raise RuntimeError("cannot load")


def test_a_cell_passes_through_all_tasks(tmp_path: Path) -> None:
    """Every task replies. On folders with missing files, tasks fail in the task's phase."""
    folders = {
        name: tmp_path / name for name in ("inputs", "weights", "artifact", "exact", "golden")
    }
    for folder in folders.values():
        folder.mkdir()

    def do(task: Any, folder: str, *given: str, backend: str = "product", **more: Any) -> Reply:
        reading = {"artifact" if name == "exact" else name: str(folders[name]) for name in given}
        return run(task, cell(backend), folder=str(folders[folder]), folders=reading, **more)

    inputs = do("inputs", "inputs")
    assert inputs.value is not None
    assert inputs.value["batches"] == 5
    assert do("weights", "weights", "inputs").value["note"] == "drawn"  # type: ignore[index]
    assert do("prepare", "artifact", "inputs", "weights").value == {"format": "npy"}
    assert do("prepare", "exact", "inputs", "weights", backend="exact").outcome == "ok"
    assert do("golden", "golden", "exact", "inputs", payload={}).value["kind"] == "float64 numpy"  # type: ignore[index]
    measured = do(
        "measure", "golden", "artifact", "inputs", "golden", payload=Measurement(plan())
    ).value
    assert measured is not None
    assert measured["parity"]["verdict"] == "pass"
    assert measured["variables"]["OMP_NUM_THREADS"] == "1"
    described = run("describe", cell()).value
    assert described is not None
    assert described["inputs"] == [{"name": "x", "shape": ["batch", 4], "dtype": "float32"}]

    in_load = do(
        "measure",
        "golden",
        "artifact",
        "inputs",
        "golden",
        backend="loads",
        payload=Measurement(plan()),
    )
    assert (in_load.outcome, in_load.phase, in_load.reason) == (
        "failed",
        "load",
        "RuntimeError: cannot load",
    )
    folders |= {"empty": tmp_path / "empty", "exact": tmp_path / "empty"}
    assert (
        do("golden", "golden", "exact", "inputs", payload={}).outcome,
        do("golden", "golden", "exact", "inputs", payload={}).phase,
    ) == ("failed", "parity")
    assert (
        do("prepare", "artifact", "inputs").outcome,
        do("prepare", "artifact", "inputs").phase,
    ) == ("failed", "prepare")


def test_broken_samples_fail_their_inputs(tmp_path: Path) -> None:
    reply = run(
        "inputs", cell(model=product(inputs_from=f"{HERE}:no_samples")), folder=str(tmp_path)
    )
    assert (reply.outcome, reply.phase) == ("failed", "prepare")
    assert "returned [], expected also ['x']" in reply.reason


def no_samples(model: Any) -> dict[str, Any]:
    return {}


def test_user_code_and_the_harness_do_not_hide_each_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A `benchmarks` package of the user wins over the package in this checkout."""
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "__init__.py").write_text("")
    (tmp_path / "benchmarks" / "mine.py").write_text(
        "import numpy as np\ndef rows(model):\n    return {'x': np.zeros((3, 4), np.float32)}\n"
    )
    declared = cell("null", model=product(inputs_from="benchmarks.mine:rows"))
    job = Job("inputs", declared, folder=str(tmp_path), sys_path=(str(tmp_path),))
    monkeypatch.delenv(registry.VARIABLE)
    reply = launcher.run(job, system_info.for_worker(1, {}), 30.0)
    assert reply.outcome == "ok", reply


def test_a_missing_interpreter_is_an_error_at_once() -> None:
    with pytest.raises(FileNotFoundError):
        launcher.run(Job("inputs", cell()), {}, 30.0, "/no/such/python")


def test_a_job_that_cannot_be_pickled_starts_no_process(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[str] = []
    monkeypatch.setattr(launcher, "ChildProcess", lambda module, *_, **__: started.append(module))
    with pytest.raises(Exception, match="pickle"):
        launcher.run(Job("inputs", cell(), payload=lambda: None), {}, 30.0)
    assert started == []
