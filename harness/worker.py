"""A fresh process that does one thing for one cell and answers with one JSON line.

The parent writes a pickled `Job` to standard input and reads the answer from a pipe of its own; standard output and error
go to a log whose tail explains a crash. Whatever happens here, a segfault or an endless loop included, stays here.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import importlib
import json
import os
import pickle
import selectors
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from harness.types import Cell, Plan, Unavailable, Unsupported, to_json

LOG_TAIL_BYTES = 3000

Task = Literal["describe", "inputs", "weights", "prepare", "golden", "measure"]


@dataclass(frozen=True)
class Job:
    """What a worker is to do. `folders` are the store's entries it may read, `folder` the stage that it may write."""

    task: Task
    cell: Cell
    folder: str = ""
    folders: Mapping[str, str] = field(default_factory=dict)
    yardsticks: Mapping[str, str] = field(default_factory=dict)
    weights_sha256: str = ""
    plan: Plan | None = None
    sys_path: tuple[str, ...] = ()


@dataclass(frozen=True)
class Reply:
    """What came back: `value` where it went well; else the outcome, phase, reason, traceback tail and signal."""

    value: Mapping[str, Any] | None
    outcome: str = "ok"
    phase: str = ""
    reason: str = ""
    traceback: str = ""
    signal: str = ""
    wall_seconds: float = 0.0


def run(job: Job, variables: Mapping[str, str], timeout_seconds: float, interpreter: str = sys.executable) -> Reply:
    """Do `job` in a fresh process of `interpreter` and wait for it without using the CPU.

    The process leads a group of its own, which is killed at the timeout or when this process is interrupted, so that
    nothing it started survives it.
    """
    begin = time.monotonic()
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(
            [interpreter, "-m", "harness.worker", "--reply", str(writing)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**variables, "PYTHONPATH": _python_path(variables)},
            pass_fds=(writing,),
            start_new_session=True,
        )
        os.close(writing)
        try:
            _send(process, pickle.dumps(job))
            answer, timed_out = _await(reading, process, begin + timeout_seconds)
        finally:
            os.close(reading)
            _kill_group(process)
        code = process.wait()
        wall = time.monotonic() - begin
        if answer and not timed_out:
            return Reply(**json.loads(answer), wall_seconds=wall)
        return _crash(job, code, timed_out, timeout_seconds, _tail(log), wall)


def _python_path(variables: Mapping[str, str]) -> str:
    """The folder that holds `harness`, so that any interpreter runs the harness that started it."""
    here = str(Path(__file__).resolve().parent.parent)
    return os.pathsep.join([here, *filter(None, [variables.get("PYTHONPATH", "")])])


def _send(process: subprocess.Popen[bytes], payload: bytes) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(payload)
        process.stdin.close()
    except BrokenPipeError:
        pass  # it died before reading; its exit code and log say why


def _await(reading: int, process: subprocess.Popen[bytes], deadline: float) -> tuple[bytes, bool]:
    """Block until a whole line came, the pipe closed, the process ended, or the deadline passed; never polls.

    The end of the process is watched too, because a child that it forked may hold the pipe open after its death.
    """
    received = b""
    ended = os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else -1
    with selectors.DefaultSelector() as selector:
        for descriptor in (reading, ended):
            if descriptor >= 0:
                selector.register(descriptor, selectors.EVENT_READ)
        while not received.endswith(b"\n"):
            ready = {key.fd for key, _ in selector.select(max(0.0, deadline - time.monotonic()))}
            piece = os.read(reading, 1 << 20) if reading in ready else b""
            received += piece
            if not piece:
                break
    if ended >= 0:
        os.close(ended)
    if not ready:
        return b"", True
    try:
        process.wait(timeout=5 if received.endswith(b"\n") else max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        return (received, False) if received.endswith(b"\n") else (b"", True)
    return (received if received.endswith(b"\n") else b""), False


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _tail(log: Any) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - LOG_TAIL_BYTES))
    return bytes(log.read()).decode(errors="replace").strip()


PHASE_OF: Mapping[str, str] = {"golden": "parity", "measure": "sample"}
"""The phase that a crash is booked under where the worker could not say; everything else is `prepare`."""


def _crash(job: Job, code: int, timed_out: bool, timeout_seconds: float, log: str, wall: float) -> Reply:
    phase = PHASE_OF.get(job.task, "prepare")
    if timed_out:
        reason = f"{job.task} did not answer within {timeout_seconds:g} s and was killed; raise --timeout if it needs longer"
        return Reply(None, "failed", phase, reason, log, "SIGKILL", wall)
    if code < 0:
        name = signal.Signals(-code).name
        why = ", as the kernel does when memory runs out" if name == "SIGKILL" else ""
        return Reply(None, "failed", phase, f"{job.task} was ended by {name}{why}", log, name, wall)
    return Reply(None, "failed", phase, f"{job.task} exited with code {code} without an answer", log, "", wall)


def perform(job: Job) -> dict[str, Any]:
    """Do the job in this process. The modules that need numpy are imported here, not above: the parent imports this file."""
    from harness import inputs, registry
    from harness.backend import Source

    cell, folder = job.cell, Path(job.folder)
    folders = {name: Path(path) for name, path in job.folders.items()}
    if job.task == "describe":
        return to_json(dict(zip(("inputs", "outputs"), registry.golden_for(cell).describe(cell.model), strict=True)))  # type: ignore[no-any-return]
    if job.task == "inputs":
        return inputs.make(cell.model, cell.batch, folder)
    if job.task == "measure":
        from harness import measure

        assert job.plan is not None
        return measure.run(cell, job.plan, folders["artifact"], folders["inputs"], folders.get("golden"))
    if job.task == "golden":
        from harness import measure

        yardsticks = {precision: Path(path) for precision, path in job.yardsticks.items()}
        golden = registry.golden_for(cell)
        return measure.make_golden(cell, golden, folders["artifact"], folders["inputs"], yardsticks, folder)
    batches = {spec.name: folders["inputs"] / f"{spec.name}.npy" for spec in cell.model.inputs}
    if job.task == "weights":
        return dict(registry.golden_for(cell).materialise(cell.model, batches, folder))
    weights = folders.get("weights", Path(os.devnull))
    return dict(registry.find(cell.backend).prepare(Source(cell.model, weights, job.weights_sha256, batches), cell, folder))


def answer(job: Job) -> dict[str, Any]:
    """`perform`, with every exception turned into the fields of a `Reply`."""
    try:
        return {"value": to_json(perform(job))}
    except Exception as error:
        cause = getattr(error, "error", error)
        phase = getattr(error, "phase", PHASE_OF.get(job.task, "prepare"))
        refusals = {Unsupported: "unsupported", Unavailable: "unavailable", ModuleNotFoundError: "unavailable"}
        outcome = refusals.get(type(cause), "failed")
        reason = str(cause) if outcome != "failed" else f"{type(cause).__name__}: {cause}"
        tail = "".join(traceback.format_exception(cause))[-LOG_TAIL_BYTES:] if outcome == "failed" else ""
        return {"value": None, "outcome": outcome, "phase": phase, "reason": reason[:1000], "traceback": tail}


def _share_path(shared: tuple[str, ...]) -> None:
    """Find the user's own code where the parent finds it.

    The folder of `harness` was needed to start. In a checkout it also holds a `benchmarks` package, which would hide the
    user's; of another interpreter it is the site-packages. What is needed of it is imported now, and it is left out.
    """
    importlib.import_module("backends")
    here = str(Path(__file__).resolve().parent.parent)
    own = here.startswith((sys.prefix, sys.base_prefix))
    sys.path[:] = [entry for entry in sys.path if entry != here or own or here in shared]
    sys.path.extend(entry for entry in shared if entry not in sys.path)


def _die_with_parent() -> None:
    """On Linux, end when the process that started this one is killed, so that nothing of it runs beside what comes next."""
    if sys.platform == "linux":
        import ctypes

        set_death_signal = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


def main(arguments: list[str] | None = None) -> None:
    """The worker's own entry: `python -m harness.worker --reply FD`, a pickled Job on standard input."""
    parser = argparse.ArgumentParser(prog="python -m harness.worker", description=__doc__)
    parser.add_argument("--reply", type=int, required=True, help="file descriptor to write the answer to")
    reply = parser.parse_args(arguments).reply
    faulthandler.enable()
    _die_with_parent()
    job: Job = pickle.load(sys.stdin.buffer)
    _share_path(job.sys_path)
    with os.fdopen(reply, "wb") as pipe:
        pipe.write(json.dumps(answer(job)).encode() + b"\n")
    sys.stdout.flush()
    os._exit(0)  # a runtime that crashes or hangs in its exit handlers has already given its answer


if __name__ == "__main__":
    # Under `-m` this file is `__main__`; jobs are pickled as `harness.worker.Job`, so run the module of that name.
    from harness.worker import main as named_main

    named_main()
