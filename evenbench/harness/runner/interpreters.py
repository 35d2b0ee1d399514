"""The Python interpreters of a run: this interpreter and the cells' virtual environments."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from evenbench.harness.core.errors import Unavailable
from evenbench.harness.core.types import Cell
from evenbench.harness.environment import environment_names, virtualenvs
from evenbench.harness.runner.job import Job, Reply
from evenbench.harness.runner.prepared import Refusal


@dataclass(frozen=True)
class InterpreterEnvironment:
    """A virtual environment: the path of the Python, and the lock as facts for the record."""

    python: str
    facts: Mapping[str, Any]


@dataclass
class Interpreters:
    """Finds or builds the environments of cells, once per run.

    `run(job, python)` does a job under an interpreter; `tell` gets a sentence before a slow step.
    """

    run: Callable[[Job, str], Reply]
    tell: Callable[[str], None]
    _known: dict[str, InterpreterEnvironment | Reply] = field(default_factory=dict, init=False)

    def of(self, cell: Cell) -> InterpreterEnvironment | None:
        """The environment of a cell, built now if missing; None for this interpreter.

        Raises Refusal if the environment is not available; the refusal is kept for this run.
        """
        request = environment_names.request(cell.backend)
        if request is None:
            return None
        if cell.backend not in self._known:
            try:
                self._known[cell.backend] = self._find_or_build(request, cell)
            except Unavailable as error:
                self._known[cell.backend] = Reply(None, "unavailable", "prepare", str(error))
            except Refusal as refusal:
                self._known[cell.backend] = refusal.reply
        known = self._known[cell.backend]
        if isinstance(known, Reply):
            raise Refusal(known)
        return known

    def lock(self, cell: Cell) -> Mapping[str, Any] | None:
        """The lock of the cell's environment, as facts; None for this interpreter."""
        environment = self.of(cell)
        return environment.facts if environment else None

    def lacking(self, cell: Cell) -> str:
        """The missing requirements of the cell in the environment, as text; empty if complete."""
        environment = self.of(cell)
        assert environment is not None
        facts = self._examine(cell, environment.python)
        if not facts["missing"]:
            return str(facts["lacks"])
        missing, name = ", ".join(facts["missing"]), environment.facts["name"]
        return (
            f"{cell.backend}: {missing} is not installed in environment {name}, "
            f"which {environment.python} runs; install the package there"
        )

    def _find_or_build(
        self, request: environment_names.Request, cell: Cell
    ) -> InterpreterEnvironment:
        environment = virtualenvs.ensure(request, self.tell)
        if environment.lock is None:  # made by the user: its packages are its lock
            facts = self._examine(cell, environment.python)
            environment = virtualenvs.as_found(environment, facts["python"], facts["packages"])
        return InterpreterEnvironment(environment.python, environment.facts())

    def _examine(self, cell: Cell, python: str) -> Mapping[str, Any]:
        """Facts from a process of the interpreter: packages and missing requirements."""
        reply = self.run(Job("examine", cell), python)
        if reply.value is None:
            raise Refusal(reply)
        return reply.value


def interpreter_for(cell: Cell) -> str:
    """The Python of the cell's workers; a missing environment is built now.

    Raises Unavailable if the environment is not available.
    """
    request = environment_names.request(cell.backend)
    return virtualenvs.ensure(request).python if request else sys.executable
