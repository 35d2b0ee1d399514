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
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal

from harness import environment, late, watching
from harness.backend import ProgramEnded
from harness.datasets import Dataset
from harness.scenarios import Scenario
from harness.types import Cell, Plan, Unavailable, Unsupported, to_json
from harness.videos import Footage
from harness.watching import Watch

LOG_TAIL_BYTES = 3000

Preparing = Literal["inputs", "calibration", "weights", "prepare", "golden", "tune"]
Filming = Literal["video", "record", "look", "frames", "pipeline", "pictures"]
Looking = Literal["expose", "watch"]
Task = Preparing | Filming | Looking | Literal["describe", "examine", "measure", "inspect", "outlook", "peaks", "dataset", "score", "load"]


@dataclass(frozen=True)
class Job:
    """What a worker is to do. `folders` are the store's entries it may read, `folder` the stage that it may write."""

    task: Task
    cell: Cell
    folder: str = ""
    folders: Mapping[str, str] = field(default_factory=dict)
    yardsticks: Mapping[str, str] = field(default_factory=dict)
    weights_sha256: str = ""
    calibration_sha256: str = ""
    trials: int = 0
    plan: Plan | None = None
    footage: Footage | None = None
    dataset: Dataset | None = None
    watch: Watch = field(default_factory=Watch)
    scenario: Scenario | None = None
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
    with tempfile.TemporaryFile() as log, environment.scratch() as scratch:
        process = subprocess.Popen(
            [interpreter, "-m", "harness.worker", "--reply", str(writing)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env={**variables, "PYTHONPATH": _python_path(variables), "TMPDIR": scratch},
            pass_fds=(writing,),
            start_new_session=True,
        )
        os.close(writing)
        try:
            # The path comes first: the job may hold values of classes that are found only with it.
            _send(process, pickle.dumps(job.sys_path) + pickle.dumps(job))
            heard = _listen(reading, process, begin + timeout_seconds)
        finally:
            os.close(reading)
            _kill_group(process)
        code = process.wait()
        wall = time.monotonic() - begin
        if heard.answer is not None:
            return Reply(**heard.answer, wall_seconds=wall)
        return _crash(job, code, heard, timeout_seconds, _tail(log), wall)


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


@dataclass
class Heard:
    """What came through the pipe so far: a line for every phase entered, and last the answer."""

    received: bytes = b""
    timed_out: bool = False

    def _lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.received.split(b"\n")[:-1]]

    @property
    def answer(self) -> dict[str, Any] | None:
        """The fields of a `Reply`, or None where the process did not get so far."""
        lines = self._lines()
        return lines[-1] if lines and "value" in lines[-1] else None

    @property
    def phase(self) -> str:
        """The last phase that was entered, or an empty string."""
        return next((line["phase"] for line in reversed(self._lines()) if "value" not in line), "")


def _listen(reading: int, process: subprocess.Popen[bytes], deadline: float) -> Heard:
    """Block until the answer came, the pipe closed, the process ended, or the deadline passed; never polls.

    The end of the process is watched too, because a child that it forked may hold the pipe open after its death.
    """
    heard = Heard()
    ended = os.pidfd_open(process.pid) if hasattr(os, "pidfd_open") else -1
    with selectors.DefaultSelector() as selector:
        for descriptor in (reading, ended):
            if descriptor >= 0:
                selector.register(descriptor, selectors.EVENT_READ)
        while heard.answer is None:
            ready = {key.fd for key, _ in selector.select(max(0.0, deadline - time.monotonic()))}
            piece = os.read(reading, 1 << 20) if reading in ready else b""
            heard.received += piece
            heard.timed_out = not ready
            if not piece:
                break
    if ended >= 0:
        os.close(ended)
    _let_end(process, heard, deadline)
    return heard


def _let_end(process: subprocess.Popen[bytes], heard: Heard, deadline: float) -> None:
    """Give the process time to end by itself: a little after its answer, until the deadline when it only closed the pipe."""
    if heard.timed_out:
        return
    try:
        process.wait(timeout=5 if heard.answer is not None else max(0.1, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        heard.timed_out = heard.answer is None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _tail(log: Any) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - LOG_TAIL_BYTES))
    return bytes(log.read()).decode(errors="replace").strip()


PHASE_OF: Mapping[str, str] = {"golden": "parity", "measure": "load", "pipeline": "load", "load": "load"}
"""The phase that a crash is booked under where the worker had told none yet; everything else is `prepare`."""


def _crash(job: Job, code: int, heard: Heard, timeout_seconds: float, log: str, wall: float) -> Reply:
    phase = heard.phase or PHASE_OF.get(job.task, "prepare")
    if heard.timed_out:
        reason = f"{job.task} did not answer within {timeout_seconds:g} s and was killed; raise --timeout if it needs longer"
        return Reply(None, "failed", phase, reason, log, "SIGKILL", wall)
    if code < 0:
        name = signal.Signals(-code).name
        why = ", as the kernel does when memory runs out" if name == "SIGKILL" else ""
        return Reply(None, "failed", phase, f"{job.task} was ended by {name}{why}", log, name, wall)
    return Reply(None, "failed", phase, f"{job.task} exited with code {code} without an answer", log, "", wall)


def perform(job: Job, enter: Callable[[str], None] = lambda phase: None) -> dict[str, Any]:
    """Do the job in this process; `enter` is told each phase of a measurement as it begins.

    The modules that need numpy are imported here, not above: the parent imports this file.
    """
    from harness import inputs, registry
    from harness.backend import Source

    cell, folder = job.cell, Path(job.folder)
    folders = {name: Path(path) for name, path in job.folders.items()}
    if job.task == "describe":
        return to_json(dict(zip(("inputs", "outputs"), registry.golden_for(cell).describe(cell.model), strict=True)))  # type: ignore[no-any-return]
    if job.task == "examine":
        return _examine(cell)
    if job.task == "inspect":
        return registry.describe_file(cell.model)
    if job.task == "outlook":
        return _outlook(cell, folder)
    if job.task == "peaks":
        assert job.plan is not None
        return registry.peaks(cell, job.plan.peak_seconds)
    if job.task == "inputs":
        return inputs.make(cell.model, cell.batch, folder)
    if job.task == "calibration":
        return inputs.make_calibration(cell.model, cell.batch, folder)
    if job.task in ("expose", "watch"):
        return watching.perform(job.task, cell, job.watch, folders, folder)
    if job.task in ("dataset", "score"):
        from harness import scoring

        return scoring.perform(job.task, cell.model, job.dataset, folders, folder)
    if job.task == "measure":
        from harness import measure, scoring

        assert job.plan is not None
        score = scoring.scorer(cell, job.dataset, folders, folder)
        return measure.run(cell, job.plan, folders["artifact"], folders["inputs"], folders.get("golden"), enter, score)
    if job.task == "golden":
        from harness import measure

        yardsticks = {precision: Path(path) for precision, path in job.yardsticks.items()}
        golden = registry.golden_for(cell)
        return measure.make_golden(cell, golden, folders["artifact"], folders["inputs"], yardsticks, folder)
    if job.footage:
        from harness import streaming

        return streaming.perform(job.task, cell, job.plan, job.footage, folders, folder, enter)
    if job.scenario:
        from harness import traffic

        assert job.plan is not None
        return traffic.run(cell, job.plan, job.scenario, folders, enter)
    batches = {spec.name: folders["inputs"] / inputs.file_of(spec.name) for spec in cell.model.inputs}
    if job.task == "weights":
        return dict(registry.golden_for(cell).materialise(cell.model, batches, folder))
    weights, calibration = folders.get("weights", Path(os.devnull)), folders.get("calibration")
    samples = {spec.name: calibration / inputs.file_of(spec.name) for spec in cell.model.inputs} if calibration else {}
    source = Source(cell.model, weights, job.weights_sha256, batches, samples, job.calibration_sha256)
    if job.task == "tune":
        return dict(registry.tunable(cell.backend).tune(source, cell, job.trials))
    return dict(registry.find(cell.backend).prepare(source, cell, folder))


def _examine(cell: Cell) -> dict[str, Any]:
    """What this interpreter has, and what the cell's backend lacks here: of another environment only a process in it can tell."""
    from harness import environment, registry

    backend = registry.find(cell.backend)
    missing = list(backend.missing())
    lacks = "" if missing else backend.lacks(cell)
    return {"missing": missing, "lacks": lacks, "python": environment.python(), "packages": environment.installed()}


def _outlook(cell: Cell, folder: Path) -> dict[str, Any]:
    """What a runtime attests of a user's own file after one step on zeros: where its nodes run, and what became of them."""
    import numpy as np

    from harness import registry
    from harness.backend import Source

    backend, (weights, artifact) = registry.find(cell.backend), (folder / "weights", folder / "artifact")
    weights.mkdir()
    artifact.mkdir()
    facts = registry.golden_for(cell).materialise(cell.model, {}, weights)
    backend.prepare(Source(cell.model, weights, facts["sha256"], {}), cell, artifact)
    session = backend.load(artifact, cell)
    try:
        session.bind({spec.name: np.zeros(spec.concrete(cell.batch), spec.dtype) for spec in cell.model.inputs})
        session.step()
        session.sync()
        return to_json(session.attest())  # type: ignore[no-any-return]
    finally:
        session.close()


def answer(job: Job, enter: Callable[[str], None] = lambda phase: None) -> dict[str, Any]:
    """`perform`, with every exception turned into the fields of a `Reply`."""
    entered = [PHASE_OF.get(job.task, "prepare")]

    def remember(phase: str) -> None:
        entered.append(phase)
        enter(phase)

    try:
        return {"value": to_json(perform(job, remember))}
    except SystemExit as error:
        tail = "".join(traceback.format_exception(error))[-LOG_TAIL_BYTES:]
        reason = f"sys.exit({error.code!r}) was called in {job.task}; code that evenbench calls must return or raise an error"
        return {"value": None, "outcome": "failed", "phase": entered[-1], "reason": reason, "traceback": tail}
    except Exception as error:
        cause = getattr(error, "error", error)
        phase = getattr(error, "phase", PHASE_OF.get(job.task, "prepare"))
        refusals = {Unsupported: "unsupported", Unavailable: "unavailable", ModuleNotFoundError: "unavailable"}
        outcome = refusals.get(type(cause), "failed")
        hidden = late.namesake(cause.name or "") if isinstance(cause, ImportError) else ""
        if hidden:
            outcome = "failed"
        reason = str(cause) if outcome != "failed" else f"{type(cause).__name__}: {cause}{hidden and f'; {hidden}'}"
        tail = "".join(traceback.format_exception(cause))[-LOG_TAIL_BYTES:] if outcome == "failed" else ""
        ended = cause.signal if isinstance(cause, ProgramEnded) else ""
        return {"value": None, "outcome": outcome, "phase": phase, "reason": reason[:1000], "traceback": tail, "signal": ended}


def share_path(shared: tuple[str, ...]) -> None:
    """Find the user's own code where the parent finds it.

    The folder of `harness` was needed to start. In a checkout it also holds a `benchmarks` package, which would hide the
    user's; of another interpreter it is the site-packages. What is needed of it is imported now, and it is left out.
    """
    importlib.import_module("backends")
    here = str(Path(__file__).resolve().parent.parent)
    own = here.startswith((sys.prefix, sys.base_prefix))
    sys.path[:] = [entry for entry in sys.path if entry != here or own or here in shared]
    sys.path.extend(entry for entry in shared if entry not in sys.path)


def interrupt_when_ended() -> None:
    """For the parent: take a polite end by a signal as an interruption, so that the worker that runs is ended too."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores hang-ups on purpose
            signal.signal(number, signal.default_int_handler)


def die_with_parent() -> None:
    """On Linux, end when the process that started this one is killed, so that nothing of it runs beside what comes next."""
    if sys.platform == "linux":
        import ctypes

        set_death_signal = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def _tell(pipe: IO[bytes], phase: str) -> None:
    pipe.write(_line({"phase": phase}))
    pipe.flush()


def main(arguments: list[str] | None = None) -> None:
    """The worker's own entry: `python -m harness.worker --reply FD`, a pickled Job on standard input."""
    parser = argparse.ArgumentParser(prog="python -m harness.worker", description=__doc__)
    parser.add_argument("--reply", type=int, required=True, help="file descriptor to write the answer to")
    reply = parser.parse_args(arguments).reply
    faulthandler.enable()
    die_with_parent()
    share_path(pickle.load(sys.stdin.buffer))
    job: Job = pickle.load(sys.stdin.buffer)
    with os.fdopen(reply, "wb") as pipe:
        pipe.write(_line(answer(job, lambda phase: _tell(pipe, phase))))
    sys.stdout.flush()
    os._exit(0)  # a runtime that crashes or hangs in its exit handlers has already given its answer


if __name__ == "__main__":
    # Under `-m` this file is `__main__`; jobs are pickled as `harness.worker.Job`, so run the module of that name.
    from harness.worker import main as named_main

    named_main()
