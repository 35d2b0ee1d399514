"""A child process with a reply pipe: start, ask, stop, continue, and end with all descendants.

The child leads a new session, so a signal reaches all descendants. Replies are lines on a pipe.
Standard output and error go to a log file; the log's tail explains a crash. The parent sleeps on
descriptors and never polls.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import secrets
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Self

from evenbench.harness.core.import_path import SITE
from evenbench.harness.core.paths import PROJECT
from evenbench.harness.environment import process_family, process_guard, temporary_folders

PARENT = "EVENBENCH_PARENT"
"""The variable with the parent's process number, for `die_with_parent`."""

END_SECONDS = 5.0
"""How long a process may take to end after its last reply, before it is killed."""


class ChildProcess:
    """A run of `python -m module --reply FD`. Use as a context manager, which kills the group.

    `variables` is the whole environment; `python_path` is prepended to PYTHONPATH.
    """

    def __init__(
        self,
        module: str,
        variables: Mapping[str, str],
        *,
        interpreter: str = sys.executable,
        python_path: Sequence[str] = (str(PROJECT),),
        folder: Path | None = None,
    ) -> None:
        self._received = b""
        self._killed = False
        self._mark = secrets.token_hex(8)
        self.timed_out = False
        command = [interpreter, "-m", module, "--reply"]
        search_path = [*python_path, *filter(None, [variables.get("PYTHONPATH", "")])]
        environment = {
            **variables,
            "PYTHONPATH": os.pathsep.join(search_path),
            PARENT: str(os.getpid()),
            process_family.MARK: self._mark,
        }
        with contextlib.ExitStack() as resources:
            self._log = resources.enter_context(tempfile.TemporaryFile())
            scratch = resources.enter_context(temporary_folders.held("process"))
            environment["TMPDIR"] = str(scratch)
            self._replies, writing = os.pipe()
            resources.callback(os.close, self._replies)
            try:
                self._process = _start(command, environment, self._log, writing, folder)
            finally:
                os.close(writing)
            process_guard.add(self._process.pid, self._mark)
            self._watched = [self._replies]
            if hasattr(os, "pidfd_open"):
                ended = os.pidfd_open(self._process.pid)
                resources.callback(os.close, ended)
                self._watched.append(ended)
            self._resources = resources.pop_all()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def send(self, data: bytes, *, last: bool = False) -> None:
        """Write to the child's standard input, closed after the `last` bytes.

        A child that died before reading is reported by the missing reply.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(data)
            self._process.stdin.flush()
            if last:
                self._process.stdin.close()

    def line(self, deadline: float) -> bytes | None:
        """The next line of the reply pipe, or None at the deadline or when the child has ended.

        `deadline` is a reading of `time.monotonic`. The end of the process is watched as well as
        the pipe, because a grandchild may hold the pipe open.
        """
        with selectors.DefaultSelector() as selector:
            for descriptor in self._watched:
                selector.register(descriptor, selectors.EVENT_READ)
            while b"\n" not in self._received:
                wait = max(0.0, deadline - time.monotonic())
                ready = {key.fd for key, _ in selector.select(wait)}
                piece = os.read(self._replies, 1 << 20) if self._replies in ready else b""
                self._received += piece
                self.timed_out = not ready
                if not piece:
                    return None
        line, _, self._received = self._received.partition(b"\n")
        return line

    def wait(self, seconds: float) -> int | None:
        """The exit code if the process ends without a kill within `seconds`, otherwise None."""
        try:
            return self._process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> int:
        """Kill the process and all descendants; returns the exit code."""
        if not self._killed:
            self._signal(signal.SIGKILL)
            if self._process.poll() is None:  # not reaped, so that the number stays its own
                with contextlib.suppress(ChildProcessError):  # a thread in `wait` reaped it first
                    os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOWAIT)
            process_family.end(self._process.pid, self._mark)
            process_guard.remove(self._process.pid, self._mark)
            self._killed = True  # the group's number may belong to others from now on
        return self._process.wait()

    def stop(self) -> None:
        """Stop all threads of the process, spinning threads included, until `go`."""
        self._signal(signal.SIGSTOP)

    def go(self) -> None:
        """Continue after `stop`."""
        self._signal(signal.SIGCONT)

    def keep_to(self, cores: Sequence[int]) -> None:
        """Pin the process and all descendants, present and future threads, to `cores`.

        An empty sequence changes nothing.
        """
        if not cores:
            return
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess):  # it died: the next `ask` reports the end
            process = psutil.Process(self._process.pid)
            family = (process, *process.children(recursive=True))
            for thread in [thread.id for member in family for thread in member.threads()]:
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(thread, cores)

    def resident_bytes(self) -> int:
        """The resident memory of the process and all descendants; 0 after the end."""
        import psutil

        total = 0
        with contextlib.suppress(psutil.NoSuchProcess):
            process = psutil.Process(self._process.pid)
            for member in (process, *process.children(recursive=True)):
                with contextlib.suppress(psutil.NoSuchProcess):
                    total += int(member.memory_info().rss)
        return total

    def log_tail(self, size: int) -> str:
        """The last `size` bytes of standard output and error, as text."""
        length = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, length - size))
        return self._log.read().decode(errors="replace").strip()

    def close(self) -> None:
        """Kill the group, stopped or not, and remove the scratch folder."""
        self.kill()
        if self._process.stdin:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        self._resources.close()

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)


def first_to_speak(processes: Sequence[ChildProcess], deadline: float) -> ChildProcess | None:
    """The first process with a line, or the first to end; None at the deadline.

    `deadline` is a reading of `time.monotonic`.
    """
    for process in processes:
        if b"\n" in process._received:
            return process
    with selectors.DefaultSelector() as selector:
        for process in processes:
            for descriptor in process._watched:
                selector.register(descriptor, selectors.EVENT_READ, process)
        ready = selector.select(max(0.0, deadline - time.monotonic()))
    return next((key.data for key, _ in ready), None)


def _start(
    command: Sequence[str],
    environment: Mapping[str, str],
    log: IO[bytes],
    reply: int,
    folder: Path | None,
) -> subprocess.Popen[bytes]:
    """Start `command` in a new session, with the descriptor `reply` open."""
    return subprocess.Popen(
        [*command, str(reply)],
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=log,
        env=environment,
        cwd=folder,
        pass_fds=(reply,),
        start_new_session=True,
    )


def ending(code: int) -> tuple[str, str]:
    """How a process ended, as text, and the signal's name or an empty string.

    `("was ended by SIGKILL", "SIGKILL")` or `("exited with code 3", "")`.
    """
    if code >= 0:
        return f"exited with code {code}", ""
    try:
        name = signal.Signals(-code).name
    except ValueError:  # a real-time signal
        name = f"signal {-code}"
    return f"was ended by {name}", name


def share_path(shared: tuple[str, ...]) -> None:
    """In the child: give the user's code the import path of the parent.

    The child started with the folder of `evenbench` on `sys.path`. The folder is removed, unless it
    belongs to this interpreter or to `shared`. A checkout also holds a `benchmarks` package, in
    front of the user's; an installed evenbench lies in the parent's site-packages, among packages
    for another interpreter. `backends` is imported before the removal. The shared entries keep
    their order and come before installed packages.
    """
    importlib.import_module("evenbench.backends")
    here = str(PROJECT)
    own = here.startswith((sys.prefix, sys.base_prefix))
    entries = [entry for entry in sys.path if (entry != here or own) and entry not in shared]
    packages = (place for place, entry in enumerate(entries) if Path(entry).name in SITE)
    place = next(packages, len(entries))
    sys.path[:] = [*entries[:place], *shared, *entries[place:]]


def take_standard_input() -> IO[bytes]:
    """In the child: the parent's messages. Afterwards user code finds standard input empty."""
    messages = os.fdopen(os.dup(0), "rb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    return messages


def die_with_parent() -> None:
    """In the child, on Linux: end with a killed parent, so no orphan disturbs later runs.

    The kernel sends no signal for a parent that has died before the request, so the parent is
    looked up once more. Descendants of the child are ended by the parent's guard.
    """
    if sys.platform == "linux":
        import ctypes

        set_death_signal = 1  # PR_SET_PDEATHSIG of <sys/prctl.h>
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
        parent = os.environ.pop(PARENT, "")
        if parent and int(parent) != os.getppid():
            os._exit(1)
