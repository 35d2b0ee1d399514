"""Artifacts, sessions and outcomes of a backend, for the contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from evenbench.harness.core import registry
from evenbench.harness.core.cases import Entry
from evenbench.harness.core.plans import PLANS
from evenbench.harness.core.session import Session
from evenbench.harness.core.types import Cell, Model
from evenbench.harness.environment import cpu, environment_names
from evenbench.harness.inputs import batches as inputs
from evenbench.harness.runner.preparation import Preparer
from evenbench.harness.runner.prepared import Prepared, Refusal
from evenbench.harness.runner.schedule import Run

if TYPE_CHECKING:
    pass


class Kit:
    """A backend with its prepared artifacts, by batch size."""

    def __init__(
        self, backend: str, model: Model, precision: str, device: str, results: Path
    ) -> None:
        self.backend = backend
        self.results = results
        self.preparer = Preparer(PLANS["quick"].timeout_seconds)
        self.template = Cell(model, backend, precision, device, threads=cpu.cores())

    def cell(self, batch: int = 1, backend: str = "") -> Cell:
        """The contract's cell at a batch size, of this backend or another."""
        return replace(self.template, batch=batch, backend=backend or self.backend)

    def prepared(self, batch: int = 1) -> Prepared:
        """The inputs of the cell's processes. Skips if not installed, fails on a refusal."""
        try:
            return self.preparer.prepare(self.cell(batch))
        except Refusal as refusal:
            if refusal.reply.outcome == "unavailable":
                pytest.skip(refusal.reply.reason)
            pytest.fail(
                f"{refusal.reply.outcome} in {refusal.reply.phase}: "
                f"{refusal.reply.reason}\n{refusal.reply.traceback}"
            )

    def load(self, batch: int = 1) -> Session:
        """A session in this process. Fails for backends of other environments."""
        if environment_names.request(self.backend):
            pytest.fail(
                f"{self.backend} lives in another environment, and the contract loads sessions "
                "here; install it here and test that"
            )
        return registry.find(self.backend).load(
            Path(self.prepared(batch).artifact.path), self.cell(batch)
        )

    def batches(self, batch: int = 1) -> list[dict[str, Any]]:
        """The read-only input batches."""
        return inputs.load(Path(self.prepared(batch).inputs.path), self.cell(batch).model)

    def measured(self, batch: int = 1, backend: str = "") -> Mapping[str, Any]:
        """The outcome of a quick run of the cell through fresh processes."""
        entry = Entry(self.cell(batch, backend))
        run = Run(
            [entry],
            replace(PLANS["quick"], min_seconds=0.0, warmup_max_seconds=0.1),
            self.results,
            fresh=True,
        )
        line = run.measure([entry])[0]
        run.finish()
        return line
