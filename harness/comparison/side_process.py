"""Talking with one process of `harness.comparison.side_worker`: ask, stop, go, close."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.comparison.side_worker import Change, Spec
from harness.core.paths import PROJECT
from harness.core.plans import Plan
from harness.environment import cpu, system_info
from harness.runner import child_process
from harness.runner.child_process import ChildProcess, ending

CANNOT = ("unsupported: ", "unavailable: ")
"""How the answer of a process begins whose cell cannot run here, whatever is done to it
(`harness.comparison.side_worker.answer`).
"""


class SideFailed(Exception):
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


class Process(ChildProcess):
    """The process of one side: asked with JSON lines, stopped while the other side is timed."""

    def __init__(self, side: Side, spec: Spec, prepared: Mapping[str, Any] | None = None) -> None:
        self.side, self.cell, self.timeout = side, spec.cell, spec.plan.timeout_seconds
        start = prepared or {"threads": cpu.cores(), "variables": {}, "interpreter": sys.executable}
        variables = system_info.for_worker(start["threads"], dict(start["variables"]))
        if side.root:  # the commit's own folders only
            variables.pop("PYTHONPATH", None)
        super().__init__(
            side.worker_module(),
            variables,
            interpreter=start["interpreter"],
            python_path=(side.python_path(),),
            folder=side.folder(),
        )
        self.send(spec.written())

    def ask(self, message: Mapping[str, Any] | None = None) -> Mapping[str, Any]:
        """Send a command, if any, and wait for the reply.

        Raises SideFailed if the process ends, hangs or refuses the cell.
        """
        if message is not None:
            self.send(json.dumps(message).encode() + b"\n")
        line = self.line(time.monotonic() + self.timeout)
        if line is None:
            raise SideFailed(f"{self.side.name}: {self.cell} {self._end()}")
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            error = str(reply["error"])
            raise SideFailed(
                f"{self.side.name}: {self.cell} {error}", error if error.startswith(CANNOT) else ""
            )
        return reply

    def _end(self) -> str:
        code = self.wait(1.0)
        if code is None:
            return f"did not answer within {self.timeout:g} s; raise --timeout if it needs longer"
        how, _ = ending(code)
        tail = self.log_tail(1000)
        return f"{how}\n{tail}" if tail else how
