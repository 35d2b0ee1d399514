"""Prepares cells before timing: refuses unsupported cells and makes all store entries.

Entries are made once by worker processes and found in the artifact store afterwards. This module
runs in the parent and imports neither numpy nor a runtime.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from evenbench.harness.core import registry
from evenbench.harness.core.backend import Backend
from evenbench.harness.core.errors import StoreError, Unavailable, UsageError
from evenbench.harness.core.import_path import shared_path
from evenbench.harness.core.measurements import Artifact
from evenbench.harness.core.types import Cell
from evenbench.harness.environment import environment_names, gpu, system_info
from evenbench.harness.runner import launcher, parallel_preparation
from evenbench.harness.runner.entries import Entries, code_of, job_on
from evenbench.harness.runner.interpreters import Interpreters
from evenbench.harness.runner.job import LOG_TAIL_BYTES, Job, Reply
from evenbench.harness.runner.module_origins import Origin
from evenbench.harness.runner.prepared import Prepared, Refusal
from evenbench.harness.runner.worker_slots import Slots

IN_OWN_ENVIRONMENT = ("prepare", "measure", "load", "profile", "tune", "watch")
"""Tasks of the cell's virtual environment; all other tasks run in this interpreter."""


@dataclass
class Preparer:
    """Makes and remembers the entries of cells. `tell(kind, text)` is called before slow steps."""

    timeout_seconds: float
    tell: Callable[[str, str], None] = lambda kind, text: None
    origin: Origin | None = None
    origins: dict[str, str] = field(default_factory=dict, init=False)
    """The files of the project's modules in the workers so far, by module; needs an `origin`."""
    _interpreters: Interpreters = field(init=False)
    _entries: Entries = field(init=False)
    _slots: Slots = field(init=False)

    def __post_init__(self) -> None:
        def tell(kind: str, text: str) -> None:
            parallel_preparation.on_callers_thread(self.tell, kind, text)

        self._slots = Slots(self.timeout_seconds)
        self._interpreters = Interpreters(self._run, lambda text: tell("environment", text))
        self._entries = Entries(self.work, self._interpreters.lock, tell)

    def prepare(self, cell: Cell) -> Prepared:
        """All entries of a cell, from the store or made now. Raises Refusal.

        Any error becomes the cell's refusal, except an unwritable store, which concerns all cells.
        """
        return _refusing(lambda: self._prepare(cell))

    def prepare_all(
        self, cells: Sequence[Cell], begin: Callable[[Cell], None]
    ) -> Generator[tuple[Cell, Prepared | Refusal]]:
        """As `prepare` for each cell, in order, with a worker process per core.

        `begin` is called before the wait for a cell. Call while nothing is timed, and close the
        iterator (`contextlib.closing`).
        """
        for cell in cells:
            # Installers run on this thread, because an interrupt ends them here.
            with contextlib.suppress(Exception):
                if not registry.find(cell.backend).supports(cell):
                    self._interpreters.of(cell)
        return parallel_preparation.prepare_all(cells, self.prepare, begin, self._slots)

    def prepare_sizes(self, cell: Cell) -> Prepared:
        """As `prepare`, with inputs and goldens of the model's other declared sizes.

        The other sizes have no held-out data.
        """
        return _refusing(lambda: self._prepare_sizes(cell))

    def judged_on(self, cell: Cell, kind: str, parts: Mapping[str, Any], job: Job) -> Prepared:
        """As `prepare`, with inputs made by `job` instead of the model's own.

        The job's facts have the `sha256` of the inputs. The artifact is the cell's own; held-out
        data is left out, because the new inputs have no labels.
        """
        prepared = self.prepare(cell)
        inputs = self._entries.make(kind, parts, job, cell)
        weights = self._entries.weights(cell, self._entries.inputs(cell))
        unlabelled = replace(cell, model=replace(cell.model, evaluation=""))
        return replace(
            prepared, inputs=inputs, golden=self._entries.golden(unlabelled, inputs, weights)
        )

    def tune(self, cell: Cell, per_task: int) -> Reply:
        """Tune a cell in a worker process, up to a mean of `per_task` trials per tuning task.

        Raises Refusal for an unsupported cell or a missing requirement.
        """
        backend = registry.tunable(cell.backend)
        self._refuse(cell, backend)
        inputs = self._entries.inputs(cell)
        weights = self._entries.weights(cell, inputs) if backend.uses_weights else None
        calibration = self._entries.calibration(cell) if weights else None
        return self.work(job_on("tune", cell, inputs, weights, calibration, per_task))

    def work(self, job: Job) -> Reply:
        """Do a job in a fresh process of the interpreter for the cell and task."""
        return self._run(job, self._interpreter(job))

    def start(self, job: Job) -> launcher.Worker:
        """Start a job in a fresh process, which stays resident for commands."""
        job, variables = self._complete(job)
        return launcher.Worker(job, variables, self.timeout_seconds, self._interpreter(job))

    def _interpreter(self, job: Job) -> str:
        """The Python for a job: of the cell's virtual environment, or this one."""
        portable = job.task == "prepare" and registry.find(job.cell.backend).portable_artifact
        own = job.task in IN_OWN_ENVIRONMENT and not portable
        environment = self._interpreters.of(job.cell) if own else None
        return environment.python if environment else sys.executable

    def _prepare(self, cell: Cell) -> Prepared:
        backend = _backend_of(cell)
        self._refuse(cell, backend)
        inputs = self._entries.inputs(cell)
        weights = self._entries.weights(cell, inputs) if backend.uses_weights else None
        artifact = self._entries.artifact(cell, inputs, weights)
        return Prepared(
            inputs,
            artifact,
            _weight_facts(cell, weights),
            self._entries.golden(cell, inputs, weights) if weights else None,
            backend.distributions,
            self._interpreters.lock(cell),
            self._entries.calibration(cell) if weights else None,
        )

    def _prepare_sizes(self, cell: Cell) -> Prepared:
        prepared = self._prepare(cell)
        uses_weights = _backend_of(cell).uses_weights
        weights = self._entries.weights(cell, self._entries.inputs(cell)) if uses_weights else None
        sizes = []
        for model in cell.model.sizes:
            resized = replace(cell, model=replace(model, evaluation=""))
            inputs = self._entries.inputs(resized)
            golden = self._entries.golden(resized, inputs, weights) if weights else None
            sizes.append(replace(prepared, inputs=inputs, golden=golden))
        return replace(prepared, sizes=tuple(sizes))

    def _refuse(self, cell: Cell, backend: Backend) -> None:
        """Raise Refusal if the cell is unsupported, or a requirement is missing."""
        reason = backend.supports(cell)
        if reason:
            raise Refusal(Reply(None, "unsupported", "prepare", reason))
        elsewhere = environment_names.request(cell.backend)
        missing = () if elsewhere else backend.missing()
        if missing:
            hint = registry.row(cell.backend).hint
            reason = f"{cell.backend}: {', '.join(missing)} is not installed; {hint}"
            raise Refusal(Reply(None, "unavailable", "prepare", reason))
        lacking = "" if backend.builds_ahead(cell) else gpu.lacks(cell.device)
        if not lacking:
            lacking = self._interpreters.lacking(cell) if elsewhere else backend.lacks(cell)
        if lacking:
            raise Refusal(Reply(None, "unavailable", "prepare", lacking))

    def _run(self, job: Job, interpreter: str) -> Reply:
        job, variables = self._complete(job)
        reply = self._slots.run(
            job, lambda job: launcher.run(job, variables, self.timeout_seconds, interpreter)
        )
        if job.origin and reply.value is not None:
            value = dict(reply.value)
            self.origins.update(value.pop("origins"))
            reply = replace(reply, value=value)
        return reply

    def _complete(self, job: Job) -> tuple[Job, dict[str, str]]:
        """The job with this import path, and the environment variables of its process."""
        more = {
            **gpu.variables(job.cell.device),
            **registry.find(job.cell.backend).variables(job.cell),
        }
        job = replace(job, sys_path=shared_path(), origin=self.origin)
        return job, system_info.for_worker(job.cell.threads, more)


def _refusing(make: Callable[[], Prepared]) -> Prepared:
    """Call `make`; every error but an unwritable store becomes a Refusal."""
    try:
        return make()
    except (Refusal, StoreError):
        raise
    except Unavailable as error:
        raise Refusal(Reply(None, "unavailable", "prepare", str(error))) from error
    except Exception as error:
        tail = "".join(traceback.format_exception(error))[-LOG_TAIL_BYTES:]
        named = "" if isinstance(error, UsageError) else f"{type(error).__name__}: "
        raise Refusal(Reply(None, "failed", "prepare", f"{named}{error}", tail)) from error


def _backend_of(cell: Cell) -> Backend:
    try:
        return registry.find(cell.backend)
    except UsageError as error:
        raise Refusal(Reply(None, "failed", "prepare", str(error))) from None


def _weight_facts(cell: Cell, weights: Artifact | None) -> dict[str, Any]:
    """The weights as described in a record."""
    if weights is None:
        return {"source": "none", "sha256": "", "note": "not used"}
    facts = {name: value for name, value in weights.facts.items() if name != "code"}
    return {"source": cell.model.weights.source, **facts, "code_sha256": code_of(weights)}
