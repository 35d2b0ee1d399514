"""The null backend does nothing: measured is only the harness's overhead."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from evenbench.harness import Attestation, Backend, Cell, Session, Source

if TYPE_CHECKING:
    from evenbench.harness.core.session import Arrays


class NullSession(Session):
    """Accepts inputs, does nothing, and returns zeros of the declared shapes."""

    def __init__(self, cell: Cell) -> None:
        import numpy as np

        self.cell = cell
        self.outputs = [
            (spec.name, spec.concrete(cell.batch), spec.dtype) for spec in cell.model.outputs
        ]
        self.zeros = np.zeros

    def bind(self, inputs: Arrays) -> None:
        pass

    def step(self) -> None:
        pass

    def fetch(self) -> Arrays:
        return {name: self.zeros(shape, dtype) for name, shape, dtype in self.outputs}

    def beside(self) -> Session:
        return NullSession(self.cell)

    def attest(self) -> Attestation:
        return Attestation(
            runtime="null",
            version=platform.python_version(),
            device="cpu",
            precision=self.cell.precision,
            threads=self.cell.threads,
            denormals="preserved",
            spinning="off",
        )


class Null(Backend):
    """A control: never ranked, and never correct, since all outputs are zeros."""

    name = "null"
    uses_weights = False

    def prepare(self, source: Source, cell: Cell, folder: Path) -> Mapping[str, Any]:
        return {}

    def load(self, folder: Path, cell: Cell) -> Session:
        return NullSession(cell)
