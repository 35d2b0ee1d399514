"""The interface of another side of a run: cells of another commit in the groups of this one."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

from evenbench.harness.core.types import Cell
from evenbench.harness.runner.child_process import ChildProcess
from evenbench.harness.runner.job import Reply
from evenbench.harness.runner.prepared import Prepared


class TurnWorker(Protocol):
    """A resident process of a cell, which takes turns; `launcher.Worker` is one."""

    @property
    def process(self) -> ChildProcess:
        """The process, stopped while other members are timed."""

    def ask(self, command: Mapping[str, Any] | None = None) -> Mapping[str, Any] | Reply:
        """Send a command, if any, and wait for the next message, or the reply of a failure."""

    def finish(self) -> Reply:
        """Close the commands and wait for the reply."""


class OtherSide(Protocol):
    """Prepares and starts the cells of another side, with the code of that side."""

    def prepare(self, cell: Cell) -> Prepared:
        """All entries of a cell. Raises Refusal."""

    def start(self, cell: Cell) -> AbstractContextManager[TurnWorker]:
        """The resident process of a prepared cell; the end of the context ends the process."""
