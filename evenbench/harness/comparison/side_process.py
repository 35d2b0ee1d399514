"""A side of a comparison or a run, and the process that measures a cell of this side."""

from __future__ import annotations

import json
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from evenbench.harness.comparison.side_worker import Change, Spec
from evenbench.harness.core import import_path, serialization
from evenbench.harness.core.paths import PROJECT
from evenbench.harness.core.plans import Plan
from evenbench.harness.environment import cpu, git_command, system_info
from evenbench.harness.runner import module_origins
from evenbench.harness.runner.child_process import ChildProcess, ending
from evenbench.harness.runner.job import PHASE_OF, Reply
from evenbench.harness.runner.module_origins import Origin

REFUSALS = ("unsupported: ", "unavailable: ")
"""Beginnings of an error of `side_worker.reply_to` for a cell refused on this machine."""


class SideFailed(Exception):
    """A side was refused, crashed or hung; the message names the side and the cause.

    `refusal` is the reason if the cell is unsupported or unavailable here, otherwise empty.
    """

    def __init__(self, text: str, refusal: str = "") -> None:
        super().__init__(text)
        self.refusal = refusal


MEASURE_APART = "measure each commit in its own clone, and compare the results files"

WORKER_MODULES = (
    "evenbench.harness.comparison.side_worker",
    "harness.comparison.side_worker",
    "harness.arm",
)
"""Names of the worker module, newest first, because older commits have an older name."""


@dataclass(frozen=True)
class Side:
    """A side of a comparison: displayed name, change to a cell, and folder of the sources.

    `root` is the working folder in a checked-out commit, or None for the working folder itself. A
    commit of evenbench runs the commit's own harness. `origin` is the only place for modules of the
    project; None for two backends on the same sources.
    """

    name: str
    change: Change = field(default_factory=Change)
    root: Path | None = None
    origin: Origin | None = None
    commit: str = ""

    def spec(self, words: Sequence[str], cell: str, plan: Plan) -> Spec:
        """The message that specifies a process of this side."""
        return Spec(tuple(words), cell, self.change, plan, self._path(), origin=self.origin)

    def folder(self) -> Path:
        """The working folder of the processes."""
        return self.root or Path.cwd()

    def python_path(self) -> str:
        """The folder of `harness`: the commit's if present, otherwise the running harness."""
        return str(self.root if self._own_worker() else PROJECT)

    def worker_module(self) -> str:
        """The worker module for the processes of this side."""
        return self._own_worker() or WORKER_MODULES[0]

    def _own_worker(self) -> str:
        """The worker module of a commit of evenbench, or nothing for other commits."""
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
        """The import path of the user's code: the side's own folders, then shared folders."""
        entries = [Path(entry) for entry in import_path.shared_path()]
        if self.origin is None:
            return tuple(map(str, entries))
        project = Path(self.origin.project)
        there = Path(self.origin.elsewhere or project)
        # Entries in the repository of the working folder move to the commit; others are shared.
        moved = [
            project / entry.relative_to(there) if entry.is_relative_to(there) else entry
            for entry in (entry.resolve() for entry in entries)
        ]
        own = [entry for entry in moved if entry.is_relative_to(project)]
        folders = module_origins.package_folders(project, self.origin.packages)
        path = dict.fromkeys([*own, *folders, self.folder(), *moved])
        return tuple(str(entry) for entry in path)


def absent_from(side: Side, error: str) -> list[str]:
    """Reasons for an error that lie in the checkout: submodules, and files that are no part of it.

    Each reason is a clause that names the place, and says what to do.
    """
    if side.root is None or side.origin is None:
        return []
    there, here = Path(side.origin.project), Path(side.origin.elsewhere)
    inside = side.root.relative_to(there)
    reasons = []
    for module in git_command.submodules(there):
        if not any((there / module).glob("*")):
            reasons.append(
                f"submodule {module} is empty, because a comparison checks out no submodules; "
                f"{MEASURE_APART}"
            )
    for name in dict.fromkeys(re.findall(r"[^\s:;,'\"()]+\.\w+", error)):
        path = Path(os.path.normpath(there / inside / name))
        if not path.is_relative_to(there) or path.exists():
            continue
        file = path.relative_to(there)
        if (here / file).is_file():
            reasons.append(
                f"{file} exists in the working folder only, not in the commit; commit the file, or "
                f"{MEASURE_APART}"
            )
    return reasons


class SideProcess(ChildProcess):
    """A process of a side: exchanges JSON lines, stopped while the other side is timed."""

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
            raise SideFailed(f"{self._label()} {self._end()}")
        try:
            reply: dict[str, Any] = dict(serialization.parsed(line))
        except (ValueError, TypeError):
            raise SideFailed(
                f"{self._label()} wrote {line[:60]!r} into the pipe for replies"
            ) from None
        if "error" in reply:
            error = serialization.harmless(str(reply["error"]))
            reasons = [error, *absent_from(self.side, error)]
            raise SideFailed(
                f"{self._label()} {'; '.join(reasons)}",
                error if error.startswith(REFUSALS) else "",
            )
        return reply

    def _label(self) -> str:
        """The start of an error: the side, and the cell if there is one."""
        return f"{self.side.name}: {self.cell}".rstrip()

    def _end(self) -> str:
        code = self.wait(1.0)
        if code is None:
            return (
                f"did not reply within {self.timeout:g} s; raise --timeout if the cell needs longer"
            )
        how, _ = ending(code)
        tail = serialization.harmless(self.log_tail(1000))
        return f"{how}\n{tail}" if tail else how


class SideWorker:
    """The resident process of a side, with the interface of `launcher.Worker`.

    `origins` has the files of the project's modules that preparation imported, by module.
    """

    def __init__(self, process: SideProcess, origins: Mapping[str, str] | None = None) -> None:
        self.process = process
        self.origins = origins or {}
        self.phase = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.close()

    def ask(self, command: Mapping[str, Any] | None = None) -> Mapping[str, Any] | Reply:
        """Send a command, if any, and wait for the next message.

        Returns the final `Reply` if the process has ended or failed.
        """
        try:
            message = self.process.ask(command)
            while "phase" in message:
                self.phase = message["phase"]
                message = self.process.ask()
        except SideFailed as error:
            code = self.process.wait(0.1)
            signal = ending(code)[1] if code is not None else ""
            phase = self.phase or PHASE_OF["measure"]
            return replace(failed(error, phase), signal=signal)
        if "value" not in message:
            return message
        value = message["value"]
        own = {"origins": {**self.origins, **value["origins"]}} if self.origins else {}
        return Reply({**value, **own})

    def finish(self) -> Reply:
        """Close the commands and wait for the reply. The process has ended afterwards."""
        self.process.send(b"", last=True)
        while not isinstance(message := self.ask(), Reply):
            pass
        return message


def failed(error: SideFailed, phase: str) -> Reply:
    """The outcome of a failure or refusal, with the side's name in the reason."""
    text, _, log = str(error).partition("\n")
    outcome = next((word[:-2] for word in REFUSALS if error.refusal.startswith(word)), "failed")
    return Reply(None, outcome, phase, text, log)
