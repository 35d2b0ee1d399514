"""Runs a job in a fresh worker process and waits for the reply without using the CPU."""

from __future__ import annotations

import contextlib
import json
import pickle
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Self

from evenbench.harness.core.import_path import shared_path
from evenbench.harness.environment import system_info
from evenbench.harness.runner.child_process import END_SECONDS, ChildProcess, ending
from evenbench.harness.runner.job import LOG_TAIL_BYTES, PHASE_OF, Job, Reply, read_message

ENDINGS = (signal.SIGTERM, signal.SIGHUP)

ANSWERS: Mapping[str, Sequence[str]] = {
    "": ("ready",),
    "warm_up": ("ready",),
    "turn": ("times_ns", "over", "enough", "stable"),
}
"""The keys of the message after a command of `measurement.resident`; after none, when loaded."""

_open: dict[Worker, int] = {}
"""Workers in use, by the thread that started them."""


class Worker:
    """A worker process for a single job. Use as a context manager.

    For most jobs call `finish` at once. The worker of a measuring job stays resident: the cell is
    loaded and warm after the first `ask`, and each further `ask` takes laps. Several workers can be
    resident at a time, the idle workers stopped with `process.stop()`.
    """

    def __init__(
        self,
        job: Job,
        variables: Mapping[str, str],
        timeout_seconds: float,
        interpreter: str = sys.executable,
    ) -> None:
        self.job, self.timeout_seconds = job, timeout_seconds
        self.phase = ""
        self._begin = time.monotonic()
        # The path comes first: the job may hold values of classes that are found only with it. A
        # job that cannot be pickled raises here, before a process would be left behind.
        message = pickle.dumps(job.sys_path) + pickle.dumps(job)
        self.process = ChildProcess("evenbench.harness.worker", variables, interpreter=interpreter)
        self.process.send(message)
        _open[self] = threading.get_ident()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        _open.pop(self, None)
        self.process.close()

    def ask(self, command: Mapping[str, Any] | None = None) -> Mapping[str, Any] | Reply:
        """Send a command, if any, and wait for the next message of a resident worker.

        Returns the final `Reply` if the job failed, the process ended, or the message answers
        another command. The timeout starts anew.
        """
        if command:
            self.process.send(_line(command))
        message = self._next(time.monotonic() + self.timeout_seconds)
        keys = ANSWERS.get(command["do"] if command else "", ())
        if isinstance(message, Reply) or set(keys) <= set(message):
            return message
        return self._foreign(_line(message))

    def finish(self) -> Reply:
        """Close the commands and wait for the reply; the timeout starts anew.

        The process has ended afterwards.
        """
        self.process.send(b"", last=True)
        deadline = time.monotonic() + self.timeout_seconds
        while not isinstance(message := self._next(deadline), Reply):
            pass
        return message

    @property
    def deadline(self) -> float:
        """When a loading process is killed, as a reading of `time.monotonic`."""
        return self._begin + self.timeout_seconds

    def advance(self) -> Mapping[str, Any] | Reply | None:
        """The next message of a loading process; None at the beginning of a phase."""
        return self._advance(self.deadline)

    def _next(self, deadline: float) -> Mapping[str, Any] | Reply:
        while (message := self._advance(deadline)) is None:
            pass
        return message

    def _advance(self, deadline: float) -> Mapping[str, Any] | Reply | None:
        line = self.process.line(deadline)
        if line is None:
            return self._crash(deadline)
        message = read_message(line)
        if message is None:
            return self._foreign(line)
        if "value" in message:
            self.process.wait(END_SECONDS)
            self.process.kill()
            return Reply(**message, wall_seconds=self._wall())
        if "phase" not in message:
            return message
        self.phase = message["phase"]
        return None

    def _foreign(self, line: bytes) -> Reply:
        """The reply for a process that wrote something else than messages into the pipe."""
        self.process.kill()
        reason = (
            f"{self.job.task} wrote {line[:60]!r} into the pipe for replies, which is no message "
            "of evenbench; code that evenbench calls must leave open descriptors alone and return "
            "finite numbers"
        )
        return self._failed(reason)

    def _failed(self, reason: str, signal_name: str = "") -> Reply:
        phase = self.phase or PHASE_OF.get(self.job.task, "prepare")
        tail = self.process.log_tail(LOG_TAIL_BYTES)
        return Reply(None, "failed", phase, reason, tail, signal_name, self._wall())

    def _crash(self, deadline: float) -> Reply:
        """The reply for a process that hung, or ended without a reply."""
        left = 0.0 if self.process.timed_out else max(0.1, deadline - time.monotonic())
        hung = self.process.timed_out or self.process.wait(left) is None
        code, task = self.process.kill(), self.job.task
        how, signal_name = ending(code)
        reason = f"{task} {how}"
        if hung:
            signal_name = "SIGKILL"
            reason = (
                f"{task} did not reply within {self.timeout_seconds:g} s and was killed; "
                "raise --timeout if the task needs longer"
            )
        elif signal_name == "SIGKILL":
            reason += "; the kernel kills processes in this way when memory runs out"
        elif not signal_name:
            reason += " without a reply"
        return self._failed(reason, signal_name)

    def _wall(self) -> float:
        return time.monotonic() - self._begin


def run(
    job: Job,
    variables: Mapping[str, str],
    timeout_seconds: float,
    interpreter: str = sys.executable,
) -> Reply:
    """Do `job` in a fresh process of `interpreter`, killed with all descendants at the timeout."""
    with Worker(job, variables, timeout_seconds, interpreter) as worker:
        return worker.finish()


def run_here(job: Job, timeout_seconds: float, variables: Mapping[str, str] | None = None) -> Reply:
    """Do `job` under this interpreter and on its import path, whatever environment the cell needs.

    `variables` are added to the environment of the process.
    """
    return run(
        replace(job, sys_path=shared_path()),
        system_info.for_worker(job.cell.threads, dict(variables or {})),
        timeout_seconds,
    )


def kill_workers_of(threads: Collection[int]) -> None:
    """Kill the workers of waiting threads; each wait ends with a failed reply."""
    for worker, thread in list(_open.items()):
        if thread in threads:
            worker.process.kill()


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def interrupt_when_ended() -> None:
    """In a command: treat SIGTERM and SIGHUP as an interruption, to end a running worker too."""
    for number in ENDINGS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # nohup ignores hang-ups on purpose
            signal.signal(number, signal.default_int_handler)


@contextlib.contextmanager
def interrupted_when_ended() -> Iterator[None]:
    """As `interrupt_when_ended`, for the time of a block in a program with other handlers.

    Handlers of the program stay, and so does every handler outside the main thread.
    """
    default = [number for number in ENDINGS if signal.getsignal(number) is signal.SIG_DFL]
    if threading.current_thread() is not threading.main_thread():
        default = []
    try:
        for number in default:
            signal.signal(number, signal.default_int_handler)
        yield
    finally:
        for number in default:
            signal.signal(number, signal.SIG_DFL)
