"""Tuners that end in every way that one can, around a backend that needs no runtime. Trials are
lines of a file in the cache.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evenbench.backends.controls.null import NullSession
from evenbench.harness import Cell, Session, Source
from evenbench.harness.core import artifact_store
from evenbench.harness.core.backend import Tunable
from tests.fault_injection.broken import note

TASKS = 3


class Tuner(Tunable):
    """Three tasks; `trouble` comes at the trial that `at` names."""

    name = "tuner"
    uses_weights = False
    at = 0

    def __init_subclass__(cls) -> None:
        cls.name = cls.__name__.lower()

    def records(self, cell: Cell) -> Path:
        return artifact_store.root() / "tuning" / self.name / f"{cell.key}.txt"

    def artifact_key(self, cell: Cell) -> Mapping[str, Any]:
        return {"backend": self.name, "trials": self.trials(cell)[0]}

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        return {"trials": self.trials(cell)[0]}

    def load(self, folder: Path, cell: Cell) -> Session:
        return NullSession(cell)

    def trials(self, cell: Cell) -> tuple[int, int]:
        file = self.records(cell)
        return len(file.read_text().splitlines()) if file.exists() else 0, 0

    def tune(self, source: Source, cell: Cell, per_task: int) -> Mapping[str, Any]:
        file = self.records(cell)
        file.parent.mkdir(parents=True, exist_ok=True)
        recorded, _ = self.trials(cell)
        for trial in range(recorded, per_task * TASKS):
            if self.at and trial == self.at:
                self.trouble()
            with file.open("a") as stream:
                stream.write("trial\n")
        return {
            "tasks": TASKS,
            "tasks_without_record": 0,
            "trials": self.trials(cell)[0],
            "seconds": 1.0,
            "curve_us": [[3, 9.0], [6, 5.0]],
        }

    def trouble(self) -> None:
        raise NotImplementedError


class Aborts(Tuner):
    at = 4

    def trouble(self) -> None:
        os.abort()


class Hangs(Tuner):
    """Hangs with a child that would outlive it."""

    at = 4

    def trouble(self) -> None:
        note(f"pid {subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid}")
        time.sleep(600)


class Raises(Tuner):
    at = 4

    def trouble(self) -> None:
        raise RuntimeError("no schedule was found")


class Interrupts(Tuner):
    """Has its parent interrupted, as Ctrl-C does."""

    at = 4

    def trouble(self) -> None:
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(600)


class Refuses(Tuner):
    def supports(self, cell: Cell) -> str:
        return "refuses everything"
