"""Starts a worker process for one job and waits for its reply, without using the CPU."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from harness.core.paths import PROJECT
from harness.environment import system_info
from harness.runner.job import LOG_TAIL_BYTES, PHASE_OF, Job, Reply


def run(
    job: Job,
    variables: Mapping[str, str],
    timeout_seconds: float,
    interpreter: str = sys.executable,
) -> Reply:
    """Do `job` in a fresh process of `interpreter` and wait for it without using the CPU.

    The process leads a group of its own, which is killed at the timeout or when this process is
    interrupted, so that nothing it started survives it.
    """
    begin = time.monotonic()
    reading, writing = os.pipe()
    with tempfile.TemporaryFile() as log, system_info.scratch() as scratch:
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
    return os.pathsep.join([str(PROJECT), *filter(None, [variables.get("PYTHONPATH", "")])])


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
    """Block until the answer came, the pipe closed, the process ended, or the deadline passed;
    never polls.

    The end of the process is watched too, because a child that it forked may hold the pipe open
    after its death.
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
    """Give the process time to end by itself: a little after its answer, until the deadline when it
    only closed the pipe.
    """
    if heard.timed_out:
        return
    try:
        process.wait(
            timeout=5 if heard.answer is not None else max(0.1, deadline - time.monotonic())
        )
    except subprocess.TimeoutExpired:
        heard.timed_out = heard.answer is None


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _tail(log: Any) -> str:
    size = log.seek(0, os.SEEK_END)
    log.seek(max(0, size - LOG_TAIL_BYTES))
    return bytes(log.read()).decode(errors="replace").strip()


def _crash(
    job: Job, code: int, heard: Heard, timeout_seconds: float, log: str, wall: float
) -> Reply:
    phase = heard.phase or PHASE_OF.get(job.task, "prepare")
    if heard.timed_out:
        reason = f"{job.task} did not answer within {timeout_seconds:g} s and was killed; raise --timeout if it needs longer"
        return Reply(None, "failed", phase, reason, log, "SIGKILL", wall)
    if code < 0:
        name = signal.Signals(-code).name
        why = ", as the kernel does when memory runs out" if name == "SIGKILL" else ""
        return Reply(None, "failed", phase, f"{job.task} was ended by {name}{why}", log, name, wall)
    return Reply(
        None,
        "failed",
        phase,
        f"{job.task} exited with code {code} without an answer",
        log,
        "",
        wall,
    )


def interrupt_when_ended() -> None:
    """For the parent: take a polite end by a signal as an interruption, so that the worker that
    runs is ended too.
    """
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, signal.SIGTERM)
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores hang-ups on purpose
            signal.signal(number, signal.default_int_handler)
