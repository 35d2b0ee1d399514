"""Talking with one process of `harness.comparison.side_worker`: ask, stop, go, close."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.comparison.side_worker import Change, Spec
from harness.core.paths import PROJECT
from harness.core.types import Plan
from harness.environment import cpu, system_info
from harness.runner import child_process

CANNOT = ("unsupported: ", "unavailable: ")
"""How the answer of a process begins whose cell cannot run here, whatever is done to it
(`harness.comparison.side_worker.answer`).
"""


class ArmFailed(Exception):
    """A side could not be prepared, crashed or hung; the message says which and how.

    `cannot` is why the cell can never run here, in words, where that is what happened; empty where
    something went wrong.
    """

    def __init__(self, words: str, cannot: str = "") -> None:
        super().__init__(words)
        self.cannot = cannot


WORKER_MODULES = ("harness.comparison.side_worker", "harness.arm")
"""What a measured process runs, newest name first: an older commit of evenbench has its own name
for it.
"""


@dataclass(frozen=True)
class Side:
    """One of the two: its name for people, what it changes in a cell, and the folder of its
    sources.

    `root` is a checked-out commit, or None for the working folder. A commit that holds a harness of
    its own runs under it.
    """

    name: str
    change: Change = field(default_factory=Change)
    root: Path | None = None

    def spec(self, words: Sequence[str], cell: str, plan: Plan) -> Spec:
        """What a process of this side is told."""
        return Spec(tuple(words), cell, self.change, plan, self._path())

    def folder(self) -> Path:
        """Where its processes run."""
        return self.root or Path.cwd()

    def python_path(self) -> str:
        """Where `harness` is found: in the commit that has one, otherwise the one that runs now."""
        return str(self.root if self._own_worker() else PROJECT)

    def worker_module(self) -> str:
        """The module that a process of this side runs."""
        return self._own_worker() or WORKER_MODULES[0]

    def _own_worker(self) -> str:
        """The worker module of a commit of evenbench itself, or nothing where the commit has none."""
        files = {module: Path(*module.split(".")).with_suffix(".py") for module in WORKER_MODULES}
        return next(
            (
                module
                for module, file in files.items()
                if self.root and (self.root / file).is_file()
            ),
            "",
        )

    def _path(self) -> tuple[str, ...]:
        if self.root is None:
            return child_process.shared_path()
        # What lay under the working folder lies under the commit now; the rest is shared.
        here = Path.cwd()
        moved = [
            str(self.root / Path(entry).relative_to(here))
            if Path(entry).is_relative_to(here)
            else entry
            for entry in child_process.shared_path()
        ]
        return tuple(dict.fromkeys([*moved, str(self.root)]))


class Process:
    """A conversation with one process of `harness.comparison.side_worker`, in a session of its own
    so that it can be stopped as a whole.
    """

    def __init__(self, side: Side, spec: Spec, prepared: Mapping[str, Any] | None = None) -> None:
        self.side, self.cell, self.timeout = side, spec.cell, spec.plan.timeout_seconds
        self._received = b""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._scratch = system_info.scratch()
        reading, writing = os.pipe()
        found = prepared or {"threads": cpu.cores(), "variables": {}, "interpreter": sys.executable}
        variables = system_info.for_worker(found["threads"], dict(found["variables"]))
        more = [variables["PYTHONPATH"]] if variables.get("PYTHONPATH") and not side.root else []
        self._process = subprocess.Popen(
            [found["interpreter"], "-m", side.worker_module(), "--reply", str(writing)],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            env={
                **variables,
                "PYTHONPATH": os.pathsep.join([side.python_path(), *more]),
                "TMPDIR": self._scratch.name,
            },
            cwd=side.folder(),
            pass_fds=(writing,),
            start_new_session=True,
        )
        os.close(writing)
        self._pipe = reading
        self._write(spec.written())

    def ask(self, message: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Send a command, if any, and wait for the answer. Raises ArmFailed where the process ends,
        hangs or refuses.
        """
        if message is not None:
            self._write(json.dumps(message).encode() + b"\n")
        line = self._line(time.monotonic() + self.timeout)
        if line is None:
            raise ArmFailed(f"{self.side.name}: {self.cell} {self._end()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            words = str(answer["error"])
            raise ArmFailed(
                f"{self.side.name}: {self.cell} {words}", words if words.startswith(CANNOT) else ""
            )
        return answer

    def _write(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(
            BrokenPipeError
        ):  # it died; its end is told by the next answer that does not come
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def _line(self, deadline: float) -> bytes | None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._pipe, selectors.EVENT_READ)
            while b"\n" not in self._received:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    return None
                piece = os.read(self._pipe, 1 << 16)
                if not piece:
                    return None
                self._received += piece
        line, _, self._received = self._received.partition(b"\n")
        return line

    def _end(self) -> str:
        try:
            code = self._process.wait(timeout=1)
        except subprocess.TimeoutExpired:
            return f"did not answer within {self.timeout:g} s; raise --timeout if it needs longer"
        self._log.seek(0)
        tail = self._log.read()[-1000:].decode(errors="replace").strip()
        how = (
            f"was ended by {signal.Signals(-code).name}" if code < 0 else f"exited with code {code}"
        )
        return f"{how}\n{tail}" if tail else how

    def stop(self) -> None:
        """Let nothing of it run, spinning threads included, until `go`."""
        self._signal(signal.SIGSTOP)

    def go(self) -> None:
        """Let it run again."""
        self._signal(signal.SIGCONT)

    def keep_to(self, cores: Sequence[int]) -> None:
        """Have all its threads, its children's, and those that they start later run on these cores
        only; on any where none are named.
        """
        if not cores:
            return
        import psutil

        with contextlib.suppress(psutil.NoSuchProcess):  # it died: the next question tells
            process = psutil.Process(self._process.pid)
            for thread in [
                thread.id
                for each in (process, *process.children(recursive=True))
                for thread in each.threads()
            ]:
                with contextlib.suppress(ProcessLookupError):
                    os.sched_setaffinity(thread, cores)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, number)

    def close(self) -> None:
        """End it, stopped or not."""
        self._signal(signal.SIGKILL)
        self._process.wait()
        for stream in (self._process.stdin, self._log):
            if stream:
                stream.close()
        os.close(self._pipe)
        self._scratch.cleanup()


@contextlib.contextmanager
def process(side: Side, spec: Spec, prepared: Mapping[str, Any] | None = None) -> Iterator[Process]:
    """A process that is gone afterwards, whatever happens."""
    made = Process(side, spec, prepared)
    try:
        yield made
    finally:
        made.close()
